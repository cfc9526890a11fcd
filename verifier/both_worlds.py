"""One search for the network over the reals and for the one that is shipped in float32.

A tree whose every sum is charged what float32 evaluations may lose proves both lower ends at once, at little cost. What
closes over the reals alone counts as closed, and the radius that it excludes in float32 is kept: the least of these is
the float32 end. Only where bounds that hold for both keep the bracket open although there is time, the real network is
searched on from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from encoders.errors import InputError
from verifier.bounds.linear import Effort, goal_upper, linear_bounds
from verifier.deciders.shipped import in_range
from verifier.deciders.worker import Decider
from verifier.following import follow, follow_each
from verifier.proof.rounding import FLOAT32
from verifier.search_state import Problem
from verifier.verdict import Bracket, Budget, Semantics, Status


def follow_both(problem: Problem, decider: Decider, budget: Budget) -> Iterator[Bracket]:
    """As `follow`; where the model computes in float32, the last bracket says what holds for that too.

    Raises InputError where nothing can be said about float32 although the question is about that alone.
    """
    if not provable(problem):
        yield from follow(problem, decider, budget)
        return
    if hopeless(problem, budget):
        yield from _without(follow(problem, decider, budget))
        return
    for bracket in follow(replace(problem, arithmetic=FLOAT32), decider, budget):
        if not bracket.final:
            yield bracket
    yield from _real(problem, bracket, decider, budget)


def follow_each_both(problem: Problem, decider: Decider, budget: Budget) -> Iterator[Bracket]:
    """As `follow_each`, the last brackets with what holds for float32. Raises InputError as `follow_both` does."""
    if not provable(problem):
        yield from follow_each(problem, decider, budget)
        return
    if hopeless(problem, budget):
        yield from _without(follow_each(problem, decider, budget))
        return
    last = []
    for bracket in follow_each(replace(problem, arithmetic=FLOAT32), decider, budget):
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
    """The last bracket of the search for both worlds; where rounding keeps it open, the real network is searched on."""
    shipped, before = bracket.float32, budget.spent
    if bracket.status is not Status.BRACKETED or problem.semantics is Semantics.FLOAT32 or budget.remaining <= 0:
        yield bracket
        return
    for real in follow(resumed(problem, bracket), decider, budget):
        seconds = bracket.seconds + real.seconds - before
        yield replace(real, initial=bracket.initial, seconds=seconds, float32=shipped if real.final else None)


def provable(problem: Problem) -> bool:
    """Is float32 asked about, by a model that computes in it and cannot overflow anywhere in the box?

    Raises InputError where it is all that is asked about, but the model may overflow.
    """
    if problem.semantics is Semantics.REAL or problem.judge.dtype != np.float32:
        return False
    whole = linear_bounds(problem.graph, problem.ball, Budget(0.0), arithmetic=FLOAT32)
    found = problem.ball.bounded and in_range(problem.graph, whole)
    if not found and problem.semantics is Semantics.FLOAT32:
        raise InputError("nothing can be proved for float32: somewhere in this box its sums may overflow")
    return found


NEAR = 1e-3
"""Of the precision: a float32 end that is shorter than this is none."""


SHARE = 10.0
"""Of the time that is left, the part that this question may take: a network whose bounds take longer has no tree."""

ONE_PASS = Effort(neuron_iterations=0, goal_iterations=0)
"""At so small a radius linear bounds lose nothing but what rounding is charged: better slopes change nothing."""


def hopeless(problem: Problem, budget: Budget) -> bool:
    """May float32's rounding alone reach a goal next to the input? Then trees would look for a proof without end.

    True as well where the time is too short to tell.
    """
    if problem.semantics is Semantics.FLOAT32:
        return False
    graph, ball, share = problem.graph, problem.ball.with_radius(NEAR * problem.precision), budget.share(SHARE)
    bounds = linear_bounds(graph, ball, share, ONE_PASS, FLOAT32)
    if share.ended:
        return True
    goals = (goal for _, goal in problem.disjuncts)
    return any(goal_upper(graph, ball, bounds, goal, share, ONE_PASS, FLOAT32) >= 0 for goal in goals)


def resumed(problem: Problem, bracket: Bracket) -> Problem:
    """The problem, to be gone on with from what the bracket says."""
    point = None if bracket.witness is None else bracket.witness.point.astype(np.float64)
    only = len(problem.disjuncts) == 1
    points = [point if only or target == bracket.target else None for target, _ in problem.disjuncts]
    return replace(problem, attack=lambda _: points, known=bracket.lower)
