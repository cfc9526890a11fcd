"""The minimum distance as a generator of shrinking brackets: the paper's binary search, and the direct MILP.

Carlini, Katz, Barrett, Dill (2018): start at the Carlini–Wagner distance and ask a decider at radii in between. Here
every witness lowers the upper end to its own, polished, distance; linear bounds raise the lower end before any solver
is asked; and bounds are computed afresh on each smaller ball.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from encoders.errors import SolverError
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.child import ChildError
from verifier.problem.query import Query
from verifier.problem.verdict import Bracket, Evidence, Holds, Unknown, Violated
from verifier.search.linear_bisection import BoundsByRadius, linear_lower
from verifier.search.state import FIRST_RADIUS, LAST_RADIUS, Problem, SearchState, TargetState
from verifier.solvers.process import Decider, Guarded, Worker

BISECT_FACTOR = 4.0
"""While a gap is wider than this many precisions it is halved; then one query at upper − precision closes it."""


def bisection(problem: Problem, decider: Decider, budget: Budget) -> Iterator[Bracket]:
    """Brackets by binary search over `decider`, which runs in a process of its own; the last one is final."""
    with Worker() as worker:
        yield from _search(problem, Guarded(decider, worker), budget, _bisect)


def direct(problem: Problem, decider: Decider, budget: Budget) -> Iterator[Bracket]:
    """Brackets by minimising the distance itself in one MILP a target; the last one is final."""
    with Worker() as worker:
        yield from _search(problem, Guarded(decider, worker), budget, _minimise)


def _search(
    problem: Problem,
    decider: Decider,
    budget: Budget,
    close: Callable[[SearchState, Decider], Iterator[Bracket]],
) -> Iterator[Bracket]:
    state = SearchState(problem, budget)
    try:
        with budget.within_memory():
            state.attack()
            yield state.bracket()
            yield from _raised(state)
            if problem.thorough is not None and not state.closed:
                state.offer_all(problem.thorough(budget))
                yield state.bracket()
            if not state.closed:
                yield from close(state, decider)
    except (OutOfTimeError, SolverError) as error:
        state.reason = str(error)
    yield state.bracket(final=True)


def _raised(state: SearchState) -> Iterator[Bracket]:
    """The bracket after linear bounds alone have raised its lower end."""
    top = state.upper if math.isfinite(state.upper) else state.problem.ball.reach
    if math.isfinite(top):
        linear_lower(state, BoundsByRadius(state.problem, state.budget), top)
        yield state.bracket()


def _bisect(state: SearchState, decider: Decider) -> Iterator[Bracket]:
    bounds = BoundsByRadius(state.problem, state.budget)
    while not state.closed:
        state.budget.check()
        open_targets = [target for target in state.targets if not target.stuck]
        if not open_targets:
            break
        target = min(open_targets, key=lambda entry: entry.lower)
        if target.lower > state.lower:
            break  # a stuck target holds the lower end where it is
        radius = _next_radius(state, target)
        if radius is None:
            state.reason = f"no adversarial point within {target.lower:g}, and the box is unbounded"
            break
        _ask(state, decider, target, radius, bounds)
        yield state.bracket()


def _next_radius(state: SearchState, target: TargetState) -> float | None:
    """The radius of the next query about `target`; None when nothing sensible is left."""
    if math.isinf(state.upper):
        reach = state.problem.ball.reach
        if math.isfinite(reach):
            return reach
        radius = max(FIRST_RADIUS, 2.0 * target.lower)
        return radius if radius <= LAST_RADIUS else None
    precision, gap = state.problem.precision, state.upper - target.lower
    if gap > BISECT_FACTOR * precision:
        return target.lower + 0.5 * gap
    return max(state.closing, math.nextafter(target.lower, math.inf))


def _ask(state: SearchState, decider: Decider, target: TargetState, radius: float, bounds: BoundsByRadius) -> None:
    """One query: raises the target's lower end, lowers the upper end, or marks the target as stuck."""
    problem = state.problem
    ball = problem.ball.with_radius(radius)
    whole_box = math.isinf(state.upper) and radius >= problem.ball.reach
    found_bounds = bounds.at(radius)
    if bounds.exclude(target.goal, radius, found_bounds):
        verdict: Holds | Violated | Unknown = Holds(Evidence.PROVED)
    else:
        verdict = decider.decide(Query(problem.graph, ball, target.goal), found_bounds, state.budget)
    match verdict:
        case Holds(evidence):
            target.lower = math.inf if whole_box else radius
            target.evidence = min(target.evidence, evidence)
        case Violated(point):
            if not state.offer(point):
                target.stuck = True
                state.reason = _refused(decider, radius)
        case Unknown(reason):
            state.budget.check()
            target.stuck = True
            state.reason = reason


def _minimise(state: SearchState, decider: Decider) -> Iterator[Bracket]:
    """For each target one MILP that minimises the distance, within the ball of the best witness so far."""
    bounds = BoundsByRadius(state.problem, state.budget)
    for target in sorted(state.targets, key=lambda entry: entry.lower):
        if target.lower >= state.upper - state.problem.precision and state.witness is not None:
            continue
        radius = state.upper if math.isfinite(state.upper) else state.problem.ball.reach
        if not math.isfinite(radius):
            state.reason = "no adversarial point is known, and the box is unbounded"
            return
        query = Query(state.problem.graph, state.problem.ball.with_radius(radius), target.goal)
        try:
            found = decider.nearest(query, bounds.at(radius), state.budget)
        except ChildError as error:
            state.reason = str(error)
            continue
        before = state.witness
        if found.infeasible and before is not None and before.target == target.target:
            state.reason = f"{decider.name} sees no point within {radius:g}, where there is one"
            continue
        refused = found.point is not None and not state.offer(found.point)
        target.evidence = min(target.evidence, decider.evidence)
        if found.infeasible:
            target.lower = math.inf if before is None else max(target.lower, radius)
        else:
            target.lower = max(target.lower, min(found.lower, radius))
            state.reason = _refused(decider, radius) if refused else found.reason
        yield state.bracket()


def _refused(decider: Decider, radius: float) -> str:
    return f"{decider.name} gave a point within {radius:g} that is not adversarial exactly, or not in ONNX Runtime"
