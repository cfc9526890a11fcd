"""Bounds in L1 by lines that are exact at the centre: a radius pays for few of the ReLUs that it may turn over.

With x = x0 + p − m, q = (p, m) ≥ 0, every step of the ball is a q of Q = {Σ q ≤ r, q ≤ the box's room}. A chord lies
far above a ReLU whose argument has not moved. Let z_j ≤ z0_j + e_j + G_j·q on Q, G_j ≥ 0, for an anchor z0_j, so that
(z_j − z0_j)⁺ ≤ e_j + G_j·q. Then for any ν and any a ≤ 0, as in `lagrangian`,

    min m ≥ K + Σ_j min {μ_j t⁺ − ν_j t − a_j (t − z0_j)⁺ : l_j ≤ t ≤ u_j} + min {g·(p − m) + Σ_j a_j (e_j + G_j·q)},

since a_j (z_j − z0_j)⁺ is at least its part of the last term. A share is least at l, 0, z0 or u; the last term is a
fractional knapsack. One backward pass of −z_j itself gives −z_j ≥ k + h·q, hence G_j = (−h)⁺ and e_j = (−k − z0_j)⁺:
stage by stage, with each ReLU's ends from those before it. Where all lines are exact at the centre e_j is rounding.

Proof of the rounding: the sums are those of `Lagrangian`, with its charges; besides, a_j costs twice its ReLU's
magnitude, e_j, and r·max G_j ≥ G_j·q, once each, and the knapsack, a sum of what is ≥ 0, is charged relatively. k and h
are the floats that were proved, all of the pass's charges being in k. ν, a and anchors come from floats and need none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import DENSE_SHARE, Matrix, Stages
from encoders.lazy import Lazy
from encoders.network.graph import Array, Graph
from encoders.network.norm import Norm
from verifier.bounds.alpha_crown import ROW_ENTRIES, Adam
from verifier.bounds.interval import Pair
from verifier.bounds.lagrangian import CHARGE
from verifier.bounds.relu_lines import upper_intercept, upper_slope
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.norms.l1 import L1
from verifier.problem.query import Ball, Halfspaces
from verifier.problem.rounding import down, evaluation_error, gamma, underflow

if TYPE_CHECKING:
    import scipy.sparse as sp
else:
    sp = Lazy("scipy.sparse")

MOST_ENTRIES = 1 << 25
"""Most entries of the growths of all ReLUs, were they dense (256 MB): larger networks do without."""


TRIED = 4
"""Iterations after which a goal's row is given up where as much as the last one gained, each time, would not do."""


def anchors(graph: Graph, region: Ball) -> bool:
    """Is it a ball in L1 around a point of its box, which has others too, and a network that is small enough?"""
    inside = bool(np.all((region.lo <= region.centre) & (region.centre <= region.hi)))
    inside = inside and bool(np.any(region.lo < region.hi))
    small = graph.relu_count * 2 * graph.input_size <= MOST_ENTRIES
    return region.norm is Norm.L1 and bool(np.isfinite(region.radius)) and region.bounded and inside and small


@dataclass(frozen=True, eq=False)
class _Lines:
    """What is known of a stage's ReLUs: `places` the open ones, `active` those that are on; the rest is off.

    Of the open ones: `lower`, `upper`, `anchor`, `excess` (n,) and `growth` (n, columns). `left` and `right`: the
    slopes of the anchored line on either side of the anchor; `slope`, `intercept`: the chord; `alpha`: the lower line
    that is exact at the anchor. charge, anchored_charge: what a unit of ν, of all ReLUs, and of a are charged.
    """

    places: npt.NDArray[np.intp]
    active: Array
    lower: Array
    upper: Array
    anchor: Array
    excess: Array
    growth: Matrix
    left: Array
    right: Array
    slope: Array
    intercept: Array
    alpha: Array
    charge: Array
    anchored_charge: Array


@dataclass(frozen=True, eq=False)
class _Choice:
    """For the open ReLUs of each stage, by its number, and rows: slopes α of the lower line, and the chord's share of
    the upper one; the rest of it is anchored."""

    alpha: Mapping[int, Array]
    chord: Mapping[int, Array]


@dataclass(frozen=True, eq=False)
class _Passed:
    """m ≥ constant + steps·q for each row: (R,), (R, columns); messages: μ of the open ReLUs by stage."""

    constant: Array
    steps: Array
    messages: Mapping[int, Array]


@dataclass(frozen=True, eq=False)
class Excluding:
    """A proved upper bound `top` of a goal's row, and what it is proved by: of each open ReLU by stage, its α where the
    row's message is above 0, else its chord's share."""

    top: float
    row: int
    shares: Mapping[int, Array]


class AnchoredBounds:
    """Bounds over one ball that `anchors`, for every evaluation that the stages allow: `ArgumentLines`.

    For each hidden stage `ends`, then `passed` with the best ends that are known; then, if `complete`, `goal_upper`.
    """

    def __init__(self, stages: Stages, region: Ball) -> None:
        self._stages, self._radius = stages, min(region.radius, region.reach)
        self._geometry, self._centre = region.geometry, region.centre
        room = region.geometry.room
        self._rises, self._falls = np.flatnonzero(room.up > 0), np.flatnonzero(room.down > 0)
        caps = np.concatenate([room.up[self._rises], room.down[self._falls]])
        none = np.zeros(caps.size)
        self._steps = L1(none, -caps, none, self._radius)
        count = stages.operations + stages.input_size + stages.relu_count
        self._rate, self._spent = CHARGE * gamma(count), gamma(3 * caps.size)
        self._numbers = {node: number for number, node in enumerate(stages.nodes, 1)}
        self._near = stages.values(region.centre)[0][0]
        self._slices = [slice(a, b) for a, b in pairwise(stages.starts)]
        self._magnitudes: dict[int, Array] = {}
        self._sizes: dict[int, Array] = {}
        self._largest = float(np.max(np.abs(region.interval), initial=0.0))
        self._lines: dict[int, _Lines] = {}
        self._risen: tuple[npt.NDArray[np.intp], Array, Matrix] | None = None
        self._over = False

    @property
    def complete(self) -> bool:
        """Are all hidden stages passed?"""
        return len(self._lines) == len(self._stages.hidden)

    def ends(self, node: int, lower: Array, upper: Array, budget: Budget) -> Pair:
        """The interval of a hidden stage's arguments, cut down where their sign is open, while the budget lasts."""
        with suppress(OutOfTimeError):
            if not self._over:
                return self._ends(self._numbers[node], lower.copy(), upper.copy(), budget)
        self._over = True
        return lower, upper

    def _ends(self, number: int, lower: Array, upper: Array, budget: Budget) -> Pair:
        """`ends`, in place. Raises OutOfTimeError."""
        self._measure(number)
        places = np.flatnonzero((lower < 0) & (upper > 0))
        exact, constants, growths = self._exact(), [np.zeros(0)], []
        widest = max(self._steps.centre.size, *(stage.size for stage in self._stages.stages))
        chunk = max(1, ROW_ENTRIES // widest // 2)
        for start in range(0, places.size, chunk):
            part = places[start : start + chunk]
            rows = np.zeros((2 * part.size, lower.size))
            rows[np.arange(part.size), part], rows[part.size + np.arange(part.size), part] = -1.0, 1.0
            found = self._pass(number, rows, np.zeros(len(rows)), exact, budget)
            least = self._least(found, self._radius)
            upper[part] = np.minimum(upper[part], -least[: part.size])
            lower[part] = np.maximum(lower[part], least[part.size :])
            constants.append(found.constant[: part.size])
            growths.append(_laid_out(np.maximum(-found.steps[: part.size], 0.0)))
        self._risen = places, -np.concatenate(constants), _stacked(growths, self._steps.centre.size)
        return lower, upper

    def passed(self, node: int, lower: Array, upper: Array) -> None:
        """These are the ends of the stage's arguments that the stages after it go by."""
        if self._over:
            return
        number = self._numbers[node]
        assert self._risen is not None
        known, tops, growth = self._risen
        self._risen = None
        kept = (lower[known] < 0) & (upper[known] > 0)
        places, growth = known[kept], growth[np.flatnonzero(kept)]
        low, high = lower[places], upper[places]
        anchor = np.clip(self._near[self._slices[number - 1]][places], low, high)
        excess = np.maximum(np.nextafter(tops[kept] - anchor, np.inf), 0.0)
        left = np.where(anchor > 0, anchor / (anchor - low), 0.0)
        right = np.where(anchor > 0, 1.0, high / (high - anchor))
        slope = upper_slope(low, high)
        magnitude = np.maximum(np.abs(lower), np.abs(upper))
        steepest = self._radius * _largest(growth)
        self._magnitudes[number] = np.maximum(upper, 0.0)
        charge = self._sizes[number] + magnitude
        anchored = 2.0 * magnitude[places] + excess + steepest
        self._largest = max(self._largest, *(float(part.max(initial=0.0)) for part in (charge, anchored)))
        self._lines[number] = _Lines(
            places, (lower >= 0).astype(np.float64), low, high, anchor, excess, growth, left, right,
            slope, upper_intercept(slope, low, high), (anchor > 0).astype(np.float64), charge, anchored,
        )  # fmt: skip

    def goal_upper(self, goal: Halfspaces, radius: float, iterations: int, budget: Budget) -> float:
        """The bound of `excluding`."""
        return self.excluding(goal, radius, iterations, budget).top

    def excluding(
        self, goal: Halfspaces, radius: float, iterations: int, budget: Budget, wanted: float = 0.0
    ) -> Excluding:
        """A proved upper bound of the goal's margin min_i (C z + d)_i within `radius`: that of its best row alone.

        radius: at most the ball's. The row's lines are optimised so many times, while there is hope, until the bound is
        below −wanted. Where the budget ends early, what has been proved by then; infinite where that is nothing.
        """
        best, number, radius = Excluding(np.inf, 0, {}), len(self._stages.stages), min(radius, self._radius)
        with suppress(OutOfTimeError):
            self._measure(number)
            rows, offset, exact = -goal.matrix, -goal.offset, self._exact()
            passed = self._pass(number, rows, offset, exact, budget)
            values = self._least(passed, radius)
            row = int(np.argmax(values))
            best = Excluding(-float(values[row]), row, _shares_of(passed, exact, row))
            if best.top < -wanted or not np.isfinite(best.top):
                return best
            for done, found in enumerate(self._climbed(goal, row, radius, iterations, budget), 1):
                gain = best.top - found.top
                best = min(best, found, key=lambda one: one.top)
                if best.top < -wanted or (done > TRIED and gain * (iterations - done) < best.top):
                    break
        return best

    def _measure(self, number: int) -> None:
        """The sizes of what is added up for a stage's arguments, with what evaluations may round."""
        stage = self._stages.stages[number - 1]
        size = stage.magnitude.copy()
        for source, block in stage.blocks.items():
            known = self._geometry.sizes(block.magnitude) if source == 0 else block.magnitude @ self._magnitudes[source]
            size = size + known
        error = evaluation_error(stage.operations, self._stages.unit)
        self._sizes[number] = size * (1.0 + error / self._rate)
        self._largest = max(self._largest, float(self._sizes[number].max(initial=0.0)))

    def _exact(self) -> _Choice:
        """The lines that are exact at the centre."""
        alpha = {number: lines.alpha[np.newaxis] for number, lines in self._lines.items()}
        return _Choice(alpha, {number: np.zeros_like(slopes) for number, slopes in alpha.items()})

    def _pass(self, number: int, rows: Array, offset: Array, choice: _Choice, budget: Budget) -> _Passed:
        """Bounds of rows·z + offset, z of stage `number`: rows (R, size), offset (R,). Raises OutOfTimeError."""
        budget.check()
        with np.errstate(invalid="ignore", over="ignore"):
            return self._walk(number, rows, offset, choice, budget)

    def _walk(self, number: int, rows: Array, offset: Array, choice: _Choice, budget: Budget) -> _Passed:
        stage = self._stages.stages[number - 1]
        constant, size = offset + rows @ stage.constant, np.abs(offset) + np.abs(rows) @ self._sizes[number]
        steps = np.zeros((len(rows), self._steps.centre.size))
        sent, messages = {source: rows @ block.matrix for source, block in stage.blocks.items()}, {}
        for source in range(number - 1, 0, -1):
            mu = sent.pop(source, None)
            if mu is None:
                continue
            budget.check()
            lines, stage = self._lines[source], self._stages.stages[source - 1]
            own = messages[source] = mu[:, lines.places]
            against = np.minimum(own, 0.0)
            chord = choice.chord[source]
            on_line = against * (chord * lines.slope + (1.0 - chord) * lines.left)
            anchored = np.minimum(against * (1.0 - chord) * (lines.right - lines.left), 0.0)
            nu = mu * lines.active
            nu[:, lines.places] = np.where(own > 0, choice.alpha[source] * own, on_line)
            shares = _shares(own, nu[:, lines.places], anchored, lines)
            constant = constant + shares.sum(axis=1) + anchored @ lines.excess + nu @ stage.constant
            size = size + np.abs(nu) @ lines.charge + np.abs(anchored) @ lines.anchored_charge
            steps += anchored @ lines.growth
            for earlier, block in stage.blocks.items():
                more = nu @ block.matrix
                sent[earlier] = sent[earlier] + more if earlier in sent else more
        if 0 in sent:
            constant = constant + sent[0] @ self._centre
            steps[:, : self._rises.size] += sent[0][:, self._rises]
            steps[:, self._rises.size :] -= sent[0][:, self._falls]
        proved = down(constant, self._rate * size + underflow(self._largest))
        return _Passed(proved, steps, messages)

    def _least(self, found: _Passed, radius: float) -> Array:
        """Lower bounds within `radius`: (R,)."""
        with np.errstate(invalid="ignore", over="ignore"):
            falls = self._steps.falls(-found.steps, radius)
            return down(found.constant - falls, self._spent * (np.abs(found.constant) + falls))

    def _climbed(
        self, goal: Halfspaces, row: int, radius: float, iterations: int, budget: Budget
    ) -> Iterator[Excluding]:
        """Bounds of a row of the goal; α and the chords' shares are optimised together. Raises OutOfTimeError."""
        alpha = Adam({number: lines.alpha[np.newaxis] for number, lines in self._lines.items()})
        chord = Adam({number: np.zeros_like(slopes) for number, slopes in alpha.slopes.items()})
        rows, offset = -goal.matrix[[row]], -goal.offset[[row]]
        for _ in range(iterations):
            choice = _Choice(alpha.slopes, chord.slopes)
            found = self._pass(len(self._stages.stages), rows, offset, choice, budget)
            yield Excluding(-float(self._least(found, radius)[0]), row, _shares_of(found, choice, 0))
            by_alpha, by_chord = self._gradients(found, choice, radius, budget)
            alpha.ascend(by_alpha)
            chord.ascend(by_chord)

    def _gradients(
        self, found: _Passed, choice: _Choice, radius: float, budget: Budget
    ) -> tuple[dict[int, Array], dict[int, Array]]:
        """Those of one row's bound by α and by the chords' shares: at its least q, through the lines that it chose."""
        with np.errstate(over="ignore"):
            q = -self._steps.steps(-found.steps, radius)[0]
        x = self._centre.copy()
        x[self._rises] += q[: self._rises.size]
        x[self._falls] -= q[self._rises.size :]
        outputs, by_alpha, by_chord = {0: x}, {}, {}
        for number, stage in enumerate(self._stages.hidden, 1):
            budget.check()
            lines = self._lines[number]
            z = stage.constant + sum(block.matrix @ outputs[source] for source, block in stage.blocks.items())
            output = outputs[number] = z * lines.active
            if number not in found.messages:
                continue
            own, mu, share = z[lines.places], found.messages[number][0], choice.chord[number][0]
            above = lines.slope * own + lines.intercept
            grown = (lines.right - lines.left) * (lines.growth @ q + lines.excess)
            near = np.maximum(lines.anchor, 0.0) + lines.left * (own - lines.anchor) + grown
            upper = share * above + (1.0 - share) * near
            output[lines.places] = np.where(mu > 0, choice.alpha[number][0] * own, upper)
            by_alpha[number] = (np.maximum(mu, 0.0) * own)[np.newaxis]
            by_chord[number] = (np.minimum(mu, 0.0) * (above - near))[np.newaxis]
        return by_alpha, by_chord


def _shares_of(found: _Passed, choice: _Choice, row: int) -> dict[int, Array]:
    """Of the open ReLUs that a row has met, by stage: α where μ > 0, the chord's share elsewhere."""
    return {
        number: np.where(mu[row] > 0, choice.alpha[number][0], choice.chord[number][0])
        for number, mu in found.messages.items()
    }


def _shares(mu: Array, nu: Array, anchored: Array, lines: _Lines) -> Array:
    """min {μ t⁺ − ν t − a (t − z0)⁺ : l ≤ t ≤ u} of open ReLUs with l ≤ z0 ≤ u, entry by entry."""
    at_lower, at_zero = -nu * lines.lower, -anchored * np.maximum(-lines.anchor, 0.0)
    at_upper = (mu - nu) * lines.upper - anchored * (lines.upper - lines.anchor)
    at_anchor = mu * np.maximum(lines.anchor, 0.0) - nu * lines.anchor
    least: Array = np.minimum(np.minimum(at_lower, at_zero), np.minimum(at_upper, at_anchor))
    return least


def _laid_out(rows: Array) -> Matrix:
    """Dense or sparse, as its share of nonzeros has it."""
    return rows if np.count_nonzero(rows) > DENSE_SHARE * rows.size else sp.csr_array(rows)


def _stacked(parts: list[Matrix], columns: int) -> Matrix:
    """One under the other, dense where one of them is."""
    if not parts:
        return np.zeros((0, columns))
    if any(isinstance(part, np.ndarray) for part in parts):
        return np.vstack([part if isinstance(part, np.ndarray) else part.toarray() for part in parts])
    return sp.csr_array(sp.vstack(parts))


def _largest(growth: Any) -> Array:
    """The largest entry of each row."""
    if growth.shape[0] == 0 or growth.shape[1] == 0:
        return np.zeros(growth.shape[0])
    largest = growth.max(axis=1)
    return largest if isinstance(largest, np.ndarray) else np.asarray(largest.toarray().reshape(-1))
