"""One search for the network over the reals and for the one that is run in float32.

A tree whose every sum is charged what float32 evaluations may lose proves both lower ends at once, at little cost. What
closes over the reals alone counts as closed, and the radius that it excludes in float32 is kept: the least of these is
the float32 end. Only where bounds that hold for both keep the bracket open although there is time, the real network is
searched on from there.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import replace

import numpy as np

from encoders.errors import InputError
from verifier.bounds.alpha_crown import Effort, goal_upper, linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.rounding import REAL
from verifier.problem.verdict import Bracket, Semantics, Status
from verifier.search.float32_lower import float32_arithmetic
from verifier.search.incumbent import follow, follow_each
from verifier.search.state import Problem, SearchState
from verifier.solvers.process import Decider


def follow_both(problem: Problem, decider: Decider, budget: Budget) -> Iterator[Bracket]:
    """As `follow`; where the model computes in float32, the last bracket says what holds for that too.

    Raises InputError where nothing can be said about float32 although the question is about that alone.
    """
    charged = for_float32_too(problem, budget)
    if charged.arithmetic is REAL:
        yield from follow(charged, decider, budget)
        return
    problem = replace(charged, arithmetic=REAL)
    if rounding_reaches(charged, budget):
        yield from _without(follow(problem, decider, budget))
        return
    for bracket in follow(charged, decider, budget):
        if not bracket.final:
            yield bracket
    yield from _real(problem, bracket, decider, budget)


def follow_each_both(problem: Problem, decider: Decider, budget: Budget) -> Generator[Bracket, None, None]:
    """As `follow_each`, the last brackets with what holds for float32. Raises InputError as `follow_both` does."""
    charged = for_float32_too(problem, budget, each=True)
    if charged.arithmetic is REAL:
        yield from follow_each(charged, decider, budget)
        return
    problem = replace(charged, arithmetic=REAL)
    if rounding_reaches(charged, budget):
        yield from _without(follow_each(problem, decider, budget))
        return
    last = []
    for bracket in follow_each(charged, decider, budget):
        if bracket.final:
            last.append(bracket)
        else:
            yield bracket
    for place, bracket in enumerate(last):
        yield from _real(problem.alone(place), bracket, decider, budget)


def _without(brackets: Iterator[Bracket]) -> Iterator[Bracket]:
    """Brackets of the real network, the last ones with a float32 end of 0, which says nothing and is true."""
    for bracket in brackets:
        yield replace(bracket, float32=0.0 if bracket.final else None)


def _real(problem: Problem, bracket: Bracket, decider: Decider, budget: Budget) -> Iterator[Bracket]:
    """The last bracket of the search for both; where rounding keeps it open, the real network is searched on."""
    float32, before = bracket.float32, budget.spent
    if bracket.status is not Status.BRACKETED or problem.semantics is Semantics.FLOAT32 or budget.remaining <= 0:
        yield bracket
        return
    for real in follow(resumed(problem, bracket), decider, budget):
        seconds = bracket.seconds + real.seconds - before
        yield replace(
            real,
            initial=bracket.initial,
            seconds=seconds,
            float32=float32 if real.final else None,
            trees=real.trees or bracket.trees,
        )


ROOM = 1.01
"""How much farther than a radius evaluations are looked at: trees decide a float beyond it."""


def for_float32_too(problem: Problem, budget: Budget, radius: float = math.inf, *, each: bool = False) -> Problem:
    """The problem with the arithmetic of all float32 evaluations within `radius`, where that is asked about and known.

    Where they may overflow in the whole box, or that has no end, what counts is the ball of the attack's point: nothing
    farther is asked about, and the problem that is returned has that attack behind it. each: every target on its own.
    Raises InputError where float32 is all that is asked about, and nothing can be said about it.
    """
    if problem.semantics is Semantics.REAL or problem.in_file is not None:
        return problem
    judge, found, reason = problem.judge, None, problem.no_float32
    if not reason:
        found = float32_arithmetic(problem.graph, problem.ball.with_radius(ROOM * radius), judge.runtime.rounds)
        if found is None and math.isinf(radius):
            problem, farthest = _attacked(problem, budget, each)
            if math.isfinite(farthest):
                near = problem.ball.with_radius(ROOM * farthest)
                found = float32_arithmetic(problem.graph, near, judge.runtime.rounds)
        reason = "somewhere in this box its sums, or products of its constants, may overflow"
    if found is None and problem.semantics is Semantics.FLOAT32:
        raise InputError(f"nothing can be proved for float32: {reason}")
    return problem if found is None else replace(problem, arithmetic=found)


def _attacked(problem: Problem, budget: Budget, each: bool) -> tuple[Problem, float]:
    """The problem with its attack's points, and how far its witness lies (the farthest of all targets' with `each`)."""
    points = problem.attack(budget)
    if each:
        states = [SearchState(problem.alone(place), budget) for place in range(len(problem.disjuncts))]
        for state, point in zip(states, points, strict=True):
            state.start([point])
    else:
        states = [SearchState(problem, budget)]
        states[0].start(points)
    return replace(problem, attack=lambda _: points), max(state.upper for state in states)


NEAR = 1e-3
"""Of the precision: a float32 end that is shorter than this is none."""


SHARE = 10.0
"""Of the time that is left, the part that this question may take: a network whose bounds take longer has no tree."""

ONE_PASS = Effort(neuron_iterations=0, goal_iterations=0)
"""At so small a radius linear bounds lose nothing but what rounding is charged: better slopes change nothing."""


def rounding_reaches(problem: Problem, budget: Budget) -> bool:
    """May float32's rounding alone reach a goal next to the input? Then trees would look for a proof without end.

    True as well where the time is too short to tell.
    """
    if problem.semantics is Semantics.FLOAT32:
        return False
    graph, ball, share = problem.graph, problem.ball.with_radius(NEAR * problem.precision), budget.share(SHARE)
    bounds = linear_bounds(graph, ball, share, ONE_PASS, problem.arithmetic)
    if share.ended:
        return True
    goals = (goal for _, goal in problem.disjuncts)
    return any(goal_upper(graph, ball, bounds, goal, share, ONE_PASS, problem.arithmetic) >= 0 for goal in goals)


def resumed(problem: Problem, bracket: Bracket) -> Problem:
    """The problem, to be gone on with from what the bracket says."""
    point = None if bracket.witness is None else bracket.witness.point.astype(np.float64)
    only = len(problem.disjuncts) == 1
    points = [point if only or target == bracket.target else None for target, _ in problem.disjuncts]
    return replace(problem, attack=lambda _: points, known=bracket.lower, thorough=None)
