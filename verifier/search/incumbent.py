"""The minimum by search trees that follow their incumbents: what is pruned stays pruned, no query is repeated.

One bracket for the nearest of all targets, one for each target at once, or the answer at one radius: the same search.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from encoders.errors import SolverError
from encoders.network.graph import Array
from verifier.problem.blas import single_threaded_blas
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.verdict import Bracket
from verifier.search.linear_bisection import FIRST_STEPS, LOWER_STEPS, early_lower, linear_lower
from verifier.search.proposals import Proposals
from verifier.search.scheduler import TreeSearch
from verifier.search.state import SMALL, Problem, SearchState
from verifier.solvers.process import Decider

REPORT = 0.1
"""Seconds between two brackets of one state while its trees grow."""

PATIENCE, PATIENCE_SHARE = 0.5, 0.1
"""Seconds a target, or the part of the time left, after which a lower end that trees have not raised is raised by
linear bounds: quick instances do not pay for it, nor do those that follow earlier trees, whose lower end comes last."""

TREES_FIRST = 0.3
"""The share of a time limit for which trees search before the longer attack has its turn."""

LOW = 0.5
"""The share of the upper end below which a lower end counts as not raised."""


def follow(problem: Problem, decider: Decider, budget: Budget) -> Iterator[Bracket]:
    """Brackets on the distance to the nearest of the problem's targets; the last one is final."""
    yield from _follow(problem, [SearchState(problem, budget)], decider)


def follow_each(problem: Problem, decider: Decider, budget: Budget) -> Iterator[Bracket]:
    """Brackets on the distance to each of the problem's targets, all at once; the last ones, one a target, are final.

    One attack, one lowered graph; bounds on equal balls are shared, and the targets take turns until all are closed.
    A bracket's seconds are those of its own target.
    """
    states = [SearchState(problem.alone(place), budget) for place in range(len(problem.disjuncts))]
    for bracket in _follow(problem, states, decider):
        yield replace(bracket, seconds=bracket.search.seconds if bracket.search is not None else 0.0)


def pruned(search: TreeSearch) -> bool:
    """Do linear bounds alone answer? Raises OutOfTimeError."""
    with single_threaded_blas():
        return search.pruned()


def followed(search: TreeSearch) -> bool:
    """Do earlier trees answer? Raises OutOfTimeError."""
    with single_threaded_blas():
        return search.followed()


def check_within(state: SearchState, search: TreeSearch) -> Generator[Bracket, None, None]:
    """Brackets of the one state of a search within a radius, until its upper end is ≤ radius or its lower end beyond.

    The state's reason says why neither. Raises OutOfTimeError.
    """
    reported = time.monotonic()
    try:
        proposals = Proposals(state.problem.proposers, state.problem.threads, state.budget)
        with single_threaded_blas(), proposals, closing(search.run()) as running:
            for _ in running:
                propose(proposals, search, [state])
                if time.monotonic() - reported > REPORT:
                    reported = time.monotonic()
                    yield state.bracket()
    finally:
        search.update()


def _follow(problem: Problem, states: Sequence[SearchState], decider: Decider) -> Iterator[Bracket]:
    if decider.trees is None:
        raise TypeError(f"the tree follows the incumbent itself; it is not driven by {decider.name}")
    budget = states[0].budget
    search = TreeSearch(states, decider.trees)
    try:
        with budget.within_memory():
            yield from _searched(problem, search, states, budget)
    except (OutOfTimeError, SolverError) as error:
        for state in states:
            state.reason = str(error)
    search.update()
    yield from (state.bracket(final=True) for state in states)


def _searched(problem: Problem, search: TreeSearch, states: Sequence[SearchState], budget: Budget) -> Iterator[Bracket]:
    """Brackets until all states are closed; raises OutOfTimeError."""
    with single_threaded_blas():
        _start(states, problem.attack(budget))
        yield from (state.bracket() for state in states)
        if search.goes_inside and problem.earlier is None and problem.graph.relu_count > SMALL:
            early_lower(states, search.bounds, _widest(states))
            yield from (state.bracket() for state in states)
        for state in search.polish():
            yield state.bracket()
        again = _Again(problem, search, states, budget)
        yield from _explored(search, states, budget, again)
        if again.due(over=True):
            again.run()
            yield from _explored(search, states, budget, again)


def _widest(states: Sequence[SearchState]) -> float:
    """The largest upper end that is finite; infinite where none is."""
    return max((state.upper for state in states if math.isfinite(state.upper)), default=math.inf)


def _start(states: Sequence[SearchState], points: Sequence[Array | None]) -> None:
    """Hand the attack's points over: all to the one state, or to each state its own."""
    if len(states) == 1:
        states[0].start(points)
        return
    for state, point in zip(states, points, strict=True):
        state.start([point])


class _Again:
    """The longer attack, once, where trees do not close a bracket: then the attack alone would not have found more.

    Without a time limit its turn comes by nodes, so that one thread always does the same.
    """

    def __init__(self, problem: Problem, search: TreeSearch, states: Sequence[SearchState], budget: Budget) -> None:
        self._attack, self._search, self._states, self._budget = problem.thorough, search, states, budget
        self._left = budget.remaining

    def due(self, *, over: bool = False) -> bool:
        """Is it its turn? over: trees have nothing left to do."""
        if self._attack is None or self._budget.remaining <= 0 or all(state.closed for state in self._states):
            return False
        if over or not math.isinf(self._left):
            return over or self._budget.remaining < (1.0 - TREES_FIRST) * self._left
        return self._search.lasts

    def run(self) -> None:
        """Attack, and offer what is found."""
        assert self._attack is not None
        attack, self._attack = self._attack, None
        points = attack(self._budget)
        for place, state in enumerate(self._states):
            state.offer_all(points if len(self._states) == 1 else points[place : place + 1])


def _explored(search: TreeSearch, states: Sequence[SearchState], budget: Budget, again: _Again) -> Iterator[Bracket]:
    """The brackets while the trees grow, now and then."""
    start = time.monotonic()
    patience = min(PATIENCE * len(states), PATIENCE_SHARE * budget.remaining)
    widest = _widest(states)
    reported = dict.fromkeys(map(id, states), start)
    patient = set(reported)
    first = states[0]
    proposals = Proposals(first.problem.proposers, first.problem.threads, budget)
    with proposals, closing(search.run()) as running:
        for state in running:
            if again.due():
                again.run()
            propose(proposals, search, states)
            now = time.monotonic()
            if not state.closed and now - reported[id(state)] < REPORT:
                continue
            reported[id(state)] = now
            if now - start > patience and id(state) in patient and not search.follows(state):
                patient.remove(id(state))
                if state.lower < LOW * state.upper:
                    _raise(search, state, widest)
            yield state.bracket()


def propose(proposals: Proposals, search: TreeSearch, states: Sequence[SearchState]) -> None:
    """Let proposers look at what the trees have open, and offer what they find. Raises OutOfTimeError."""
    if not (proposals.busy or proposals.due):
        return
    found = proposals.point([] if proposals.busy else search.posed())
    search.lent = int(proposals.busy)
    if found is not None:
        for state in states:
            if state.length(found[1]) < state.upper:
                state.offer(found[1])


def _raise(search: TreeSearch, state: SearchState, widest: float) -> None:
    """Raise a lower end by linear bounds, at radii that all states share where `widest` is finite."""
    shared = widest if math.isfinite(widest) else state.upper
    top = shared if math.isfinite(state.upper) else state.problem.ball.reach
    if math.isfinite(top):
        first = search.goes_inside and not search.bounds.beyond_trees(top)
        linear_lower(state, search.bounds, top, FIRST_STEPS if first else LOWER_STEPS)
