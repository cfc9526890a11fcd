"""The lines of a ReLU lie on their sides of it, exactly; the kernel's are the same ones."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from encoders.network.relu_lines import chord_slope, intercepts
from verifier.bounds.kernels import jit
from verifier.bounds.relu_lines import LINE_SLACK, relu_lines, upper_intercept

INF = math.inf

OPEN = (
    (-1.0, 2.0),
    (-2.0, 1.0),
    (-1.0, 1.0),
    (-1e-300, 1.0),
    (-1.0, 1e-300),
    (-1e300, 1e-5),
    (-0.1, 0.3),
    (-1 / 3, 1e16),
    (-5e-324, 5e-324),
    (-1e308, 1e308),
    (-math.nextafter(1.0, 0.0), 1.0),
)
FIXED = (
    (0.0, 1.0),
    (1.0, 2.0),
    (-2.0, -1.0),
    (-1.0, 0.0),
    (0.0, 0.0),
    (-0.0, 0.0),
    (1e308, 1e308),
    (0.0, INF),
    (-INF, 0.0),
)
ENDLESS = ((-INF, 1.0), (-1.0, INF), (-INF, INF), (-1e308, INF))


def drawn() -> list[tuple[float, float]]:
    """Intervals around 0 with ends of every size."""
    rng = np.random.default_rng(0)
    ends = rng.random((2, 400)) * 10.0 ** rng.integers(-12, 9, (2, 400))
    return list(zip((-ends[0]).tolist(), ends[1].tolist(), strict=True))


def exactly(slope: float, at: float, intercept: float = 0.0) -> Fraction:
    return Fraction(slope) * Fraction(at) + Fraction(intercept)


def assert_above(slope: float, intercept: float, low: float, high: float) -> None:
    """At l, 0 and u: in between, line and ReLU are straight."""
    for end in (low, high, 0.0):
        assert exactly(slope, end, intercept) >= max(0, Fraction(end)), (low, high)


def test_lines_enclose_the_relu() -> None:
    for low, high in [*OPEN, *drawn()]:
        lines = relu_lines(np.array([low]), np.array([high]))
        slope, intercept, alpha = (float(part[0]) for part in (lines.slope, lines.intercept, lines.alpha))
        assert_above(slope, intercept, low, high)
        least = max(intercepts(Fraction(slope), Fraction(low), Fraction(high)))
        assert Fraction(intercept) - least <= 2 * Fraction(LINE_SLACK) * least + Fraction(2) ** -899
        assert alpha == (high > -low)
        assert (lines.unstable[0], lines.active[0], lines.magnitude[0]) == (1.0, 0.0, max(-low, high))


def test_the_upper_line_is_the_chord() -> None:
    """… to within rounding, which is less than the slack."""
    for low, high in drawn():
        lines, bottom, top = relu_lines(np.array([low]), np.array([high])), Fraction(low), Fraction(high)
        slope = chord_slope(bottom, top)
        least, least_at_top = intercepts(slope, bottom, top)
        assert least == least_at_top
        assert abs(Fraction(float(lines.slope[0])) - slope) <= Fraction(LINE_SLACK) * slope
        assert 0 <= Fraction(float(lines.intercept[0])) - least <= 4 * Fraction(LINE_SLACK) * (top - bottom)


def test_an_intercept_without_slack_would_not_do() -> None:
    """What the slack is for: the rounded line alone cuts off points of some ReLU."""
    cut = 0
    for low, high in drawn():
        slope = float(relu_lines(np.array([low]), np.array([high])).slope[0])
        cut += any(exactly(slope, end, -slope * low) < max(0, Fraction(end)) for end in (low, high))
    assert cut > 10


@pytest.mark.parametrize(("low", "high"), ENDLESS)
def test_lines_with_open_ends(low: float, high: float) -> None:
    lines = relu_lines(np.array([low]), np.array([high]))
    assert lines.slope[0] in (0.0, 1.0)
    assert lines.intercept[0] == min(-low, high)
    for a in (max(low, -1e6), 0.0, min(high, 1e6)):
        assert lines.alpha[0] * a <= max(a, 0.0) <= lines.slope[0] * a + lines.intercept[0]


@pytest.mark.parametrize(("low", "high"), FIXED)
def test_a_relu_of_fixed_sign_has_both_lines_alike(low: float, high: float) -> None:
    lines = relu_lines(np.array([low]), np.array([high]))
    on = float(low >= 0)
    assert (lines.slope[0], lines.intercept[0], lines.alpha[0]) == (on, 0.0, on)
    assert (lines.active[0], lines.unstable[0], lines.magnitude[0]) == (on, 0.0, 0.0)


def test_crossed_bounds_give_numbers() -> None:
    """An empty node is noticed by its bounds, not by its lines."""
    lines = relu_lines(np.array([1.0, 0.5, -1.0]), np.array([-1.0, 0.25, -2.0]))
    assert np.all(np.isfinite([lines.slope, lines.intercept, lines.alpha]))


@pytest.mark.skipif(not jit.AVAILABLE, reason="numba is not installed")
def test_the_kernels_lines_are_the_same() -> None:
    """At most the last bit of an intercept is another one: machine code may fuse a product with a sum."""
    from verifier.bounds.kernels import relu_lines as kernel  # noqa: PLC0415 (numba)

    intervals = [*OPEN, *FIXED, *ENDLESS, *drawn()]
    lower, upper = np.array(intervals).T.copy()
    wanted = relu_lines(lower, upper)
    slope, intercept, alpha = (np.full(lower.size, np.nan) for _ in range(3))
    kernel.relu_lines(lower, upper, lower.size, slope, intercept, alpha)
    assert np.array_equal(slope, wanted.slope)
    assert np.array_equal(alpha, wanted.alpha)
    np.testing.assert_array_max_ulp(intercept, wanted.intercept, 1)
    for place in np.flatnonzero(np.isfinite(lower) & np.isfinite(upper) & (wanted.unstable > 0)):
        assert_above(float(slope[place]), float(intercept[place]), float(lower[place]), float(upper[place]))


@pytest.mark.skipif(not jit.AVAILABLE, reason="numba is not installed")
def test_the_kernel_leaves_other_arguments_alone() -> None:
    from verifier.bounds.kernels import relu_lines as kernel  # noqa: PLC0415 (numba)

    parts = [np.full(3, 7.0) for _ in range(3)]
    kernel.relu_lines(np.full(3, -1.0), np.ones(3), 2, *parts)
    assert [part[2] for part in parts] == [7.0] * 3
    assert all(part[0] != 7.0 for part in parts)


def test_any_slope_has_a_safe_intercept() -> None:
    rng = np.random.default_rng(1)
    for low, high in drawn()[:100]:
        slope = rng.random(1)
        intercept = upper_intercept(slope, np.array([low]), np.array([high]))
        assert_above(float(slope[0]), float(intercept[0]), low, high)
