"""The gradient of a goal's smallest row through Sigmoids, against differences."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.network.graph import outputs
from tests.verifier.bounds.test_smooth_crown import random_goal, random_graph
from verifier.problem.query import Ball
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
