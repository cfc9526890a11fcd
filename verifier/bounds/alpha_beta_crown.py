"""Linear bounds of many nodes at once (α, β, λ), optimised in float32: they propose multipliers and prove nothing.

For each node the bound of `lagrangian` on lines (ν = α μ⁺ − s μ⁻ ± β; Xu et al. 2021, Wang et al. 2021) is a concave
function of α ∈ [0, 1], β ≥ 0 and the row weights λ in the simplex. Its gradient is one pass forward: with x̃ the point
of the ball where the linear form is least, and z its values along the chosen lines,

    ∂/∂α_j = μ_j⁺ z_j,   ∂/∂β_j = ∓z_j (for a ReLU split to its active, its inactive side),   ∂/∂λ_i = −(C z_out + d)_i.

The step is Polyak's, in the metric of the gradients so far (Duchi, Hazan & Singer 2011): entries move in units of their
range, 1 for α and μ's size for β, over the root of their squared gradients' sum. The direction is deflected by the one
before (Camerini, Fratta & Maffioli 1975). It aims at a level above the best value, by a share of its size that grows
where steps gain and falls where they do not (Goffin & Kiwiel 1999): far from 0, where a node closes, a step that aims
there overshoots. Children begin with their parent's share. Arrays hold one node a column: (ReLUs, batch).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.lazy import Lazy
from encoders.network.graph import Array
from encoders.network.relu_lines import intercepts
from verifier.bounds.relu_lines import lower_slope, upper_slope
from verifier.bounds.row_weights import in_simplex, onto_simplex
from verifier.problem.budget import Budget
from verifier.problem.norms.geometry import Floats
from verifier.problem.query import Ball, Halfspaces

if TYPE_CHECKING:
    import scipy.sparse as sp
else:
    sp = Lazy("scipy.sparse")

Bools = npt.NDArray[np.bool_]

FLAGS_OF_BLAS: Literal["ignore"] = "ignore"
"""Some of BLAS's float32 kernels flag invalid operations where none are; what is not a number shows in the values."""

LEAST_SHARE, FIRST_SHARE = np.float32(1e-4), np.float32(1.1)
"""Of the best value's size, how far above it steps aim: at least, and at the root's first; at 0 they stop short."""

RENEWED = np.float32(0.2)
"""That share at a node's first step, at least: its parent's last steps hardly gained any more. Of 0.1, 0.2 and 0.3 the
second is the best of both nets in the lab book."""

GAINED, FAILED = np.float32(1.5), np.float32(0.7)
"""What that share is multiplied with after a step that found a better value, and after one that did not."""

NEAR = 0.2
"""Share of what the root's bound lacks: levels do not shrink with the values of nodes that lack less."""

OVERSTEP = 1.5
"""The step as a multiple of Polyak's: up to 2 the distance to the optimum shrinks where the target is right."""

DEFLECTION = 1.0
"""How much of the last direction is kept when the new gradient turns against it: 1 makes them orthogonal."""

BETA_SCALE = 10.0
"""β moves in units of the root mean square of μ over the split ReLUs, times this: α and λ run from 0 to 1, β like μ."""

FLOOR = np.float32(0.03)
"""Share of the largest root of squared gradients, of all α or of all β, that is added to each: what hardly matters
moves no farther. From 0.01 to 0.1 it makes no difference."""

CROWDED = 0.75
"""Closed nodes leave the batch when fewer than this share stay: copying costs less than carrying them along."""

FEW = 4
"""Nodes of a batch from which on a kernel takes the steps: products of matrices are as fast for fewer."""

SMALL, TINY = np.float32(1e-20), np.float32(1e-10)
"""Keep quotients of squared norms, and of norms, finite."""


@dataclass(frozen=True, eq=False)
class Start:
    """Where the optimisation of a batch begins, or has ended: alpha, beta (open, batch), weights (m, batch); of ReLUs
    that are active at the root, which have no choice, nothing is said.

    `beta` is what β adds to ν: at most 0 at ReLUs split to their active side, at least 0 at the others. `shares`
    (batch,): how far above the best value steps aim, of its size.
    """

    alpha: Floats
    beta: Floats
    weights: Floats
    shares: Floats

    def columns(self, chosen: npt.NDArray[Any]) -> Start:
        return Start(self.alpha[:, chosen], self.beta[:, chosen], self.weights[:, chosen], self.shares[chosen])


@dataclass(frozen=True, eq=False)
class Proposed:
    """The best multipliers met, their `values` (batch,) in float32, and each node's x̃, `points` (n, batch)."""

    best: Start
    values: Floats
    points: Floats


@dataclass(frozen=True, eq=False)
class Lines:
    """A batch's kept ReLUs; every array (kept, batch). slope, intercept: of the upper lines. side: −1 where a ReLU is
    split to its active side, 1 to the other, else 0. fixed: α where it is not open. alpha, beta ≥ 0: to begin with.
    """

    open: Bools
    slope: Floats
    intercept: Floats
    side: Floats
    fixed: Floats
    alpha: Floats
    beta: Floats


ACTIVE = 1.0, 0.0, 0.0, 1.0, 1.0, 0.0
"""`Lines` of a ReLU that is active at the root, which is not open."""


class Ascending(Protocol):
    """Proposes multipliers for batches of nodes."""

    def optimise(self, lower: Array, upper: Array, start: Start, steps: int, budget: Budget) -> Proposed:
        """As `BatchedBound.optimise`."""


class BatchedBound:
    """Proposes multipliers for batches of nodes below one root with `lower`, `upper` (relu_count,).

    In `kernels.alpha_beta_crown` as a kernel.
    """

    def __init__(self, stages: Stages, ball: Ball, goal: Halfspaces, lower: Array, upper: Array) -> None:
        self.kept = np.flatnonzero(upper > 0)
        """The ReLUs that the root does not fix at 0."""
        self.starts = np.searchsorted(self.kept, stages.starts)
        """Where each stage begins among them."""
        self._parts = [slice(a, b) for a, b in pairwise(self.starts.tolist())]
        count = len(stages.stages)
        self.layers = [_layer(stages, goal, number, self.kept, self.starts) for number in range(1, count + 1)]
        self.entries = sum(matrix.size for layer in self.layers for matrix, _ in layer.blocks.values())
        """Entries of all matrices: the work of a step for one node."""
        self.open = np.flatnonzero(lower[self.kept] < 0)
        """Where those are among them whose sign the root leaves open; the others are active."""
        self.undecided = self.kept[self.open]
        """Which ReLUs these are."""
        self._relus = lower.size
        self.ball = ball
        self.size, self._rows = stages.input_size, len(goal.offset)
        self.deficit = 0.0
        """What the root's bound lacks, once that is known: how far from 0 a node is near it."""
        self.margin = 0.0
        """What a bound has to exceed for its node to be done: the safe evaluation charges rounding that is not seen
        here."""

    def set_radius(self, radius: float) -> None:
        """The ball's radius from now on; at most the root's."""
        self.ball = self.ball.with_radius(radius)

    def first(self) -> Start:
        """Where the root begins, one column for each row of the goal: that row alone."""
        shape = self.open.size, self._rows
        alpha, beta = np.full(shape, np.nan, np.float32), np.zeros(shape, np.float32)
        return Start(alpha, beta, np.eye(self._rows, dtype=np.float32), np.full(self._rows, FIRST_SHARE))

    def optimise(self, lower: Array, upper: Array, start: Start, steps: int, budget: Budget) -> Proposed:
        """Up to `steps` steps for nodes with bounds (open, batch); an α that is no number begins at its default line.

        Nodes whose bound is above `margin` are done, and values are what exceeds it. Raises OutOfTimeError.
        """
        run = _Run(self, self.lines(lower, upper, start), start)
        with np.errstate(invalid=FLAGS_OF_BLAS):
            for step in range(steps + 1):
                budget.check()
                value, mu = self._backward(run)
                run.note(value, mu)
                if step == steps or not run.drop(value):
                    break
                self._forward(run)
                run.move()
        return run.proposed(self.open)

    def lines(self, lower: Array, upper: Array, start: Start) -> Lines:
        """What the nodes' bounds (open, batch) say of their ReLUs, and α and β to begin with."""
        shape = self.kept.size, lower.shape[1]
        lines = Lines(np.zeros(shape, np.bool_), *(np.full(shape, value, np.float32) for value in ACTIVE))
        for name, found in vars(lines_of(lower, upper, start.alpha, start.beta)).items():
            getattr(lines, name)[self.open] = found
        return lines

    def spread(self, best: Start) -> tuple[Array, Array]:
        """α and β of all ReLUs, (relu_count, batch)."""
        alpha, beta = np.zeros((2, self._relus, best.alpha.shape[1]))
        alpha[self.kept] = 1.0
        alpha[self.undecided], beta[self.undecided] = best.alpha, best.beta
        return alpha, beta

    def margins(self, points: Floats, places: npt.NDArray[np.integer]) -> Floats:
        """The goal's smallest row at those at these places of points (n, batch) of the root's ball, about."""
        values = [points[:, places]]
        with np.errstate(invalid=FLAGS_OF_BLAS):
            for layer in self.layers:
                total: Floats = sum(
                    (matrix @ values[source] for source, (matrix, _) in layer.blocks.items()), layer.constant
                )
                values.append(np.maximum(total, 0.0))
        return np.asarray(total.min(axis=0))

    def _backward(self, run: _Run) -> tuple[Floats, Floats]:
        """(values, μ) at the run's multipliers, and the run's points."""
        batch = run.weights.shape[1]
        mu, row = np.zeros((self.kept.size, batch), np.float32), np.zeros((self.size, batch), np.float32)
        message = -run.weights
        value = np.zeros(batch, np.float32)
        for number in range(len(self.layers), 0, -1):
            if number < len(self.layers):
                part = self._parts[number - 1]
                here = mu[part]
                against = np.minimum(here, 0.0)
                value += np.einsum("ij,ij->j", against, run.intercept[part])
                message = (here - against) * run.alpha[part] + run.beta[part] * run.side[part]
                message += against * run.slope[part]
            layer = self.layers[number - 1]
            value += layer.constant[:, 0] @ message
            for source, (_, adjoint) in layer.blocks.items():
                sent = adjoint @ message
                if source:
                    mu[self._parts[source - 1]] += sent
                else:
                    row += sent
        run.points, least = self.ball.geometry.least_of_batch(row)
        return value + (least - np.float32(self.margin)), mu

    def _forward(self, run: _Run) -> None:
        """The arguments of the ReLUs along the lines at the run's points, and the goal's rows there."""
        values: list[Floats] = [run.points]
        for number, layer in enumerate(self.layers, 1):
            total: Floats = np.broadcast_to(layer.constant, (layer.constant.shape[0], run.weights.shape[1]))
            for source, (matrix, _) in layer.blocks.items():
                total = total + matrix @ values[source]
            if number == len(self.layers):
                run.outputs = total
                return
            part = self._parts[number - 1]
            run.arguments[part] = total
            above = run.slope[part] * total + run.intercept[part]
            values.append(np.where(run.mu[part] > 0, run.alpha[part] * total, above))


def lines_of(lower: Array, upper: Array, alpha: Floats, beta: Floats) -> Lines:
    """The lines of ReLUs whose sign the root leaves open, with these bounds, and α and β to begin with."""
    open_: Bools = (lower < 0) & (upper > 0)
    active = lower >= 0
    slope = upper_slope(lower, upper)
    with np.errstate(invalid="ignore"):
        # Without slack: what is proposed is not what is proved.
        intercept = np.where(open_, intercepts(slope, lower, upper)[0], 0.0).astype(np.float32)
    side = np.where(open_, 0.0, np.where(active, -1.0, 1.0)).astype(np.float32)
    fixed = active.astype(np.float32)
    alpha = np.where(np.isnan(alpha), lower_slope(lower, upper).astype(np.float32), alpha)
    alpha, beta = np.where(open_, alpha, fixed), np.maximum(beta * side, 0.0)
    return Lines(open_, slope.astype(np.float32), intercept, side, fixed, alpha, beta)


class _Run:
    """The state of one `optimise`: the nodes that are still at work, and the best that all of them have seen."""

    def __init__(self, bound: BatchedBound, lines: Lines, start: Start) -> None:
        self._open, self._fixed = lines.open, lines.fixed
        self.slope, self.intercept, self.side = lines.slope, lines.intercept, lines.side
        self.alpha, self.beta = lines.alpha, lines.beta
        self.weights = start.weights
        self._shares, self._near = np.maximum(start.shares, RENEWED), np.float32(NEAR * bound.deficit)
        self._splits = np.maximum(np.abs(self.side).sum(axis=0), 1.0)
        self.arguments: Floats = np.zeros_like(self.alpha)
        self.points = self.outputs = self.mu = np.zeros(0, np.float32)
        self._squares: Floats = np.zeros_like(self.alpha)
        self._row_squares: Floats = np.zeros(self.weights.shape[1], np.float32)
        self._directions: tuple[Floats, Floats] | None = None
        self._value = np.zeros(0, np.float32)
        self._at = np.arange(self.weights.shape[1])
        self._best = np.full(self._at.size, -np.inf, np.float32)
        self._kept: list[Floats] = []

    def note(self, value: Floats, mu: Floats) -> None:
        """Keep what is better than before."""
        self.mu, self._value = mu, value
        now = [self.alpha, self.beta * self.side, self.weights, self.points]
        if not self._kept:
            self._kept, self._best = [part.copy() for part in now], value.copy()
            return
        gained = value > self._best[self._at]
        changed = self._shares[self._at] * np.where(gained, GAINED, FAILED)
        self._shares[self._at] = np.clip(changed, LEAST_SHARE, FIRST_SHARE)
        better = np.flatnonzero(gained)
        places = self._at[better]
        self._best[places] = value[better]
        for kept, part in zip(self._kept, now, strict=True):
            kept[:, places] = part[:, better]

    def drop(self, value: Floats) -> bool:
        """Leave out closed nodes; False when none is left."""
        stay = ~(value > 0)
        count = int(np.count_nonzero(stay))
        if count and count < CROWDED * stay.size:
            names: tuple[str, ...] = ("_open", "slope", "intercept", "side", "alpha", "_fixed", "beta")
            names += ("weights", "arguments", "points", "mu", "_squares")
            for name in names:
                setattr(self, name, getattr(self, name)[:, stay])
            self._splits, self._at, self._value = self._splits[stay], self._at[stay], value[stay]
            self._row_squares = self._row_squares[stay]
            if self._directions is not None:
                self._directions = tuple(part[:, stay] for part in self._directions)  # type: ignore[assignment]
        return count > 0

    def move(self) -> None:
        """One step of α, β and λ."""
        theta = np.where(self._open, self.alpha, self.beta)
        turn = self._unblocked(np.where(self._open, np.maximum(self.mu, 0.0), self.side) * self.arguments, theta)
        turns = turn, in_simplex(-self.outputs, self.weights)
        units = self._units(*turns)
        if self._directions is not None:
            turned = sum(_dots(d, g * unit) for d, g, unit in zip(self._directions, turns, units, strict=True))
            length = sum(_dots(d, d * unit) for d, unit in zip(self._directions, units, strict=True))
            share = np.float32(DEFLECTION) * np.maximum(-turned, 0.0) / np.maximum(length, SMALL)
            turns = tuple(g + share * d for g, d in zip(turns, self._directions, strict=True))  # type: ignore[assignment]
        self._directions = turns
        along = self._unblocked(turns[0], theta), in_simplex(turns[1], self.weights)
        length = sum(_dots(part, part * unit) for part, unit in zip(along, units, strict=True))
        best = self._best[self._at]
        rise = best + self._shares[self._at] * np.maximum(np.abs(best), self._near) - self._value
        step = np.where(length > SMALL, np.float32(OVERSTEP) * rise / np.maximum(length, SMALL), 0.0)
        theta = np.maximum(theta + step * (units[0] * along[0]), 0.0)
        self.alpha = np.where(self._open, np.minimum(theta, 1.0), self._fixed)
        self.beta = np.where(self.side != 0, theta, 0.0)
        if self.weights.shape[0] > 1:
            self.weights = onto_simplex(self.weights + step * (units[1] * along[1]))

    def _units(self, turn: Floats, row_turn: Floats) -> tuple[Floats, Floats]:
        """In what entries move: of α or β (kept, batch), and of λ (batch,)."""
        self._squares += turn * turn
        self._row_squares += (row_turn * row_turn).max(axis=0)
        roots = np.sqrt(self._squares)
        tops = (np.where(part, roots, 0.0).max(axis=0, initial=0.0) for part in (self._open, self.side != 0))
        floors = np.float32(FLOOR) * np.where(self._open, *tops)
        mean = np.einsum("ij,ij->j", self.mu * self.mu, np.abs(self.side)) / self._splits
        ranges = np.where(self._open, np.float32(1.0), np.float32(BETA_SCALE) * np.sqrt(mean))
        by_row: Floats = np.reciprocal(np.maximum(np.sqrt(self._row_squares), TINY))
        return ranges / np.maximum(roots + floors, TINY), by_row

    def _unblocked(self, turn: Floats, theta: Floats) -> Floats:
        """Without what pushes α out of [0, 1] or β below 0; nothing for ReLUs that have neither."""
        blocked = ((theta <= 0) & (turn < 0)) | ((theta >= 1) & (turn > 0) & self._open)
        return np.asarray(np.where(blocked | ~(self._open | (self.side != 0)), 0.0, turn))

    def proposed(self, open_: npt.NDArray[np.integer]) -> Proposed:
        alpha, beta, weights, points = self._kept
        return Proposed(Start(alpha[open_], beta[open_], weights, self._shares), self._best, points)


@dataclass(frozen=True, eq=False)
class KeptLayer:
    """A stage of kept ReLUs, or the goal's rows: by source the matrix and its transpose; constant (size, 1)."""

    blocks: dict[int, tuple[Any, Any]]
    constant: Floats


def _layer(
    stages: Stages, goal: Halfspaces, number: int, kept: npt.NDArray[Any], starts: npt.NDArray[Any]
) -> KeptLayer:
    stage, last = stages.stages[number - 1], number == len(stages.stages)

    def own(source: int) -> npt.NDArray[Any]:
        return kept[starts[source - 1] : starts[source]] - stages.starts[source - 1]

    rows = None if last else own(number)
    blocks = {}
    for source, block in stage.blocks.items():
        matrix = goal.matrix @ block.matrix if last else block.matrix[rows]
        matrix = matrix[:, own(source)] if source else matrix
        if isinstance(matrix, np.ndarray):
            dense = np.ascontiguousarray(matrix, np.float32)
            blocks[source] = dense, np.ascontiguousarray(dense.T)
        else:
            sparse = sp.csr_array(matrix).astype(np.float32)
            blocks[source] = sparse, sp.csr_array(sparse.T)
    constant = goal.matrix @ stage.constant + goal.offset if last else stage.constant[rows]
    return KeptLayer(blocks, constant.astype(np.float32)[:, np.newaxis])


def _dots(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.einsum("ij,ij->j", a, b))
