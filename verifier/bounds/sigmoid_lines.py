"""The lines between which σ(t) = 1 / (1 + e^−t) lies for l ≤ t ≤ u, in float64 and safe.

    k₁·t + b₁ ≤ σ(t) ≤ k₂·t + b₂

Slopes are those of CROWN and DeepPoly (Zhang et al. 2018; Singh et al. 2019): the chord where it does not cut σ, else
the tangent in the middle, or the next one that does not cut it at the other end. Any slope is valid: the intercept
is then the largest σ(t) − k·t or more. Where σ is convex, t ≤ 0, that is at an end; where it is concave, a tangent at
any p lies above it: σ(t) − k·t ≤ σ(p) − k·p + |σ'(p) − k|·(u − max(l, 0)). The lower line is that of σ(−t) = 1 − σ(t).

No library's exponential is trusted: it is a Taylor sum of basic operations, which IEEE 754 rounds right.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from encoders.network.graph import Array, sigmoid

FARTHEST = 700.0
"""|t| up to which e^−|t| is a normal float64; beyond, an interval has no line but a constant."""

HIGH, LOW = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")
"""ln 2 = HIGH + LOW to 86 bits or more; HIGH has 32, so that a multiple by up to 2²⁰ is exact."""

DEGREE = 14
"""Of the Taylor sum of e^−r, |r| ≤ ln 2 / 2 + 2⁻⁴⁰: what is left out is below 2⁻⁶⁰."""

SIGMA_ERROR = 2.0**-46
"""Relative error of `_sigma`: 128 units of rounding, where r and the Horner steps, each a product, a quotient and a
difference of sizes below 1.5, cost at most 12, and the last sum and quotient 3."""

LINE_SLACK = 2.0**-43
"""Added to an intercept, times 1 + |l| + |u|: eight times SIGMA_ERROR, for σ, for σ', which is at most twice as far
off, times the interval's width, and for the roundings of k·t, k ≤ 1/4, and of the sums."""

TANGENT_STEPS = 12
"""Halvings in the search for the tangent through an end: a slope need not be exact."""


class SigmoidLines(NamedTuple):
    """Slopes and intercepts of the lower and the upper lines, each of the shape of the bounds."""

    lower_slope: Array
    lower_intercept: Array
    upper_slope: Array
    upper_intercept: Array


def sigmoid_range(lower: Array, upper: Array) -> tuple[Array, Array]:
    """σ at both ends, rounded outwards; ends may be infinite."""
    return _rounded(lower, -1.0), _rounded(upper, 1.0)


def sigmoid_lines(lower: Array, upper: Array) -> SigmoidLines:
    """Both lines of σ over [lower, upper], arrays of one shape; ends may be infinite."""
    slope, intercept = _upper_line(lower, upper)
    mirrored, above = _upper_line(-upper, -lower)
    return SigmoidLines(mirrored, np.nextafter(1.0 - above, -np.inf), slope, intercept)


def _decay(distance: Array) -> Array:
    """e^−w for 0 ≤ w ≤ FARTHEST."""
    count = np.rint(distance * (1.0 / (HIGH + LOW)))
    rest = (distance - count * HIGH) - count * LOW
    total = np.ones_like(rest)
    for number in range(DEGREE, 0, -1):
        total *= rest
        total /= number
        np.subtract(1.0, total, out=total)
    found: Array = np.ldexp(total, -count.astype(np.int64))
    return found


def _sigma(values: Array) -> Array:
    """σ within SIGMA_ERROR, for |values| ≤ FARTHEST."""
    small = _decay(np.abs(values))
    found: Array = np.where(values >= 0, 1.0, small) / (1.0 + small)
    return found


def _rounded(values: Array, direction: float) -> Array:
    """σ, rounded up (1) or down (−1)."""
    found = _sigma(np.clip(values, -FARTHEST, FARTHEST)) * (1.0 + 2.0 * direction * SIGMA_ERROR)
    if direction > 0:
        return np.where(values > FARTHEST, 1.0, np.minimum(found, 1.0))
    return np.where(values < -FARTHEST, 0.0, found)


def _upper_line(lower: Array, upper: Array) -> tuple[Array, Array]:
    plain = (lower >= -FARTHEST) & (upper <= FARTHEST)
    low, high = np.where(plain, lower, 0.0), np.where(plain, upper, 0.0)
    slope = _slope(low, high)
    concave, last = np.maximum(low, 0.0), np.maximum(high, 0.0)
    touching = np.clip(_point_of(slope), concave, last)
    at = _sigma(touching)
    inside = at - slope * touching + np.abs(at * (1.0 - at) - slope) * (last - concave)
    left = _sigma(low) - slope * low
    right = np.where(high > 0, inside, _sigma(high) - slope * high)
    intercept = np.maximum(left, right) + LINE_SLACK * (1.0 + np.abs(low) + np.abs(high))
    return np.where(plain, slope, 0.0), np.where(plain, intercept, _rounded(upper, 1.0))


def _slope(low: Array, high: Array) -> Array:
    """A slope in [0, 1/4] whose line has little room above σ."""
    at_low, at_high, middle = sigmoid(low), sigmoid(high), sigmoid(0.5 * (low + high))
    width = high - low
    with np.errstate(divide="ignore", invalid="ignore"):
        chord = (at_high - at_low) / width
    tangent = middle * (1.0 - middle)
    slope = np.where((low >= 0) | ~(width > NARROW), tangent, chord)
    cut = (low < 0) & (high > 0) & (at_high * (1.0 - at_high) < chord)
    if cut.any():
        slope[cut] = _tangent_slope(low[cut], high[cut])
    return np.clip(slope, 0.0, 0.25)


NARROW = 2.0**-30
"""Width below which a chord's slope is the rounding of its ends: the tangent's serves."""


def _tangent_slope(low: Array, high: Array) -> Array:
    """The slope of the tangent in the middle, or, where that is below σ(low), through (low, σ(low)): of all tangents at
    points ≥ 0 above σ(low), the one with the least area."""
    before, after, at_low = np.maximum(0.0, 0.5 * (low + high)), high.copy(), sigmoid(low)
    for _ in range(TANGENT_STEPS):
        point = 0.5 * (before + after)
        value = sigmoid(point)
        below = value - at_low < value * (1.0 - value) * (point - low)
        before, after = np.where(below, point, before), np.where(below, after, point)
    value = sigmoid(after)
    found: Array = value * (1.0 - value)
    return found


def _point_of(slope: Array) -> Array:
    """About where σ, to the right of 0, has this slope."""
    upper = 0.5 * (1.0 + np.sqrt(np.maximum(1.0 - 4.0 * slope, 0.0)))
    with np.errstate(divide="ignore"):
        found: Array = np.log(upper / (1.0 - upper))
    return found
