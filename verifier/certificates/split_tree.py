"""The split tree of a certificate: each leaf closes by the root's bounds, the path's splits and one set of multipliers.

LPs propose multipliers; a leaf is one that the rounded ones close with what the checker's own rounding may lose. Where
they do not, it gets finer ones, then is split. Nothing here is believed: the checker evaluates every leaf exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Never

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.lagrangian import Lagrangian
from verifier.certificates.checker import FIRST_RELU, HELD_BITS, LEAF, MOST_BYTES
from verifier.certificates.format import Int64Array
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces
from verifier.solvers.goal_rows import deciding_rows, only
from verifier.solvers.tree.lp_tree import LpSettings, LpTree
from verifier.solvers.tree.node import GrownResult, NodeEvaluator
from verifier.solvers.tree.protocol import TreeRoot

STEPS = (10, 13, 16, 20, 26, 36, 48)
"""Exponents q of the multiples 2⁻q to which multipliers are rounded: tried in turn, from the first that may do."""

LOST = 0.08
"""What rounding takes from a leaf's bound, as a share of 2⁻q · Σ max(−l, u): of 10,893 leaves of table 1, 90 % of those
that a step closed lay above 0.08 to 0.14, 90 % of those that it did not close below 0.05 to 0.09."""

TOGETHER = 64
"""Nodes that are evaluated between two looks at the budget, their leaves' multipliers rounded side by side."""

HELD = 2.0 ** (1 - HELD_BITS)
"""What the checker may round each entry of a leaf's form over the input by, and how far its region, as a share of the
largest."""

SHORTER = 1e-9
"""Relative: by how much a leaf's ball for float32 ends before what its multipliers exclude."""

SETTINGS = LpSettings(child_bounds=False, reduced_costs=False)
"""A leaf's bounds are those of the root and its path: whatever else tightened them would have to be proved too."""

LARGEST = 2.0**60
"""Of a multiplier in its multiples: int64 holds it."""


class NotCertifiedError(Exception):
    """No certificate, and why, in one line."""


OpenNode = tuple[Array, Array, Any]
"""Bounds lower and upper (relu_count,), and the basis that an LP starts from, or None."""


@dataclass(eq=False)
class Float32Charge:
    """What float32 evaluations in a ball of the `radius` that is claimed for them may be off by: `relus` (relu_count,)
    at arguments, `scores` (classes,). A leaf that does not close in this ball makes it smaller. `stages`: those of such
    evaluations, for the LPs."""

    stages: Stages
    radius: float
    ball: Ball
    relus: Array
    scores: Array

    def shrink(self, radius: float) -> None:
        """Claim no more than this radius."""
        self.radius = radius
        self.ball = self.ball.with_radius(radius)


@dataclass(eq=False)
class GrownTree:
    """A part of a tree: tokens in preorder (0: a leaf, 1 + j: a split of the kept ReLU j, ≤ 0 first), and the numbers
    of each leaf: q, then λ and what is given for ν in multiples of 2^-q."""

    tokens: list[int] = field(default_factory=list)
    leaves: list[npt.NDArray[Any]] = field(default_factory=list)

    def add(self, other: GrownTree) -> None:
        self.tokens += other.tokens
        self.leaves += other.leaves


@dataclass(eq=False)
class ProofTree:
    """Builds one target's tree; lower, upper (relu_count,) are the certificate's bounds, `places` the ReLUs with
    multipliers in the stages' order, of which those that are `active` have a fixed sign."""

    stages: Stages
    ball: Ball
    target: int
    goal: Halfspaces
    places: npt.NDArray[np.intp]
    active: npt.NDArray[np.bool_]
    lower: Array
    upper: Array
    charge: Float32Charge | None = None
    """Where leaves are to close for float32 evaluations as well."""
    rows: npt.NDArray[np.intp] = field(init=False)
    """The goal's rows that have multipliers: those of the others are 0."""
    lined: bool = field(default=False, init=False)
    """May leaves be by lines? Then all are as a certificate has them, and a token −1 stands for slopes."""
    lined_margin: float = field(default=2.0**-24, init=False)
    """What the checker's rounding may take from a leaf by lines, relative to Σ max |μ| · Σ max(−l, u) over layers."""
    size: int = field(default=0, init=False)
    """Numbers of the closed leaves: at least as many bytes."""
    _lagrangian: Lagrangian = field(init=False)

    def integers(self, budget: Budget) -> list[Int64Array]:
        """The finished tree as integers of a certificate, a node each, or slopes anew. Raises OutOfTimeError, or
        NotCertifiedError: a leaf does not close, there are too many."""
        grown, found, leaf = self._grown(budget), list[Int64Array](), 0
        for token in grown.tokens:
            if token > 0:
                found.append(np.array([FIRST_RELU + token - 1]))
            else:
                found.append(grown.leaves[leaf] if self.lined else np.append(LEAF, grown.leaves[leaf]))
                leaf += 1
        return found

    def _grown(self, budget: Budget) -> GrownTree:
        self.rows = deciding_rows(self.stages, self.ball, self.goal, self.lower, self.upper)
        goal = only(self.goal, self.rows)
        self._lagrangian = Lagrangian(self.stages, self.ball, goal, self.lower, self.upper)
        return self._whole(budget)

    @cached_property
    def _evaluator(self) -> NodeEvaluator:
        """Solves nodes' LPs."""
        stages = self.stages if self.charge is None else self.charge.stages
        goal = only(self.goal, self.rows)
        return LpTree(TreeRoot(stages, self.ball, goal, self.lower, self.upper), SETTINGS).evaluator

    def _whole(self, budget: Budget) -> GrownTree:
        """The tree from its root."""
        return self._below([(self.lower, self.upper, None)], budget)

    def _below(self, nodes: list[OpenNode], budget: Budget) -> GrownTree:
        """The subtrees of these nodes, the last one's first."""
        found = GrownTree()
        while nodes:
            budget.check()
            made = self._evaluator.grow(nodes, TOGETHER, budget) or self._one(nodes, budget)
            nodes, numbers, leaf = made.rest, self._numbers(made), 0
            for token in made.tokens:
                if token:
                    found.tokens.append(1 + self._kept(token - 1))
                    continue
                row = numbers[leaf]
                if row is None:
                    found.add(self._split(made, leaf, budget))
                else:
                    found.tokens.append(0)
                    found.leaves.append(row)
                leaf += 1
        return found

    def _kept(self, relu: int) -> int:
        return int(np.searchsorted(self.places, relu))

    def _one(self, nodes: Sequence[OpenNode], budget: Budget) -> GrownResult:
        """The last of the nodes, evaluated by itself."""
        (lower, upper, basis), rest = nodes[-1], [*nodes[:-1]]
        node = self._evaluator.evaluate(lower, upper, basis, budget)
        place = node.place if node.place >= 0 else self._widest(lower, upper)
        if node.multipliers is None or not (node.closed or node.place < 0):
            rest += children(lower, upper, place if place >= 0 else self._stuck(), node.basis)
            empty = np.zeros((0, lower.size))
            return GrownResult(
                [1 + place], empty, empty, np.zeros((0, self.rows.size)), empty, empty, np.zeros(0), rest
            )
        weights, mu, nu = (part[np.newaxis] for part in node.multipliers)
        value = np.array([node.bound if node.closed else -math.inf])
        return GrownResult([0], lower[np.newaxis], upper[np.newaxis], weights, mu, nu, value, rest)

    def _closing(self, node: OpenNode, budget: Budget) -> tuple[Array | None, Any]:
        """The numbers that close a node, None where it stays open; where its children's LPs start."""
        made = self._evaluator.grow([node], 1, budget) or self._one([node], budget)
        if made.tokens[0]:
            return None, made.rest[-1][2]
        return self._numbers(made)[0], node[2]

    def _split(self, made: GrownResult, leaf: int, budget: Budget) -> GrownTree:
        """The subtree of a node whose multipliers do not close it once they are rounded."""
        lower, upper = made.lower[leaf], made.upper[leaf]
        place = self._widest(lower, upper)
        if place < 0:
            return GrownTree([0], [self._real(made, leaf)])
        below = self._below(children(lower, upper, place, None), budget)
        return GrownTree([1 + self._kept(place), *below.tokens], below.leaves)

    def _real(self, made: GrownResult, leaf: int) -> Array:
        """The numbers of a leaf that closes over the reals, but for float32 only in a smaller ball."""
        charge, part = self.charge, slice(leaf, leaf + 1)
        if charge is None:
            self._stuck()
        self.charge = None
        parts = (made.lower, made.upper, made.weights, made.mu, made.nu, made.values)
        lower, upper, weights, mu, nu, values = (each[part] for each in parts)
        (row,) = self._numbers(GrownResult([0], lower, upper, weights, mu, nu, values, []))
        if row is None:
            self._stuck()
        constant, rows, lost = self._forms(lower, upper, row[np.newaxis], charge)
        amount = float(constant[0] - lost[0] - self._held(rows, charge.ball)[0])
        radius = charge.ball.geometry.excluded(rows[0], amount, charge.ball.radius) * (1.0 - SHORTER)
        charge.shrink(radius)
        self.charge = charge if radius > 0 else None
        return row

    def _stuck(self) -> Never:
        raise NotCertifiedError(f"target {self.target}: multipliers of the last leaves do not close exactly")

    def _widest(self, lower: Array, upper: Array) -> int:
        reach = np.minimum(-lower[self.places], upper[self.places])
        return int(self.places[np.argmax(reach)]) if reach.max(initial=0.0) > 0 else -1

    def _numbers(self, made: GrownResult) -> list[Array | None]:
        """The numbers that close each leaf, at the first step that does; None where none does."""
        found: list[Array | None] = [None] * len(made.values)
        weights, given, level = self._scaled(made)
        left = np.arange(len(found))
        while left.size:
            fine = np.array(STEPS)[level[left]]
            values = np.ldexp(np.hstack([weights[left], given[left]]), fine[:, np.newaxis])
            fits = np.all(np.abs(values) < LARGEST, axis=1)
            left, fine, values = left[fits], fine[fits], values[fits]
            rows = np.column_stack([fine, np.rint(values).astype(np.int64)])
            closed = self._closed(made.lower[left], made.upper[left], rows) if left.size else np.zeros(0, dtype=bool)
            for place in np.flatnonzero(closed):
                found[left[place]] = rows[place]
                self.size += rows[place].size
            left = left[~closed]
            level[left] += 1
            left = left[level[left] < len(STEPS)]
        if self.size > MOST_BYTES:
            raise NotCertifiedError(f"a proof of this size is not read: more than {MOST_BYTES >> 20} MiB unpacked")
        return found

    def _scaled(self, made: GrownResult) -> tuple[Array, Array, npt.NDArray[np.intp]]:
        """(λ of all rows, what is given for ν, the step to begin with) of each leaf, λ of sum 1 where it is not 0."""
        nu = np.abs(made.nu).max(axis=1, initial=0.0)
        sums = made.weights.sum(axis=1)
        size = np.where(sums <= SMALL * nu, nu, sums)
        size = np.where(size > 0, size, 1.0)[:, np.newaxis]
        weights = np.zeros((len(size), len(self.goal.offset)))
        weights[:, self.rows] = made.weights / size
        own = made.nu[:, self.places]
        given = np.where(self.active, np.maximum(made.mu[:, self.places] - own, 0.0), own) / size
        width = np.maximum(-made.lower[:, self.places], made.upper[:, self.places]).sum(axis=1)
        bounds = np.ldexp((made.values[:, np.newaxis] / size), np.array(STEPS))
        enough = bounds >= LOST * width[:, np.newaxis]
        last = np.where(made.values > 0, len(STEPS) - 1, 0)
        return weights, given, np.where(enough.any(axis=1), enough.argmax(axis=1), last)

    def _closed(self, lower: Array, upper: Array, numbers: Array) -> npt.NDArray[np.bool_]:
        """Which leaves with these bounds (leaves, relu_count) their numbers close: (leaves,)."""
        constant, rows, lost = self._forms(lower, upper, numbers, self.charge)
        closed = self._above(constant, rows, self.ball)
        return closed if self.charge is None else closed & self._above(constant - lost, rows, self.charge.ball)

    def _forms(
        self, lower: Array, upper: Array, numbers: Array, charge: Float32Charge | None
    ) -> tuple[Array, Array, Array]:
        """(constants (leaves,), rows (leaves, n), what is charged for float32 (leaves,)) of forms that bound leaves, by
        the checker's rule for ν, in safe float64."""
        fine = np.ldexp(1.0, numbers[:, 0].astype(np.int32))
        classes = len(self.goal.offset)
        given, chosen = np.zeros((2, self.stages.relu_count, len(numbers)))
        given[self.places] = (numbers[:, 1 + classes :] / fine[:, np.newaxis]).T
        active, off = np.zeros((2, self.stages.relu_count, 1), dtype=bool)
        active[self.places[self.active]] = True
        off[:] = True
        off[self.places] = False

        def nu(part: slice, mu: Array) -> Array:
            least = np.floor(mu * fine) / fine - given[part]
            chosen[part] = np.where(off[part], 0.0, np.where(active[part], least, given[part]))
            return chosen[part]

        weights = (numbers[:, 1 : 1 + classes] / fine[:, np.newaxis]).T[self.rows]
        constant, rows = self._lagrangian.chosen(weights, nu, lower.T, upper.T)
        if charge is None:
            return constant, rows, np.zeros(len(rows))
        scores = np.abs(self.goal.matrix[self.rows]) @ charge.scores
        return constant, rows, charge.relus @ np.abs(chosen) + scores @ weights

    def _above(self, constant: Array, rows: Array, ball: Ball) -> npt.NDArray[np.bool_]:
        """Where constant + min {row · x : x ∈ ball} > 0, what the checker rounds included."""
        value = constant - np.array([ball.geometry.fall(row, ball.radius) for row in rows])
        return np.asarray(value > self._held(rows, ball))

    def _held(self, rows: Array, ball: Ball) -> Array:
        """What the checker may lose by rounding rows and region."""
        low, high = ball.interval
        reach = float(np.maximum(-low, high).sum() + (high - low).sum())
        return np.asarray(HELD * reach * np.abs(rows).max(axis=1, initial=0.0))


def children(lower: Array, upper: Array, place: int, basis: Any) -> list[OpenNode]:
    """Both sides of a split, the side ≤ 0 last."""
    high, low = upper.copy(), lower.copy()
    high[place] = low[place] = 0.0
    return [(low, upper, basis), (lower, high, basis)]


SMALL = 2.0**-20
"""Row weights whose sum is smaller, relative to the multipliers, are those of a contradiction between splits."""
