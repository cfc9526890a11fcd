"""The upper line of a ReLU's triangle: h = max(a, 0), l ≤ a ≤ u, l < 0 < u, lies below s·a + t (Ehlers 2017).

Floats, arrays and Fractions alike. In floats both are rounded: `verifier.bounds.relu_lines` makes t safe.
"""

from __future__ import annotations

from typing import Any

Number = Any
"""A float, an array of float64 or a Fraction."""


def chord_slope(lower: Number, upper: Number) -> Number:
    """s = u / (u − l), of the line through (l, 0) and (u, u)."""
    return upper / (upper - lower)


def intercepts(slope: Number, lower: Number, upper: Number) -> tuple[Number, Number]:
    """The least t with which a line of this slope in [0, 1] lies above the ReLU at l, and at u: (−s·l, u·(1 − s))."""
    return -slope * lower, upper * (1 - slope)
