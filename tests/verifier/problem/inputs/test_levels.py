"""The distances of a lattice against all sums of its steps."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest

from verifier.problem.inputs.levels import MOST_UNITS, Levels, levels_of
from verifier.problem.query import Norm

STEPS = (Fraction(1, 3), Fraction(1, 2), Fraction(2))


def amounts(norm: Norm) -> list[Fraction]:
    """Those of all moves of up to three steps an entry."""
    found = set()
    for counts in itertools.product(range(4), repeat=3):
        moves = [count * step for count, step in zip(counts, STEPS, strict=True)]
        squares = [move * move for move in moves]
        found.add(Fraction({Norm.LINF: max(moves), Norm.L1: sum(moves), Norm.L2: sum(squares)}[norm]))
    return sorted(found)


@pytest.mark.parametrize("norm", list(Norm))
def test_no_distance_of_the_lattice_is_skipped(norm: Norm) -> None:
    levels, least = levels_of(norm, STEPS), Fraction(1, 10**9)
    assert levels is not None
    for amount in amounts(norm):
        assert levels.at_least(amount) == amount
        if amount:
            assert levels.at_least(amount - least) == amount
            assert levels.below(amount) < amount
            assert levels.at_least(levels.below(amount) + least) == amount


@pytest.mark.parametrize(("power", "amount"), [(1, Fraction(1, 255)), (2, Fraction(2)), (2, Fraction(7, 255**2))])
def test_distances_are_rounded_to_the_side_asked_for(power: int, amount: Fraction) -> None:
    levels = Levels((amount,), power)
    low, high = (levels.distance(amount, direction) for direction in (-math.inf, math.inf))
    assert Fraction(low) ** power <= amount <= Fraction(high) ** power
    assert math.nextafter(low, math.inf) >= high
    assert levels.amount(low) <= amount


def test_steps_of_no_use() -> None:
    assert levels_of(Norm.LINF, []) is None
    assert levels_of(Norm.L1, [1 / Fraction(place + 2) for place in range(MOST_UNITS + 1)]) is None
