"""The split tree of a certificate: each leaf closes by the root's bounds, the path's splits and one set of multipliers.

LPs propose multipliers; what closes a leaf is the checker's own exact evaluation of the rounded ones. A leaf that they
do not close gets finer ones, then is split.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.certificates.checker import MOST_BYTES, CheckedTree, Proof
from verifier.certificates.format import SplitTree
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces
from verifier.solvers.goal_rows import deciding_rows, only
from verifier.solvers.tree.lp_tree import LpSettings, LpTree
from verifier.solvers.tree.node import NodeResult
from verifier.solvers.tree.protocol import TreeRoot

STEPS = (10, 13, 16, 20, 26, 36, 48)
"""Exponents q of the multiples 2⁻q to which multipliers are rounded: tried in turn, from the first that may do."""

LOST = 0.08
"""What rounding takes from a leaf's bound, as a share of 2⁻q · Σ max(−l, u): of 10,893 leaves of table 1, 90 % of those
that a step closed lay above 0.08 to 0.14, 90 % of those that it did not close below 0.05 to 0.09."""

BATCH = 64
"""Leaves that are evaluated exactly at a time: numpy's overhead is spread over them."""

SETTINGS = LpSettings(child_bounds=False, reduced_costs=False)
"""A leaf's bounds are those of the root and its path: whatever else tightened them would have to be proved too."""

LARGEST = 2.0**60
"""Of a multiplier in its multiples: int64 holds it."""


class NotCertifiedError(Exception):
    """No certificate, and why, in one line."""


@dataclass(eq=False)
class ProofNode:
    """A node of the tree under construction; `split` is −1 at a leaf, whose `numbers` are q, λ and ν."""

    lower: Any
    upper: Any
    basis: Any = None
    split: int = -1
    children: tuple[ProofNode, ...] = ()
    numbers: Any = None
    path: tuple[Any, ...] | None = None


@dataclass(frozen=True, eq=False)
class Waiting:
    """A node whose multipliers wait for their exact evaluation at the step STEPS[level]."""

    node: ProofNode
    found: NodeResult
    weights: Array
    given: Array
    """At open ReLUs ν, at active ones μ − ν ≥ 0."""
    level: int = 0


@dataclass(eq=False)
class ProofTree:
    """Builds one target's tree; `proof` has the bounds of all layers, `places` the ReLUs with multipliers in
    the stages' order, of which those that are `active` have a fixed sign."""

    stages: Stages
    ball: Ball
    target: int
    goal: Halfspaces
    proof: Proof
    places: npt.NDArray[np.intp]
    active: npt.NDArray[np.bool_]
    lower: Array
    upper: Array
    seconds: float = field(default=0.0, init=False)
    """Spent on exact evaluation."""
    nodes: int = field(default=0, init=False)
    rows: npt.NDArray[np.intp] = field(init=False)
    """The goal's rows that have multipliers: those of the others are 0."""
    size: int = field(default=0, init=False)
    """Numbers of the closed leaves: at least as many bytes."""

    def grow(self, budget: Budget) -> SplitTree:
        """The finished tree. Raises OutOfTimeError, or NotCertifiedError: a leaf does not close, there are too many."""
        self.rows = deciding_rows(self.stages, self.ball, self.goal, self.lower, self.upper)
        goal = only(self.goal, self.rows)
        evaluator = LpTree(TreeRoot(self.stages, self.ball, goal, self.lower, self.upper), SETTINGS).evaluator
        root = ProofNode(self.lower, self.upper)
        stack, waiting = [root], list[Waiting]()
        while stack or waiting:
            budget.check()
            if len(waiting) >= BATCH or not stack:
                waiting, failed = self._evaluated(waiting)
                for entry in failed:
                    stack += self._split(entry.node, entry.found)
                continue
            node = stack.pop()
            found = evaluator.evaluate(node.lower, node.upper, node.basis, budget)
            self.nodes += 1
            if (found.closed or found.place < 0) and found.multipliers is not None:
                waiting.append(self._scaled(node, found))
            else:
                stack += self._split(node, found)
        return self._finished(root)

    def _scaled(self, node: ProofNode, found: NodeResult) -> Waiting:
        assert found.multipliers is not None
        of_rows, mu, nu = found.multipliers
        weights = np.zeros(len(self.goal.offset))
        weights[self.rows] = of_rows
        size = float(weights.sum())
        if size <= SMALL * float(np.abs(nu).max(initial=0.0)):
            size = float(np.abs(nu).max())
        size = size or 1.0
        own = nu[self.places]
        given = np.where(self.active, np.maximum(mu[self.places] - own, 0.0), own)
        width = np.maximum(-node.lower[self.places], node.upper[self.places]).sum()
        enough = (level for level, q in enumerate(STEPS) if math.ldexp(found.bound / size, q) >= LOST * width)
        level = next(enough, len(STEPS) - 1 if found.bound > 0 else 0)
        return Waiting(node, found, weights / size, given / size, level)

    def _evaluated(self, waiting: list[Waiting]) -> tuple[list[Waiting], list[Waiting]]:
        """(those that may close at the next step, those that do not close at any); leaves that close are noted."""
        start = time.perf_counter()
        numbers = [self._rounded(entry) for entry in waiting]
        fits = [k for k, row in enumerate(numbers) if row is not None]
        closed = np.zeros(len(waiting), dtype=bool)
        if fits:
            rows = np.array([numbers[k] for k in fits], dtype=np.int64)
            off, on = self._signs([waiting[k].node for k in fits])
            closed[fits] = self.proof.closed(CheckedTree(self.target, rows, off, on))
        again, failed = [], []
        for entry, row, good in zip(waiting, numbers, closed.tolist(), strict=True):
            if good and row is not None:
                entry.node.numbers = row
                self.size += row.size
                entry.node.lower = entry.node.upper = entry.node.basis = None
            elif entry.level + 1 < len(STEPS) and row is not None:
                again.append(Waiting(entry.node, entry.found, entry.weights, entry.given, entry.level + 1))
            else:
                failed.append(entry)
        if self.size > MOST_BYTES:
            raise NotCertifiedError(f"a proof of this size is not read: more than {MOST_BYTES >> 20} MiB unpacked")
        self.seconds += time.perf_counter() - start
        return again, failed

    def _rounded(self, entry: Waiting) -> Array | None:
        """The leaf's numbers at its step; None where they do not fit."""
        q = STEPS[entry.level]
        values = np.ldexp(np.concatenate([entry.weights, entry.given]), q)
        if not np.all(np.abs(values) < LARGEST):
            return None
        return np.concatenate([[q], np.rint(values).astype(np.int64)])

    def _signs(self, nodes: list[ProofNode]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """(off, on) of each node at the open ReLUs."""
        lower = np.array([node.lower[self.places] for node in nodes]).reshape(len(nodes), -1)
        upper = np.array([node.upper[self.places] for node in nodes]).reshape(len(nodes), -1)
        return (upper <= 0) & ~self.active, (lower >= 0) & ~self.active

    def _split(self, node: ProofNode, found: NodeResult) -> list[ProofNode]:
        place = found.place if found.place >= 0 else self._widest(node)
        if place < 0:
            raise NotCertifiedError(f"target {self.target}: multipliers of the last leaves do not close exactly")
        node.split = int(np.flatnonzero(self.places == place)[0])
        high, low = node.upper.copy(), node.lower.copy()
        high[place] = low[place] = 0.0
        children = (ProofNode(node.lower, high, found.basis), ProofNode(low, node.upper, found.basis))
        node.children = children
        node.lower = node.upper = node.basis = None
        return list(children)

    def _widest(self, node: ProofNode) -> int:
        reach = np.minimum(-node.lower[self.places], node.upper[self.places])
        return int(self.places[np.argmax(reach)]) if reach.max(initial=0.0) > 0 else -1

    def _finished(self, root: ProofNode) -> SplitTree:
        tokens, leaves, stack = [], [], [root]
        while stack:
            node = stack.pop()
            tokens.append(1 + node.split)
            if node.children:
                stack += node.children[::-1]
            else:
                leaves.append(node.numbers)
        return SplitTree(self.target, tokens, np.array(leaves, dtype=np.int64))


SMALL = 2.0**-20
"""Row weights whose sum is smaller, relative to the multipliers, are those of a contradiction between splits."""
