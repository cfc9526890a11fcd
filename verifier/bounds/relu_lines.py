"""The lines between which a ReLU lies, in float64 and safe: every linear bound of the project relaxes by these.

For h = max(a, 0), l ≤ a ≤ u:

    α·a ≤ h ≤ s·a + t,   s = u / (u − l),   t ≥ −s·l,   α = 1 where u > −l, else 0,

where l < 0 < u (CROWN's choice of α; Zhang et al. 2018; any α in [0, 1] holds). A ReLU of fixed sign has both lines
alike: s = α = 1 or 0, t = 0. An end that is infinite leaves h ≤ u (s = 0) or h ≤ a − l (s = 1). As a kernel in
`kernels.relu_lines`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encoders.network.graph import Array
from encoders.network.relu_lines import chord_slope, intercepts
from verifier.problem.rounding import UNDERFLOW, UNIT

LINE_SLACK = 8.0 * UNIT
"""Relative slack added to the intercept of the upper line: more than the rounding of s, s·l and u·(1 − s) together."""


@dataclass(frozen=True, eq=False)
class ReluLines:
    """The lines of some ReLUs, with what rounding charges need; every array has the shape of their bounds."""

    slope: Array
    """s of the upper line."""
    intercept: Array
    """t of the upper line."""
    alpha: Array
    """The default slope of the lower line."""
    active: Array
    """1 where the ReLU passes its argument on, 0 elsewhere."""
    unstable: Array
    """1 where the sign is open, 0 elsewhere."""
    magnitude: Array
    """The largest |a| where the sign is open, 0 elsewhere."""


def relu_lines(lower: Array, upper: Array) -> ReluLines:
    """Both lines of ReLUs with arguments in [lower, upper]."""
    unstable = (lower < 0) & (upper > 0)
    slope = upper_slope(lower, upper)
    return ReluLines(
        slope=slope,
        intercept=upper_intercept(slope, lower, upper),
        alpha=lower_slope(lower, upper),
        active=(lower >= 0).astype(np.float64),
        unstable=unstable.astype(np.float64),
        magnitude=np.where(unstable, np.maximum(-lower, upper), 0.0),
    )


def upper_slope(lower: Array, upper: Array) -> Array:
    """s, also of ReLUs of fixed sign."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        slope = chord_slope(np.minimum(lower, 0.0), np.maximum(upper, 0.0))
    # 0 / 0: fixed at 0; ∞ / ∞: without an upper end.
    return np.where(np.isnan(slope), 1.0, slope)


def upper_intercept(slope: Array, lower: Array, upper: Array) -> Array:
    """t ≥ 0 that makes the upper line of this rounded slope safe, its own rounding included; 0 at fixed signs."""
    with np.errstate(invalid="ignore", over="ignore"):
        least = np.fmax(*intercepts(slope, lower, upper))
        # With an end that is infinite, nothing was rounded.
        safe = np.where(np.isfinite(upper - lower), least * (1.0 + LINE_SLACK) + UNDERFLOW, least)
    return np.where((lower < 0) & (upper > 0), safe, 0.0)


def lower_slope(lower: Array, upper: Array) -> Array:
    """CROWN's α, also of ReLUs of fixed sign."""
    return ((upper > -lower) | (lower >= 0)).astype(np.float64)
