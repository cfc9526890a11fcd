"""Bounds that follow from one row, against many points; terms of every shape."""

from __future__ import annotations

import numpy as np

from verifier.solvers.propagation.propagate import CROSSED, FIXED, falls_to, peak, propagate
from verifier.solvers.propagation.rows import SignedRow, rows_of
from verifier.solvers.propagation.trail import NONE, no_nogoods, trail_of


def term(above: float, below: float, value: np.ndarray) -> np.ndarray:
    return np.where(value > 0, above, below) * value


def test_peaks_and_falls_are_those_of_a_grid() -> None:
    rng = np.random.default_rng(0)
    for _ in range(400):
        above, below = rng.integers(-2, 3, 2) / 2.0
        lower, upper = np.sort(rng.integers(-6, 7, 2)) / 2.0
        grid = np.linspace(lower, upper, int(64 * (upper - lower)) + 1)
        values = term(above, below, grid)
        one = tuple(np.array([entry]) for entry in (above, below, lower, upper))
        assert peak(*one)[0] == values.max()
        least = float(rng.integers(-8, 9)) / 2.0
        if least > values.max():
            continue
        kept = grid[values >= least]
        found = falls_to(one[0], one[1], one[3], np.array([least]))[0]
        assert found >= kept.max()
        assert found <= upper
        # Ends that fall fall onto the last point of the term that is large enough, found on a grid that is fine enough.
        if above and below and lower < 0 < upper:
            assert found <= max(kept.max() + 1 / 64, 0.0) + 1e-9


def test_a_row_bounds_its_variables_and_no_point_is_lost() -> None:
    rng = np.random.default_rng(1)
    tightened = crossed = 0
    for _ in range(300):
        size = int(rng.integers(1, 5))
        above, below = rng.integers(-3, 4, (2, size)).astype(float)
        above = np.where((above == 0) & (below == 0), 1.0, above)
        row = SignedRow(np.arange(size), above, below, float(rng.integers(-9, 10)))
        lower, upper = np.sort(rng.integers(-4, 5, (2, size)), axis=0).astype(float)
        trail, clash = trail_of(lower, upper), np.zeros(2, dtype=np.int64)
        done = propagate(rows_of([row], size), no_nogoods(), trail, np.full(2, -1, dtype=np.int64), clash)
        points = rng.uniform(lower, upper, (400, size))
        holds = term(above, below, points).sum(axis=1) + row.constant >= 0
        if done == CROSSED:
            assert not holds.any()
            crossed += 1
            continue
        assert done == FIXED
        inside = (points >= trail.bound[:size]) & (points <= -trail.bound[size:])
        assert inside[holds].all()
        tightened += int(trail.length[0]) > 0
    assert min(tightened, crossed) >= 30


def test_a_contradicted_row_is_named() -> None:
    rows = rows_of(
        [SignedRow(np.arange(1), np.ones(1), np.ones(1), -1.0), SignedRow(np.arange(1), -np.ones(1), -np.ones(1), 0.5)],
        1,
    )
    trail, clash = trail_of(np.zeros(1), np.full(1, 2.0)), np.zeros(2, dtype=np.int64)
    assert propagate(rows, no_nogoods(), trail, np.full(2, -1, dtype=np.int64), clash) == CROSSED
    assert clash[1] in (NONE, 0, 1)
    assert clash[0] in (0, 1)
