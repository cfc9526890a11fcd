"""Counterexamples of tracks at random points of their boxes, and where steps uphill from the best of these end."""

from __future__ import annotations

from collections.abc import Sequence

from encoders.network.graph import Array
from verifier.problem.budget import Budget
from verifier.problem.verdict import Counterexample
from verifier.runtime.property_judge import PropertyJudge
from verifier.search.linear_steps import climbed
from verifier.search.property_attack import promising
from verifier.search.property_track import PropertyTrack, by_box

CLIMB_FIRST = 500
"""ReLUs above which the best point is climbed from before there are bounds: of a network with 11,364 a climb takes 0.3
CPU seconds, the bounds of its cases five."""


def sampled(tracks: Sequence[PropertyTrack], judge: PropertyJudge, budget: Budget) -> Counterexample | None:
    """A counterexample among random points of the boxes, or uphill from each box's best one where bounds take long.

    Raises OutOfTimeError.
    """
    for own in by_box(tracks):
        box = own[0].box
        points, values = box.sampled()
        best = promising(values, points, [track.goal for track in own])
        for margin, place, point in best:
            if margin < 0 or box.box.torn:
                break
            if (found := judge.secured(point, own[place].sought, budget)) is not None:
                return found
        if box.graph.relu_count > CLIMB_FIRST and (found := _uphill(own, best[0], judge, budget)) is not None:
            return found
    return None


def attacked(tracks: Sequence[PropertyTrack], judge: PropertyJudge, budget: Budget) -> Counterexample | None:
    """A counterexample of a round: random points in each box, and steps uphill from the best of them for each track.

    Raises OutOfTimeError.
    """
    for own in by_box(tracks):
        budget.check()
        points, values = own[0].box.sampled()
        for start in promising(values, points, [track.goal for track in own]):
            if (found := _uphill(own, start, judge, budget)) is not None:
                return found
    return None


def _uphill(
    tracks: Sequence[PropertyTrack], start: tuple[float, int, Array], judge: PropertyJudge, budget: Budget
) -> Counterexample | None:
    """A counterexample where steps from a point end; `start`: its margin, the place of its track, the point."""
    budget.check()
    margin, place, point = start
    track = tracks[place]
    if margin < 0:
        point, margin = climbed(track.ascent, point, track.box.sampler.rng, budget)
    return judge.secured(point, track.sought, budget) if margin >= 0 else None
