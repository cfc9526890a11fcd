"""Walks end at points that reach the goal, no farther than the nearest point of the region that they began in."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from encoders.network.graph import Array
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Norm
from verifier.runtime.activation_region import nearest, region_of
from verifier.solvers.tree import region_walk
from verifier.solvers.tree.goal_ascent import GoalAscent
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.region_walk import GAINED, RegionWalk

SIZES = ((3, 5, 5, 3), (2, 4, 4, 4, 2), (4, 6, 6, 2))

SLACK = 1e-4

SAME = 1e-6
"""What two solvers' optima may differ by."""


def walk_of(found: Any, flips: int) -> RegionWalk:
    unknown = np.full(found.stages.relu_count, math.inf)
    root = TreeRoot(found.stages, found.ball, found.goal, -unknown, unknown, slack=SLACK)
    return RegionWalk(root, GoalAscent(found.stages, found.ball, found.goal), flips)


def starts(found: Any, seed: int) -> list[Array]:
    """Points that reach the goal, and are not the centre's own region's."""
    goal = GoalAscent(found.stages, found.ball, found.goal)
    return [x for x in found.points(seed, 12) if goal.margin(x) >= 0 and float(found.ball.length(x)) > 0.01]


@pytest.mark.parametrize("borders", [1, 48])
@pytest.mark.parametrize("norm", Norm)
def test_a_walk_ends_no_farther_than_its_first_region_is(
    make_root: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, norm: Norm, borders: int
) -> None:
    monkeypatch.setattr(region_walk, "FIRST_BORDERS", borders)
    walked = nearer = 0
    for seed in range(12):
        root = make_root(seed, SIZES[seed % len(SIZES)], norm, rows=seed % 3)
        walk, ball = walk_of(root, 6), root.ball
        for x in starts(root, seed):
            length = float(ball.length(x))
            point, radius = walk.improve(x, length, Budget())
            assert float(ball.length(point)) == pytest.approx(radius)
            assert radius <= length
            assert walk.goal.margin(point) >= 0
            assert np.all((point >= ball.lo) & (point <= ball.hi))
            region = region_of(root.net.graph, x, root.goal)
            assert region is not None
            least = nearest(region, ball, Budget())
            assert least is not None
            assert radius <= float(ball.length(least)) * (1 + 1e-6) + (1.0 + GAINED) * SLACK + SAME
            walked += 1
            nearer += radius < float(ball.length(least)) - SAME
    assert walked >= 15
    assert nearer >= 3


@pytest.mark.parametrize("norm", Norm)
def test_borders_are_crossed_to_nearer_points(make_root: Callable[..., Any], norm: Norm) -> None:
    """With flips a walk ends no farther than without, and sometimes nearer; the minimum is never undercut."""
    gained = 0
    for seed in range(12):
        root = make_root(seed, SIZES[seed % len(SIZES)], norm)
        for x in starts(root, seed):
            length = float(root.ball.length(x))
            (_, without), (_, crossed) = (walk_of(root, flips).improve(x, length, Budget()) for flips in (0, 6))
            assert root.nearest <= crossed + SAME
            gained += crossed < without - 10 * SLACK
    assert gained >= 1


def test_what_lies_beyond_the_radius_is_told(make_root: Callable[..., Any]) -> None:
    roots = [make_root(seed, SIZES[0], Norm.LINF) for seed in range(8)]
    root, x = next((root, x) for seed, root in enumerate(roots) for x in starts(root, seed))
    walk = walk_of(root, 6)
    point, radius = walk.improve(x, 0.5 * root.nearest, Budget())
    assert math.isinf(radius)
    np.testing.assert_array_equal(point, x)
    with pytest.raises(OutOfTimeError):
        walk.improve(x, float(root.ball.length(x)), Budget(0.0))
