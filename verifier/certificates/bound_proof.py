"""The split tree of a certificate where LPs are too dear: multipliers by α, β and λ for batches of nodes (bound tree).

As in `ProofTree` a leaf closes by the root's bounds, the path's splits and rounded multipliers; nothing is believed.
There is no narrowing at nodes, as that would have to be proved too. Where no ReLU is left to split, LPs go on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.alpha_beta_crown import Ascending, BatchedBound, Proposed, Start
from verifier.bounds.lagrangian import Lagrangian
from verifier.certificates.checker import LEAF, LINED, SHARE_BITS, SLOPES
from verifier.certificates.split_tree import Float32Charge, GrownTree, NotCertifiedError, ProofTree
from verifier.problem.budget import Budget
from verifier.solvers.branching import LOSS, split_each
from verifier.solvers.goal_rows import only
from verifier.solvers.node_constants import HIGHEST
from verifier.solvers.tree.node import GrownResult
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.steps import ascending, rooted
from verifier.solvers.tree.table import small_lps

BATCH = 32
"""Nodes that are bounded side by side."""

STEPS, FIRST_STEPS = 10, 60
"""Steps of the multipliers at each node, and at the root, whose multipliers all others begin with."""

SLOPES_EVERY = 4
"""Slopes are given anew at every so-many-th depth: leaves below share them."""

LINED_BITS = 14
"""λ and β of leaves by lines are multiples of 2^-LINED_BITS."""

_Places = npt.NDArray[np.intp]
_Bools = npt.NDArray[np.bool_]

_Slopes = npt.NDArray[np.int16]
"""Of all places, in multiples of 2^-SHARE_BITS, 1 at most."""

_Split = tuple[int, bool]
"""A ReLU's place, and is it its active side?"""


class TooManyNodesError(NotCertifiedError):
    """A tree is larger than it may be."""


def proof_tree(
    root: TreeRoot,
    target: int,
    places: _Places,
    active: _Bools,
    charge: Float32Charge | None,
    most: float = np.inf,
) -> ProofTree:
    """The builder of a tree below this root: by LPs where they are small, else of so many nodes at most, beyond which
    growing raises TooManyNodesError."""
    own = (root.stages, root.ball, target, root.goal, places, active, root.lower, root.upper, charge)
    if not by_bounds(root):
        return ProofTree(*own)
    made = BoundProofTree(*own)
    made.most = most
    return made


def by_bounds(root: TreeRoot) -> bool:
    """Are LPs too dear below this root?"""
    return not small_lps(root)


@dataclass(eq=False)
class _Node:
    """A node by the splits on its `path`; where its multipliers begin (one column), None at the root.

    In the end it is a leaf with `numbers`, is split at `relu` (`parts`: ≤ 0 first), or LPs have grown `below`. slopes:
    those that leaves by lines share here; `anew`: the integers by which the node gives them.
    """

    path: tuple[_Split, ...]
    start: Start | None
    numbers: npt.NDArray[Any] | None = None
    relu: int = -1
    parts: tuple[_Node, ...] = ()
    below: GrownTree | None = None
    slopes: _Slopes | None = None
    anew: npt.NDArray[np.int32] | None = None


@dataclass(eq=False)
class BoundProofTree(ProofTree):
    """Builds one target's tree by batches of nodes."""

    most: float = field(default=np.inf, init=False)
    """Nodes, beyond which the tree is given up."""
    _bound: BatchedBound = field(init=False)
    _safe: Lagrangian = field(init=False)
    _ascends: Ascending | None = field(default=None, init=False)
    _nodes: int = field(default=0, init=False)

    def _whole(self, budget: Budget) -> GrownTree:
        goal = only(self.goal, self.rows)
        stages = self.stages if self.charge is None else self.charge.stages
        self._safe = Lagrangian(stages, self.ball, goal, self.lower, self.upper)
        self._bound = BatchedBound(self.stages, self.ball, goal, self.lower, self.upper)
        root = _Node((), None)
        nodes = [root]
        while nodes:
            budget.check()
            if self._nodes >= self.most:
                raise TooManyNodesError(f"target {self.target}: the tree has more than {self._nodes} nodes")
            batch, nodes = nodes[-BATCH:], nodes[:-BATCH]
            nodes += self._evaluated(batch, budget)
        return self._told(root)

    def _evaluated(self, nodes: list[_Node], budget: Budget) -> list[_Node]:
        """Close nodes or split them; the parts, those that come last in preorder first."""
        self._nodes += len(nodes)
        lower, upper = (np.repeat(end[:, np.newaxis], len(nodes), axis=1) for end in (self.lower, self.upper))
        for column, node in enumerate(nodes):
            for relu, active in node.path:
                (lower if active else upper)[relu, column] = 0.0
        proposed = self._proposed(nodes, lower, upper, budget)
        best = proposed.best
        alpha, beta = self._bound.spread(best)
        weights = best.weights.astype(np.float64)
        duals = self._safe.on_lines(weights, alpha, beta, lower, upper)
        values, _ = duals.values(self.ball.radius)
        closing = np.flatnonzero(values > 0)
        slopes = np.rint(np.ldexp(alpha[self.places], SHARE_BITS)).astype(np.int16) if self.lined else None
        if slopes is not None:
            closing = self._close_by_lines(nodes, lower, upper, best, closing, slopes)
        if closing.size:
            mu, nu = duals.mu[closing], duals.nu[closing]
            ends = lower.T[closing], upper.T[closing]
            made = GrownResult([0] * closing.size, *ends, weights.T[closing], mu, nu, values[closing], [])
            for place, numbers in zip(closing, self._numbers(made), strict=True):
                nodes[place].numbers = np.append(LEAF, numbers) if self.lined and numbers is not None else numbers
        lacking = [-v for v, told, node in zip(values, proposed.values, nodes, strict=True) if told > 0 and v <= 0]
        self._bound.margin = min(self._bound.margin + 2.0 * max(lacking, default=0.0), HIGHEST)
        split = split_each(LOSS, duals.shares[:, self.places], lower.T[:, self.places], upper.T[:, self.places])
        found: list[_Node] = []
        for column, (node, at) in enumerate(zip(nodes, split.tolist(), strict=True)):
            node.start = None
            if node.numbers is not None:
                node.slopes = None
                continue
            if at < 0:
                node.below = self._below([(lower[:, column], upper[:, column], None)], budget)
                continue
            node.relu = int(self.places[at])
            start = best.columns(np.array([column]))
            if slopes is not None and len(node.path) % SLOPES_EVERY == 0:
                self._give(node, slopes[:, column])
            node.parts = tuple(
                _Node((*node.path, (node.relu, active)), start, slopes=node.slopes) for active in (False, True)
            )
            node.slopes = None
            found += node.parts[::-1]
        return found

    def _give(self, node: _Node, slopes: _Slopes) -> None:
        """Give a node slopes anew."""
        opened = ~self.active
        # What is split on the path has none: it keeps what it had.
        before = np.zeros_like(slopes) if node.slopes is None else node.slopes
        path = np.searchsorted(self.places, [relu for relu, _ in node.path])
        node.slopes = slopes.copy()
        node.slopes[path] = before[path]
        changed = np.flatnonzero((node.slopes != before)[opened])
        gaps = np.diff(changed, prepend=-1)
        node.anew = np.concatenate([[SLOPES, changed.size], gaps, node.slopes[opened][changed]]).astype(np.int32)

    def _close_by_lines(
        self, nodes: list[_Node], lower: Array, upper: Array, best: Start, columns: _Places, slopes: _Slopes
    ) -> _Places:
        """Close those of these columns' nodes that the slopes which they share with others do, then those that their
        own do; the columns that are left."""
        for own in (False, True):
            able = np.array([place for place in columns if own or nodes[place].slopes is not None], dtype=np.intp)
            if not able.size:
                continue
            given = slopes[:, able] if own else np.stack([nodes[place].slopes for place in able], axis=1)
            numbers = self._on_slopes([nodes[place] for place in able], lower, upper, best, able, given)
            for place, found in zip(able, numbers, strict=True):
                if found is not None:
                    if own:
                        self._give(nodes[place], slopes[:, place])
                    nodes[place].numbers = found
                    anew = nodes[place].anew
                    self.size += found.size + (0 if anew is None else anew.size)
            columns = np.array([place for place in columns if nodes[place].numbers is None], dtype=np.intp)
        return columns

    def _on_slopes(
        self, nodes: list[_Node], lower: Array, upper: Array, best: Start, columns: _Places, slopes: _Slopes
    ) -> list[npt.NDArray[Any] | None]:
        """The numbers that close these columns' nodes by lines with these slopes, λ and β as integers; None where they
        do not."""
        lower, upper = lower[:, columns], upper[:, columns]
        alpha, beta = np.zeros_like(lower), np.zeros_like(lower)
        alpha[self.places] = np.ldexp(slopes.astype(np.float64), -SHARE_BITS)
        alpha = np.where(lower >= 0, 1.0, np.where(upper <= 0, 0.0, alpha))
        beta[self._bound.undecided] = np.rint(np.ldexp(best.beta[:, columns].astype(np.float64), LINED_BITS))
        weights = np.rint(np.ldexp(best.weights[:, columns].astype(np.float64), LINED_BITS))
        duals = self._safe.on_lines(np.ldexp(weights, -LINED_BITS), alpha, np.ldexp(beta, -LINED_BITS), lower, upper)
        width = np.maximum(-self.lower, self.upper)
        parts = [slice(a, b) for a, b in pairwise(self.stages.starts) if a < b]
        every = np.zeros((len(nodes), len(self.goal.offset)))
        every[:, self.rows] = weights.T
        found: list[npt.NDArray[Any] | None] = []
        for column, (node, dual) in enumerate(zip(nodes, duals, strict=True)):
            size = sum(np.abs(dual.mu[part]).max() * width[part].sum() for part in parts)
            closed = dual.value(self.ball.radius) > self.lined_margin * (1.0 + size)
            path = [abs(beta[relu, column]) for relu, _ in node.path]
            numbers = np.array([LINED, LINED_BITS, *every[column], *path]).astype(np.int32)
            found.append(numbers if closed else None)
        return found

    def _proposed(self, nodes: list[_Node], lower: Array, upper: Array, budget: Budget) -> Proposed:
        """The batch's multipliers, from those of the parents; the root's from its best row of the goal alone."""
        bound = self._bound
        low, high = lower[bound.undecided], upper[bound.undecided]
        starts = [node.start for node in nodes if node.start is not None]
        if starts:
            parts = (
                np.concatenate([getattr(start, name) for start in starts], axis=-1)
                for name in ("alpha", "beta", "weights", "shares")
            )
            self._ascends = self._ascends or ascending(bound, self._nodes, len(nodes), budget)
            return (self._ascends or bound).optimise(low, high, Start(*parts), STEPS, budget)
        return rooted(bound, low, high, FIRST_STEPS, budget)

    def _told(self, root: _Node) -> GrownTree:
        """The finished tree in preorder."""
        found, stack = GrownTree(), [root]
        while stack:
            node = stack.pop()
            if node.anew is not None:
                found.tokens.append(-1)
                found.leaves.append(node.anew)
            if node.below is not None:
                leaves = [np.append(LEAF, leaf) for leaf in node.below.leaves] if self.lined else node.below.leaves
                found.add(GrownTree(node.below.tokens, leaves))
            elif node.numbers is not None:
                found.tokens.append(0)
                found.leaves.append(node.numbers)
            else:
                found.tokens.append(1 + self._kept(node.relu))
                stack += node.parts[::-1]
        return found
