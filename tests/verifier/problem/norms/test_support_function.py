"""How far a linear form falls inside a ball: linprog's optimum, its inverse in the radius, the farthest point."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from encoders.network.graph import Array
from verifier.problem.norms.l1 import KNAPSACK_SPARE, knapsack_threshold
from verifier.problem.norms.linf import TANGENTS
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Norm, distance_exact

AGREEMENT = 1e-9
"""Relative to Σ|g_i|·radius: linprog's own tolerance."""

ROUNDING = 1e-13
"""Relative to Σ|g_i|·radius: float64 sums of some dozen products."""

BOXES = ("unit", "centre on the border", "unbounded", "half-bounded", "one entry fixed", "far away")


def drawn_ball(rng: np.random.Generator, norm: Norm, size: int, box: str, radius: float) -> Ball:
    centre, lo, hi = rng.random(size), np.zeros(size), np.ones(size)
    match box:
        case "centre on the border":
            centre = np.round(centre)
        case "unbounded":
            lo, hi = lo - np.inf, hi + np.inf
        case "half-bounded":
            lo = lo - np.inf
        case "one entry fixed":
            lo[0] = hi[0] = centre[0]
        case "far away":
            lo, hi, centre = lo + 1000.0, hi + 1000.0, centre + 1000.0
    return Ball(norm, centre, radius, lo, hi)


def drawn_row(rng: np.random.Generator, size: int) -> Array:
    """Some entries are 0, some alike."""
    row = rng.normal(size=size) * 10.0 ** rng.integers(-3, 4, size)
    row[rng.random(size) < 0.2] = 0.0
    return np.where(rng.random(size) < 0.2, 0.5, row)


def optimum(truth: Any, ball: Ball, row: Array) -> float:
    """max {g·(x0 − x) : x in the ball} by linprog."""
    matrix, limits = truth.ball_rows(ball)
    cost = np.concatenate([row, np.zeros(row.size)])
    solved = linprog(cost, A_ub=matrix, b_ub=limits, bounds=(None, None))
    assert solved.status == 0
    return float(row @ ball.centre - solved.fun)


def scale(row: Array, radius: float) -> float:
    return float(np.abs(row).sum()) * radius + 1e-300


question = given(
    seed=st.integers(0, 2**32),
    size=st.integers(1, 9),
    norm=st.sampled_from(list(FLAT_NORMS)),
    box=st.sampled_from(BOXES),
    radius=st.sampled_from([1e-9, 0.1, 0.5, 1.0, 1.7, 20.0]),
)


@settings(max_examples=150, deadline=None)
@question
def test_equals_the_optimum_of_an_lp(truth: Any, seed: int, size: int, norm: Norm, box: str, radius: float) -> None:
    rng = np.random.default_rng(seed)
    ball = drawn_ball(rng, norm, size, box, radius)
    found, rows = ball.geometry, np.array([drawn_row(rng, size) for _ in range(3)])
    largest = found.falls(rows, radius)
    for row, most in zip(rows, largest.tolist(), strict=True):
        slack = AGREEMENT * scale(row, radius) + 1e-12 * float(np.abs(row) @ np.abs(ball.centre))
        exactly = found.fall(row, radius)
        assert exactly == pytest.approx(optimum(truth, ball, row), abs=slack)
        # So few entries are all sorted: both ways give the same.
        assert most == pytest.approx(exactly, abs=ROUNDING * scale(row, radius))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), radius=st.sampled_from([0.01, 0.7, 3.0, 9.5]), box=st.sampled_from(BOXES))
def test_sorting_the_steepest_only_stays_above(seed: int, radius: float, box: str) -> None:
    rng = np.random.default_rng(seed)
    size = 3 * KNAPSACK_SPARE + 20
    assert size > 2 * radius + KNAPSACK_SPARE
    ball = drawn_ball(rng, Norm.L1, size, box, radius)
    found, row = ball.geometry, drawn_row(rng, size)
    most, exactly = float(found.falls(row[np.newaxis], radius)[0]), found.fall(row, radius)
    assert most >= exactly * (1.0 - ROUNDING)
    if box == "unbounded":
        assert most == pytest.approx(exactly)


def test_any_threshold_gives_an_upper_bound() -> None:
    """… and the threshold that is used is one at which the budget is spent."""
    rng = np.random.default_rng(2)
    steep, room = np.abs(rng.normal(size=(5, 40))), rng.random((5, 40))
    threshold = knapsack_threshold(steep, room, 2.0, 2 * 2 + KNAPSACK_SPARE)
    for slopes, widths, tau in zip(steep, room, threshold, strict=True):
        assert widths[slopes > tau].sum() <= 2.0 <= widths[slopes >= tau].sum()


@settings(max_examples=200, deadline=None)
@question
def test_the_radius_uses_up_the_amount(seed: int, size: int, norm: Norm, box: str, radius: float) -> None:
    """S(r) ≤ amount, and no larger radius will do, unless `most` is reached."""
    rng = np.random.default_rng(seed)
    found, row = drawn_ball(rng, norm, size, box, radius).geometry, drawn_row(rng, size)
    amount = found.fall(row, radius) * float(rng.choice([0.0, 1e-6, 0.3, 0.9, 1.0, 1.1]))
    reached = found.excluded(row, amount, radius)
    slack = ROUNDING * scale(row, radius)
    assert 0.0 <= reached <= radius
    assert found.fall(row, reached) <= amount + slack
    assert reached == radius or found.fall(row, reached) >= amount - slack
    assert found.excluded(row, -1e-300, radius) == 0.0


@pytest.mark.parametrize("norm", FLAT_NORMS)
@pytest.mark.parametrize("row", [np.zeros(2), np.array([2.0, -1.0])], ids=str)
def test_an_amount_that_is_no_number_excludes_nothing(norm: Norm, row: Array) -> None:
    """Bounds that overflow give such amounts; a node is closed by the radius."""
    found = Ball(norm, np.array([0.5, 0.75]), 1.0, np.zeros(2), np.ones(2)).geometry
    assert found.excluded(row, float("nan"), 5.0) == 0.0
    assert found.excluded(row, -np.inf, 5.0) == 0.0


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_the_radius_by_hand(norm: Norm) -> None:
    """g = (2, −1), rooms 1/2 below and 1/4 above: S rises with slope 3 (2 in L1), then 2 (1), then 0."""
    ball = Ball(norm, np.array([0.5, 0.75]), 1.0, np.zeros(2), np.ones(2))
    found, row = ball.geometry, np.array([2.0, -1.0])
    kinks = {0.375: 0.125, 0.75: 0.25, 1.0: 0.375} if norm is Norm.LINF else {0.5: 0.25, 1.0: 0.5, 1.125: 0.625}
    for amount, radius in kinks.items():
        assert found.excluded(row, amount, 5.0) == pytest.approx(radius, rel=1e-12)
        assert found.fall(row, radius) == pytest.approx(amount, rel=1e-12)
    assert found.fall(row, 5.0) == pytest.approx(1.25, rel=1e-12)
    assert found.excluded(row, 1.3, 5.0) == 5.0
    assert found.excluded(row, 1.3, 0.25) == 0.25
    assert found.excluded(np.zeros(2), 0.1, 5.0) == 5.0


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("unit", [2.0**-560, 2.0**520], ids=str)
def test_the_radius_is_the_same_in_every_unit(norm: Norm, unit: float) -> None:
    """Squares of slopes neither vanish nor overflow."""
    found = Ball(norm, np.zeros(3), 1.0, np.array([-1.0, -1.0, 0.0]), np.ones(3)).geometry
    row = np.array([1.0, 1.0, 0.5])
    for amount in (0.4, 1.3, 1.9):
        assert found.excluded(unit * row, unit * amount, 2.0) == pytest.approx(
            found.excluded(row, amount, 2.0), rel=1e-12
        )


def test_more_kinks_than_tangents_leave_a_valid_radius() -> None:
    """Rooms and slopes that grow so that each tangent passes few kinks: what is found is too small at most."""
    steps = np.arange(3 * TANGENTS, dtype=float)
    room = 1.2**steps
    found = Ball(Norm.LINF, room, 1.0, np.zeros(room.size), room).geometry
    row = 1.2 ** (-2.0 * steps)
    for share in (0.5, 0.9, 0.999):
        amount = share * float(row @ room)
        assert found.fall(row, found.excluded(row, amount, float(room[-1]))) <= amount * (1.0 + ROUNDING)


@settings(max_examples=150, deadline=None)
@question
def test_the_farthest_point_attains(seed: int, size: int, norm: Norm, box: str, radius: float) -> None:
    rng = np.random.default_rng(seed)
    ball = drawn_ball(rng, norm, size, box, radius)
    found, row = ball.geometry, drawn_row(rng, size)
    x = found.farthest(row, radius)
    near = 1e-12 * float(1.0 + np.abs(ball.centre).max())  # centre + move is rounded
    assert np.all((x >= ball.lo) & (x <= ball.hi))
    assert distance_exact(norm, x, ball.centre) <= radius + size * near
    assert row @ (ball.centre - x) == pytest.approx(found.fall(row, radius), abs=near * float(np.abs(row).sum()))


@settings(max_examples=100, deadline=None)
@question
def test_gains_are_what_the_entries_add(seed: int, size: int, norm: Norm, box: str, radius: float) -> None:
    """S(r) = Σ gains + price · r: the price is 0 in L∞, and that of the entry that spends the rest of r in L1."""
    rng = np.random.default_rng(seed)
    ball = drawn_ball(rng, norm, size, box, radius)
    found, row = ball.geometry, drawn_row(rng, size)
    gains = found.gains(row, radius, np.ones(row.size, dtype=np.bool_))
    assert np.all(gains >= 0.0)
    slack = ROUNDING * scale(row, radius)
    if norm is Norm.LINF:
        assert gains.sum() == pytest.approx(found.fall(row, radius), abs=slack)
        return
    price = (found.fall(row, radius) - float(gains.sum())) / radius
    assert price >= -slack / radius
    assert np.all(gains[np.abs(row) < price * (1.0 - ROUNDING)] == 0.0)
    rooms = np.minimum(np.where(row > 0, ball.centre - ball.lo, ball.hi - ball.centre), radius)
    np.testing.assert_allclose(gains, np.maximum(np.abs(row) - price, 0.0) * rooms, rtol=0, atol=10 * slack)
