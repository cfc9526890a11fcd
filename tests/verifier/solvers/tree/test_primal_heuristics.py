"""Descents stay inside ball and box, end no worse than they begin, and report the margin of the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.network.graph import Array, outputs
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Halfspaces, Norm, distance_exact
from verifier.solvers.tree.goal_ascent import GoalAscent
from verifier.solvers.tree.primal_heuristics import Drawing, GradientDescent

SIZES = ((3, 5, 3), (4, 4, 4, 3), (2, 4, 3, 3, 2))

ROUNDING = 1e-12
"""Sums of a few products of size 1 to 100, and steps of length at most 4 that are added to numbers below 2."""

question = given(
    seed=st.integers(0, 2**16),
    sizes=st.sampled_from(SIZES),
    norm=st.sampled_from(list(FLAT_NORMS)),
    rows=st.integers(0, 3),
)


def goal_of(root: Any) -> GoalAscent:
    return GoalAscent(root.stages, root.ball, root.goal)


def assert_within(ball: Ball, x: Array, radius: float) -> None:
    assert np.all((x >= ball.lo - ROUNDING) & (x <= ball.hi + ROUNDING))
    assert distance_exact(ball.norm, x, ball.centre) <= radius + ROUNDING


@pytest.mark.long
@settings(max_examples=100, deadline=None)
@question
def test_a_descent_stays_inside_and_ends_no_worse(
    make_root: Callable[..., Any], seed: int, sizes: tuple[int, ...], norm: Norm, rows: int
) -> None:
    root = make_root(seed, sizes, norm, rows)
    found = goal_of(root)
    for share in (1.0, 0.3):
        radius = share * root.ball.radius
        for start in root.within(radius).points(seed, 4):
            for steps in (1, 12):
                x, margin = GradientDescent(found, steps).search(start, radius)
                assert_within(root.ball, x, radius)
                assert margin == pytest.approx(found.margin(x), abs=ROUNDING)
                assert margin >= found.margin(start) - ROUNDING
                if steps == 1 or found.margin(start) >= 0:
                    np.testing.assert_array_equal(x, start)


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_descents_climb_towards_the_goal(make_root: Callable[..., Any], norm: Norm) -> None:
    """Where the largest margin of the ball is above the centre's, most descents from the centre gain a good part."""
    shares = []
    for seed in range(20):
        root = make_root(seed, SIZES[0], norm, seed % 4, radius=0.25)
        start, most = goal_of(root).margin(root.ball.centre), root.net.largest_margin(root.ball, root.goal)
        if start < -0.1 and most > start + 0.01:
            gained = GradientDescent(goal_of(root)).search(root.ball.centre, root.ball.radius)[1] - start
            assert gained <= max(0.0, most) - start + 1e-6
            shares.append(gained / (min(0.0, most) - start))
    assert len(shares) >= 10
    assert np.median(shares) > 0.5


@pytest.mark.parametrize("norm", FLAT_NORMS)
@pytest.mark.parametrize("low", [-np.inf, 0.0])
def test_a_box_without_ends(make_root: Callable[..., Any], norm: Norm, low: float) -> None:
    climbed = 0
    for seed in range(6):
        root = make_root(seed, SIZES[1], norm)
        ball = Ball(norm, root.ball.centre, 0.7, np.full(4, low), np.full(4, np.inf))
        far = Halfspaces(root.goal.matrix, root.goal.offset - 100.0)
        x, margin = GradientDescent(GoalAscent(root.stages, ball, far)).search(ball.centre, ball.radius)
        assert_within(ball, x, ball.radius)
        climbed += margin > float(far.margin(outputs(root.net.graph, ball.centre))[0])
    assert climbed >= 3


@settings(max_examples=100, deadline=None)
@question
def test_a_drawn_point_still_reaches_the_goal(
    make_root: Callable[..., Any], seed: int, sizes: tuple[int, ...], norm: Norm, rows: int
) -> None:
    root = make_root(seed, sizes, norm, rows)
    found, centre = goal_of(root), root.ball.centre
    for x in root.points(seed, 8):
        length = float(distance_exact(norm, x, centre))
        if found.margin(x) >= 0 and length > 0:
            drawn, radius = Drawing(found).improve(x, length, Budget())
            assert_within(root.ball, drawn, radius)
            assert found.margin(drawn) >= 0
            assert_within(root.ball, drawn, length)
            unmoved, same = Drawing(found).improve(x, length, Budget(0.0))
            np.testing.assert_array_equal(unmoved, x)
            assert same == length


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_points_are_drawn_to_a_centre_that_reaches_the_goal(make_root: Callable[..., Any], norm: Norm) -> None:
    """Nearly always all the way: small ascents may lead aside."""
    shares = []
    for seed in range(60):
        root = make_root(seed, SIZES[0], norm, seed % 4)
        found, centre = goal_of(root), root.ball.centre
        for x in root.points(seed, 8):
            length = float(distance_exact(norm, x, centre))
            if found.margin(centre) >= 0 and found.margin(x) >= 0 and length > 0:
                drawn, _ = Drawing(found).improve(x, length, Budget())
                shares.append(float(distance_exact(norm, drawn, centre)) / length)
    assert len(shares) >= 6
    assert np.median(shares) <= 0.02


@pytest.mark.long
@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_far_points_are_drawn_as_near_as_the_nearest_of_many(make_root: Callable[..., Any], norm: Norm) -> None:
    excess = []
    for seed in range(60):
        root = make_root(seed, SIZES[0], norm, seed % 4)
        found, centre = goal_of(root), root.ball.centre
        lengths = {float(distance_exact(norm, x, centre)): x for x in root.points(seed, 200) if found.margin(x) >= 0}
        if found.margin(centre) < 0 and lengths:
            drawn, _ = Drawing(found).improve(lengths[max(lengths)], max(lengths), Budget())
            excess.append(float(distance_exact(norm, drawn, centre)) / min(lengths))
    assert len(excess) >= 6
    assert np.median(excess) <= 1.0
