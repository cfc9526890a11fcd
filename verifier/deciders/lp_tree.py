"""Branch and bound over ReLU phases with one LP at each node (theory: triangle LP, duals choose the branching).

A node is a set of bounds on the ReLUs' arguments; a split is a bound of 0. Its LP proposes multipliers; they are
evaluated safely (`bounds.lagrangian`), and only that evaluation prunes: at the tree's radius, or at the largest smaller
radius that it excludes, which orders the open nodes. Nodes are explored depth-first below the most promising open one,
a slice at a time, so that LPs stay warm and the least open radius rises.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.graph import Array
from encoders.to_stages import Stages
from verifier.bounds.lagrangian import Dual, Lagrangian, tightened
from verifier.bounds.stage_bounds import StageBounds
from verifier.deciders.local_search import LocalSearch
from verifier.deciders.node_lp import NodeLp, Solved
from verifier.query import Ball, Halfspaces, Norm
from verifier.verdict import Budget, OutOfTimeError


@dataclass(frozen=True)
class TreeSettings:
    """What a tree does at its nodes; the defaults are what PERFORMANCE.md's ablations chose."""

    slice: int = 64
    """Nodes explored below one open node before the most promising one is looked for again."""
    child_bounds: bool = True
    """CROWN of later stages after each split."""
    reduced_costs: bool = True
    """Tighten bounds of ReLU arguments by what the node's dual leaves."""
    descend_every: int = 10
    """Gradient descents from every so-many-th node's relaxed point; 0 for none."""
    flips: int = 6
    """Tight ReLUs whose phase is tried the other way in polishing; 0 for none."""
    branching: str = "dual"
    """`dual`: what the ReLU's relaxation costs the bound; `violation`: how far the relaxed point is off its graph."""
    seed_columns: int = 150
    """Input columns that an L1 LP begins with; a negative number for all."""


NEW_COLUMNS = 12
"""Input columns added to an L1 LP at a time."""

PRICE_ROUNDS = 20
"""Times that columns are added at one node: more than ever occurred."""

PRICE_GAP = 0.5
"""Columns are added when their absence costs this share of the bound: cheaper to branch on a slightly weaker dual."""

VIOLATED = 1e-9
"""A relaxed point that is off a ReLU's graph by less counts as on it: nothing is gained by splitting there."""

NEWTON_STEPS = 12
"""Steps to the nearest point of a linear region: three or four are usual."""

SPLIT_DOWN, SPLIT_UP = -1, 1
BASES_KEPT = 20_000
"""Open nodes up to which each keeps its parent's basis (about 1 KB); beyond, memory matters more than a few pivots."""


@dataclass(slots=True)
class Node:
    """An open node: nothing of it lies within `key` of the input. Bounds that differ from the root's are kept as they
    are: `places` with `lower`, `upper` in float32, rounded outwards; `stage` is that of the last split (0: none)."""

    key: float
    places: npt.NDArray[Any]
    lower: npt.NDArray[Any]
    upper: npt.NDArray[Any]
    stage: int
    basis: Any
    refused: bool = False
    """True once a point from this node was refused: its own points are not offered again."""


class LpTree:
    """The tree of one goal over one ball; `lower`, `upper` (relu_count,) are proved on that ball.

    Nothing within `lower_end` of the input reaches the goal. `floor`: what is known of that already.
    """

    engine = "LP tree"

    def __init__(
        self,
        stages: Stages,
        ball: Ball,
        goal: Halfspaces,
        lower: Array,
        upper: Array,
        *,
        floor: float = 0.0,
        slack: float = 0.0,
        settings: TreeSettings | None = None,
        tolerance: float = 1e-7,
    ) -> None:
        self.settings = settings or TreeSettings()
        self.ball, self.radius, self._slack = ball, ball.radius, slack
        self._stages = stages
        self._root = np.array(lower), np.array(upper)
        self._lagrangian = Lagrangian(stages, ball, goal, lower, upper)
        self._bounds = StageBounds(stages, self._lagrangian, ball.radius)
        self.local = LocalSearch(stages, ball, goal)
        self._stage_of = np.repeat(np.arange(1, len(stages.hidden) + 1), [stage.size for stage in stages.hidden])
        self._tolerance, self._goal = tolerance, goal
        self._lp: NodeLp | None = None
        self.nodes = 0
        self._stuck: list[Node] = []
        self._source: Node | None = None
        self._order = count()
        empty = np.zeros(0)
        first = Node(floor, np.zeros(0, dtype=np.int32), empty, empty, 0, None)
        self._heap: list[tuple[float, int, Node]] = [(floor, next(self._order), first)]
        if np.any(lower > upper):
            self._heap = []

    @property
    def lower_end(self) -> float:
        """The least radius of an open node; the tree's radius when none is open."""
        keys = [node.key for node in self._stuck]
        if self._heap:
            keys.append(self._heap[0][0])
        return min([*keys, self.radius])

    @property
    def open_nodes(self) -> int:
        return len(self._heap) + len(self._stuck)

    @property
    def stuck(self) -> bool:
        """True when only nodes are left that neither close nor split any more."""
        return not self._heap and bool(self._stuck)

    @property
    def lp(self) -> NodeLp:
        if self._lp is None:
            stages, (lower, upper) = self._stages, self._root
            moves = self._first_moves() if self.ball.norm is Norm.L1 else []
            self._lp = NodeLp(stages, self.ball, self._goal, lower, upper, moves, self._tolerance)
        return self._lp

    def _first_moves(self) -> list[tuple[int, int]]:
        """The input entries that pull most in the steepest goal row's CROWN form: where an L1 ball is spent."""
        row = self._lagrangian.crown(np.ones(len(self._goal.offset)), *self._root).row
        order = np.argsort(-np.abs(row))
        limit = self.settings.seed_columns
        return [(int(i), -1 if row[i] > 0 else 1) for i in (order if limit < 0 else order[:limit])]

    def cut(self, radius: float) -> None:
        """Only points within this smaller radius matter from now on."""
        self.radius = min(self.radius, radius)
        if self._lp is not None:
            self._lp.set_radius(self.radius)

    def explore(self, budget: Budget) -> Array | None:
        """One slice; a point (n,) that reaches the goal within the radius, as floats see it, ends it early.

        When the budget ends, every node that is not closed is open again.
        """
        stack: list[Node] = []
        try:
            while self._heap and not stack:
                node = heapq.heappop(self._heap)[2]
                if node.key < self.radius:
                    stack.append(node)
            for _ in range(self.settings.slice):
                if not stack:
                    break
                node = stack[-1]
                if node.key >= self.radius:
                    stack.pop()
                    continue
                children, found = self._visit(node, budget)
                if found is not None:
                    self._source = node
                    return found
                stack.pop()
                stack += children
        finally:
            for node in stack:
                heapq.heappush(self._heap, (node.key, next(self._order), node))
        return None

    def refuse(self) -> None:
        """The point that the last slice returned was no good: the node that it came from is split without it."""
        if self._source is not None:
            self._source.refused = True

    def _visit(self, node: Node, budget: Budget) -> tuple[list[Node], Array | None]:
        lower, upper = self._unpacked(node)
        if node.stage and self.settings.child_bounds:
            lower, upper = self._bounds.tighten(node.stage + 1, lower, upper)
            if np.any(lower > upper):
                return [], None
        solved, dual = self._solve(node, lower, upper, budget)
        self.nodes += 1
        if dual is None:
            return self._split(node, node.key, lower, upper, np.minimum(-lower, upper), None), None
        value = dual.value(self.radius)
        if value > 0:
            return [], None
        key = max(node.key, dual.radius(self.radius))
        if key >= self.radius:
            return [], None
        violation = np.zeros(lower.size)
        start = None
        if solved.optimum is not None:
            violation = self.lp.violation(solved.columns)
            start = self.lp.input(solved.columns)
            found = None if node.refused else self._candidate(start)
            if found is not None:
                return [], found
        if self.settings.reduced_costs:
            lower, upper = tightened(dual, value, lower, upper)
            if np.any(lower > upper):
                return [], None
        score = -dual.shares if self.settings.branching == "dual" else violation
        score = np.where((violation > VIOLATED) | (solved.optimum is None), score, 0.0)
        return self._split(node, key, lower, upper, score, start), None

    def _candidate(self, start: Array) -> Array | None:
        """The node's relaxed point, or what a descent from it reaches, when that reaches the goal."""
        if self.local.margin(start) >= 0:
            return start
        every = self.settings.descend_every
        if every and self.nodes % every == 0:
            point, margin = self.local.descend(start, self.radius)
            if margin >= 0:
                return point
        return None

    def _split(
        self, node: Node, key: float, lower: Array, upper: Array, score: Array, start: Array | None
    ) -> list[Node]:
        """Two children by the phases of the open ReLU with the largest score; the one that `start` is in comes last."""
        score = np.where((lower < 0) & (upper > 0), score, 0.0)
        place = int(np.argmax(score)) if score.size else 0
        if not score.size or score[place] <= 0:
            open_ = np.where((lower < 0) & (upper > 0), np.minimum(-lower, upper), 0.0)
            place = int(np.argmax(open_)) if open_.size else 0
            if not open_.size or open_[place] <= 0:
                self._stuck.append(Node(key, node.places, node.lower, node.upper, node.stage, None))
                return []
        basis = self.lp.basis() if len(self._heap) < BASES_KEPT else None
        stage = int(self._stage_of[place])
        children = []
        for side in (SPLIT_DOWN, SPLIT_UP):
            low, high = lower, upper
            if side == SPLIT_DOWN:
                high = upper.copy()
                high[place] = 0.0
            else:
                low = lower.copy()
                low[place] = 0.0
            children.append(self._packed(key, low, high, stage, basis))
        if start is not None and not self.local.pattern(start)[place]:
            children.reverse()
        return children

    def _solve(self, node: Node, lower: Array, upper: Array, budget: Budget) -> tuple[Solved, Dual | None]:
        """The node's LP and the safe evaluation of its multipliers; columns are added while their absence is dear."""
        lp = self.lp
        basis = node.basis
        for attempt in range(PRICE_ROUNDS):
            solved = lp.solve(lower, upper, budget, basis)
            basis = None
            if not solved.usable:
                if attempt == 0:
                    continue
                return solved, None
            dual = self._lagrangian.evaluate(solved.weights, solved.nu, lower, upper)
            value = dual.value(self.radius)
            optimum = math.inf if solved.optimum is None else solved.optimum
            if value > 0 or self.ball.norm is Norm.LINF or optimum - value <= PRICE_GAP * abs(value):
                break
            if not self._price(dual):
                break
        if solved.optimum is None and value <= 0:
            return solved, None
        return solved, dual

    def _price(self, dual: Dual) -> bool:
        """Add the absent input columns that would lower the LP most; False when there is none."""
        lp = self.lp
        gains = dual.support.gains(dual.row, self.radius)
        falling = dual.row > 0
        absent = np.where(falling, ~lp.present[1], ~lp.present[0])
        gains = np.where(absent, gains, 0.0)
        order = np.argsort(-gains)[:NEW_COLUMNS]
        chosen = [int(i) for i in order if gains[i] > 0]
        for entry in chosen:
            lp.add(entry, -1 if falling[entry] else 1)
        return bool(chosen)

    def _packed(self, key: float, lower: Array, upper: Array, stage: int, basis: Any) -> Node:
        places = np.flatnonzero((lower != self._root[0]) | (upper != self._root[1])).astype(np.int32)
        low, high = lower[places].astype(np.float32), upper[places].astype(np.float32)
        low = np.where(low > lower[places], np.nextafter(low, np.float32(-np.inf)), low)
        high = np.where(high < upper[places], np.nextafter(high, np.float32(np.inf)), high)
        return Node(key, places, low, high, stage, basis)

    def _unpacked(self, node: Node) -> tuple[Array, Array]:
        lower, upper = self._root[0].copy(), self._root[1].copy()
        lower[node.places] = np.maximum(lower[node.places], node.lower)
        upper[node.places] = np.minimum(upper[node.places], node.upper)
        return lower, upper

    def polish(self, x: Array, budget: Budget) -> tuple[Array, float]:
        """The nearest point that reaches the goal in the linear region of x, or in one next to it, and its radius.

        Newton's method on the radius: a region's least margin is convex and piecewise linear in it. The point lies
        `slack` farther out than the radius, as deep in the goal as that allows. x itself when the LPs fail.
        """
        pattern = self.local.pattern(x)
        best, radius, dual = self._nearest(pattern, self.radius, budget)
        if best is None:
            return x, math.inf
        for _ in range(self.settings.flips):
            better = self._flipped(pattern, best, radius, dual, budget)
            if better is None:
                break
            pattern, best, radius, dual = better
        return best, radius

    def _flipped(
        self, pattern: Array, point: Array, radius: float, dual: Dual | None, budget: Budget
    ) -> tuple[Array, Array, float, Dual | None] | None:
        """A neighbouring region with a nearer point: the tight ReLUs with the largest multipliers are flipped."""
        if dual is None:
            return None
        pull = np.maximum(np.where(pattern, dual.mu - dual.nu, dual.nu), 0.0)
        arguments = self._stages.values(point)[0][0]
        tight = np.abs(arguments) <= TIGHT * (1.0 + np.abs(arguments).max(initial=0.0))
        open_ = (self._root[0] < 0) & (self._root[1] > 0)
        score = np.where(tight & open_, pull, 0.0)
        for place in np.argsort(-score)[: self.settings.flips].tolist():
            if score[place] <= 0:
                break
            other = pattern.copy()
            other[place] = ~other[place]
            found, nearer, its_dual = self._nearest(other, radius, budget)
            if found is not None and nearer < radius * (1.0 - NEARER):
                return other, found, nearer, its_dual
        return None

    def _nearest(self, pattern: Array, start: float, budget: Budget) -> tuple[Array | None, float, Dual | None]:
        """(point, radius, dual) nearest in the region of an activation pattern, None when it holds nothing nearer."""
        lower, upper = self._root
        low = np.where(pattern, np.maximum(lower, 0.0), lower)
        high = np.where(pattern, upper, np.minimum(upper, 0.0))
        nothing = None, math.inf, None
        if np.any(low > high):
            return nothing
        lp, radius, dual = self.lp, start, None
        try:
            for step in range(NEWTON_STEPS):
                lp.set_radius(radius)
                found = self._priced(low, high, budget)
                if found is None:
                    return nothing
                solved, dual = found
                feasible = solved.optimum is not None and solved.optimum <= self._tolerance
                if step == 0 and not feasible:
                    return nothing
                nearer = dual.radius(start)
                settled = nearer >= radius * (1.0 - NEARER) if feasible else bool(step) and nearer <= radius
                if settled:
                    break
                radius = nearer
            lp.set_radius(min(start, radius + self._slack))
            solved = lp.solve(low, high, budget)
            point = lp.input(solved.columns) if solved.optimum is not None else None
        finally:
            lp.set_radius(self.radius)
        return (point, radius, dual) if point is not None else nothing

    def _priced(self, low: Array, high: Array, budget: Budget) -> tuple[Solved, Dual] | None:
        """As `_solve`, for a region at the LP's own radius: priced until nothing is gained."""
        lp = self.lp
        for _ in range(PRICE_ROUNDS):
            solved = lp.solve(low, high, budget)
            if not solved.usable:
                return None
            dual = self._lagrangian.evaluate(solved.weights, solved.nu, low, high)
            if self.ball.norm is Norm.LINF or not self._price(dual):
                return solved, dual
        return solved, dual


TIGHT = 1e-6
"""Relative: a ReLU's argument this near to 0 lies on the border of its region."""

NEARER = 1e-7
"""Relative: a radius that is smaller by less than this is the same radius."""


__all__ = ["LpTree", "Node", "OutOfTimeError", "TreeSettings"]
