"""The upper line of a ReLU's triangle, in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from encoders.network.relu_lines import chord_slope, intercepts

INTERVALS = [(Fraction(-1), Fraction(2)), (Fraction(-3, 7), Fraction(1, 9)), (Fraction(-5), Fraction(5))]


@pytest.mark.parametrize(("low", "high"), INTERVALS)
def test_the_chord_meets_the_relu_at_both_ends(low: Fraction, high: Fraction) -> None:
    slope = chord_slope(low, high)
    at_low, at_high = intercepts(slope, low, high)
    assert at_low == at_high
    assert (slope * low + at_low, slope * high + at_low) == (0, high)


@pytest.mark.parametrize(("low", "high"), INTERVALS)
@pytest.mark.parametrize("slope", [Fraction(0), Fraction(1, 3), Fraction(1)])
def test_the_larger_intercept_is_the_least_safe_one(low: Fraction, high: Fraction, slope: Fraction) -> None:
    least = max(intercepts(slope, low, high))
    over = [slope * a + least - max(a, 0) for a in (low, Fraction(0), high)]
    assert min(over) == 0


def test_arrays_are_taken_entry_by_entry() -> None:
    low, high = (np.array([float(pair[side]) for pair in INTERVALS]) for side in (0, 1))
    slope = chord_slope(low, high)
    assert slope.tolist() == [chord_slope(*pair) for pair in zip(low.tolist(), high.tolist(), strict=True)]
    assert intercepts(slope, low, high)[0].tolist() == (-slope * low).tolist()
