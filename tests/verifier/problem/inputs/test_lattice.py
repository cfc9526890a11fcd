"""Lattices: their points, and that what holds over the rationals holds for points that are rounded."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from encoders.errors import InputError
from verifier.problem.inputs.columns import Columns
from verifier.problem.inputs.lattice import Lattice, lattice_of
from verifier.problem.query import Norm, distance_exact

ROUNDED = Fraction(1, 10**15)
"""What an L2 distance, which is no rational, is rounded by."""


def made(columns: Columns, x: Any, norm: Norm, lo: float = 0.0, hi: float = 1.0) -> Lattice:
    centre = np.asarray(x, dtype=np.float32).astype(np.float64)
    return lattice_of(columns, centre, np.full(centre.shape, lo), np.full(centre.shape, hi), np.dtype(np.float32), norm)


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("steps", [3, 255, 1000])
def test_a_lower_end_is_rounded_up_to_no_more_than_any_point_of_the_grid(norm: Norm, steps: int) -> None:
    """Points are numbers of float32; some entries of inputs were scaled by 1/255, which misses more than dividing."""
    rng, power = np.random.default_rng(steps), 2 if norm is Norm.L2 else 1
    for _ in range(40):
        start, end = rng.integers(0, steps + 1, (2, 6))
        scaled = np.minimum(start.astype(np.float32) * np.float32(1.0 / steps), np.float32(1.0))
        x = np.where(rng.random(6) < 0.5, scaled, start.astype(np.float32) / np.float32(steps))
        lattice = made(Columns(grid=steps), x, norm)
        point = lattice.values(end)
        assert np.array_equal(point.astype(np.float32).astype(np.float64), point)
        exact = distance_exact(norm, point, lattice.centre)
        moves = [abs(Fraction(int(b - a), steps)) for a, b in zip(start, end, strict=True)]
        squares = [move * move for move in moves]
        amount = Fraction({Norm.LINF: max(moves), Norm.L1: sum(moves), Norm.L2: sum(squares)}[norm])
        assert lattice.amount(point) == amount
        slack = lattice.slack
        assert amount * (1 - slack) ** power * (1 - ROUNDED) <= exact**power
        assert exact**power <= amount * (1 + slack) ** power * (1 + ROUNDED)
        most = float(exact) * (1.0 + 1e-15)
        for lower in (math.nextafter(float(exact), 0.0), 0.999 * float(exact), 0.5 * float(exact)):
            level = lattice.level(lower)
            assert level is not None
            assert level <= amount
            assert lower <= lattice.raised(lower) <= most
        radius = lattice.radius_below(amount)
        assert (radius is None) == (amount == 0)
        if radius is not None:
            assert lattice.level(radius) == amount
            assert float(exact) * (1.0 - 1e-15) <= lattice.radius_within(most) <= most
            asked = lattice.levels.distance(amount, math.inf) if lattice.levels else math.nan
            wider = lattice.in_steps(asked)
            assert asked <= wider == lattice.in_steps(wider) < asked * 1.001
            assert norm is Norm.L2 or float(exact) * (1.0 - 1e-15) <= wider, "squares of steps are too many to tell"


def test_a_category_needs_no_ends_of_the_box() -> None:
    units = np.array([0.25, 0.3, 0.3]), np.array([1.0, 0.7, 2.0])
    x = (np.array([7.0, 0.0, 1.0]) - units[0]) / units[1]
    ends = [np.array([0.0, first, last]) for first, last in ((-math.inf, -math.inf), (math.inf, math.inf))]
    ends[1][0] = 9.0
    lattice = lattice_of(Columns(one_hot=((1, 2),), units=units), x, *ends, np.dtype(np.float64), Norm.L1)
    assert lattice.first[1:].tolist() == [0, 0]
    assert lattice.last[1:].tolist() == [1, 1]
    np.testing.assert_allclose(lattice.numbers(np.stack([lattice.lo, lattice.hi]))[:, 1:], [[0, 0], [1, 1]], atol=1e-12)
    assert (lattice.lo[0], lattice.hi[0]) == (0.0, 9.0)


def test_a_radius_stays_as_it_is_where_rounding_moves_points_by_a_step() -> None:
    lattice = made(Columns(grid=1000), np.full(9, 0.7), Norm.L2)
    few, many = 2.0 / 1000, 0.9
    assert lattice.in_steps(few) > few
    assert lattice.in_steps(many) == many


def test_a_grid_that_floats_meet_has_no_slack() -> None:
    assert made(Columns(grid=16), [0.25, 0.5], Norm.LINF).slack == 0
    assert 0 < made(Columns(grid=255), [0.2, 0.4], Norm.LINF).slack < Fraction(1, 10**4)
    assert made(Columns(integer=(0, 1)), [3.0, 200000.0], Norm.L1, 0.0, 300000.0).slack == 0


def test_points_next_to_others() -> None:
    lattice = made(Columns(integer=(0,), one_hot=((1, 2),)), [2.0, 0.0, 1.0, 0.5], Norm.L1, -1.5, 3.5)
    assert (lattice.lo[0], lattice.hi[0]) == (-1.0, 3.0)
    assert not lattice.pure
    assert lattice.levels is None
    assert lattice.raised(0.3) == 0.3
    points = np.array([[2.6, 0.7, 0.4, 0.1], [-9.0, 0.1, 0.2, 0.3]])
    numbers = lattice.nearest(points)
    assert numbers[:, :3].tolist() == [[3, 1, 0], [-1, 0, 1]]
    assert lattice.completed(numbers, points)[:, 3].tolist() == [0.1, 0.3]


def test_units_of_the_user() -> None:
    """(x − 40) / 12 in float32, of whole numbers."""
    ages = np.array([18.0, 40.0, 77.0])
    x = ((ages - 40.0) / 12.0).astype(np.float32)
    lattice = made(Columns(integer=(0, 1, 2), units=(40.0, 12.0)), x, Norm.LINF, -2.0, 4.0)
    assert lattice.at.tolist() == [18, 40, 77]
    assert (lattice.first.tolist(), lattice.last.tolist()) == ([16] * 3, [88] * 3)
    assert lattice.values(np.array([19, 40, 80])) == pytest.approx([-1.75, 0.0, 40.0 / 12.0])


@pytest.mark.parametrize("units", [(0, 1e308), (1e308, 1e308), (1e-40, 5e-324), (-1e308, 1.0), (0, 1e-320)])
@pytest.mark.parametrize("columns", [{"grid": 255}, {"integer": (0,)}, {"one_hot": ((0, 1),)}])
@pytest.mark.filterwarnings("error")
def test_extreme_units_are_refused_in_one_line(columns: Any, units: Any) -> None:
    with pytest.raises(InputError) as told:
        made(Columns(**columns, units=units), [1.0, 0.2], Norm.L1)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("columns", "x", "box", "told"),
    [
        (Columns(grid=4), [0.3, 0.5], (0.0, 1.0), r"entry 0, 0\.300000012, is no multiple of 1/4"),
        (Columns(grid=4), [0.5, 0.5], (0.1, 1.0), r"entry 0, 0\.1, an end of the box, is no multiple of 1/4"),
        (Columns(grid=4), [0.5, 0.5], (0.0, math.inf), "has no two ends in the box"),
        (Columns(integer=(1,)), [0.5, 0.5], (0.0, 1.0), r"entry 1, 0\.5, is no whole number"),
        (Columns(integer=(1,), units=(0.25, 1.0)), [0.5, 0.5], (0.0, 1.0), "no whole number in the user's units"),
        (Columns(integer=(2,)), [0.5, 0.5], (0.0, 1.0), "column 2 is none of the input's"),
        (Columns(one_hot=((0, 1),)), [1.0, 1.0], (0.0, 1.0), "no one-hot group"),
        (Columns(grid=1 << 24), [0.5, 0.5], (-16.0, 16.0), "hardly tells two of them apart"),
        (Columns(integer=(0,)), [2.0**40, 0.5], (0.0, 2.0**41), "steps from 0"),
    ],
)
def test_what_is_not_on_the_lattice(columns: Columns, x: Any, box: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        made(columns, x, Norm.LINF, *box)
