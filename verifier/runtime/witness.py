"""The judge of witnesses: nobody's word is trusted.

A point becomes a witness when it is representable in the model's own input type, lies inside the box, reaches the goal
in exact arithmetic, and ONNX Runtime, run on the file that the user brought, predicts the target: by the file's own
output, where a Softmax may round different logits to equal probabilities, of which the first counts. Where a Sigmoid
leaves no exact logits, all that lie between proved bounds have to reach it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array, Graph
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import ELSEWHERE, Ball, Halfspaces, distance_exact
from verifier.problem.verdict import Witness
from verifier.runtime.activation_region import LinearRegion, deepest, nearest, region_of
from verifier.runtime.real_margin import real_margin, real_margins

NUDGES = (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
"""Relative steps away from the input: a minimum lies on a tie, where rounding to float32 may fall to either side."""

DEEPER = (0.125, 0.5, 1.0)
"""Shares of the way from a point to the deepest one near it at which a witness is looked for."""

ROUNDED = 6
"""Entries of a point that are rounded both ways, in all combinations, where rounding to nearest gives no witness: a
corner of an L1 ball has few entries off the box's ends."""

POLISH_ROUNDS = 4
"""Region LPs in a row, each from the last one's witness: the distance falls until the region stays the same."""

FLOAT_DOUBT = 1e-2
"""ONNX Runtime margins below −FLOAT_DOUBT·(1 + largest |logit|) are not worth an exact evaluation: rounding errors of
float32 networks of this size stay far below it."""


TIED = 1.0
"""Logits that differ by this many units in the last place of 1 may be one probability: a Softmax rounds some e^x."""

BEYOND_TIES = (0.25, 1.0, 4.0, 64.0)
"""Multiples of that difference by which a goal is deepened to find where the file's own output changes its class."""


class Runtime(Protocol):
    """The model as it is shipped, at points (B, n)."""

    def logits(self, points: npt.ArrayLike) -> npt.NDArray[np.floating]:
        """The logits (B, K), which margins are read from."""

    def outputs(self, points: npt.ArrayLike) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
        """The logits and the scores (B, S): what the file gives."""

    def classes(self, scores: npt.NDArray[np.floating]) -> tuple[int, ...]:
        """What scores (S,) say: the class that is predicted, or one for each transformation of the input."""

    @property
    def rounds(self) -> bool:
        """Are the scores made of the logits by what may round different ones to the same?"""


@dataclass(frozen=True, eq=False)
class Judge:
    """Judges points for one input: `ball` gives the centre, the norm and the box; `graph` is the network as read,
    `lowered` the same after lowering; `disjuncts` are the targets that count, with their half-spaces."""

    graph: Graph
    lowered: Graph
    runtime: Runtime
    dtype: np.dtype[np.floating]
    ball: Ball
    disjuncts: Sequence[tuple[int, Halfspaces]]
    label: int | None = None
    """What a disjunct ELSEWHERE is to lose."""

    @property
    def grid(self) -> float:
        """The step of the model's input dtype at the input's largest coordinate: what rounding does to a distance."""
        return float(np.spacing(np.abs(self.ball.centre).max().astype(self.dtype)))

    @property
    def tie(self) -> float:
        """Margins up to this may be ties in the file's own output; 0 where that is the logits."""
        return TIED * float(np.finfo(self.dtype).eps) if self.runtime.rounds else 0.0

    def witness(self, point: npt.ArrayLike, budget: Budget) -> Witness | None:
        """The witness that `point` (n,) gives after rounding into the box, or None. Raises OutOfTimeError."""
        budget.check()
        rounded = self._rounded(np.asarray(point, dtype=np.float64))
        found, scores = self.runtime.outputs(rounded[np.newaxis])
        logits = np.asarray(found[0], dtype=np.float64)
        if not np.all(np.isfinite(logits)) or np.any(np.isnan(scores)):
            return None
        classes = self.runtime.classes(scores[0])
        reached = self.reached(classes)
        if reached is None:
            return None
        budget.check()
        target, goal = reached
        runtime_margin = float(goal.margin(logits)[0])
        if runtime_margin < 0:
            return None
        exact = real_margin(self.graph, rounded, goal, budget.check)
        if exact < 0:
            return None
        distance = distance_exact(self.ball.norm, rounded.astype(np.float64), self.ball.centre)
        return Witness(rounded, rounded_up(distance), classes[0], rounded_down(exact), runtime_margin, target, classes)

    def reached(self, classes: tuple[int, ...]) -> tuple[int, Halfspaces] | None:
        """The first disjunct that these classes reach."""
        for target, goal in self.disjuncts:
            off_label = target == ELSEWHERE and self.label not in classes
            if off_label or all(predicted == target for predicted in classes):
                return target, goal
        return None

    def tied(self, budget: Budget) -> frozenset[int]:
        """The targets whose goals the input reaches over the reals, of those that ONNX Runtime's logits say so of too:
        where it is no witness, on a tie. Raises OutOfTimeError."""
        budget.check()
        found, _ = self.runtime.outputs(self._rounded(self.ball.centre)[np.newaxis])
        logits = np.asarray(found[0], dtype=np.float64)
        near = [(target, goal) for target, goal in self.disjuncts if goal.margin(logits)[0] >= 0]
        if not near:
            return frozenset()
        margins = real_margins(self.graph, self.ball.centre, [goal for _, goal in near], budget.check)
        return frozenset(target for (target, _), margin in zip(near, margins, strict=True) if margin >= 0)

    def exact_margin(self, point: npt.ArrayLike, goal: Halfspaces, budget: Budget) -> float:
        """The goal's smallest row at `point` (n,) in exact arithmetic, rounded down. Raises OutOfTimeError."""
        return rounded_down(real_margin(self.graph, point, goal, budget.check))

    def _rounded(self, point: Array) -> npt.NDArray[np.floating]:
        """The point in the model's dtype, inside the box: an end of the box that falls between two floats rounds in."""
        with np.errstate(over="ignore"):
            x = np.clip(point, self.ball.lo, self.ball.hi).astype(self.dtype)
            x = np.where(x < self.ball.lo, np.nextafter(x, self.dtype.type(np.inf)), x)
            x = np.where(x > self.ball.hi, np.nextafter(x, self.dtype.type(-np.inf)), x)
        return np.where(point == self.ball.centre, self.ball.centre, x).astype(self.dtype)

    def _rounded_otherwise(self, point: Array, budget: Budget) -> Witness | None:
        """The witness that the point gives where some of its entries are rounded to the other side; None for none.

        Of all combinations of the `ROUNDED` entries with the coarsest grid, the nearest that ONNX Runtime accepts.
        """
        near = self._rounded(point)
        inside = (near > self.ball.lo) & (near < self.ball.hi) & (point != self.ball.centre)
        missed = np.where(inside, point - near, 0.0)
        places = np.argsort(-np.where(missed != 0, np.spacing(np.abs(near)), 0.0), kind="stable")[:ROUNDED]
        places = places[missed[places] != 0]
        beyond = np.nextafter(near[places], np.where(missed[places] > 0, np.inf, -np.inf).astype(self.dtype))
        choices = (np.arange(1, 2**places.size)[:, np.newaxis] >> np.arange(places.size)) & 1
        if choices.size == 0:
            return None
        points = np.repeat(near[np.newaxis], len(choices), axis=0)
        points[:, places] = np.where(choices, beyond, near[places])
        _, scores = self.runtime.outputs(points)
        for place in np.argsort(self.ball.length(points), kind="stable").tolist():
            if self.reached(self.runtime.classes(scores[place])) is not None:
                return self.witness(points[place], budget)
        return None

    def secured(self, point: npt.ArrayLike, slack: float, budget: Budget) -> Witness | None:
        """The nearest witness found near `point`, at most about `slack` farther from the input than it is.

        Tries the point, small steps outwards, other roundings, then steps to the deepest point of its activation
        region: the goal's smallest row is concave there, so that each step lies as much deeper as it is long. Where the
        file's output rounds, the nearest point of the region that lies deeper than its ties, however far that is.
        None as well when the budget ends first.
        """
        try:
            return self._secured(point, slack, budget)
        except OutOfTimeError:
            return None

    def _secured(self, point: npt.ArrayLike, slack: float, budget: Budget) -> Witness | None:
        x = np.asarray(point, dtype=np.float64)
        step = x - self.ball.centre
        length = _length(self.ball, x)
        for nudge in NUDGES:
            if nudge * length > max(slack, length * NUDGES[1]):
                break
            if (found := self.witness(self.ball.centre + (1.0 + nudge) * step, budget)) is not None:
                return found
        budget.check()
        plausible = list(self._plausible(x))
        budget.check()
        if plausible and (found := self._rounded_otherwise(x, budget)) is not None:
            return found
        if self.lowered.smooth:  # it has no activation regions
            return None
        for target, goal in plausible:
            budget.check()
            region = region_of(self.lowered, x, goal)
            if region is None:
                return None
            budget.check()
            inner = deepest(region, self.ball.with_radius(length + slack), budget)
            steps = [] if inner is None else [x + share * (inner - x) for share in DEEPER]
            for deeper in (*steps, *self._beyond_ties(region, budget)):
                found = self.witness(deeper, budget) or self._rounded_otherwise(deeper, budget)
                if found is not None and found.target == target:
                    return found
        return None

    def _beyond_ties(self, region: LinearRegion, budget: Budget) -> Iterator[Array]:
        """The nearest points of the region with margins that the file's own output may tell apart."""
        matrix, offset = region.goal
        for factor in BEYOND_TIES if self.runtime.rounds else ():
            deeper = replace(region, goal=(matrix, offset - factor * self.tie))
            point = nearest(deeper, self.ball, budget) if budget.remaining > 0 else None
            if point is not None:
                yield point

    def polished(self, witness: Witness, slack: float, budget: Budget) -> Witness:
        """The witness moved to the nearest point of its activation region, again from there, while that helps."""
        best = witness
        goals = dict(self.disjuncts)
        for _ in range(0 if self.lowered.smooth else POLISH_ROUNDS):
            if budget.remaining <= 0:
                break
            start = best.point.astype(np.float64)
            region = region_of(self.lowered, start, goals[best.target])
            better = self._nearer(region, best, slack, budget) if region is not None else None
            if better is None:
                break
            best = better
        return best

    def _nearer(self, region: LinearRegion, best: Witness, slack: float, budget: Budget) -> Witness | None:
        point = nearest(region, self.ball, budget)
        if point is None or _length(self.ball, point) >= best.distance:
            return None
        found = self.secured(point, slack, budget)
        return found if found is not None and found.distance < best.distance else None

    def _plausible(self, x: Array) -> Iterator[tuple[int, Halfspaces]]:
        """The goals, the one with the largest margin at x first; far-off ones are left out."""
        logits = np.asarray(self.runtime.logits(self._rounded(x)[np.newaxis])[0], dtype=np.float64)
        doubt = FLOAT_DOUBT * (1.0 + float(np.max(np.abs(logits))))
        margins = [(float(goal.margin(logits)[0]), target, goal) for target, goal in self.disjuncts]
        for margin, target, goal in sorted(margins, key=lambda entry: -entry[0])[:2]:
            if margin >= -doubt:
                yield target, goal


def _length(ball: Ball, x: Array) -> float:
    return float(distance_exact(ball.norm, x, ball.centre))


def rounded_up(value: Fraction) -> float:
    """The least float64 that is not below `value`."""
    number = float(value)
    return number if Fraction(number) >= value else math.nextafter(number, math.inf)


def rounded_down(value: Fraction) -> float:
    """The greatest float64 that is not above `value`."""
    number = float(value)
    return number if Fraction(number) <= value else math.nextafter(number, -math.inf)
