"""What a search for the minimum knows so far: for each target a proved lower end, and the best witness of all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from encoders.network.graph import Array, Graph
from verifier.problem.budget import Budget
from verifier.problem.phase_tree import PhaseTree
from verifier.problem.query import ELSEWHERE, Ball, Halfspaces
from verifier.problem.rounding import REAL, Arithmetic
from verifier.problem.verdict import Bracket, Evidence, Initial, Search, Semantics, Status, Witness
from verifier.problem.workers import Workers
from verifier.runtime.witness import Judge
from verifier.search.closing import closing_radius
from verifier.search.lattice_points import LatticePoints
from verifier.solvers.process import Decider

POLISH_SHARE = 0.125
"""Part of the precision that securing a witness against rounding may add to its distance."""

JUDGED = 0.2
"""Seconds for judging the one point that is at hand when the time is up: it mostly takes a few milliseconds."""

GRID_STEPS = 4.0
"""Steps of the input grid that securing a witness may always add: a finer precision does not make the grid finer."""

INWARDS = tuple(2.0**-power for power in range(12, 0, -1))
"""Shares of the way from a point next to a tie, which rounding refuses, to one that lies deeper in the goal."""

FIRST_RADIUS, LAST_RADIUS = 1.0, 2.0**20
"""Radii tried by doubling where the box is unbounded and no witness is known."""

SMALL = 150
"""ReLUs of a network whose trees mostly close: it is begun with a brief attack, and needs no lower end before them."""

Attacker = Callable[[Budget], Sequence[Array | None]]
"""For each of a problem's disjuncts a candidate point (n,), or None; the judge decides what they are worth."""


@dataclass(frozen=True, eq=False)
class Problem:
    """The distance from `ball.centre` to the nearest point of the box whose logits lie in one of `disjuncts`.

    `graph` is lowered; the ball's radius is infinite; `target` is the target asked for (None: untargeted). `threads`:
    how many trees may be explored at a time. `arithmetic`: whose evaluations of the network trees and linear bounds
    prove something about; `semantics`: what is asked about. Nothing within `known` reaches a disjunct, in any of them.
    `thorough`: a longer attack than the first one, for what stays open; None where the first was that. `earlier`: by
    target the split tree of another network, to begin with; None: trees are not written down either. `points`: where
    only points of a lattice are asked about, those that were found; it is handed every witness, and the search closes
    where nothing that it proves says more of them. `proposers`: asked for points beside trees. `workers`: where parts
    of trees that last are explored; None: here. `in_file`: the graph of which float32 evaluations are, where `graph` is
    the same function with neurons merged, over the reals; None: `graph`.
    """

    graph: Graph
    ball: Ball
    disjuncts: tuple[tuple[int, Halfspaces], ...]
    judge: Judge
    attack: Attacker
    attack_name: str
    precision: float
    target: int | None
    threads: int = 1
    arithmetic: Arithmetic = REAL
    known: float = 0.0
    semantics: Semantics = Semantics.BOTH
    no_float32: str = ""
    """Why nothing can be said about the network as it is run in float32; "" where something can."""
    thorough: Attacker | None = None
    earlier: Mapping[int, PhaseTree] | None = None
    points: LatticePoints | None = None
    proposers: tuple[Decider, ...] = ()
    workers: Workers | None = None
    in_file: Graph | None = None

    def alone(self, place: int) -> Problem:
        """The problem of one disjunct."""
        only = self.disjuncts[place : place + 1]
        judge = replace(self.judge, disjuncts=only)
        points = None if self.points is None else self.points.alone(judge)
        return replace(self, disjuncts=only, judge=judge, target=only[0][0], points=points)


@dataclass
class TargetState:
    """A target's goal; nothing within `lower` of the input reaches it, for what `evidence` is worth."""

    target: int
    goal: Halfspaces
    lower: float = 0.0
    evidence: Evidence = Evidence.PROVED
    float32: float = 0.0
    """As `lower`, for every evaluation that the problem's arithmetic allows."""
    stuck: bool = False
    """True once a decider could not answer for this target: its lower end stays where it is."""
    tree: PhaseTree | None = None
    """Its split tree, where that was written down."""


@dataclass
class SearchState:
    """The bracket while it closes."""

    problem: Problem
    budget: Budget
    targets: list[TargetState] = field(init=False)
    witness: Witness | None = None
    initial: Initial = field(init=False)
    reason: str = ""
    search: Search | None = None

    def __post_init__(self) -> None:
        known = self.problem.known
        self.targets = [TargetState(target, goal, known, float32=known) for target, goal in self.problem.disjuncts]
        self.initial = Initial(self.problem.attack_name, math.inf)

    @property
    def upper(self) -> float:
        return self.witness.distance if self.witness is not None else math.inf

    @property
    def lower(self) -> float:
        return min(*(state.lower for state in self.targets), self.upper)

    @property
    def float32(self) -> float:
        """As `lower`, for every evaluation that the problem's arithmetic allows."""
        return min(*(state.float32 for state in self.targets), self.lower)

    @property
    def evidence(self) -> Evidence:
        """The weakest evidence that the lower end needs."""
        return min(state.evidence for state in self.targets)

    @property
    def closed(self) -> bool:
        points = self.problem.points
        if points is not None and self.witness and (points.settled(self.lower, self.upper) or self.enough):
            return True
        return self.upper - self.lower <= self.problem.precision if self.witness else math.isinf(self.lower)

    @property
    def enough(self) -> bool:
        """Is it time to search the points of a lattice themselves?"""
        points = self.problem.points
        return points is not None and self.search is not None and points.enough(self.search.nodes)

    @property
    def closing(self) -> float:
        """The radius that closes the bracket once nothing within it reaches a goal, where there is a witness."""
        plain, points = closing_radius(self.upper, self.problem.precision), self.problem.points
        return plain if points is None else points.closing(self.upper, plain)

    @property
    def slack(self) -> float:
        """What securing a witness may add to its distance."""
        return max(POLISH_SHARE * self.problem.precision, GRID_STEPS * self.problem.judge.grid)

    def offer(self, point: Array, *, polish: bool = True, budget: Budget | None = None) -> bool:
        """Judge a point; keep its witness, polished, when it is nearer than the last. True if it was.

        budget: for judging it, where that is not the search's own.
        """
        found = self.problem.judge.secured(point, self.slack, budget or self.budget)
        if found is None:
            return False
        if polish and found.distance < 2.0 * self.upper:
            found = self.problem.judge.polished(found, self.slack, self.budget)
        if found.distance >= self.upper:
            return False
        self._keep(found)
        return True

    def offer_all(self, points: Sequence[Array | None]) -> None:
        """Judge the points of a later attack: what is nearer than the witness, and the nearest one however far it is.

        That one may be nearer once it is polished, as it is where the attack is asked alone.
        """
        found = [(self.length(point), place, point) for place, point in enumerate(points) if point is not None]
        for tried, (length, _, point) in enumerate(sorted(found, key=lambda entry: entry[:2])):
            if tried == 0 or length < self.upper:
                self.offer(point)

    def _keep(self, found: Witness) -> None:
        self.witness = found
        if self.problem.points is not None:
            self.problem.points.offer(found.point, self.budget)

    def look(self, point: Array) -> bool:
        """Take a point as it is, when it is a witness and nearer than the last. True if it was.

        Raises OutOfTimeError.
        """
        if self.length(point) < self.upper:
            found = self.problem.judge.witness(point, self.budget)
            if found is not None and found.distance < self.upper:
                self._keep(found)
                return True
        return False

    def look_between(self, near: Array, deep: Array) -> bool:
        """Take a witness as close to `near` as it is found on the way to `deep`. True if there was one."""
        return any(self.look(near + share * (deep - near)) for share in INWARDS)

    def attack(self, *, polish: bool = True) -> None:
        """Run the attack and take its best points as the first upper end."""
        self.start(self.problem.attack(self.budget))
        if polish:
            self.polish()

    def polish(self) -> None:
        """Move the witness to the nearest point of its activation region, by the judge's LPs."""
        if self.witness is not None and self.budget.remaining > 0:
            self._keep(self.problem.judge.polished(self.witness, self.slack, self.budget))

    def start(self, points: Sequence[Array | None]) -> None:
        """Take the best of an attack's points as the first upper end.

        Where the time is up, the first one has a moment: without it there would be nothing to say of the upper end.
        """
        found = [(self.length(point), place, point) for place, point in enumerate(points) if point is not None]
        for tried, (length, _, point) in enumerate(sorted(found, key=lambda entry: entry[:2])):
            ended = self.budget.ended
            if length >= self.upper or (ended and tried > 0):
                break
            self.offer(point, polish=False, budget=Budget(JUDGED) if ended else self.budget)
        self.initial = Initial(self.problem.attack_name, self.upper)

    def length(self, point: Array) -> float:
        """‖point − x0‖, to within rounding."""
        ball = self.problem.ball
        return float(ball.length(point))

    @property
    def target(self) -> int | None:
        """The target asked for, else the one that was reached, if it is one."""
        if self.problem.target is not None or self.witness is None:
            return self.problem.target
        return self.witness.target if self.witness.target != ELSEWHERE else None

    @property
    def trees(self) -> dict[int, PhaseTree]:
        """By target the split trees that were written down."""
        return {state.target: state.tree for state in self.targets if state.tree is not None}

    def bracket(self, *, final: bool = False) -> Bracket:
        """The state as a result."""
        lower, upper = self.lower, self.upper
        if self.witness is None and math.isinf(lower):
            status, lower = Status.UNREACHABLE, math.inf
        else:
            status = Status.MINIMAL if self.closed else Status.BRACKETED
        reason = self.reason or (self.budget.reason if self.budget.remaining <= 0 else "")
        return Bracket(
            lower=lower,
            upper=upper,
            witness=self.witness,
            evidence=self.evidence,
            precision=self.problem.precision,
            status=status,
            initial=self.initial,
            target=self.target,
            seconds=self.budget.spent,
            reason=reason if status is Status.BRACKETED and final else "",
            final=final,
            search=self.search,
            float32=self.float32 if final and self.problem.arithmetic is not REAL else None,
            trees=self.trees if final else {},
        )
