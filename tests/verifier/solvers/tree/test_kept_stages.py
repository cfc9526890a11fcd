"""Stages without the ReLUs that a root fixes at 0: fewer, of the same outputs at every point of its ball."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.formulations.to_stages import to_stages
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Norm
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.tree.kept_stages import kept_stages

from ...bounds.conftest import NETS, SHAPES, drawn

ROUNDING = 1e-12


@pytest.mark.parametrize("net", SHAPES)
@pytest.mark.parametrize("radius", [0.0, 0.02, 0.2])
def test_outputs_are_those_of_the_network(net: str, radius: float) -> None:
    left = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        graph = NETS[net](rng)
        stages, size = to_stages(graph), graph.input_size
        ball = Ball(Norm.LINF, rng.random(size), radius, np.zeros(size), np.ones(size))
        _, upper = hidden_bounds(stages, linear_bounds(graph, ball, Budget()))
        found, points = kept_stages(stages, upper), ball.centre[np.newaxis] if radius == 0.0 else drawn(ball)
        (wanted, outputs), (arguments, values) = stages.values(points), found.values(points)
        np.testing.assert_allclose(values, outputs, rtol=ROUNDING, atol=ROUNDING)
        np.testing.assert_allclose(arguments, wanted[:, upper > 0], rtol=ROUNDING, atol=ROUNDING)
        left += stages.relu_count - found.relu_count
        assert found.relu_count == np.count_nonzero(upper > 0)
    assert left > 0


def test_none_is_kept() -> None:
    graph = NETS["dense"](np.random.default_rng(0))
    stages = to_stages(graph)
    found = kept_stages(stages, np.zeros(stages.relu_count))
    arguments, values = found.values(np.zeros((3, graph.input_size)))
    assert arguments.shape == (3, 0)
    np.testing.assert_array_equal(values, np.tile(stages.output.constant, (3, 1)))
