"""σ lies between its lines, in exact arithmetic, and the lines are near."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from encoders.network.graph import Array
from encoders.network.sigmoid_enclosure import sigmoid_bounds
from verifier.bounds.sigmoid_lines import FARTHEST, SIGMA_ERROR, _sigma, sigmoid_lines, sigmoid_range

BITS = 1200
"""Of the reference: σ(−700) has its first digit at the 1010th."""


def sigma(value: float) -> tuple[Fraction, Fraction]:
    return tuple(Fraction(end, 1 << BITS) for end in sigmoid_bounds(*value.as_integer_ratio(), BITS))  # type: ignore[return-value]


def intervals(count: int) -> tuple[Array, Array]:
    """Of widths from a few units of rounding to hundreds, on either side of 0 and around it."""
    rng = np.random.default_rng(count)
    middle = rng.normal(size=count) * 10.0 ** rng.uniform(-3, 2.5, count)
    width = 10.0 ** rng.uniform(-15, 2.5, count)
    low = np.clip(middle - width * rng.random(count), -FARTHEST, FARTHEST)
    return low, np.clip(np.maximum(low, middle + width * rng.random(count)), -FARTHEST, FARTHEST)


def test_the_value_is_as_near_as_it_says() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([[0.0, 700.0, -700.0, 1e-300], rng.normal(size=300) * 10.0 ** rng.uniform(-6, 2.3, 300)])
    for value, found in zip(values.tolist(), _sigma(values).tolist(), strict=True):
        low, high = sigma(value)
        assert max(abs(Fraction(found) - end) for end in (low, high)) <= Fraction(SIGMA_ERROR) / 8 * high


def test_the_range_is_around_the_values() -> None:
    values = np.array([-1e9, -700.5, -700.0, -3.0, -1e-9, 0.0, 5.0, 40.0, 700.0, 800.0])
    low, high = sigmoid_range(values, values)
    for value, below, above in zip(values.tolist(), low.tolist(), high.tolist(), strict=True):
        least, most = sigma(value)
        assert Fraction(below) <= least
        assert most <= Fraction(above) <= 1
        assert above - below <= 2.0**-43
    assert [end.tolist() for end in sigmoid_range(np.array([-math.inf]), np.array([math.inf]))] == [[0.0], [1.0]]


@pytest.mark.parametrize("count", [150, 151])
def test_sigma_is_between_its_lines(count: int) -> None:
    low, high = intervals(count)
    lines = sigmoid_lines(low, high)
    touching = np.log(np.maximum(1.0 / np.maximum(lines.upper_slope, 1e-300) - 2.0, 1.0))
    for place, (bottom, top) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        k, b, s, t = (Fraction(float(part[place])) for part in lines)
        near = [bottom, top, 0.5 * bottom + 0.5 * top, 0.0, float(touching[place]), -float(touching[place])]
        for point in {min(max(value, bottom), top) for value in near}:
            least, most = sigma(point)
            assert k * Fraction(point) + b <= least
            assert most <= s * Fraction(point) + t


def test_the_gap_shrinks_with_the_square_of_the_width() -> None:
    for middle in (-4.0, -0.3, 0.0, 1.0, 6.0):
        gaps = []
        for width in (0.5, 0.25, 0.125):
            low, high = np.array([middle - width]), np.array([middle + width])
            lines = sigmoid_lines(low, high)
            at = np.linspace(low, high, 9)
            above, below = (lines[slope] * at + lines[slope + 1] for slope in (2, 0))
            gaps.append(float((above - below).max()))
        assert gaps[2] < gaps[1] / 3 < gaps[0] / 9


def test_ends_far_away_or_infinite_leave_constants() -> None:
    low = np.array([-math.inf, -math.inf, -3.0, -800.0, 800.0])
    high = np.array([math.inf, 2.0, math.inf, -750.0, 900.0])
    lines = sigmoid_lines(low, high)
    assert not lines.lower_slope.any()
    assert not lines.upper_slope.any()
    for place, (least, most) in enumerate(((0, 1), (0, sigma(2.0)[1]), (sigma(-3.0)[0], 1), (0, 0), (1, 1))):
        assert lines.lower_intercept[place] <= least
        assert lines.upper_intercept[place] >= most
        assert lines.upper_intercept[place] - float(most) < 1e-12
        assert float(least) - lines.lower_intercept[place] < 1e-12
