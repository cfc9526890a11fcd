"""Numbers on screen never claim more than the number behind them."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from verifier.report.directed_rounding import PLACES, directed, ends, gap_text, places_for

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(FINITE)
@example(0.1)
@example(-0.0)
@example(5e-324)
@example(1.7976931348623157e308)
def test_what_is_shown_lies_on_the_safe_side(value: float) -> None:
    exact = Fraction(value)
    assert Fraction(directed(value, up=False)) <= exact <= Fraction(directed(value, up=True))


@given(st.floats(1e-3, 1e8), st.integers(4, 12))
def test_fixed_notation_is_off_by_less_than_its_last_digit(value: float, places: int) -> None:
    for up in (False, True):
        text = directed(value, up=up, places=places)
        assert len(text.partition(".")[2]) == places
        assert abs(Fraction(text) - Fraction(value)) < Fraction(1, 10**places)


@given(FINITE)
def test_other_magnitudes_stay_close_and_short(value: float) -> None:
    for up in (False, True):
        text = directed(value, up=up)
        assert len(text) <= 20
        assert abs(Fraction(text) - Fraction(value)) <= max(Fraction(1, 10**PLACES), abs(Fraction(value)) / 1000)


@pytest.mark.parametrize(("value", "text"), [(math.inf, "inf"), (-math.inf, "-inf"), (0.0, "0"), (-0.0, "0")])
def test_special_values(value: float, text: str) -> None:
    assert directed(value, up=True) == directed(value, up=False) == text


@pytest.mark.parametrize(
    ("precision", "places"), [(1e-3, 6), (1e-6, 8), (0.5, 6), (2.0, 6), (0.0, 6), (math.inf, 6), (math.nan, 6)]
)
def test_places_show_a_closed_bracket_as_one(precision: float, places: int) -> None:
    assert places_for(precision) == places


@pytest.mark.parametrize("seed", range(200))
def test_closed_ends_are_no_farther_apart_than_the_precision_as_shown(seed: int) -> None:
    rng = np.random.default_rng(seed)
    upper, precision = float(10.0 ** rng.uniform(-2, 3)), float(10.0 ** rng.integers(-7, -1))
    lower = max(0.0, upper - 0.99 * precision * float(rng.uniform(0.5, 1.0) if seed % 2 else 1.0))
    shown = ends(lower, upper, precision)
    assert Decimal(shown[0]) <= Decimal(lower) <= Decimal(upper) <= Decimal(shown[1])
    assert Decimal(shown[1]) - Decimal(shown[0]) <= Decimal(precision)
    assert Decimal(gap_text(*shown)) == Decimal(shown[1]) - Decimal(shown[0])
    assert len(shown[1].partition(".")[2]) <= 10


def test_open_and_infinite_ends_are_rounded_outwards() -> None:
    assert ends(0.1, 0.3, 1e-3) == ("0.100000", "0.300000")
    assert ends(0.5, math.inf, 1e-3) == ("0.500000", "inf")
    assert ends(math.inf, math.inf, 1e-3) == ("inf", "inf")
