"""Parts of balls: what is said of linear forms there holds at every point, and no point that matters is cut off."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from encoders.network.graph import Array
from verifier.bounds.box_part import BoxPart
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Norm, distance_exact

N, BOXES, POINTS = 3, 12, 60


@pytest.fixture(params=range(6))
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    return np.random.default_rng(request.param)


def random_part(rng: np.random.Generator, norm: Norm) -> tuple[Ball, BoxPart]:
    centre = rng.random(N)
    ball = Ball(norm, centre, (0.3 + rng.random()) * (2 if norm is Norm.L1 else 1), np.zeros(N), np.ones(N))
    ends = np.sort(rng.random((2, BOXES, N)), axis=0)
    ends[1, 0, 0] = ends[0, 0, 0]  # an entry that cannot move
    return ball, BoxPart(ball, 0.9 * ball.radius, *ends)


def inside(ball: Ball, part: BoxPart, place: int, rng: np.random.Generator) -> list[Array]:
    """Points of one part: of its box, within the radius."""
    points = rng.uniform(part.low[place], np.maximum(part.low[place], part.high[place]), (POINTS, N))
    points = [*points, part.low[place], part.high[place]]
    within = Fraction(0.9 * ball.radius)
    return [x for x in points if not part.crossed[place] and distance_exact(ball.norm, x, ball.centre) <= within]


def form_at(row: Array, base: Array, x: Array) -> Fraction:
    return sum(
        (
            Fraction(g) * (Fraction(a) - Fraction(b))
            for g, a, b in zip(*map(np.ndarray.tolist, (row, x, base)), strict=True)
        ),
        Fraction(0),
    )


@pytest.mark.parametrize("norm", FLAT_NORMS, ids=str)
def test_forms_fall_no_farther_and_boxes_are_no_nearer(rng: np.random.Generator, norm: Norm) -> None:
    ball, part = random_part(rng, norm)
    rows = rng.normal(size=(BOXES, N)) * rng.integers(0, 2, (BOXES, N))
    falls, deepest, seen = part.falls(rows, np.arange(BOXES)), part.deepest(rows), 0
    for place in range(BOXES):
        around = part.ball(place)
        for x in inside(ball, part, place, rng):
            seen += 1
            assert form_at(rows[place], part.base[place], x) >= -Fraction(falls[place])
            assert Fraction(part.distance[place]) <= distance_exact(norm, x, ball.centre)
            assert distance_exact(norm, x, around.centre) <= Fraction(around.radius)
            assert np.all((around.lo <= x) & (x <= around.hi))
        if not part.crossed[place] and part.distance[place] < 0.9 * ball.radius:
            least = float(form_at(rows[place], part.base[place], deepest[place]))
            assert least == pytest.approx(-falls[place], abs=1e-12)
    assert seen > BOXES


@pytest.mark.parametrize("norm", FLAT_NORMS, ids=str)
@pytest.mark.parametrize("rounds", [0, 1, 4])
def test_what_is_cut_off_reaches_no_row(rng: np.random.Generator, norm: Norm, rounds: int) -> None:
    """Points at which all forms are ≤ 0 stay; with two forms that exclude each other nothing does, and boxes shrink."""
    ball, part = random_part(rng, norm)
    rows, constants = rng.normal(size=(BOXES, 2, N)), 0.2 * rng.normal(size=(BOXES, 2))
    low, high = part.clipped(constants, rows, rounds)
    kept = 0
    for place in range(BOXES):
        for x in inside(ball, part, place, rng):
            forms = [
                Fraction(constant) + form_at(row, part.base[place], x)
                for constant, row in zip(constants[place].tolist(), rows[place], strict=True)
            ]
            if max(forms) <= 0:
                kept += 1
                assert np.all((low[place] <= x) & (x <= high[place]))
    assert kept > 0
    assert np.all((low >= part.low) & (high <= part.high))
    assert (rounds == 0) == (np.array_equal(low, part.low) and np.array_equal(high, part.high))


def test_forms_that_exclude_each_other_leave_nothing() -> None:
    ball = Ball(Norm.LINF, np.zeros(2), 1.0, -np.ones(2), np.ones(2))
    part = BoxPart(ball, 1.0, -np.ones((1, 2)), np.ones((1, 2)))
    low, high = part.clipped(np.array([[0.1, 0.1]]), np.array([[[1.0, 0.0], [-1.0, 0.0]]]), 2)
    assert np.any(low > high)


@pytest.mark.parametrize("norm", FLAT_NORMS, ids=str)
def test_a_weighted_form_is_below_the_largest_one(rng: np.random.Generator, norm: Norm) -> None:
    """At every point, exactly: so it is ≤ 0 wherever all forms are."""
    ball, part = random_part(rng, norm)
    rows, constants = rng.normal(size=(BOXES, 4, N)), 0.3 * rng.normal(size=(BOXES, 4))
    weighted, row = part.weighted(constants, rows)
    seen = 0
    for place in range(BOXES):
        for x in inside(ball, part, place, rng):
            forms = [
                Fraction(constant) + form_at(form, part.base[place], x)
                for constant, form in zip(constants[place].tolist(), rows[place], strict=True)
            ]
            seen += 1
            assert Fraction(float(weighted[place])) + form_at(row[place], part.base[place], x) <= max(forms)
    assert seen > BOXES


def test_forms_that_exclude_each_other_are_weighted_above_zero() -> None:
    """x₁ − 0.1 and 0.3 − x₁ are both negative somewhere, half their sum is 0.1 everywhere; a third form is no help."""
    ball = Ball(Norm.LINF, np.zeros(2), 1.0, -np.ones(2), np.ones(2))
    part = BoxPart(ball, 1.0, -np.ones((1, 2)), np.ones((1, 2)))
    constants, rows = np.array([[-0.1, 0.3, -5.0]]), np.array([[[1.0, 0.0], [-1.0, 0.0], [0.5, 0.5]]])
    constant, row = part.weighted(constants, rows)
    assert np.all(constants - part.falls(rows[0], np.zeros(3, dtype=np.intp)) < 0)
    assert constant[0] - part.falls(row, np.zeros(1, dtype=np.intp))[0] > 0.05


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_form_that_is_no_number_has_no_weight(bad: float) -> None:
    ball = Ball(Norm.LINF, np.zeros(2), 1.0, -np.ones(2), np.ones(2))
    part = BoxPart(ball, 1.0, -np.ones((1, 2)), np.ones((1, 2)))
    constant, row = part.weighted(np.array([[bad, -0.5, -1.0]]), np.array([[[1.0, 0.0], [0.25, 0.0], [bad, 1.0]]]))
    assert row.tolist() == [[0.25, 0.0]]
    assert constant[0] == pytest.approx(-0.5)
    assert constant[0] <= -0.5
    constant, row = part.weighted(np.array([[-np.inf, bad]]), np.zeros((1, 2, 2)))
    assert (constant.tolist(), row.tolist()) == ([-np.inf], [[0.0, 0.0]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_cuts_nothing_off(bad: float) -> None:
    ball = Ball(Norm.LINF, np.zeros(2), 1.0, -np.ones(2), np.ones(2))
    part = BoxPart(ball, 1.0, -np.ones((1, 2)), np.ones((1, 2)))
    for constants, rows in (([[-np.inf]], [[[1.0, 1.0]]]), ([[-1.0]], [[[bad, 0.0]]])):
        low, high = part.clipped(np.array(constants), np.array(rows), 2)
        assert np.all((low == -1) & (high == 1)), (constants, rows)


def test_a_smaller_radius_cuts_boxes(rng: np.random.Generator) -> None:
    ball: Any = Ball(Norm.LINF, np.zeros(2), 1.0, -np.ones(2), np.ones(2))
    part = BoxPart(ball, 0.25, np.array([[-1.0, 0.0], [0.5, 0.5]]), np.array([[1.0, 0.1], [1.0, 1.0]]))
    assert part.crossed.tolist() == [False, True]
    np.testing.assert_allclose([part.low[0], part.high[0]], [[-0.25, 0.0], [0.25, 0.1]])
