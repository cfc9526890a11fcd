"""The gradient of a goal's smallest row through Sigmoids, against differences."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.network.graph import Graph, GraphBuilder, Sigmoid, outputs
from encoders.network.linear_maps import Dense, readonly
from tests.verifier.bounds.test_smooth_crown import random_goal, random_graph
from verifier.problem.plateau import LEAK
from verifier.problem.query import Ball, Halfspaces
from verifier.solvers.tree.graph_ascent import GraphAscent

STEP = 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_is_that_of_differences(seed: int) -> None:
    graph, goal = random_graph(seed), random_goal(seed)
    ascent = GraphAscent(graph, Ball.of_box(-np.ones(5), np.ones(5)), goal)
    x = np.random.default_rng(seed).normal(size=5)
    value, gradient = ascent.gradient(x)
    assert value == goal.margin(outputs(graph, x))[0]
    for entry, step in enumerate(STEP * np.eye(5)):
        above, below = (ascent.gradient(x + sign * step)[0] for sign in (1.0, -1.0))
        assert gradient[entry] == pytest.approx((above - below) / (2 * STEP), abs=1e-6)
    rows, gradients = ascent.rows(x)
    worst = int(np.argmin(rows))
    assert rows[worst] == value
    np.testing.assert_allclose(gradients[worst], gradient, rtol=1e-12, atol=1e-12)
    assert gradients.shape == (len(goal.offset), 5)


def test_where_the_gradient_vanishes_inactive_relus_leak() -> None:
    ascent = GraphAscent(_plateau(), Ball.of_box(-np.ones(2), np.ones(2)), Halfspaces(np.eye(2), np.zeros(2)))
    _, gradients = ascent.rows(np.array([0.5, 0.25]))
    slope = 1.0 / (1.0 + np.exp(-0.25))
    np.testing.assert_allclose(gradients, [[2.0 * LEAK, 0.0], [0.0, slope * (1.0 - slope)]])


def _plateau() -> Graph:
    """(relu(2·x_0 − 9), sigmoid(x_1))."""
    b = GraphBuilder(2)
    dead = b.relu(b.affine([(Dense(readonly(np.array([[2.0, 0.0]]))), 0)], np.array([-9.0])))
    smooth = b.add(Sigmoid(b.affine([(Dense(readonly(np.array([[0.0, 1.0]]))), 0)]), 1))
    up, down = Dense(readonly(np.array([[1.0], [0.0]]))), Dense(readonly(np.array([[0.0], [1.0]])))
    return b.graph(b.affine([(up, dead), (down, smooth)]))
