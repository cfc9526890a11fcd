"""The LPs of one activation region against an enumeration of all regions: nearest and deepest points."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from encoders.network.graph import Array
from verifier.problem.budget import Budget
from verifier.problem.query import Norm
from verifier.runtime.activation_region import LinearRegion, deepest, nearest, region_of

SAME = 1e-6
"""What two solvers' optima of one LP may differ by."""

NEAR = 1e-4
"""What halving may leave of the depth of a round ball's deepest point."""

SIZES = ((3, 5, 5, 3), (2, 4, 4, 4, 2), (4, 3, 6, 2, 2), (3, 3))


def in_region(region: LinearRegion, x: Array) -> bool:
    return bool(np.all(region.rows @ x <= region.limits + SAME))


def in_box(net: Any, x: Array) -> bool:
    return bool(np.all(x >= net.lo) and np.all(x <= net.hi))


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("seed", range(8))
def test_nearest_and_deepest_points_are_those_of_the_enumerated_region(make_root: Any, seed: int, norm: Norm) -> None:
    """At points inside a region, not on its border; the box cuts off moves."""
    root, compared, reached = make_root(seed, SIZES[seed % len(SIZES)], norm, rows=seed % 3), 0, 0
    ball, goal = root.ball, root.goal
    for x in root.points(seed):
        pieces = [piece for piece in root.net.pieces if np.all(piece.rows @ x < piece.limits)]
        region = region_of(root.net.graph, x, goal)
        assert region is not None
        if not pieces:
            continue
        (piece,) = pieces
        compared += 1
        expected = root.net._nearest(piece, norm, ball.centre, goal)
        point = nearest(region, ball, Budget())
        assert (point is None) == math.isinf(expected)
        if point is not None:
            assert in_region(region, point)
            assert in_box(root.net, point)
            assert float(ball.length(point)) == pytest.approx(expected, abs=SAME)
            reached += 1
        margin = root.net._margin(piece, ball, goal)
        point = deepest(region, ball, Budget())
        assert point is not None
        assert in_region(region, point)
        assert root.holds(point, slack=SAME)
        matrix, offset = region.goal
        assert float(np.min(matrix @ point + offset)) == pytest.approx(
            margin, abs=SAME if ball.geometry.has_flat_sides else NEAR
        )
    assert compared >= 2


def test_a_region_that_the_ball_misses_has_no_deepest_point(make_root: Any) -> None:
    root = make_root(0, SIZES[0], Norm.L1, radius=1e-3)
    rows = np.eye(root.ball.centre.size)[:1]
    beyond = LinearRegion(-rows, -rows @ root.ball.centre - 1.0, (rows, np.zeros(1)))
    assert deepest(beyond, root.ball, Budget()) is None


def test_numbers_that_no_lp_takes_give_no_point(make_root: Any) -> None:
    root = make_root(0, SIZES[0], Norm.LINF, radius=0.5)
    rows = np.full((1, root.ball.centre.size), math.nan)
    assert nearest(LinearRegion(rows, np.zeros(1), (rows, np.zeros(1))), root.ball, Budget()) is None
