"""Bands of distributions: true whatever distances lie in the brackets, and met by some; made-up brackets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.campaign.analysis.distributions import BINS, SHARES, DistanceEnds, Distribution

ENDS = (0.0, 0.1, 0.25, 0.3, 0.55)
brackets = st.lists(
    st.tuples(st.sampled_from((*ENDS, math.inf)), st.sampled_from((*ENDS, math.inf))).filter(
        lambda one: one[0] <= one[1]
    ),
    min_size=1,
    max_size=4,
)
"""Closed ones, open ones, some without a witness, some of inputs that have no example."""


def known(*ends: tuple[float, float], precision: float = 1e-3) -> Distribution:
    return Distribution(tuple(DistanceEnds.of(*one, precision) for one in ends))


@given(brackets)
def test_the_band_holds_whatever_the_distances_are_and_is_met(found: list[tuple[float, float]]) -> None:
    distances = known(*found)
    truths = list(itertools.product(*({*one} for one in found)))
    for radius in (0.0, 0.05, 0.1, 0.27, 0.3, 0.6):
        counted = {sum(each <= radius for each in truth) for truth in truths}
        least, most = distances.within(radius)
        assert (min(counted), max(counted)) == (least, most)
    for place, share in enumerate(SHARES):
        at = max(1, math.ceil(share * len(found))) - 1
        quantiles = {sorted(truth)[at] for truth in truths}
        band = distances.quantiles[place]
        assert (band.share, band.lower, band.upper) == (share, min(quantiles), max(quantiles))
    assert distances.mean == pytest.approx((min(map(np.mean, truths)), max(map(np.mean, truths))))


@given(brackets)
def test_a_histogram_counts_each_closed_input_once_and_open_ones_wherever_they_may_be(
    found: list[tuple[float, float]],
) -> None:
    distances = known(*found)
    closed = [upper for lower, upper in found if lower == upper and 0 < upper < math.inf]
    opened = [one for one in found if one[0] < one[1]]
    assert sum(each.closed for each in distances.bins) == len(closed)
    for each in distances.bins:
        middle = (each.start + each.end) / 2
        assert each.closed == sum(each.start <= upper < each.end for upper in closed)
        assert sum(lower < middle < upper for lower, upper in opened) <= each.open <= len(opened)
        assert each.closed or each.open or each is not distances.bins[-1]


def test_bins_are_round_and_reach_the_largest_end() -> None:
    bins = known((0.02, 0.02), (0.0, 0.113)).bins
    assert BINS / 2 <= len(bins) <= 2 * BINS + 2
    assert {round(one.end - one.start, 12) for one in bins} == {0.005}
    assert bins[0].start == 0.0
    assert bins[-1].start <= 0.113 < bins[-1].end


def test_what_has_no_distance_above_zero_has_no_histogram() -> None:
    distances = known((0.0, 0.0), (math.inf, math.inf), (0.0, math.inf), (5e-324, 5e-324))
    assert distances.bins == ()
    assert (distances.at_zero, distances.without_example, distances.closed) == (1, 1, 3)
    assert distances.quantiles[-1].upper == math.inf


def test_closed_is_what_the_precision_says() -> None:
    assert DistanceEnds.of(0.1, 0.1009, 1e-3).closed
    assert not DistanceEnds.of(0.1, 0.1011, 1e-3).closed
    assert not DistanceEnds.of(0.1, math.inf, 1e-3).closed
    assert DistanceEnds.of(math.inf, math.inf, 1e-3).closed
