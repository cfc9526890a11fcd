"""The least value of linear forms over ball ∩ box: never above the truth, and equal to an LP's optimum."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.sparse import csr_array

from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Norm, distance_exact

AGREEMENT = 1e-9
"""Relative to 1 + Σ|ν_i|·(|x0_i| + room): linprog's own tolerance."""


def exact_minimum(region: Ball, row: np.ndarray) -> Fraction:
    """min ν·x over the region in fractions; the centre is inside the box."""
    radius = None if math.isinf(region.radius) else Fraction(region.radius)
    total, gains = Fraction(0), []
    for nu, centre, lo, hi in zip(
        *(map(Fraction, values.tolist()) for values in (row, region.centre)),
        *(values.tolist() for values in (region.lo, region.hi)),
        strict=True,
    ):
        total += nu * centre
        if not nu:
            continue
        end = lo if nu > 0 else hi
        room = None if math.isinf(end) else abs(centre - Fraction(end))
        if radius is not None:
            room = radius if room is None else min(room, radius)
        assert room is not None
        gains.append((abs(nu), room))
    if radius is None or region.norm is Norm.LINF:
        return total - sum((steep * room for steep, room in gains), Fraction(0))
    left = radius
    for steep, room in sorted(gains, reverse=True):
        moved = min(room, left)
        total, left = total - steep * moved, left - moved
    return total


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(1, 7),
    norm=st.sampled_from(list(FLAT_NORMS)),
    radius=st.sampled_from([0.0, 1e-9, 0.1, 0.5, 1.7, 20.0]),
    spread=st.sampled_from([0, 12]),
    box=st.booleans(),
)
def test_never_above_the_exact_minimum(seed: int, size: int, norm: Norm, radius: float, spread: int, box: bool) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(4, size)) * 10.0 ** rng.integers(-spread, spread + 1, (4, size))
    rows[rng.random((4, size)) < 0.2] = 0.0
    centre = np.round(rng.random(size) * 8) / 8 if rng.random() < 0.5 else rng.random(size)
    lo, hi = (np.zeros(size), np.ones(size)) if box else (np.full(size, -np.inf), np.full(size, np.inf))
    region = Ball(norm, centre, radius, lo, hi)
    for row, found in zip(rows, region.geometry.minimum(rows), strict=True):
        exact = exact_minimum(region, row)
        scale = float(np.abs(row) @ (np.abs(centre) + min(radius, 1.0 if box else radius)))
        assert Fraction(float(found)) <= exact
        assert float(exact) - found <= 1e-13 * scale + 1e-200


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_equals_the_optimum_of_an_lp(truth: Any, seed: int, norm: Norm) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 6))
    lo, hi = -rng.random(size), rng.random(size) + 0.5
    if seed % 3 == 0:
        lo, hi = np.full(size, -np.inf), np.full(size, np.inf)
    region = Ball(norm, rng.random(size) * 0.5, float(rng.choice([0.0, 1e-9, 0.2, 1.0, 3.0])), lo, hi)
    row = rng.normal(size=size)
    matrix, limits = truth.ball_rows(region)
    solved = linprog(np.concatenate([row, np.zeros(size)]), A_ub=matrix, b_ub=limits, bounds=(None, None))
    found = float(region.geometry.minimum(row[np.newaxis])[0])
    assert found == pytest.approx(solved.fun, rel=AGREEMENT, abs=AGREEMENT)
    assert Fraction(found) <= exact_minimum(region, row)


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_the_minimiser_attains_the_minimum(norm: Norm) -> None:
    rng = np.random.default_rng(3)
    for radius in (0.0, 1e-9, 0.3, 1.5, math.inf):
        region = Ball(norm, rng.random(5), radius, np.zeros(5), np.ones(5))
        rows = rng.normal(size=(6, 5))
        points = region.geometry.minimiser(rows)
        assert (rows * points).sum(axis=1) == pytest.approx(region.geometry.minimum(rows), abs=1e-12)
        for point in points:
            assert np.all((point >= 0) & (point <= 1))
            assert distance_exact(norm, point, region.centre) <= radius + 1e-15 * 5


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_a_centre_outside_the_box_stays_sound(truth: Any, norm: Norm) -> None:
    rng = np.random.default_rng(5)
    for _ in range(10):
        region = Ball(norm, np.array([-0.25, 0.5, 1.5]), 1.5, np.zeros(3), np.ones(3))
        row = rng.normal(size=3)
        matrix, limits = truth.ball_rows(region)
        solved = linprog(np.concatenate([row, np.zeros(3)]), A_ub=matrix, b_ub=limits, bounds=(None, None))
        assert region.geometry.minimum(row[np.newaxis])[0] <= solved.fun + AGREEMENT


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_a_form_that_reads_an_open_coordinate_has_no_minimum(norm: Norm) -> None:
    region = Ball(norm, np.zeros(2), math.inf, np.array([0.0, -np.inf]), np.array([1.0, np.inf]))
    found = region.geometry.minimum(np.array([[-1.0, 0.0], [1.0, 1e-9]]))
    assert found[0] == pytest.approx(-1.0)
    assert found[1] == -math.inf


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_sizes_cover_every_point(norm: Norm, sparse: bool) -> None:
    """Points of the ball that move one entry as far as it goes reach most of the bound in L1."""
    rng = np.random.default_rng(0)
    ball = Ball(norm, rng.random(6), 0.3, np.full(6, -1.0), np.full(6, 2.0))
    magnitudes = np.abs(rng.normal(size=(4, 6)))
    found = ball.geometry.sizes(csr_array(magnitudes) if sparse else magnitudes)
    moved = ball.centre + 0.3 * np.concatenate([np.eye(6), -np.eye(6), np.ones((1, 6)) * (norm is Norm.LINF)])
    reached = np.abs(moved) @ magnitudes.T
    assert np.all(reached <= found * (1 + 1e-12))
    assert np.all(found <= 1.01 * reached.max(axis=0))
