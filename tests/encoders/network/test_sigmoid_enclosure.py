"""Rational bounds of σ against decimal arithmetic, which this code knows nothing of."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
import pytest

from encoders.network.sigmoid_enclosure import sigmoid_bounds

DIGITS = Context(prec=400, Emin=-(10**9), Emax=10**9)
"""Of the decimals: more than the 308 that 1024 bits have."""


def reference(value: Fraction) -> Decimal:
    argument = DIGITS.divide(Decimal(-value.numerator), Decimal(value.denominator))
    return DIGITS.divide(Decimal(1), DIGITS.add(Decimal(1), DIGITS.exp(argument)))


VALUES = [
    *(Fraction(n) for n in (0, 1, -1, 8, -8, 40, -40, 64, 65, -64, -65, 1000, -1000)),
    *(Fraction(float(x)) for x in np.random.default_rng(0).normal(size=20) * 2.0 ** np.arange(-12, 8)),
    Fraction(1, 3),
    Fraction(-(10**40), 3 * 10**39 + 1),
    Fraction(1, 10**300),
]


@pytest.mark.parametrize("bits", [8, 64, 500, 1024])
def test_the_bounds_enclose_decimal_arithmetic(bits: int) -> None:
    for value in VALUES:
        least, most = sigmoid_bounds(value.numerator, value.denominator, bits)
        scaled = DIGITS.multiply(reference(value), Decimal(2**bits))
        assert least <= scaled <= most
        assert 0 <= least <= most <= 2**bits
        assert most - least <= 2


def test_more_bits_lie_within_fewer() -> None:
    for value in VALUES:
        least, most = sigmoid_bounds(value.numerator, value.denominator, 64)
        low, high = sigmoid_bounds(value.numerator, value.denominator, 200)
        assert Fraction(least, 2**64) <= Fraction(low, 2**200) <= Fraction(high, 2**200) <= Fraction(most, 2**64)
