"""Numbers for the screen: a lower end is never shown above its value, an upper end never below."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

PLACES = 6
"""Decimals on screen at the default precision of 1e-3."""
FIXED_FROM, FIXED_BELOW = 1e-3, 1e9
"""Magnitudes that are shown in fixed notation; others get SIGNIFICANT digits and an exponent."""
SIGNIFICANT = 4
EXACT_DIGITS = 800
"""Enough for any float64 to be converted without rounding before the one directed rounding."""


def directed(value: float, *, up: bool, places: int = PLACES, fixed: bool = False) -> str:
    """`value` in decimal, rounded up or down, never to the nearest; "inf" and "-inf" for infinities.

    fixed: never with an exponent.

    >>> directed(0.1, up=False), directed(0.1, up=True)
    ('0.100000', '0.100001')
    """
    if not math.isfinite(value):
        return str(value)
    rounding = ROUND_CEILING if up else ROUND_FLOOR
    exact = Decimal(value)
    if fixed or value == 0 or FIXED_FROM <= abs(value) < FIXED_BELOW:
        context = Context(prec=EXACT_DIGITS, rounding=rounding)
        return str(abs(exact) if value == 0 else exact.quantize(Decimal(1).scaleb(-places), context=context))
    return format(Context(prec=SIGNIFICANT, rounding=rounding).create_decimal(exact), "e")


def places_for(precision: float) -> int:
    """Decimals that show a bracket of width `precision` as one: two more than its first digit, at least PLACES."""
    return max(PLACES, 2 - math.floor(math.log10(precision))) if 0 < precision < 1 else PLACES


MOST_PLACES = 18
"""Decimals after which two ends that are not told apart by them stay as they are: float64 has no more above 1e-3."""


def ends(lower: float, upper: float, precision: float) -> tuple[str, str]:
    """Both ends of a bracket, the lower one rounded down, the upper one up.

    Where the bracket is closed the two, as shown, are no farther apart than its precision: they get as many more
    decimals as that takes.

    >>> ends(0.45276008749, 0.45375008749, 1e-3), ends(0.4527605, 0.4537604, 1e-3)
    (('0.452760', '0.453751'), ('0.4527605', '0.4537605'))
    """
    first = places_for(precision)
    closed = math.isfinite(upper) and 0.0 <= upper - lower <= precision
    for places in range(first, MOST_PLACES + 1):
        shown = directed(lower, up=False, places=places), directed(upper, up=True, places=places)
        if not closed or Decimal(shown[1]) - Decimal(shown[0]) <= Decimal(precision):
            return shown
    return directed(lower, up=False, places=first), directed(upper, up=True, places=first)


def gap_text(lower: str, upper: str) -> str:
    """How far two ends are apart as they are shown."""
    return f"{max(Decimal(0), Decimal(upper) - Decimal(lower)):f}"
