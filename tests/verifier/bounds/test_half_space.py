"""How low a linear form gets in a ball and a half-space: the optimum by other means, never more than that."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from encoders.network.graph import Array
from verifier.bounds.half_space import HalfSpace, least
from verifier.problem.query import Ball, Norm

AGREEMENT = 1e-9
"""Relative to the numbers of the question: linprog's own tolerance."""

WON = 0.8
"""Of what a half-space adds to a bound, the mean share that a few multipliers, and in L1 a few entries, find."""

THIRDS = 90
"""Steps of ternary search, each of which leaves two thirds of an interval."""

ROUNDED = 1e-4
"""Relative: the kernel's scales of rows in L2 are of fewer rounds than the reference's."""

BENT = 0.02
"""In L2 the dual is curved, so that a few multipliers come near the one that gives the least."""

BOXES = ("unit", "binary centre", "none")


def drawn(rng: np.random.Generator, norm: Norm, size: int, box: str) -> Ball:
    """A ball of up to half the box in L∞, a third of all entries in L1, half their root in L2."""
    centre, lo, hi = rng.random(size), np.zeros(size), np.ones(size)
    if box == "binary centre":
        centre = np.round(centre)
    elif box == "none":
        lo, hi = lo - np.inf, hi + np.inf
    least, most = {Norm.LINF: (0.01, 0.5), Norm.L1: (0.1, 0.3 * size), Norm.L2: (0.1, 0.5 * size**0.5)}[norm]
    return Ball(norm, centre, rng.uniform(least, most), lo, hi)


def optimum(truth: Any, ball: Ball, row: Array, cut: HalfSpace) -> float:
    """min {row·δ} by linprog, the steps of `truth.ball_rows` having auxiliary ones; in L2 the dual's maximum."""
    if ball.norm is Norm.L2:
        return by_duality(ball, row, cut)
    matrix, limits = truth.ball_rows(ball)
    none = np.zeros(row.size)
    matrix = np.vstack([matrix, np.concatenate([cut.row, none])])
    limits = np.append(limits, cut.amount + cut.row @ ball.centre)
    solved = linprog(np.concatenate([row, none]), A_ub=matrix, b_ub=limits, bounds=(None, None))
    assert solved.status == 0
    return float(solved.fun - row @ ball.centre)


def by_duality(ball: Ball, row: Array, cut: HalfSpace) -> float:
    """max {−S(row + λ cut) − λ amount : λ ≥ 0}, which is concave in λ."""

    def lacking(weight: float) -> float:
        return ball.geometry.fall(row + weight * cut.row, ball.radius) + weight * cut.amount

    low, high = 0.0, 2.0
    while lacking(high) < lacking(0.5 * high) and high < 1e6:
        high *= 2.0
    for _ in range(THIRDS):
        left, right = low + (high - low) / 3.0, high - (high - low) / 3.0
        low, high = (low, right) if lacking(left) < lacking(right) else (left, high)
    return -min(lacking(low), lacking(0.0))


def questions(norm: Norm, box: str) -> Any:
    """Balls, half-spaces that leave some of them, rows: (ball, cut, rows)."""
    for seed in range(25):
        rng = np.random.default_rng(seed)
        size = int(rng.integers(1, 30))
        ball = drawn(rng, norm, size, box)
        row, rows = rng.normal(size=size), rng.normal(size=(4, size))
        if seed % 3 == 0:
            rows[0] = -row
        fall = ball.geometry.fall(row, ball.radius)
        yield ball, HalfSpace(row, float(-fall * rng.choice([-0.2, 0.1, 0.5, 0.9, 0.999]))), rows


def by_numpy(ball: Ball, cut: HalfSpace, rows: Array) -> Array:
    return least(ball.geometry, rows, ball.radius, cut)


def by_kernels(ball: Ball, cut: HalfSpace, rows: Array) -> Array:
    pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")
    from verifier.bounds.kernels import half_space  # noqa: PLC0415 (imports numba)
    from verifier.bounds.kernels.network import surroundings  # noqa: PLC0415

    around = surroundings(ball.geometry)
    made = half_space.cut_of(around, cut.row, cut.amount, ball.radius)
    return np.array([half_space.least(around, made, row, -np.inf) for row in rows])


@pytest.mark.parametrize("way", [by_numpy, by_kernels])
@pytest.mark.parametrize(("norm", "box"), list(itertools.product(Norm, BOXES)))
def test_below_the_optimum_of_an_lp_and_near_it(truth: Any, way: Any, norm: Norm, box: str) -> None:
    shares = []
    for ball, cut, rows in questions(norm, box):
        found, without = way(ball, cut, rows), -ball.geometry.falls(rows, ball.radius)
        for row, value, plain in zip(rows, found.tolist(), without.tolist(), strict=True):
            slack = AGREEMENT * (1.0 + float(np.abs(row).sum()) * ball.radius)
            best = optimum(truth, ball, row, cut)
            looser = slack + (ROUNDED * abs(plain) if norm is Norm.L2 else 0.0)
            assert plain - looser <= value <= best + slack
            if best - plain > 1e-3 * abs(plain):
                shares.append((value - plain) / (best - plain))
    assert len(shares) >= 30
    assert np.mean(shares) >= WON


@pytest.mark.parametrize("way", [by_numpy, by_kernels])
@pytest.mark.parametrize("norm", Norm)
def test_a_half_space_that_leaves_out_nothing_changes_nothing(way: Any, norm: Norm) -> None:
    rng = np.random.default_rng(1)
    ball = drawn(rng, norm, 20, "unit")
    row, rows = rng.normal(size=20), rng.normal(size=(5, 20))
    whole = ball.geometry.fall(-row, ball.radius)
    for amount in (whole, np.inf, np.nan):
        found = way(ball, HalfSpace(row, amount), rows)
        near = ROUNDED if norm is Norm.L2 else AGREEMENT
        np.testing.assert_allclose(found, -ball.geometry.falls(rows, ball.radius), rtol=near)


@pytest.mark.parametrize("way", [by_numpy, by_kernels])
@pytest.mark.parametrize("norm", Norm)
def test_by_hand(way: Any, norm: Norm) -> None:
    """δ1 + δ2 least where δ1 ≥ 0.1: one λ gives it, −0.5 + 0.1 in L∞, 0.1 − 0.4 in L1, 0.1 − √0.24 in L2."""
    ball = Ball(norm, np.array([0.5, 0.5]), 0.5, np.zeros(2), np.ones(2))
    found = way(ball, HalfSpace(np.array([-1.0, 0.0]), -0.1), np.array([[1.0, 1.0]]))
    exact = {Norm.LINF: -0.4, Norm.L1: -0.3, Norm.L2: 0.1 - 0.24**0.5}[norm]
    assert exact - (1e-12 if norm is not Norm.L2 else BENT) <= found[0] <= exact + 1e-12


def test_rooms_that_are_nothing_are_zero() -> None:
    """The smallest float above 0 in their place makes each product with it a denormal number."""
    ball = Ball(Norm.LINF, np.array([0.0, 1.0, 0.5]), 0.5, np.zeros(3), np.ones(3))
    room = ball.geometry.room
    assert room.down.tolist()[0] == 0.0
    assert room.up.tolist()[1] == 0.0
    assert np.all(room.down[1:] >= [1.0, 0.5])
    assert np.all(room.up[[0, 2]] >= [1.0, 0.5])
