"""Properties from plain arrays: their rows exactly, and one line for arrays that do not fit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from encoders.errors import InputError
from tests.verifier.problem.properties.formulas import declarations, random_formula
from verifier.problem.properties.cases import parts
from verifier.problem.properties.formula import from_arrays
from verifier.problem.properties.from_vnnlib import property_of
from verifier.problem.properties.s_expressions import Text
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


@pytest.mark.parametrize("seed", range(40))
def test_what_is_decided_between_bounds_is_so_at_every_output_between(seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = declarations(2, 2) + f"(assert {random_formula(rng, ['X_0', 'X_1', 'Y_0', 'Y_1'], 3)})"
    prop = property_of(Text("p", text))
    decided = 0
    for _ in range(20):
        x, low, size = ([Fraction(int(n), 4) for n in rng.integers(-8, 9, 2)] for _ in range(3))
        high = [one + abs(other) * Fraction(int(rng.integers(3)), 4) for one, other in zip(low, size, strict=True)]
        known = prop.decided(x, low, high)
        points = [
            [one + (other - one) * Fraction(int(rng.integers(5)), 4) for one, other in zip(low, high, strict=True)]
            for _ in range(10)
        ]
        if known is not None:
            decided += 1
            assert all(prop.satisfied(x, y) is known for y in points)
        assert prop.decided(x, low, low) is prop.satisfied(x, low)
    assert decided
