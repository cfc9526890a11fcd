"""Branch and bound over the whole numbers of a lattice: what search trees over ReLUs leave open is split at its inputs.

A part is a box of whole numbers. A tree over the part either proves that no point of it within the radius reaches a
goal, whole numbers or not, or finds one. That point is rounded; where no rounding is a nearer witness the part is split
next to it, so that it lies in neither half (Land & Doig 1960, with the tree in place of the linear program). A part of
one point is decided by exact arithmetic.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.exact import exact_outputs
from encoders.network.graph import Array
from verifier.bounds.alpha_crown import Effort, goal_upper, linear_bounds
from verifier.bounds.box_part import BoxPart
from verifier.problem.budget import Budget
from verifier.problem.inputs.lattice import Whole
from verifier.problem.query import Ball, Halfspaces, Query, distance_exact
from verifier.problem.verdict import Search, Semantics
from verifier.runtime.witness import rounded_down
from verifier.search.lattice_increments import LatticeIncrements, increments_within
from verifier.search.lattice_points import LatticePoints
from verifier.search.state import FIRST_RADIUS, LAST_RADIUS, Problem
from verifier.solvers.root_bounds import root_bounds
from verifier.solvers.tree.graph_ascent import GraphAscent
from verifier.solvers.tree.protocol import Tree, TreeMaker

QUICK = Effort(goal_iterations=0)
"""What a goal's linear bound may cost before its tree is begun."""

TOLERANCE = 1e-7
"""Of the trees' LPs, as a decider's that is asked once."""

BETWEEN = 1e-3
"""Steps from a whole number up to which a point counts as on it: the dtype rounds, and LPs have tolerances."""

ROOM = 1e-12
"""Relative: trees decide a little beyond the radius, so that nothing at it is left out."""


@dataclass(eq=False)
class LatticePart:
    """The points with whole numbers first ≤ k ≤ last (n,) that may reach one of `goals`, places of disjuncts.

    lower, float32: nothing of it within this reaches any, over the reals and in float32.
    """

    first: Whole
    last: Whole
    goals: tuple[int, ...]
    lower: float
    float32: float


class _AllPoints:
    """Parts as trees are asked about them where whole numbers have no increments: all points of a box in the ball."""

    def __init__(self, problem: Problem) -> None:
        self._both = problem.semantics is Semantics.BOTH
        self.graph, self.arithmetic = problem.graph, problem.arithmetic
        self._stages: Stages | None = None

    def staged(self, budget: Budget) -> Stages:
        """The graph's stages, made once. Raises OutOfTimeError."""
        if self._stages is None:
            found = to_stages(self.graph, self.arithmetic.unit, self.arithmetic.floors(self.graph), budget.check)
            self._stages = replace(found, both=self._both)
        return self._stages

    @staticmethod
    def ball(box: BoxPart) -> Ball:
        """The box, slightly wider."""
        ball = box.ball(0)
        return ball.with_radius(math.nextafter(ball.radius * (1.0 + ROOM), math.inf))

    @staticmethod
    def away(ball: Ball, end: float) -> float:
        """How far points of a part are away that are no nearer than `end` to its centre: nothing is known."""
        del ball, end
        return 0.0

    @staticmethod
    def point(found: Array) -> Array:
        """Of the box, as it is."""
        return found


class LatticeTree:
    """The parts of one lattice that are open. `within`: decide at this radius, else follow the nearest witness.

    lower, float32: what is proved of all points of the box.
    """

    def __init__(
        self, problem: Problem, trees: TreeMaker, ends: tuple[float, float], budget: Budget, within: float | None = None
    ) -> None:
        assert problem.points is not None
        self._problem, self._trees, self._budget, self._within = problem, trees, budget, within
        self.points: LatticePoints = problem.points
        lattice = self._lattice = self.points.lattice
        root = LatticePart(lattice.first, lattice.last, tuple(range(len(problem.disjuncts))), *ends)
        self._open = [root]
        self._left: list[LatticePart] = []
        self._float32 = math.inf
        self._floor = ends
        self._plain = _AllPoints(problem)
        self._steps: LatticeIncrements | None = None
        self._engine = ""
        reach = problem.ball.reach
        self._most = reach if math.isfinite(reach) else max(FIRST_RADIUS, 2.0 * ends[0])
        self._begun = time.monotonic()
        self.nodes = 0
        self.reason = ""

    @property
    def lower(self) -> float:
        """Nothing of the lattice nearer than this reaches a goal; infinite where nothing of it does."""
        proved = min((part.lower for part in (*self._open, *self._left)), default=math.inf)
        return max(self._floor[0], min(proved, self._excluded))

    @property
    def float32(self) -> float:
        """The same for every evaluation that the problem's arithmetic allows."""
        proved = min((part.float32 for part in (*self._open, *self._left)), default=math.inf)
        return max(self._floor[1], min(proved, self._excluded, self._float32))

    @property
    def _excluded(self) -> float:
        """What is proved of parts that are neither open nor left."""
        reached, radius = self._problem.ball.reach, self._radius()
        return math.inf if math.isinf(self.points.upper) and radius >= reached else radius

    @property
    def search(self) -> Search:
        """What the trees of all parts have cost."""
        engine = f"input splits, {self._engine}" if self._engine else "input splits"
        return Search(engine, self.nodes, len(self._open), time.monotonic() - self._begun)

    def run(self) -> Iterator[None]:
        """Work until no part is open that matters; raises OutOfTimeError, after which what is known holds."""
        while self._matters() and (self._open or self._widened()):
            self._budget.check()
            part = self._open[-1]
            halves = self._work(part, self._radius())
            if halves is not None:
                self._open[-1:] = halves
            yield None

    def _radius(self) -> float:
        """Where parts are decided: what is left within it has to be excluded."""
        if self._within is not None:
            return self._lattice.radius_within(self._within)
        if math.isfinite(self.points.upper):
            # Never beyond where parts were decided: a witness may be farther, where a point was rounded, or of a
            # higher level than one that is no nearer, where its values are rounded.
            self._most = min(self._most, self.points.deciding)
        return self._most

    def _matters(self) -> bool:
        return self.points.upper > self._within if self._within is not None else not self.points.closed(self.lower)

    def _widened(self) -> bool:
        """Begin anew in a wider ball, where the box has no end or a witness is farther than parts were decided. False
        where that is no use."""
        most = self._radius()
        if self._within is not None or self._left:
            return False
        if math.isfinite(self.points.upper):
            wider = self.points.deciding
        else:
            wider = 2.0 * most if most < min(self._problem.ball.reach, LAST_RADIUS) else most
        if not wider > most:
            if math.isinf(self.points.upper) and math.isinf(self._problem.ball.reach):
                self.reason = f"no adversarial point within {self.lower:g}, and the box is unbounded"
            return False
        self._floor, self._most = (most, min(most, self._float32)), wider
        lattice = self._lattice
        self._open = [
            LatticePart(lattice.first, lattice.last, tuple(range(len(self._problem.disjuncts))), *self._floor)
        ]
        return True

    def _work(self, part: LatticePart, radius: float) -> list[LatticePart] | None:
        """What is left of a part: its halves, nothing; None where a nearer witness was found. Raises OutOfTimeError."""
        self.nodes += 1
        beyond = radius * (1.0 + ROOM)
        self._steps = increments_within(self._problem, self._lattice, beyond, self._steps)
        box = self._narrowed(part, beyond)
        if box is None:
            return []
        lattice, narrowed, around = self._lattice, box[0], box[1]
        if lattice.pure and np.array_equal(narrowed.first, narrowed.last):
            return self._single(narrowed)
        found = self._reached(narrowed, around, beyond)
        if found is None:
            return []
        goals, goal, tree, point = found
        left = replace(narrowed, goals=goals)
        if np.array_equal(narrowed.first, narrowed.last):
            return self._completed(left, tree, point)
        if point is not None and self.points.offer(np.clip(point, lattice.lo, lattice.hi), self._budget):
            return None
        return self._halves(left, goal, point)

    def _narrowed(self, part: LatticePart, radius: float) -> tuple[LatticePart, BoxPart] | None:
        """The part cut down to the whole numbers within the radius, and its box; None where nothing is left."""
        lattice, ball = self._lattice, self._problem.ball
        first, last = part.first.copy(), part.last.copy()
        low, high = ball.geometry.interval_at(radius)
        first, last = self._within_box(first, last, low, high)
        if self._steps is not None:
            nearer = self._steps.narrowed(first, last, radius)
            if nearer is None:
                return None
            first, last = nearer
        for group in lattice.groups:
            if np.any(first[group] > 0):
                last[group] = np.where(first[group] > 0, last[group], 0)
            able = group[last[group] > 0]
            if able.size == 1:
                first[able] = 1
            if able.size == 0 or np.count_nonzero(first[group]) > 1:
                return None
        if np.any(first > last):
            return None
        ends = lattice.completed(first, lattice.lo), lattice.completed(last, lattice.hi)
        box = BoxPart(ball.with_radius(radius), radius, ends[0][np.newaxis], ends[1][np.newaxis])
        if box.crossed[0] or box.distance[0] > radius:
            return None
        return replace(part, first=first, last=last), box

    def _within_box(self, first: Whole, last: Whole, low: Array, high: Array) -> tuple[Whole, Whole]:
        """first and last moved inwards to points with low ≤ x ≤ high."""
        lattice = self._lattice
        near = np.where(lattice.whole, np.rint(lattice.numbers(np.clip(low, lattice.lo, lattice.hi))), 0.0)
        start = near.astype(np.int64) - 1
        for _ in range(2):
            start = np.where(lattice.values(start) < low, start + 1, start)
        near = np.where(lattice.whole, np.rint(lattice.numbers(np.clip(high, lattice.lo, lattice.hi))), 0.0)
        end = near.astype(np.int64) + 1
        for _ in range(2):
            end = np.where(lattice.values(end) > high, end - 1, end)
        return (
            np.where(lattice.whole, np.maximum(first, start), first),
            np.where(lattice.whole, np.minimum(last, end), last),
        )

    def _reached(
        self, part: LatticePart, box: BoxPart, radius: float
    ) -> tuple[tuple[int, ...], Halfspaces, Tree, Array | None] | None:
        """The goals that are left, the first of them with its tree and its point, None where that is stuck; None where
        none is left."""
        problem, budget, asked = self._problem, self._budget, self._steps or self._plain
        ball = self._plain.ball(box) if self._steps is None else self._steps.ball(part.first, part.last, radius)
        if ball is None:
            return None
        bounds = root_bounds(asked.graph, ball, budget, asked.arithmetic, lambda: asked.staged(budget))
        budget.check()
        for number, place in enumerate(part.goals):
            goal = problem.disjuncts[place][1]
            if goal_upper(asked.graph, ball, bounds, goal, budget, QUICK, asked.arithmetic) < 0:
                continue
            budget.check()
            tree = self._trees.tree(
                Query(asked.graph, ball, goal),
                asked.staged(budget),
                bounds,
                floor=0.0,
                slack=0.0,
                tolerance=TOLERANCE,
                memory=self._budget.memory,
            )
            before, found = 0, None
            while tree.open_nodes and not tree.stuck and found is None:
                found = tree.explore(budget)
                self.nodes += tree.nodes - before
                before = tree.nodes
                budget.check()
            self._engine = tree.engine
            if found is not None or tree.open_nodes:
                point = None if found is None else asked.point(found)
                return part.goals[number:], goal, tree, point
            if tree.float32_end < tree.radius:
                self._float32 = min(self._float32, max(part.float32, asked.away(ball, tree.float32_end)))
        return None

    def _single(self, part: LatticePart) -> list[LatticePart]:
        """A part of one point, by exact arithmetic: a witness, no witness, or left as it is. Raises OutOfTimeError."""
        problem, judge = self._problem, self._problem.judge
        point = self._lattice.values(part.first)
        if self.points.offer_completed(part.first, point, self._budget):
            return []
        distance = rounded_down(distance_exact(problem.ball.norm, point, problem.ball.centre))
        nearer = math.nextafter(distance, -math.inf)  # the point itself may reach the goal
        here = replace(part, lower=max(part.lower, nearer), float32=max(part.float32, nearer))
        if self.points.upper <= distance:
            return []
        outputs = exact_outputs(judge.graph, point, self._budget.check)
        reaches = any(goal.margin_exact(outputs) >= 0 for _, goal in judge.disjuncts)
        real_only = problem.semantics is not Semantics.REAL and not self._excluded_in_float32(point)
        if reaches or (real_only and problem.semantics is Semantics.FLOAT32):
            self._left.append(here)
            self.reason = "a point of the grid reaches the goal, and the file's own output, which is rounded, does not"
        elif real_only:
            self._float32 = min(self._float32, here.float32)
        return []

    def _excluded_in_float32(self, point: Array) -> bool:
        """Does no evaluation that is charged for reach a goal at this one point?"""
        problem = self._problem
        ball = Ball(problem.ball.norm, point, 0.0, point, point)
        bounds = linear_bounds(problem.graph, ball, self._budget, None, problem.arithmetic)
        goals = (goal for _, goal in problem.disjuncts)
        uppers = (
            goal_upper(problem.graph, ball, bounds, goal, self._budget, None, problem.arithmetic) for goal in goals
        )
        return all(upper < 0 for upper in uppers)

    def _completed(self, part: LatticePart, tree: Tree, point: Array | None) -> list[LatticePart] | None:
        """A part whose whole numbers are all fixed, where other entries take any value: its tree is gone on with."""
        lattice, asked = self._lattice, self._steps or self._plain
        while point is not None:
            placed = np.clip(lattice.completed(part.first, point), lattice.lo, lattice.hi)
            if self.points.offer_completed(part.first, placed, self._budget):
                return None
            tree.refuse()
            point = None
            before = tree.nodes
            while tree.open_nodes and not tree.stuck and point is None:
                found = tree.explore(self._budget)
                point = None if found is None else asked.point(found)
                self.nodes += tree.nodes - before
                before = tree.nodes
                self._budget.check()
        if not tree.open_nodes:
            if tree.float32_end < tree.radius:
                self._float32 = min(self._float32, part.float32)
            rest = part.goals[1:]
            return [replace(part, goals=rest)] if rest else []
        self._left.append(part)
        self.reason = "rounding leaves cases open that no split decides"
        return []

    def _halves(self, part: LatticePart, goal: Halfspaces, point: Array | None) -> list[LatticePart]:
        """The part split so that the point, or rather its surroundings, is in neither half; the nearer one comes last,
        and is gone on with."""
        lattice = self._lattice
        free = np.flatnonzero((part.first < part.last) & ~self._implied(part))
        x = lattice.completed(part.first + (part.last - part.first) // 2, self._problem.ball.centre)
        given = lattice.numbers(x if point is None else point)
        near = np.clip(np.rint(np.where(lattice.whole, given, 0.0)), part.first, part.last).astype(np.int64)
        off = np.abs(given - near)[free]
        if np.all(off <= BETWEEN):
            # The point itself is on the lattice, and no witness: it is cut off at its widest entry.
            place = int(free[np.argmax((part.last - part.first)[free])])
            return self._around(part, place, int(near[place]))
        ascent = GraphAscent(self._problem.graph, self._problem.ball, goal)
        weight = np.abs(ascent.gradient(x if point is None else point)[1])[free] / lattice.per[free]
        score = off * (weight + weight.mean() + math.ulp(0.0))
        place = int(free[np.argmax(np.where(off > BETWEEN, score, -1.0))])
        below = min(max(math.floor(given[place]), int(part.first[place])), int(part.last[place]) - 1)
        halves = [
            self._part(part, place, part.first[place], below),
            self._part(part, place, below + 1, part.last[place]),
        ]
        return halves if near[place] > below else halves[::-1]

    def _implied(self, part: LatticePart) -> npt.NDArray[np.bool_]:
        """Entries that increments have no share of: the input's categories, 1 where all others are 0."""
        implied = np.zeros(part.first.size, dtype=bool)
        if self._steps is not None:
            implied[self._steps.own] = True
        return implied

    def _around(self, part: LatticePart, place: int, number: int) -> list[LatticePart]:
        """The part below a whole number of one entry, above it, and that number alone."""
        cuts = ((part.first[place], number - 1), (number + 1, part.last[place]), (number, number))
        return [self._part(part, place, low, high) for low, high in cuts if low <= high]

    @staticmethod
    def _part(part: LatticePart, place: int, low: int, high: int) -> LatticePart:
        first, last = part.first.copy(), part.last.copy()
        first[place], last[place] = low, high
        return replace(part, first=first, last=last)
