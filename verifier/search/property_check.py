"""Does any point satisfy a property? Random points, linear bounds, steps uphill, then a search tree for each case left.

Cases come from the disjunctive form some at a time. Trees take turns, the one with the fewest nodes first, and random
points and steps uphill go on beside them for a share of the time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

import numpy as np
from threadpoolctl import threadpool_limits

from encoders.errors import InputError, SolverError
from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Graph
from encoders.network.node_bounds import NodeBounds
from verifier.bounds.alpha_crown import Effort, goal_upper, linear_bounds
from verifier.problem.answer import Answer, PropertySubject
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.properties.cases import Part, parts
from verifier.problem.query import Ball, Halfspaces, Query
from verifier.problem.rounding import REAL, Arithmetic
from verifier.problem.verdict import (
    LINEAR_BOUNDS,
    Counterexample,
    Evidence,
    Holds,
    Search,
    Semantics,
    Unknown,
    Verdict,
    Violated,
)
from verifier.runtime.property_judge import GoalInBox, InwardBox
from verifier.search.float32_lower import float32_arithmetic
from verifier.search.incumbent import BLAS_THREADS
from verifier.search.linear_bisection import LARGE
from verifier.search.property_attack import Sampler, points_of_a_round, promising, uphill
from verifier.search.property_question import PropertyQuestion
from verifier.search.settings import Settings
from verifier.solvers.tree.goal_ascent import GoalAscent
from verifier.solvers.tree.protocol import Tree, TreeMaker
from verifier.solvers.tree.threads import Threads

WINDOW = 64
"""Boxes that are searched at a time: each has bounds of its own, and waits for the others."""

ATTACK_SHARE = 0.2
"""Of the time, for random points and steps uphill while trees grow."""

QUICK = Effort(goal_iterations=0)
"""What a case's linear bound may cost before its tree is begun."""

TOLERANCE = 1e-7
"""Of the trees' LPs, as a decider's that is asked once."""


TORN = "a point of the box satisfies the property, but no number of the model's dtype lies in the box"
"""Why a case is neither."""


@dataclass(frozen=True, eq=False, repr=False)
class PropertyCheck(Answer):
    """Is there a point that satisfies the property? `witness` is one where the verdict is Violated.

    remark: what holds of a point that was found in one world only, exact arithmetic or ONNX Runtime; "" without one.
    """

    verdict: Verdict
    witness: Counterexample | None
    reason: str
    evidence: Evidence | None
    seconds: float
    search: Search | None = None
    float32: bool | None = None
    """True where no float32 evaluation of the network, in any order of summation, satisfies it either; else None."""
    remark: str = ""
    tolerance_only: bool = False
    """True where a point of the box satisfies the property over the reals, but the box holds no number of the dtype:
    neither sat nor unsat, unless ends of boxes have a tolerance."""
    about: PropertySubject | None = None


def check_property(asked: PropertyQuestion, settings: Settings) -> PropertyCheck:
    """Violated with a counterexample, Holds with its evidence, or Unknown. Raises InputError."""
    if settings.decider.trees is None:
        raise InputError(f"a property is decided by the method tree, not by {settings.method}")
    budget, search = settings.budget, _PropertySearch(asked, settings)
    witness, reason = None, ""
    try:
        with threadpool_limits(BLAS_THREADS, "blas"):
            witness = search.run()
    except (OutOfTimeError, SolverError) as error:
        reason = str(error)
    verdict: Verdict
    if witness is not None:
        verdict = Violated(witness.point.astype(np.float64))
    elif reason or search.obstacle:
        verdict = Unknown(reason or search.obstacle)
    else:
        verdict = Holds(Evidence.PROVED)
    holds = isinstance(verdict, Holds)
    return PropertyCheck(
        verdict,
        witness,
        verdict.reason if isinstance(verdict, Unknown) else "",
        Evidence.PROVED if holds else None,
        budget.spent,
        search.cost,
        True if holds and search.float32 else None,
        "" if witness is not None else asked.judge.remark,
        not holds and witness is None and search.torn,
        asked.subject("check"),
    )


@dataclass(eq=False)
class _Region:
    """What the cases over one graph and one box share."""

    graph: Graph
    ball: Ball
    box: InwardBox
    arithmetic: Arithmetic
    both: bool
    """Does what is proved over the reals alone count too?"""
    budget: Budget
    sampler: Sampler

    @cached_property
    def bounds(self) -> NodeBounds:
        """Raises OutOfTimeError."""
        effort = Effort(neuron_iterations=0) if self.graph.relu_count > LARGE else Effort()
        found = linear_bounds(self.graph, self.ball, self.budget, effort, self.arithmetic)
        self.budget.check()
        return found

    @cached_property
    def stages(self) -> Stages:
        """Raises OutOfTimeError."""
        floors = self.arithmetic.floors(self.graph)
        return replace(to_stages(self.graph, self.arithmetic.unit, floors, self.budget.check), both=self.both)

    def real(self) -> _Region:
        """The same with what rounding is charged for left out."""
        return replace(self, arithmetic=REAL, both=False)


@dataclass(eq=False)
class _Track:
    """One case: its goal, and its tree once it has one."""

    region: _Region
    goal: Halfspaces
    tree: Tree | None = None
    nodes: int = 0
    float32: bool = False
    closed: bool = False
    stuck: bool = False

    @cached_property
    def ascent(self) -> GoalAscent:
        return GoalAscent(self.region.stages, self.region.ball, self.goal)

    @property
    def target(self) -> GoalInBox:
        return GoalInBox(self.region.box, self.region.ball, self.region.graph, self.goal)

    @property
    def open(self) -> bool:
        return not (self.closed or self.stuck or self.region.box.torn)


@dataclass(eq=False)
class _PropertySearch:
    """The search for one question. obstacle: why some case stays open, "" while none does; float32: no float32
    evaluation reaches what has been closed."""

    asked: PropertyQuestion
    settings: Settings
    obstacle: str = ""
    torn: bool = False
    float32: bool = field(init=False)
    nodes: int = 0
    open_nodes: int = 0
    engine: str = LINEAR_BOUNDS
    seconds: float = field(default=0.0)
    _attacked: float = 0.0

    def __post_init__(self) -> None:
        maker = self.settings.decider.trees
        assert maker is not None, "settings of another method have been refused"
        self._maker: TreeMaker = maker
        self._budget = self.settings.budget
        self.float32 = self.asked.semantics is not Semantics.REAL and not self.asked.model.no_float32

    @property
    def cost(self) -> Search:
        """What trees have cost."""
        return Search(self.engine, self.nodes, self.open_nodes, self.seconds)

    def run(self) -> Counterexample | None:
        """A counterexample, or None: then `obstacle` says whether there may be one. Raises OutOfTimeError."""
        waiting = parts(self.asked.prop, self._budget.check)
        with Threads(self.settings.threads) as threads:
            while window := list(islice(waiting, WINDOW)):
                found = self._within(window, threads)
                if found is not None:
                    return found
        return None

    def _within(self, window: Sequence[Part], threads: Threads) -> Counterexample | None:
        tracks: list[_Track] = []
        for part in window:
            found, made = self._begun(part)
            if found is not None:
                return found
            tracks += made
        for track in tracks:
            self._budget.check()
            self._prune(track)
        left = [track for track in tracks if not track.closed]
        return self._attack(left) or self._grow(left, threads)

    def _begun(self, part: Part) -> tuple[Counterexample | None, list[_Track]]:
        """The tracks of a box, after one round of random points; a counterexample that was among them."""
        asked, judge = self.asked, self.asked.judge
        size = asked.prop.inputs
        ball, box = part.box.region(size), InwardBox(part.box, size, asked.model.dtype)
        if not ball.bounded:
            endless = int(np.flatnonzero(~np.isfinite(ball.hi - ball.lo))[0])
            self.obstacle = f"the property leaves X_{endless} without an end, and a search needs a bounded box"
            return None, []
        regions: dict[int, _Region] = {}
        tracks = []
        for case in part.cases:
            graph, goal = asked.target(case)
            if not len(goal.offset):
                found = judge.witness(ball.centre, box, self._budget)
                if found is not None:
                    return found, []
                self.obstacle = (
                    TORN if box.torn else "it asks nothing of outputs, and the middle of its box is no witness"
                )
                self.torn = self.torn or box.torn
                continue
            if id(graph) not in regions:
                regions[id(graph)] = self._region(graph, ball, box)
            tracks.append(_Track(regions[id(graph)], goal))
        for region in regions.values():
            found = self._sampled([track for track in tracks if track.region is region])
            if found is not None:
                return found, []
        return None, tracks

    def _region(self, graph: Graph, ball: Ball, box: InwardBox) -> _Region:
        arithmetic, semantics, finite = REAL, self.asked.semantics, _finite(ball)
        sampler = Sampler(finite, self.settings.seed)
        if semantics is not Semantics.REAL and not self.asked.model.no_float32:
            arithmetic = float32_arithmetic(graph, finite, rounds=False) or REAL
        if semantics is Semantics.FLOAT32 and arithmetic is REAL:
            self.obstacle = "somewhere in the box float32 sums may overflow, and nothing is proved for float32"
        both = semantics is Semantics.BOTH and arithmetic is not REAL
        return _Region(graph, finite, box, arithmetic, both, self._budget, sampler)

    def _sampled(self, tracks: Sequence[_Track]) -> Counterexample | None:
        """A counterexample among random points of one region's tracks."""
        region = tracks[0].region
        points = region.sampler.draw(points_of_a_round(region.graph))
        for margin, place, point in promising(region.graph, points, [track.goal for track in tracks]):
            if margin < 0:
                break
            found = self.asked.judge.secured(point, tracks[place].target, self._budget)
            if found is not None:
                return found
        return None

    def _prune(self, track: _Track) -> None:
        """Close the track where linear bounds do."""
        region = track.region
        upper = goal_upper(region.graph, region.ball, region.bounds, track.goal, self._budget, QUICK, region.arithmetic)
        if upper < 0:
            self._close(track, region.arithmetic is not REAL)

    def _close(self, track: _Track, float32: bool) -> None:
        track.closed = True
        self.float32 = self.float32 and float32
        track.tree = None

    def _attack(self, tracks: Sequence[_Track]) -> Counterexample | None:
        """A round of random points in each track, and steps uphill from the best of them."""
        begun = time.monotonic()
        try:
            for track in tracks:
                if not track.open:
                    continue
                self._budget.check()
                region = track.region
                points = region.sampler.draw(points_of_a_round(region.graph))
                for margin, _, point in promising(region.graph, points, [track.goal]):
                    best, reached = (point, margin) if margin >= 0 else uphill(track.ascent, point, self._budget)
                    if reached < 0:
                        continue
                    found = self.asked.judge.secured(best, track.target, self._budget)
                    if found is not None:
                        return found
            return None
        finally:
            self._attacked += time.monotonic() - begun

    def _grow(self, tracks: Sequence[_Track], threads: Threads) -> Counterexample | None:
        """Grow the tracks' trees until all are closed or stuck, or one has a counterexample."""
        for track in self._turns(tracks):
            begun = time.monotonic()
            try:
                found = self._explored(track, threads)
            finally:
                self._note(tracks, time.monotonic() - begun)
            if found is None and self._attacked < ATTACK_SHARE * self.seconds:
                found = self._attack(tracks)
            if found is not None:
                return found
        if any(track.stuck for track in tracks):
            self.obstacle = "rounding leaves cases open that no split decides"
        if any(track.region.box.torn for track in tracks):
            self.torn, self.obstacle = True, TORN
        return None

    def _turns(self, tracks: Sequence[_Track]) -> Iterator[_Track]:
        while left := [track for track in tracks if track.open]:
            self._budget.check()
            yield min(left, key=lambda track: track.nodes)

    def _note(self, tracks: Sequence[_Track], seconds: float) -> None:
        self.seconds += seconds
        self.open_nodes = sum(track.tree.open_nodes for track in tracks if track.tree is not None)

    def _explored(self, track: _Track, threads: Threads) -> Counterexample | None:
        """Some nodes of the track's tree. Raises OutOfTimeError."""
        tree = track.tree
        if tree is None:
            tree = track.tree = self._rooted(track)
        before = tree.nodes
        try:
            point = tree.explore(self._budget, threads) if tree.open_nodes and not tree.stuck else None
        finally:
            track.nodes += tree.nodes - before
            self.nodes += tree.nodes - before
        if point is not None:
            found = self.asked.judge.secured(point, track.target, self._budget)
            if found is not None:
                return found
            tree.refuse()
        elif not tree.open_nodes:
            charged = track.region.arithmetic is not REAL
            self._close(track, charged and tree.float32_end >= tree.radius)
        elif tree.stuck:
            self._relieve(track)
        return None

    def _relieve(self, track: _Track) -> None:
        """Where charges for float32 may be what keeps a tree open, go on without them; else it is stuck."""
        if track.region.both:
            track.region, track.tree = track.region.real(), None
            self.float32 = False
        else:
            track.stuck = True

    def _rooted(self, track: _Track) -> Tree:
        region = track.region
        query = Query(region.graph, region.ball, track.goal)
        tree = self._maker.tree(query, region.stages, region.bounds, floor=0.0, slack=0.0, tolerance=TOLERANCE)
        self.engine = tree.engine
        return tree


def _finite(ball: Ball) -> Ball:
    """The whole box as a ball of a finite radius, within which trees decide: beyond its farthest corner."""
    return ball.with_radius(float(np.nextafter(ball.reach, np.inf)))
