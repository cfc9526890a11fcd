"""Whose tree is next in the search for a property's counterexamples, and what other deciders propose for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from verifier.problem.budget import Budget
from verifier.problem.verdict import Counterexample
from verifier.runtime.property_judge import PropertyJudge
from verifier.search.property_track import PropertyTrack
from verifier.search.proposals import Posed, Proposals


@dataclass(frozen=True, eq=False)
class PropertyTurns:
    """The tracks of a search, in turn while any is open."""

    tracks: Sequence[PropertyTrack]
    proposals: Proposals
    judge: PropertyJudge
    budget: Budget

    def __iter__(self) -> Iterator[PropertyTrack]:
        """The open track with the fewest nodes, again and again; last those that others say have no point.

        Raises OutOfTimeError.
        """
        while left := [track for track in self.tracks if track.open]:
            self.budget.check()
            yield min(left, key=lambda track: (id(track) in self.proposals.held, track.nodes))

    def proposed(self) -> Counterexample | None:
        """A counterexample that other deciders have proposed; they are asked for the largest tree first."""
        if not (self.proposals.busy or self.proposals.due):
            return None
        left = sorted((track for track in self.tracks if track.open), key=lambda track: -track.nodes)
        posed = [Posed(id(track), track.query, partial(getattr, track.box, "bounds")) for track in left]
        found = self.proposals.point(posed)
        if found is None:
            return None
        track = next(one for one in self.tracks if id(one) == found[0].key)
        return self.judge.secured(found[1], track.sought, self.budget)
