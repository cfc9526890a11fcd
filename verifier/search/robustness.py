"""Is an input robust within a radius? The attack, then linear bounds, then a decider for the targets that are left.

Of a small network linear bounds cost less than the attack: there they come first, and what they prove needs none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

from encoders.errors import SolverError
from verifier.problem.answer import Answer, Subject
from verifier.problem.arguments import above_zero
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.phase_tree import PhaseTree
from verifier.problem.query import ELSEWHERE, Query
from verifier.problem.rounding import REAL
from verifier.problem.verdict import Bracket, Evidence, Holds, Search, Semantics, Unknown, Verdict, Violated, Witness
from verifier.search import initial_attack, smooth_classes
from verifier.search.float32 import for_float32_too, resumed, rounding_reaches
from verifier.search.incumbent import check_within, followed, pruned
from verifier.search.linear_bisection import BoundsByRadius
from verifier.search.minimum import problem_of
from verifier.search.on_lattice import FIRST_SHARE, check_on_lattice
from verifier.search.question import Specification
from verifier.search.scheduler import TreeSearch
from verifier.search.settings import Settings
from verifier.search.state import SMALL, Problem, SearchState
from verifier.solvers.process import Decider, Guarded, Worker

BOUNDS_FIRST = 150
"""ReLUs up to which linear bounds come before the attack: on the digits net 2 to 4 ms, which save the 50 of an attack
that finds nothing. A violated check pays for them in vain."""

BracketWatcher = Callable[[Bracket], None]


@dataclass(frozen=True, eq=False, repr=False)
class Check(Answer):
    """Is the input robust within a radius? `witness` lies within it when the verdict is Violated.

    `search` is None for methods without a tree, and where the attack alone answered.
    """

    verdict: Verdict
    witness: Witness | None
    reason: str
    evidence: Evidence | None
    seconds: float
    target: int | None
    search: Search | None = None
    float32: bool | None = None
    """True where no float32 evaluation of the network, in any order of summation, is adversarial either; else None."""
    about: Subject | None = None
    """What was asked."""
    trees: Mapping[int, PhaseTree] = field(default_factory=dict)
    """As those of a `Bracket`."""


RADIUS_SHARE = 1e-3
"""What securing a witness may add to its distance, relative to the radius."""


def check(asked: Specification, settings: Settings, radius: float, progress: BracketWatcher | None = None) -> Check:
    """Does a point within `radius` reach a goal? `progress` is called with brackets on the way. Raises InputError.

    On a lattice the radius counts in steps (`Lattice.in_steps`): a witness may be farther by what rounding moves it.
    """
    budget, decider, radius = settings.budget, settings.decider, above_zero(radius, "the radius", math.inf)
    smooth_classes.must_answer(asked.model, settings)
    about, found = asked.subject("check", radius), asked.already(budget)
    if found is not None:
        reached = found.target if found.target != ELSEWHERE else None
        return Check(Violated(found.point.astype(float)), found, "", None, budget.spent, reached, about=about)
    brief = 0 if decider.trees is None else SMALL
    first = initial_attack.attacker(asked, settings, radius=radius, nearest=True, brief=brief)
    problem = replace(problem_of(asked, settings, first), precision=radius * RADIUS_SHARE)
    if problem.graph.smooth:
        return replace(_check_smooth(asked, problem, settings, radius), about=about)
    if problem.points is not None:
        return replace(_check_some(problem, decider, radius, budget, progress), about=about)
    return replace(check_both(problem, decider, radius, budget, progress), about=about)


def _check_smooth(asked: Specification, problem: Problem, settings: Settings, radius: float) -> Check:
    """The answer about a network with Sigmoids."""
    state, budget = SearchState(problem, settings.budget), settings.budget
    verdict: Verdict | None = None
    reason, float32, search = "", False, None
    try:
        with budget.within_memory():
            state.attack(polish=False)
            if (verdict := _violated(state, radius)) is None:
                ball = smooth_classes.ClassBalls(asked.model, problem).within(radius, radius, problem.semantics, budget)
                found = ball.answer(settings)
                verdict, float32, search = found.verdict, bool(found.float32), found.search
                reason = found.remark or found.reason if isinstance(verdict, Unknown) else ""
                state.witness = ball.judge.nearest
    except OutOfTimeError as error:
        verdict, reason = Unknown(str(error)), str(error)
    witness = state.witness if isinstance(verdict, Violated) else None
    return Check(
        verdict,
        witness,
        reason,
        verdict.evidence if isinstance(verdict, Holds) else None,
        budget.spent,
        witness.target if witness is not None else problem.target,
        search,
        True if float32 else None,
    )


def _check_some(
    problem: Problem, decider: Decider, radius: float, budget: Budget, progress: BracketWatcher | None
) -> Check:
    """The answer about the points of a lattice: for all points first, which may answer, then by splitting inputs."""
    points, trees = problem.points, decider.trees
    assert points is not None
    assert trees is not None
    radius = points.lattice.in_steps(radius)
    first = check_both(problem, decider, points.lattice.radius_within(radius), budget.share(FIRST_SHARE), progress)
    if isinstance(first.verdict, Holds):
        return first
    verdict: Verdict = Unknown(budget.reason if budget.ended else first.reason)
    search, float32 = first.search, False
    if points.upper <= radius and points.witness is not None:
        verdict = Violated(points.witness.point.astype(float))
    elif not budget.ended:
        charged = problem.semantics is not Semantics.REAL
        verdict, float32, search = check_on_lattice(problem, trees, radius, budget, charged=charged)
    witness = points.witness if isinstance(verdict, Violated) else None
    return replace(
        first,
        verdict=verdict,
        witness=witness,
        reason=verdict.reason if isinstance(verdict, Unknown) else "",
        evidence=verdict.evidence if isinstance(verdict, Holds) else None,
        seconds=budget.spent,
        target=witness.target if witness is not None and witness.target != ELSEWHERE else problem.target,
        search=search,
        float32=True if float32 else None,
        trees={},
    )


def check_both(
    problem: Problem, decider: Decider, radius: float, budget: Budget, progress: BracketWatcher | None = None
) -> Check:
    """The answer at one radius, for the real network and the float32 one at once where that can be proved.

    Raises InputError where it cannot, but the question is about float32 alone.
    """
    charged = for_float32_too(problem, budget, radius) if decider.trees is not None else problem
    if charged.arithmetic is not REAL and not rounding_reaches(charged, budget):
        state = SearchState(charged, budget)
        answer = checked(state, decider, radius, progress)
        if isinstance(answer.verdict, Holds):
            return replace(answer, float32=True if state.float32 > radius else None)
        decided = isinstance(answer.verdict, Violated) or problem.semantics is Semantics.FLOAT32
        if decided or budget.remaining <= 0:
            return answer
        problem = resumed(problem, state.bracket())
    return checked(SearchState(problem, budget), decider, radius, progress)


def checked(state: SearchState, decider: Decider, radius: float, progress: BracketWatcher | None = None) -> Check:
    """The answer at one radius; `progress` is called with brackets on the way."""
    try:
        with state.budget.within_memory():
            verdict = _verdict(state, decider, radius, progress)
    except (OutOfTimeError, SolverError) as error:
        verdict = Unknown(str(error))
    witness = state.witness if isinstance(verdict, Violated) else None
    return Check(
        verdict,
        witness,
        verdict.reason if isinstance(verdict, Unknown) else "",
        verdict.evidence if isinstance(verdict, Holds) else None,
        state.budget.spent,
        state.target if witness else state.problem.target,
        state.search,
        trees=state.trees,
    )


def _verdict(state: SearchState, decider: Decider, radius: float, progress: BracketWatcher | None) -> Verdict:
    search = TreeSearch([state], decider.trees, within=radius) if decider.trees is not None else None
    first = search is not None and state.problem.graph.relu_count <= BOUNDS_FIRST and pruned(search)
    if not (first or (search is not None and state.problem.earlier and followed(search))):
        state.attack(polish=False)
        if not state.upper <= radius:
            state.polish()
        if (found := _violated(state, radius)) is not None:
            state.search = None
            return found
        state.budget.check()
    if search is None:
        return _by_decider(state, decider, radius)
    with closing(check_within(state, search)) as brackets:
        for bracket in brackets:
            if progress is not None:
                progress(bracket)
    return _violated(state, radius) or (Unknown(state.reason) if state.lower <= radius else Holds(Evidence.PROVED))


def _violated(state: SearchState, radius: float) -> Violated | None:
    if state.witness is None or state.witness.distance > radius:
        return None
    return Violated(state.witness.point.astype(float))


def _by_decider(state: SearchState, decider: Decider, radius: float) -> Verdict:
    """One query a target, in a process that the budget can end."""
    problem, bounds = state.problem, BoundsByRadius(state.problem, state.budget)
    ball = problem.ball.with_radius(radius)
    evidence, unknown = Evidence.PROVED, ""
    with Worker() as worker:
        guarded = Guarded(decider, worker)
        for target in state.targets:
            state.budget.check()
            if bounds.exclude(target.goal, radius, bounds.at(radius)):
                continue
            match guarded.decide(Query(problem.graph, ball, target.goal), bounds.at(radius), state.budget):
                case Holds(found):
                    evidence = min(evidence, found)
                case Violated(point):
                    state.offer(point)
                    if (violated := _violated(state, radius)) is not None:
                        return violated
                    unknown = (
                        f"{decider.name} gave a point that is no witness within the radius, exactly and in ONNX Runtime"
                    )
                case Unknown(reason):
                    state.budget.check()
                    unknown = reason
    return Unknown(unknown) if unknown else Holds(evidence)
