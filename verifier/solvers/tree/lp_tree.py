"""Branch and bound over ReLU phases with one LP at each node (theory: triangle LP, duals choose the branching).

A node is a set of bounds on the ReLUs' arguments; a split is a bound of 0. Its LP proposes multipliers; they are
evaluated safely (`bounds.lagrangian`), and only that evaluation prunes: at the tree's radius, or at the largest smaller
radius that it excludes, which orders the open nodes. Nodes are explored depth-first below the most promising open one,
a slice at a time, so that the least open radius rises.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.phase_tree import LEAF, PhaseTree
from verifier.solvers.kernels import cache
from verifier.solvers.node_constants import AGAIN, CLOSES
from verifier.solvers.tree.frontier import TreeNode
from verifier.solvers.tree.growth import UNKNOWN, Growth, in_steps
from verifier.solvers.tree.node import (
    NodeEvaluator,
    NodeResult,
    NodeSettings,
    NumpyEvaluator,
    PlungeJournal,
    PlungeResult,
)
from verifier.solvers.tree.node_lp import NodeLp
from verifier.solvers.tree.projection_polish import ProjectionPolish
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.region_projection import projected
from verifier.solvers.tree.relu_tree import Explored, ReluTree
from verifier.solvers.tree.threads import ALONE, Threads

TOGETHER = 0.25
"""Seconds for which threads explore one tree before they wait for each other."""

AT_A_TIME = 1024
"""Nodes of an earlier tree that are followed at once: they cost little, and so does what lies between two slices."""

NUMPY_FIRST = 64
"""`numpy_first` for a process that asks one question: those nodes cost a small network less than loading kernels."""

KERNEL_ROWS = 400
"""Rows of the LP up to which the kernel's dense inverse pays: each pivot costs their square."""


@dataclass(frozen=True)
class LpSettings(NodeSettings):
    """What an LP tree does; the defaults are what PERFORMANCE.md's ablations chose."""

    slice: int = 64
    """Nodes explored below one open node before the most promising one is looked for again."""
    flips: int = 6
    """Tight ReLUs whose phase is tried the other way in polishing; 0 for none."""
    seed_columns: int = 150
    """Input columns that an LP in HiGHS begins with, where moves are split; a negative number for all."""
    kernels: bool | None = None
    """Evaluate the nodes of small networks by the compiled kernel: None for where it is at hand."""
    numpy_first: int = 0
    """Nodes that a tree evaluates with numpy and HiGHS before it has kernels loaded that are not yet: that takes longer
    than a small tree does without them. Where the process goes on asking, 0."""


class LpTree(ReluTree):
    """The search tree with an LP at each node."""

    engine = "LP tree"

    def __init__(self, root: TreeRoot, settings: LpSettings | None = None) -> None:
        super().__init__(root)
        self.settings = settings or LpSettings()
        self._evaluators: list[NodeEvaluator] = []
        self._rows = root.goal_rows
        self._growth = None if root.earlier is None else Growth(root.stages.relu_count, self._rows)
        fits = root.earlier is not None and root.earlier.nodes > 1 and root.earlier.relus == root.stages.relu_count
        self._earlier = root.earlier.about(self._rows) if fits and root.earlier is not None else None
        self._early = False
        """Do the evaluators stand in for kernels that are loaded only for a tree that lasts?"""

    @property
    def follows(self) -> bool:
        """Are there open nodes that an earlier tree has as well?"""
        return self._earlier is not None and self.known_nodes > 0

    def grown(self) -> PhaseTree | None:
        """The tree as it is now, where it was written down."""
        if self._growth is None:
            return None
        return self._growth.tree(self._evaluators[0].kept if self._evaluators else np.zeros(0, dtype=np.int64))

    @property
    def evaluator(self) -> NodeEvaluator:
        """The first thread's."""
        return self._evaluators_for(1, math.inf)[0]

    def _evaluators_for(self, threads: int, seconds: float) -> list[NodeEvaluator]:
        """An evaluator for each thread, at the tree's radius, for whom that many seconds are left."""
        early = self.nodes < self.settings.numpy_first and not cache.loaded()
        if self._early and not early:
            self._evaluators.clear()
            self.forget_starts()
        self._early = early
        while len(self._evaluators) < threads:
            made = self._by_kernel() if not early and self._kernels_pay(seconds) else self._by_numpy()
            made.set_radius(self.radius)
            self._evaluators.append(made)
        return self._evaluators[:threads]

    def _kernels_pay(self, seconds: float) -> bool:
        """Is the network small enough for a dense inverse, and can the kernels be called at once?"""
        root, wanted = self.root, self.settings.kernels
        rows = int(np.count_nonzero(root.upper > 0)) + len(root.goal.offset)
        if wanted is False or not root.ball.geometry.has_kernels or rows > KERNEL_ROWS or not root.stages.relu_count:
            return False
        return cache.at_once(seconds) if wanted is None else cache.available()

    def _by_kernel(self) -> NodeEvaluator:
        from verifier.solvers.tree.compiled_node import CompiledEvaluator  # noqa: PLC0415 (imports numba: half a second)

        return CompiledEvaluator(self.root, self._lagrangian, self.settings, self._by_numpy, self._earlier)

    def _by_numpy(self) -> NumpyEvaluator:
        geometry = self.root.ball.geometry
        moves = self._first_moves() if geometry.has_flat_sides and geometry.split_moves else []
        lp = NodeLp(self.root, moves)
        return NumpyEvaluator(self._lagrangian, self._goal, lp, self.settings)

    def _first_moves(self) -> list[tuple[int, int]]:
        """The input entries that pull most in the CROWN form of the goal: where the ball is spent."""
        root = self.root
        row = self._lagrangian.crown(np.ones(len(root.goal.offset)), root.lower, root.upper).row
        order = np.argsort(-np.abs(row))
        limit = self.settings.seed_columns
        return [(int(i), -1 if row[i] > 0 else 1) for i in (order if limit < 0 else order[:limit])]

    def cut(self, radius: float) -> None:
        """Only points within this smaller radius matter from now on."""
        if radius < self.radius:
            self.radius = radius
            for evaluator in self._evaluators:
                evaluator.set_radius(radius)

    def explore(self, budget: Budget, threads: Threads = ALONE) -> Array | None:
        """One slice, or some for each thread; a point (n,) that reaches the goal within the radius, as floats see it,
        ends them.

        When the budget ends, every node that is not closed is open again.
        """
        evaluators = self._evaluators_for(threads.count, budget.remaining)
        with self.whole():
            if threads.count == 1:
                done = [self._slice(evaluators[0], budget, alone=True)]
            else:
                end, over = time.monotonic() + TOGETHER, threading.Event()
                done = threads.each(lambda evaluator: self._slices(evaluator, budget, end, over), evaluators)
        return self._taken(done, budget)

    def _slices(self, evaluator: NodeEvaluator, budget: Budget, end: float, over: threading.Event) -> Explored:
        """Slices until the `end` of time.monotonic(), or `over`: a thread has found a point, or no node to work on."""
        nodes = 0
        while True:
            done = self._slice(evaluator, budget, alone=False)
            nodes += done.nodes
            if done.point is not None or not done.nodes:
                over.set()
            if over.is_set() or time.monotonic() >= end:
                return replace(done, nodes=nodes)

    def _slice(self, evaluator: NodeEvaluator, budget: Budget, *, alone: bool) -> Explored:
        """Plunge below one open node; with other threads beside it, below the next one when that is closed."""
        stack: list[TreeNode] = []
        nodes = 0
        try:
            while nodes < self.settings.slice and (stack or self._took(stack)):
                if self.beyond(stack[-1]):
                    stack.pop()
                else:
                    number, point = self.nodes + nodes, None
                    most = AT_A_TIME if stack[-1].known != UNKNOWN else self.settings.slice - nodes
                    plunged = self._plunge(evaluator, stack, number, most, budget)
                    if plunged is not None:
                        nodes, point = nodes + plunged.nodes, plunged.point
                    if plunged is None and self._earlier is not None and stack[-1].known != UNKNOWN:
                        budget.check()
                        self._follow(self._earlier, evaluator, stack)
                        nodes += 1
                    elif plunged is None or plunged.handed:
                        point = self._evaluate(evaluator, stack, self.nodes + nodes, budget)
                        nodes += 1
                    if point is not None:
                        return Explored(nodes, point, stack[-1])
                if alone and not stack:
                    break
        except OutOfTimeError:
            pass
        finally:
            self.put(stack)
        return Explored(nodes)

    def _took(self, stack: list[TreeNode]) -> bool:
        """Move the most promising open node to the stack; False when there is none within the radius."""
        stack += self.take()
        return bool(stack)

    def polish(self, x: Array, budget: Budget) -> tuple[Array, float]:
        """The nearest point that reaches the goal in the linear region of x, or in one next to it, and its radius.

        The point lies the root's slack farther out than the radius, as deep in the goal as that allows; (x, inf) where
        the region holds nothing within the tree's radius.
        """
        if self.root.ball.geometry.is_euclidean:
            polish = ProjectionPolish(self.root, self._lagrangian, self._goal, self.settings.flips)
            return polish.improve(x, self.radius, budget)
        return self._polished(x, self._evaluators_for(1, budget.remaining)[0].lp, self.settings.flips, budget)

    def _plunge(
        self, evaluator: NodeEvaluator, stack: list[TreeNode], number: int, most: int, budget: Budget
    ) -> PlungeResult | None:
        """Let the evaluator plunge below the stack's last node; the stack is what is left then."""
        plunged = evaluator.plunge(stack[-1], *self.unpacked(stack[-1]), number, most, self.inherited, budget)
        if plunged is not None:
            self.note(plunged.float32)
            if self._growth is not None and plunged.journal is not None:
                _write(self._growth, stack[-1].number, plunged.journal, plunged.rest)
            stack[-1:] = plunged.rest
        return plunged

    def _evaluate(self, evaluator: NodeEvaluator, stack: list[TreeNode], number: int, budget: Budget) -> Array | None:
        """Evaluate the stack's last node: its children take its place, unless a point of it reaches the goal."""
        node = stack[-1]
        found = evaluator.evaluate(*self.unpacked(node), node.start, budget, node.box)
        if not found.closed and found.point is not None and not node.refused:
            point = self._candidate(evaluator, found.point, found.margin, number)
            if point is not None:
                return point
        if found.closed:
            self.note(max(node.key, found.float32))
            if self._growth is not None:
                basis = found.basis if isinstance(found.basis, tuple) else None
                self._growth.closed(node.number, self._numbers(found), basis)
        if not found.closed and found.place < 0 and not self._open(node):
            return self._by_region(stack, found, budget)
        stack[-1:] = [] if found.closed else self._split(node, found)
        return None

    def _open(self, node: TreeNode) -> bool:
        """Did a node leave the sign of a ReLU open before it was evaluated?"""
        lower, upper = self.unpacked(node)
        return bool(np.any((lower < 0) & (upper > 0)))

    def _by_region(self, stack: list[TreeNode], found: NodeResult, budget: Budget) -> Array | None:
        """Close a linear region of a round ball by its nearest point, or return that; else nothing more can be done."""
        node, key = stack[-1], max(stack[-1].key, found.key)
        if self.root.ball.geometry.is_euclidean:
            nearest = projected(self.root, self._lagrangian, found.lower, found.upper, self.radius, budget)
            key = max(key, nearest.dual.radius(self.radius))
            closed = key >= self.radius > 0 or nearest.dual.value(self.radius) > 0
            if closed or nearest.dual.real_value(self.radius) > 0:
                self.note(math.inf if closed else key)
                if self._growth is not None:
                    self._growth.closed(node.number, in_steps(nearest.weights, nearest.dual.nu), None)
                stack.pop()
                return None
            point = nearest.point
            if point is not None and not node.refused and self._goal.margin(point) >= -self.root.tolerance:
                return point
        stack.pop()
        self.put_stuck(replace(node, key=key, start=None))
        return None

    def _candidate(self, evaluator: NodeEvaluator, start: Array, margin: float, number: int) -> Array | None:
        """The node's relaxed point, or what a descent from it reaches, when that reaches the goal."""
        if margin >= 0:
            return start
        every = self.settings.descend_every
        if every and number % every == 0:
            point, margin = evaluator.descent.search(start, self.radius)
            if margin >= 0:
                return point
        return None

    def _split(self, node: TreeNode, found: NodeResult) -> list[TreeNode]:
        """Two children by the phases of the ReLU that its evaluation chose; the one that its point is in comes last.

        Where bounds have fixed all that was open when the LP was solved, the one child is the node with these bounds.
        """
        key, place = max(node.key, found.key), found.place
        if place < 0:
            return [self.child(node, key, found.lower, found.upper, found.basis, node.number, found.box)]
        low, high = found.lower.copy(), found.upper.copy()
        low[place], high[place] = 0.0, 0.0
        numbers = UNKNOWN, UNKNOWN
        if self._growth is not None:
            numbers = self._growth.split_at(node.number, place, self._numbers(found))
        down = self.child(node, key, found.lower, high, found.basis, numbers[0], found.box)
        up = self.child(node, key, low, found.upper, found.basis, numbers[1], found.box)
        return [down, up] if found.up else [up, down]

    def _numbers(self, found: NodeResult) -> npt.NDArray[np.int16]:
        """A node's multipliers as trees keep them."""
        if found.multipliers is None:
            return np.zeros(len(self._rows) + self.root.stages.relu_count, dtype=np.int16)
        return in_steps(found.multipliers[0], found.multipliers[2])

    def _follow(self, earlier: PhaseTree, evaluator: NodeEvaluator, stack: list[TreeNode]) -> None:
        """Evaluate the stack's last node by the multipliers that it had in an earlier tree, then split as that did.

        A leaf of it that they no longer close is gone on with as any other node.
        """
        node = stack.pop()
        relu, child = int(earlier.split[node.known]), int(earlier.first[node.known])
        weights, nu = earlier.multipliers(node.known)
        found = evaluator.proposed(*self.unpacked(node), weights, nu)
        numbers = earlier.numbers[node.known]
        if found.closed:
            self.note(max(node.key, found.float32))
            if self._growth is not None:
                self._growth.closed(node.number, numbers, None)
            return
        key = max(node.key, found.key)
        if relu == LEAF:
            stack.append(self.child(node, key, found.lower, found.upper, None, node.number, node.box))
            return
        low, high = found.lower.copy(), found.upper.copy()
        low[relu], high[relu] = max(low[relu], 0.0), min(high[relu], 0.0)
        halves = ((found.lower, high, child), (low, found.upper, child + 1))
        wanted = [half for half in halves if half[0][relu] <= half[1][relu]]
        written = node.number, node.number
        if self._growth is not None and len(wanted) == 2:
            written = self._growth.split_at(node.number, relu, numbers)
        for lower, upper, known in wanted:
            made = self.child(node, key, lower, upper, None, written[known - child], node.box)
            made.known = known
            stack.append(made)


def _write(growth: Growth, number: int, journal: PlungeJournal, rest: list[TreeNode]) -> None:
    """Write down what a plunge below a node of this number did; the `rest` of its nodes get theirs."""
    stack = [number]
    for relu, active_first, row in zip(journal.split, journal.first, journal.row, strict=True):
        node = stack.pop()
        if relu >= 0:
            off, on = growth.split_at(node, relu, journal.numbers[row])
            stack += [off, on] if active_first else [on, off]
        elif relu == CLOSES:
            growth.closed(node, journal.numbers[row], (journal.bases[0][row], journal.bases[1][row]))
        elif relu == AGAIN:
            stack.append(node)
    for left, node in zip(rest, stack, strict=True):
        left.number = node
