"""Where a bracket is closed by the precision that it is asked for."""

from __future__ import annotations

import math

CLOSING = 0.99
"""The share of the precision below the upper end at which a bracket is closed: the rest is for rounding the two ends
outwards on the screen, where they are no farther apart than the precision either."""


def closing_radius(upper: float, precision: float) -> float:
    """The radius that closes a bracket once nothing within it reaches a goal: a little more than upper − precision."""
    return max(math.nextafter(upper - precision, math.inf), upper - CLOSING * precision)
