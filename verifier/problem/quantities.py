"""Numbers and durations as people write them: 8/255, 1e-3, 90s, 1h30m."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from numbers import Rational

from encoders.errors import InputError

NUMBER = r"[+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:e[+-]?\d{1,3})?"
"""A decimal number. Its length is bounded because a quotient is computed exactly."""
QUOTIENT = re.compile(rf"({NUMBER})/({NUMBER})", re.ASCII | re.IGNORECASE)
PARTS = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([hms])", re.ASCII)
SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}
SIZE = re.compile(r"(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})\s*([kmgt]i?)?b?", re.ASCII | re.IGNORECASE)
UNITS = {
    "": 1.0,
    **{
        f"{one}{two}": base**power for base, two in ((1000.0, ""), (1024.0, "i")) for power, one in enumerate("kmgt", 1)
    },
}


@dataclass(frozen=True)
class Quantity:
    """A number as it was asked for, and the float64 that is used for it."""

    text: str
    value: float

    @property
    def told(self) -> str:
        """Both, where they are not the same.

        >>> at_least("8/255", "--radius").told, at_least("0.03", "--radius").told
        ('8/255 (as 0.03137254901960785)', '0.03')
        """
        return f"{self.text} (as {self.value!r})" if "/" in self.text else f"{self.value:g}"


def at_least(given: str | float | Quantity, name: str) -> Quantity:
    """A quotient's smallest float64 that is not less; of a decimal number, as in Python, the nearest. InputError."""
    return _quantity(given, name, math.inf)


def at_most(given: str | float | Quantity, name: str) -> Quantity:
    """The same with the largest float64 that is not more."""
    return _quantity(given, name, -math.inf)


def _quantity(given: str | float | Quantity, name: str, direction: float) -> Quantity:
    if isinstance(given, Quantity):  # a default of the command line
        return given
    text = str(given).strip()
    found = QUOTIENT.fullmatch(text)
    if found is not None:
        above, below = Fraction(found[1]), Fraction(found[2])
        if not below:
            raise InputError(f"{name}: {text} divides by 0")
        return Quantity(text, directed(above / below, direction))
    if "_" not in text and text.isascii():
        try:
            return Quantity(text, float(text))
        except ValueError:
            pass
    raise InputError(f"{name}: {text[:40]!r} is no number: one such as 0.03, 1e-3 or 8/255 is expected")


def directed(number: Rational, direction: float) -> float:
    """The float64 nearest to a rational on its side of `direction`, ∞ or −∞.

    >>> directed(Fraction(1, 3), math.inf), directed(Fraction(1, 3), -math.inf)
    (0.33333333333333337, 0.3333333333333333)
    """
    try:
        near = float(number)
    except OverflowError:
        near = math.inf if Fraction(number) > 0 else -math.inf
    if math.isinf(near):
        return near if near == direction else math.nextafter(near, direction)
    beyond = Fraction(near) < number if direction > 0 else Fraction(near) > number
    return math.nextafter(near, direction) if beyond else near


def seconds(given: str | float, name: str = "the duration") -> float:
    """A duration > 0 in seconds: a number, or a text such as "45s", "90m", "1h30m". Raises InputError.

    >>> seconds("1h30m"), seconds("2m"), seconds("1.5")
    (5400.0, 120.0, 1.5)
    """
    text = str(given).strip().lower()
    parts = PARTS.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        value = math.fsum(float(number) * SECONDS[unit] for number, unit in parts)
    elif re.fullmatch(NUMBER, text, re.ASCII):
        value = float(text)
    else:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name}: a duration > 0 is expected, seconds or such as 45s, 90m, 1h30m, not {str(given)!r}")
    return value


def memory_size(given: str | float, name: str = "the memory") -> float:
    """A size > 0 in bytes: a number, or a text such as "512MB" (10⁶ bytes each) or "4GiB" (2³⁰). Raises InputError.

    >>> memory_size("4GB"), memory_size("1.5 GiB"), memory_size(2e9)
    (4000000000.0, 1610612736.0, 2000000000.0)
    """
    value = math.nan
    if isinstance(given, int | float) and not isinstance(given, bool):
        with suppress(OverflowError):
            value = float(given)
    elif isinstance(given, str) and (found := SIZE.fullmatch(given.strip())) is not None:
        value = float(found[1]) * UNITS[(found[2] or "").lower()]
    if not value >= 1.0:
        raise InputError(f"{name}: a size is expected, such as 512MB, 4GB or 4GiB, not {str(given)[:40]!r}")
    return value


def bytes_text(size: float) -> str:
    """A size in bytes as it is told.

    >>> bytes_text(4e9), bytes_text(1.5e6)
    ('4 GB', '1.5 MB')
    """
    power = min(4, max(0, math.floor(math.log10(max(size, 1.0)) / 3.0)))
    return f"{size / 1000.0**power:.3g} {('bytes', 'KB', 'MB', 'GB', 'TB')[power]}"


def round_step(about: float) -> Decimal:
    """Of 1, 2 and 5 times the powers of ten the one nearest to a positive number, as a ratio.

    >>> round_step(0.0034), round_step(1400.0)
    (Decimal('0.005'), Decimal('1E+3'))
    """
    power = math.floor(math.log10(about))
    return min(
        (Decimal(one).scaleb(power) for one in (1, 2, 5, 10)), key=lambda one: abs(math.log(one) - math.log(about))
    )
