"""Propagation and learning for a property's case before its tree, where a network has logic in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.verdict import Counterexample
from verifier.runtime.property_judge import PropertyJudge
from verifier.search.property_track import PropertyTrack, SearchedBox
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.learning import LearningSearch, LearningSettings, pays

SHARE = 4.0
"""One part of so many of the time that is left, for all cases together: trees have the others."""


@dataclass(frozen=True, eq=False)
class Learnt:
    """What propagation has come to for a case. charged: it is closed for every evaluation that bounds are charged for,
    not only over the reals."""

    nodes: int
    closed: bool = False
    charged: bool = False
    found: Counterexample | None = None


def learnt_of(
    tracks: Sequence[PropertyTrack], judge: PropertyJudge, budget: Budget, settings: LearningSettings | None = None
) -> Iterator[tuple[PropertyTrack, Learnt]]:
    """Search for counterexamples to open cases by propagation, where it pays. Raises OutOfTimeError."""
    share = budget.share(SHARE)
    for track in tracks:
        if track.open and not track.box.graph.smooth and pays(track.box.stages):
            budget.check()
            yield track, _learnt(track, judge, share, settings)


def _learnt(track: PropertyTrack, judge: PropertyJudge, budget: Budget, settings: LearningSettings | None) -> Learnt:
    """With the box's charges first, then over the reals alone; what the budget leaves undone stays open."""
    nodes = 0
    for box in _boxes(track.box):
        if budget.ended:
            break
        ends = hidden_bounds(box.stages, box.bounds)
        try:
            search = LearningSearch(box.stages, box.ball, track.goal, *ends, settings, look=budget.check)
        except OutOfTimeError:
            break
        try:
            found = _explored(search, track, judge, budget)
        except OutOfTimeError:
            found = None
        nodes += search.nodes
        if found is not None or search.closed:
            return Learnt(nodes, search.closed, search.closed and box is track.box and track.charged, found)
    return Learnt(nodes)


def _boxes(box: SearchedBox) -> Iterator[SearchedBox]:
    yield box
    if box.both:
        yield box.real()


def _explored(
    search: LearningSearch, track: PropertyTrack, judge: PropertyJudge, budget: Budget
) -> Counterexample | None:
    """The counterexample that a search comes to; None where it is closed or stuck. Raises OutOfTimeError."""
    while (point := search.explore(budget)) is not None:
        found = judge.secured(point, track.sought, track.box.budget)
        if found is not None:
            return found
        search.refuse()
    return None
