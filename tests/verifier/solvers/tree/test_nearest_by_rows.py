"""Nearest points under rows that are added in two parts, against LPs and least squares over all of them at once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Norm
from verifier.runtime.activation_region import LinearRegion, nearest
from verifier.solvers.tree.nearest_by_rows import row_solver

SAME = 1e-6
"""What two solvers' optima may differ by."""

SIZE = 6


def question(seed: int, norm: Norm) -> tuple[Ball, np.ndarray, np.ndarray]:
    """Eight rows, of which some are met by the centre; some entries of it at the ends of the box."""
    rng = np.random.default_rng(seed)
    centre = np.clip(rng.normal(0.5, 0.4, SIZE), 0.0, 1.0)
    ball = Ball(norm, centre, math.inf, np.zeros(SIZE), np.ones(SIZE))
    rows = rng.normal(size=(8, SIZE))
    inside = rng.random(SIZE)
    return ball, rows, rows @ inside + rng.random(8) * (0.0 if seed % 5 == 0 else 0.3) - (0.4 if seed % 7 == 6 else 0.0)


@pytest.mark.parametrize("norm", Norm)
def test_the_nearest_point_is_that_of_all_rows_at_once(norm: Norm) -> None:
    reached = 0
    for seed in range(40):
        ball, rows, limits = question(seed, norm)
        expected = nearest(LinearRegion(rows[1:], limits[1:], (-rows[:1], limits[:1])), ball, Budget())
        solver = row_solver(ball)
        assert solver is not None
        solver.add(rows[:3], limits[:3])
        first = solver.nearest(math.inf, Budget())
        solver.add(rows[3:], limits[3:])
        found = solver.nearest(math.inf, Budget())
        assert (found is None) == (expected is None)
        if found is None or expected is None:
            continue
        reached += 1
        length = float(ball.length(found.point))
        assert length == pytest.approx(float(ball.length(expected)), abs=SAME)
        assert np.all(rows @ found.point <= limits + SAME)
        assert np.all((found.point >= 0) & (found.point <= 1))
        assert first is not None
        assert float(ball.length(first.point)) <= length + SAME
        assert found.pull.shape == (8,)
        assert np.all(found.pull >= 0)
        assert np.all(found.pull * (limits - rows @ found.point) <= 1e-4)
        if length > SAME:
            assert found.pull.max() > 0
            again = row_solver(ball)
            assert again is not None
            again.add(rows, limits)
            assert again.nearest(0.9 * length, Budget()) is None
            assert again.nearest(1.1 * length, Budget()) is not None
    assert 20 <= reached < 40


@pytest.mark.parametrize("norm", Norm)
def test_rows_of_zeros_are_met_everywhere_or_nowhere(norm: Norm) -> None:
    ball, rows, limits = question(1, norm)
    for limit, holds in ((0.0, True), (-1e-3, False)):
        solver = row_solver(ball)
        assert solver is not None
        solver.add(np.vstack([rows[:2], np.zeros((1, SIZE))]), np.append(limits[:2], limit))
        assert (solver.nearest(math.inf, Budget()) is not None) == holds


@pytest.mark.parametrize("norm", Norm)
def test_the_budget_ends_it(norm: Norm) -> None:
    ball, rows, limits = question(1, norm)
    solver = row_solver(ball)
    assert solver is not None
    solver.add(rows, limits)
    with pytest.raises(OutOfTimeError):
        solver.nearest(math.inf, Budget(0.0))
