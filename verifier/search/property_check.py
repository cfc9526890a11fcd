"""Does any point satisfy a property? Random points, linear bounds, steps uphill, then a search tree for each case left.

Cases come from the disjunctive form some at a time. Trees take turns, the one with the fewest nodes first, and random
points and steps uphill go on beside them for a share of the time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np

from encoders.errors import InputError, SolverError
from encoders.network.graph import Graph
from verifier.problem.answer import Answer, PropertySubject
from verifier.problem.blas import single_threaded_blas
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.properties.cases import ExactBox, Part, parts
from verifier.problem.query import Ball
from verifier.problem.rounding import REAL
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
from verifier.runtime.device import Device
from verifier.runtime.model import SMOOTH
from verifier.runtime.property_judge import InwardBox
from verifier.search.float32_lower import NODES, float32_arithmetic
from verifier.search.property_attack import Sampler, attack_seconds
from verifier.search.property_learning import learnt_of
from verifier.search.property_points import attacked, sampled
from verifier.search.property_question import PropertyQuestion, subject_of
from verifier.search.property_track import PropertyTrack, SearchedBox, endless, nearby, whole_box
from verifier.search.property_turns import PropertyTurns
from verifier.search.proposals import Proposals
from verifier.search.settings import Settings
from verifier.search.smooth_track import SmoothTrack
from verifier.solvers.learning import PROPAGATION
from verifier.solvers.process import Guarded, Worker
from verifier.solvers.tree.input_tree import InputTree
from verifier.solvers.tree.protocol import TreeMaker
from verifier.solvers.tree.threads import Threads

WINDOW = 64
"""Boxes that are searched at a time: each has bounds of its own, and waits for the others."""

FLOAT32_SHARE, FLOAT32_SECONDS = 0.25, 0.5
"""Of the time that trees have taken, and so many seconds more, for what only the real network has closed."""

ANYWHERE = (Device.AUTO, Device.CPU)
"""The devices that may be asked for: no attack here runs on another."""

TORN = "a point of the box satisfies the property, but no number of the model's dtype lies in the box"
STUCK = "rounding leaves cases open that no split decides"
REAL_ONLY = "nothing is proved for float32 evaluations; --semantics float32 asks about them alone"
NO_CASE = "no input meets what the property itself says of inputs: nothing was asked of the network"
ANY_OUTPUT = "a case of the property asks nothing of outputs: every input of its box is a counterexample"
"""Remarks: such a property was hardly meant so."""
NOTHING_ASKED = "a case asks nothing of outputs, and the middle of its box is no counterexample"
"""Why a case is neither."""


@dataclass(frozen=True, eq=False, repr=False)
class PropertyCheck(Answer):
    """Is there a point that satisfies the property? `witness` is one where the verdict is Violated.

    remark: what holds of a point that was found in one world only, exact arithmetic or ONNX Runtime; that the property
    is empty, or all of its box; "" without one.
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


def undecided(reason: str, seconds: float) -> PropertyCheck:
    """The answer where the time was up before anything could be asked."""
    return PropertyCheck(Unknown(reason), None, reason, None, seconds)


def check_property(asked: PropertyQuestion, settings: Settings) -> PropertyCheck:
    """Violated with a counterexample, Holds with its evidence, or Unknown. Raises InputError."""
    settings.must_suit(asked.semantics)
    if asked.model.lowered.smooth and settings.decider.trees is None:
        raise InputError(SMOOTH.format(asked.model.path))
    if settings.device not in ANYWHERE:
        raise InputError(f"device {settings.device} does not go with a property, which is attacked on the CPU")
    budget, search = settings.budget, _PropertySearch(asked, settings)
    witness, reason = None, ""
    try:
        with single_threaded_blas(), budget.within_memory():
            witness = search.run()
    except (OutOfTimeError, SolverError) as error:
        reason = str(error)
    verdict: Verdict
    if witness is not None:
        verdict = Violated(witness.point.astype(np.float64))
    elif reason or search.obstacle:
        verdict = Unknown(reason or search.obstacle)
    else:
        verdict = Holds(search.evidence)
    holds, both = isinstance(verdict, Holds), asked.semantics is Semantics.BOTH
    return PropertyCheck(
        verdict,
        witness,
        verdict.reason if isinstance(verdict, Unknown) else "",
        search.evidence if holds else None,
        budget.spent,
        search.cost,
        True if holds and search.float32 else None,
        asked.judge.remark or search.remark or (REAL_ONLY if holds and both and not search.float32 else ""),
        not holds and witness is None and search.torn,
        subject_of("check", asked.model, asked.prop, settings.method),
    )


@dataclass(eq=False)
class _PropertySearch:
    """The search for one question.

    obstacle: why some case stays open, "" while none does. torn: some box holds no number of the dtype, but a point
    that satisfies the property. evidence: the weakest of what has closed cases; float32: does it hold for float32 too?
    """

    asked: PropertyQuestion
    settings: Settings
    obstacle: str = ""
    torn: bool = False
    evidence: Evidence = Evidence.PROVED
    float32: bool = field(init=False)
    engine: str = LINEAR_BOUNDS
    nodes: int = 0
    open_nodes: int = 0
    remark: str = ""
    """What is odd about the property."""
    _growing: float = 0.0
    """Seconds that trees have taken."""
    _attacking: float = 0.0
    _boxes: dict[int, SearchedBox] = field(default_factory=dict)
    """By graph, of the exact box that was last begun: further cases of it share its bounds."""
    _begun: ExactBox | None = None

    def __post_init__(self) -> None:
        self._budget, self._decider = self.settings.budget, self.settings.decider
        self.float32 = self.asked.charges and self._decider.trees is not None

    @property
    def cost(self) -> Search | None:
        """What trees have cost; None for methods without them."""
        if self._decider.trees is None:
            return None
        return Search(self.engine, self.nodes, self.open_nodes, self._growing)

    def run(self) -> Counterexample | None:
        """A counterexample, or None: then `obstacle` says whether there may be one. Raises OutOfTimeError."""
        waiting = parts(self.asked.prop, self._budget.check)
        if (first := next(waiting, None)) is None:
            self.remark = NO_CASE
            return None
        waiting = chain((first,), waiting)
        with Threads(self.settings.threads) as threads:
            while window := list(islice(waiting, WINDOW)):
                found = self._within(window, threads)
                if found is not None:
                    return found
        return None

    def _within(self, window: Sequence[Part], threads: Threads) -> Counterexample | None:
        tracks: list[PropertyTrack] = []
        for part in window:
            made = self._tracks(part)
            found = made if isinstance(made, Counterexample) else sampled(made, self.asked.judge, self._budget)
            if isinstance(made, Counterexample) or found is not None:
                return found
            tracks += made
        for track in tracks:
            self._budget.check()
            if track.pruned():
                self._close(track, track.charged)
        left = [track for track in tracks if not track.closed]
        found = self._attack(left) or self._decide(left, threads)
        if found is None and self.float32:
            self._close_for_float32([track for track in left if track.closed], threads)
        if any(track.stuck for track in left):
            self.obstacle = self.obstacle or STUCK
        if any(track.box.box.torn for track in left):
            self.torn, self.obstacle = True, TORN
        return found

    def _tracks(self, part: Part) -> list[PropertyTrack] | Counterexample:
        """The tracks of a part's cases; a counterexample where one is met before there are any."""
        if self._begun is not part.box:
            self._begun, self._boxes = part.box, {}
        ball = part.box.region(self.asked.prop.inputs)
        if (entry := endless(ball)) is None:
            return self._of_cases(part, ball)
        self.obstacle = f"the property leaves X_{entry} without an end, and a search needs a bounded box"
        made = self._of_cases(part, nearby(ball))
        if isinstance(made, Counterexample):
            return made
        return sampled(made, self.asked.judge, self._budget) or self._attack(made) or []

    def _of_cases(self, part: Part, ball: Ball) -> list[PropertyTrack] | Counterexample:
        """The same, within a ball with ends; a counterexample where a case asks nothing of outputs."""
        asked, made = self.asked, []
        if (inside := asked.within(ball)) is None:
            return []
        for case in part.cases:
            graph, goal = asked.target(case)
            if id(graph) not in self._boxes:
                self._boxes[id(graph)] = self._searched(graph, inside, part.box)
            box = self._boxes[id(graph)]
            if len(goal.offset):
                made.append(SmoothTrack(box, goal) if graph.smooth else PropertyTrack(box, goal))
                continue
            found = asked.judge.witness(inside.centre, box.box, self._budget)
            if found is not None:
                self.remark = ANY_OUTPUT
                return found
            self.torn = self.torn or box.box.torn
            self.obstacle = TORN if box.box.torn else NOTHING_ASKED
        return made

    def _searched(self, graph: Graph, ball: Ball, exact: ExactBox) -> SearchedBox:
        asked, arithmetic = self.asked, REAL
        whole = ball if asked.ball is not None else whole_box(ball)
        if self.float32:
            arithmetic = float32_arithmetic(graph, whole, asked.rounds) or REAL
        if asked.semantics is Semantics.FLOAT32 and arithmetic is REAL:
            self.obstacle = "somewhere in the box float32 sums may overflow, and nothing is proved for float32"
        self.float32 = self.float32 and arithmetic is not REAL
        both = asked.semantics is Semantics.BOTH and arithmetic is not REAL
        box = InwardBox(exact, asked.prop.inputs, asked.model.dtype)
        sampler = Sampler(whole, self.settings.seed)
        return SearchedBox(asked.model, graph, whole, box, arithmetic, both, self._budget, sampler)

    def _attack(self, tracks: Sequence[PropertyTrack]) -> Counterexample | None:
        begun = time.monotonic()
        try:
            return attacked([track for track in tracks if track.open], self.asked.judge, self._budget)
        finally:
            self._attacking += time.monotonic() - begun

    def _close(self, track: PropertyTrack, float32: bool, evidence: Evidence = Evidence.PROVED) -> None:
        track.closed, track.tree = True, None
        self.float32, self.evidence = self.float32 and float32, min(self.evidence, evidence)

    def _close_for_float32(self, tracks: Sequence[PropertyTrack], threads: Threads) -> None:
        """Go on with what only the real network has closed: it is little, or rounding decides, which no split does."""
        for track in tracks:
            tree, track.tree = track.tree, None
            if tree is None or not self.float32:
                continue
            most = tree.nodes + NODES
            budget = self._budget.first_of(Budget(FLOAT32_SHARE * self._growing + FLOAT32_SECONDS))
            try:
                charged = track.charged_tree(tree)
                while charged is not None and charged.open_nodes:
                    offered = charged.explore(budget, threads)
                    if offered is not None or charged.stuck or charged.nodes > most:
                        charged = None
                self.float32 = charged is not None and charged.float32_end >= charged.radius
            except OutOfTimeError:
                self.float32 = False

    def _decide(self, tracks: Sequence[PropertyTrack], threads: Threads) -> Counterexample | None:
        """Close the tracks that are open, by trees or by another decider."""
        maker = self._decider.trees
        if maker is None:
            return self._by_decider(tracks)
        return self._learn(tracks) or self._grow(tracks, maker, threads)

    def _learn(self, tracks: Sequence[PropertyTrack]) -> Counterexample | None:
        """Close tracks by propagation and learning, for a share of the time, where networks have logic in them."""
        begun = time.monotonic()
        try:
            for track, done in learnt_of(tracks, self.asked.judge, self._budget):
                self.engine, self.nodes = PROPAGATION, self.nodes + done.nodes
                if done.closed:
                    self._close(track, done.charged)
                if done.found is not None:
                    return done.found
            return None
        finally:
            self._growing += time.monotonic() - begun

    def _grow(self, tracks: Sequence[PropertyTrack], maker: TreeMaker, threads: Threads) -> Counterexample | None:
        """Grow the tracks' trees until all are closed or stuck, or one has a counterexample."""
        settings = self.settings
        self.float32 = PropertyTrack.all_as_in_file(tracks, self.asked.semantics) and self.float32
        others = Threads(max(1, settings.threads - 1))
        with Proposals(settings.proposers, settings.threads, self._budget) as proposals, others:
            turns = PropertyTurns(tracks, proposals, self.asked.judge, self._budget)
            for track in turns:
                begun = time.monotonic()
                try:
                    found = self._explored(track, maker, others if proposals.busy else threads)
                finally:
                    self._growing += time.monotonic() - begun
                    self.open_nodes = sum(one.tree.open_nodes for one in tracks if one.tree is not None)
                due = attack_seconds(self._growing, few=self.engine == InputTree.engine)
                if found is None and self._attacking < due:
                    found = self._attack([one for one in tracks if id(one) not in proposals.held])
                found = found or turns.proposed()
                if found is not None:
                    return found
        return None

    def _explored(self, track: PropertyTrack, maker: TreeMaker, threads: Threads) -> Counterexample | None:
        """Some nodes of the track's tree. Raises OutOfTimeError."""
        if track.excluded_by_squares():
            self._close(track, track.charged)
            return None
        tree = track.rooted(maker)
        self.engine, before = tree.engine, tree.nodes
        try:
            point = tree.explore(self._budget, threads) if tree.open_nodes and not tree.stuck else None
        finally:
            track.nodes += tree.nodes - before
            self.nodes += tree.nodes - before
        if point is not None:
            found = self.asked.judge.secured(point, track.sought, self._budget)
            if found is None:
                tree.refuse()
            return found
        if not tree.open_nodes:
            kept = tree if track.charged and tree.float32_end < tree.radius else None
            self._close(track, track.charged)
            track.tree = kept
        elif tree.stuck and track.uncharged():
            self.float32 = False
        elif tree.stuck:
            track.stuck = True
        return None

    def _by_decider(self, tracks: Sequence[PropertyTrack]) -> Counterexample | None:
        """One query a track, in a process that the budget can end."""
        with Worker() as worker:
            guarded = Guarded(self._decider, worker)
            for track in tracks:
                if not track.open:
                    continue
                self._budget.check()
                match guarded.decide(track.query, track.box.bounds, self._budget):
                    case Holds(evidence):
                        self._close(track, False, evidence)
                    case Violated(point):
                        found = self.asked.judge.secured(point, track.sought, self._budget)
                        if found is not None:
                            return found
                        self.obstacle = f"{self._decider.name} gave a point that is no counterexample without tolerance"
                    case Unknown(reason):
                        self._budget.check()
                        self.obstacle = reason
        return None
