"""How minimal distances are distributed over inputs: bands that hold whatever open brackets will come to.

Where distances lie in brackets [l, u], at least as many inputs have theirs within r as have u ≤ r, and at most as many
as have l ≤ r: the distribution of the upper ends lies below that of the distances, that of the lower ends above it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from verifier.problem.quantities import round_step

SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
"""Of which quantiles are told."""
BINS = 20
"""About so many bins a histogram has: some inputs in each from a hundred inputs on."""


@dataclass(frozen=True)
class DistanceEnds:
    """What is known of one input's minimal distance; closed: the upper end is the distance up to the precision."""

    lower: float
    upper: float
    closed: bool

    @classmethod
    def of(cls, lower: float, upper: float, precision: float) -> DistanceEnds:
        """Those of a bracket; one that both ends put beyond the box is closed."""
        return cls(lower, upper, lower == upper or upper - lower <= precision)


@dataclass(frozen=True)
class QuantileBand:
    """The ⌈share · n⌉-th smallest minimal distance lies in [lower, upper]."""

    share: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Bin:
    """Distances in [start, end): closed inputs that have theirs there, open ones that may have."""

    start: float
    end: float
    closed: int
    open: int


@dataclass(frozen=True)
class Distribution:
    """The minimal distances of some inputs, at least one."""

    known: tuple[DistanceEnds, ...]

    @cached_property
    def lowers(self) -> tuple[float, ...]:
        """Ascending."""
        return tuple(sorted(one.lower for one in self.known))

    @cached_property
    def uppers(self) -> tuple[float, ...]:
        """Ascending."""
        return tuple(sorted(one.upper for one in self.known))

    @property
    def closed(self) -> int:
        return sum(one.closed for one in self.known)

    @property
    def at_zero(self) -> int:
        """Inputs that are adversarial themselves."""
        return bisect_right(self.uppers, 0.0)

    @property
    def without_example(self) -> int:
        """Inputs near which the whole box holds none."""
        return sum(one.lower == math.inf for one in self.known)

    def within(self, radius: float) -> tuple[int, int]:
        """(n, m): at least n inputs have their distance within the radius, at most m."""
        return bisect_right(self.uppers, radius), bisect_right(self.lowers, radius)

    @cached_property
    def radii(self) -> tuple[float, ...]:
        """0 and the radii at which either number changes, ascending."""
        return tuple(sorted({0.0, *(end for end in (*self.lowers, *self.uppers) if math.isfinite(end))}))

    @cached_property
    def quantiles(self) -> tuple[QuantileBand, ...]:
        """The quantiles' bands: those of the lower ends, and those of the upper ones."""
        places = [(share, max(1, math.ceil(share * len(self.known))) - 1) for share in SHARES]
        return tuple(QuantileBand(share, self.lowers[place], self.uppers[place]) for share, place in places)

    @property
    def mean(self) -> tuple[float, float]:
        """The ends of the mean distance."""
        return math.fsum(self.lowers) / len(self.known), math.fsum(self.uppers) / len(self.known)

    @cached_property
    def bins(self) -> tuple[Bin, ...]:
        """A histogram in round steps up to the largest end; without the inputs at 0, and empty where that is all.

        An open input may be in each bin that its bracket (lower, upper] meets, and beyond the last one.
        """
        high = self.radii[-1]
        if not high / BINS > 0:
            return ()
        step = round_step(high / BINS)
        edges = [float(step * place) for place in range(int(high / float(step)) + 2)]
        positive = [one for one in self.known if one.upper > 0]
        found = [
            Bin(start, end, _closed(positive, start, end), _open(positive, start, end))
            for start, end in pairwise(edges)
        ]
        while found and not (found[-1].closed or found[-1].open):
            found.pop()
        return tuple(found)


def _closed(known: Sequence[DistanceEnds], start: float, end: float) -> int:
    return sum(one.closed and start <= one.upper < end for one in known)


def _open(known: Sequence[DistanceEnds], start: float, end: float) -> int:
    return sum(not one.closed and one.lower < end and start <= one.upper for one in known)
