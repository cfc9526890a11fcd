"""LP bounds: those of the goal's solutions only, tighter than linear ones, and marked as a solver's word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from encoders.network.graph import Graph, GraphBuilder, evaluate
from encoders.network.linear_maps import Dense, readonly
from encoders.network.node_bounds import NodeBounds, unstable_count
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.interval import interval_bounds
from verifier.bounds.lp_tightening import LP_SLACK, lp_bounds
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces, Norm, Targeted, disjuncts

NEVER_BINDS = 1e6
"""An offset that makes a goal hold everywhere: LP bounds are then those of the whole region."""


def widths(bounds: NodeBounds, graph: Graph) -> np.ndarray:
    """The widths of all ReLU arguments whose sign is open."""
    sources = sorted({graph.nodes[relu].sources[0] for relu in graph.relus()})
    return np.concatenate([(bounds.upper[i] - bounds.lower[i])[bounds.unstable(i)] for i in sources])


def free_goal(size: int) -> Halfspaces:
    return Halfspaces(np.eye(size), np.full(size, NEVER_BINDS))


def tightened(graph: Any, region: Ball, goal: Halfspaces) -> NodeBounds | None:
    return lp_bounds(graph, linear_bounds(graph, region, Budget()), goal, Budget())


@pytest.mark.parametrize("name", ["dense", "conv", "residual", "tiny"])
def test_every_value_is_inside_up_to_the_solver(make_setting: Any, name: str, norm: Norm) -> None:
    setting = make_setting(name, "clipping box", norm)
    bounds = tightened(setting.graph, setting.region, free_goal(setting.graph.output_size))
    assert bounds is not None
    assert len(setting.points) >= 8
    values = evaluate(setting.graph, np.array(setting.points))
    for value, lower, upper in zip(values, bounds.lower, bounds.upper, strict=True):
        assert np.all(value >= lower - 1e-9)
        assert np.all(value <= upper + 1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_points_of_the_goal_are_inside(truth: Any, seed: int) -> None:
    net = truth.net(seed, (3, 6, 6, 3))
    rng = np.random.default_rng(seed)
    points = rng.random((4000, 3))
    region = Ball(Norm.LINF, np.full(3, 0.5), np.inf, net.lo, net.hi)
    values = evaluate(net.graph, points)
    target = int(np.argmax(np.bincount(np.argmax(values[-1], axis=1), minlength=3)))
    goal = disjuncts(Targeted(target), 3)[0][1]
    kept = goal.margin(values[-1]) >= 0
    assert kept.sum() > 100
    bounds = tightened(net.graph, region, goal)
    assert bounds is not None
    for value, lower, upper in zip(values, bounds.lower, bounds.upper, strict=True):
        assert np.all(value[kept] >= lower - 1e-9)
        assert np.all(value[kept] <= upper + 1e-9)


def test_open_signs_fall_from_interval_to_linear_to_lp(truth: Any) -> None:
    totals, width = [0, 0, 0], [0.0, 0.0, 0.0]
    for seed in range(8):
        net = truth.net(seed, (3, 8, 8, 8, 3))
        region = Ball(Norm.LINF, np.full(3, 0.5), 0.3, net.lo, net.hi)
        wide = interval_bounds(net.graph, region)
        linear = linear_bounds(net.graph, region, Budget())
        lp = lp_bounds(net.graph, linear, free_goal(3), Budget())
        assert lp is not None
        for place, bounds in enumerate((wide, linear, lp)):
            totals[place] += unstable_count(net.graph, bounds)
            width[place] += float(widths(bounds, net.graph).sum())
    assert totals[0] > totals[1] > totals[2] > 0
    assert width[0] > width[1] > width[2]


def test_by_hand_with_the_slack() -> None:
    """relu(x) − relu(x − 1/2) over 0 ≤ x ≤ 1 is at most 1/2; its argument's LP bound may not fall below that."""
    builder = GraphBuilder(1)
    hidden = builder.relu(builder.affine([(Dense(readonly([[1.0], [1.0]])), 0)], [0.0, -0.5]))
    argument = builder.affine([(Dense(readonly([[1.0, -1.0]])), hidden)], [-0.375])
    graph = builder.graph(builder.relu(argument))
    region = Ball(Norm.LINF, np.array([0.5]), 0.5, np.zeros(1), np.ones(1))
    bounds = lp_bounds(graph, interval_bounds(graph, region), Halfspaces(np.eye(1), np.ones(1)), Budget())
    assert bounds is not None
    assert not bounds.proved
    assert bounds.upper[3][0] == pytest.approx(0.125, abs=3 * LP_SLACK)
    assert bounds.upper[3][0] > 0.125
    assert bounds.lower[3][0] < -0.375


def test_no_solution_in_common_with_the_goal() -> None:
    builder = GraphBuilder(1)
    graph = builder.graph(builder.relu(builder.affine([(Dense(readonly([[1.0]])), 0)], [-0.5])))
    region = Ball(Norm.LINF, np.array([0.5]), 0.5, np.zeros(1), np.ones(1))
    assert tightened(graph, region, Halfspaces(np.eye(1), np.array([-2.0]))) is None
    assert tightened(graph, region, Halfspaces(np.eye(1), np.array([-0.25]))) is not None


def test_the_goal_cuts() -> None:
    """relu(x − 1/2) ≥ 1/4 leaves x − 1/2 in [1/4, 1/2] after the LP: the sign is settled."""
    builder = GraphBuilder(1)
    graph = builder.graph(builder.relu(builder.affine([(Dense(readonly([[1.0]])), 0)], [-0.5])))
    region = Ball(Norm.LINF, np.array([0.5]), 0.5, np.zeros(1), np.ones(1))
    bounds = tightened(graph, region, Halfspaces(np.eye(1), np.array([-0.25])))
    assert bounds is not None
    assert bounds.lower[1][0] == pytest.approx(0.0, abs=1e-5)
    assert tightened(graph, region, free_goal(1)).lower[1][0] == pytest.approx(-0.5, abs=1e-5)


def test_untouched_bounds_stay_proved(truth: Any) -> None:
    net = truth.net(0, (3, 6, 3))
    region = Ball(Norm.LINF, np.full(3, 0.5), 0.3, net.lo, net.hi)
    bounds = linear_bounds(net.graph, region, Budget())
    same = lp_bounds(net.graph, bounds, free_goal(3), Budget(0.0))
    assert same is not None
    assert same.proved
    touched = lp_bounds(net.graph, bounds, free_goal(3), Budget())
    assert touched is not None
    assert not touched.proved
    for found, expected in zip((*same.lower, *same.upper), (*bounds.lower, *bounds.upper), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_layer_without_open_signs_is_left_out() -> None:
    builder = GraphBuilder(1)
    graph = builder.graph(builder.relu(builder.affine([(Dense(readonly([[1.0]])), 0)], [1.0])))
    region = Ball(Norm.L1, np.array([0.5]), 0.5, np.zeros(1), np.ones(1))
    bounds = linear_bounds(graph, region, Budget())
    same = lp_bounds(graph, bounds, free_goal(1), Budget())
    assert same is not None
    assert same.proved
