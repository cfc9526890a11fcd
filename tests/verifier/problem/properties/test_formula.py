"""Properties from plain arrays: their rows exactly, and one line for arrays that do not fit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from encoders.errors import InputError
from verifier.problem.properties.cases import parts
from verifier.problem.properties.formula import from_arrays
from verifier.problem.query import Halfspaces

LO, HI = np.array([0.1, -np.inf]), np.array([0.3, 2.0])


def test_arrays_are_taken_as_the_numbers_that_they_are() -> None:
    prop = from_arrays(LO, HI, [Halfspaces([[1.0, -1.0]], [0.1]), Halfspaces([[0.0, 1.0]], [0.0])])
    assert prop.satisfied([Fraction(0.1), Fraction(-(10**40))], [Fraction(0), Fraction(0.1)])
    assert not prop.satisfied([Fraction(1, 10), Fraction(0)], [Fraction(0), Fraction(0)])  # 1/10 < 0.1
    assert prop.satisfied([Fraction(0.3), Fraction(2)], [Fraction(-1), Fraction(0)])
    assert not prop.satisfied([Fraction(0.3), Fraction(2)], [Fraction(-2), Fraction(-1)])


def test_the_float64_region_is_the_box_itself() -> None:
    (part,) = parts(from_arrays(LO, HI, [Halfspaces([[1.0]], [0.0])]))
    region = part.box.region(2)
    np.testing.assert_array_equal(region.lo, LO)
    np.testing.assert_array_equal(region.hi, HI)


@pytest.mark.parametrize(
    ("disjuncts", "told"),
    [
        ([], "no half-spaces"),
        ([Halfspaces([1.0], [0.0])], "shape"),
        ([Halfspaces([[1.0]], [0.0]), Halfspaces([[1.0, 2.0]], [0.0])], "same outputs"),
        ([Halfspaces([[1.0]], [0.0, 1.0])], "2 offsets for 1 rows"),
        ([Halfspaces([[np.nan]], [0.0])], "NaN"),
    ],
)
def test_arrays_that_do_not_fit_are_one_line(disjuncts: list[Halfspaces], told: str) -> None:
    with pytest.raises(InputError, match=told):
        from_arrays(LO, HI, disjuncts)
