"""Linear bounds contain every exact value; optimising never loosens; goal bounds stay above every margin."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from encoders.network.exact import exact_outputs
from encoders.network.graph import Graph, GraphBuilder
from encoders.network.linear_maps import Conv, Dense, identity, readonly
from encoders.network.node_bounds import NodeBounds, unstable_count
from verifier.bounds.alpha_crown import Effort, goal_upper, linear_bounds, optimised_lower
from verifier.bounds.crown import LinearRelaxation
from verifier.bounds.interval import interval_bounds
from verifier.problem import rounding
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces, Norm, Targeted, disjuncts

NO_WORK = Effort(neuron_iterations=0, goal_iterations=0)
WORK = Effort(neuron_iterations=8, goal_iterations=25)


def test_every_exact_value_is_inside(setting: Any) -> None:
    for effort in (NO_WORK, WORK):
        bounds = linear_bounds(setting.graph, setting.region, Budget(), effort)
        assert bounds.proved
        setting.contains(bounds)


def test_never_wider_than_intervals(setting: Any) -> None:
    wide = interval_bounds(setting.graph, setting.region)
    tight = linear_bounds(setting.graph, setting.region, Budget())
    for index in range(len(setting.graph.nodes)):
        slack = 1e-12 * (1.0 + wide.magnitude(index))
        assert np.all(tight.lower[index] >= wide.lower[index] - slack)
        assert np.all(tight.upper[index] <= wide.upper[index] + slack)


def test_optimised_slopes_are_never_looser(setting: Any) -> None:
    """On the same intermediate bounds, for both signs of every output."""
    graph = setting.graph
    relaxation = LinearRelaxation(graph, setting.region, interval_bounds(graph, setting.region), Budget())
    eye = np.eye(graph.output_size)
    rows, offset = np.vstack([eye, -eye]), np.zeros(2 * graph.output_size)
    plain = optimised_lower(relaxation, graph.output, rows, offset, 0, Budget())
    optimised = optimised_lower(relaxation, graph.output, rows, offset, 12, Budget())
    finite = np.isfinite(plain)
    assert np.all(optimised[finite] >= plain[finite] - 1e-12 * (1.0 + np.abs(plain[finite])))
    points = [exact_outputs(graph, point) for point in setting.points]
    for row, value in zip(rows, optimised.tolist(), strict=True):
        for logits in points:
            exact = sum((Fraction(c) * z for c, z in zip(row.tolist(), logits, strict=True)), Fraction(0))
            assert math.isinf(value) or Fraction(value) <= exact


def test_any_slopes_are_sound(setting: Any) -> None:
    graph, rng = setting.graph, setting.rng
    relaxation = LinearRelaxation(graph, setting.region, interval_bounds(graph, setting.region), Budget())
    rows, offset = rng.normal(size=(5, graph.output_size)), rng.normal(size=5)
    slopes = {index: rng.random((5, graph.nodes[index].size)) for index in graph.relus()}
    values = relaxation.lower(graph.output, rows, offset, slopes, Budget()).value.tolist()
    for point in setting.points:
        logits = exact_outputs(graph, point)
        for row, constant, value in zip(rows.tolist(), offset.tolist(), values, strict=True):
            exact = sum((Fraction(c) * z for c, z in zip(row, logits, strict=True)), Fraction(constant))
            assert math.isinf(value) or Fraction(value) <= exact


def test_the_goal_bound_is_above_every_margin(setting: Any) -> None:
    graph = setting.graph
    bounds = linear_bounds(graph, setting.region, Budget())
    points = [exact_outputs(graph, point) for point in setting.points]
    goals = [goal for target in range(graph.output_size) for _, goal in disjuncts(Targeted(target), graph.output_size)]
    mixed = Halfspaces(setting.rng.normal(size=(4, graph.output_size)), setting.rng.normal(size=4))
    for goal in (*goals, mixed):
        for effort in (NO_WORK, WORK):
            upper = goal_upper(graph, setting.region, bounds, goal, Budget(), effort)
            for logits in points:
                assert math.isinf(upper) or goal.margin_exact(logits) <= Fraction(upper)


@pytest.mark.parametrize("norm", Norm)
def test_the_goal_bound_is_above_the_largest_margin(truth: Any, norm: Norm) -> None:
    """… and near it where the region is small: the relaxation closes."""
    for seed in (3, 13, 21):
        net = truth.net(seed, (3, 5, 4, 3))
        goal = disjuncts(Targeted(seed % 3), 3)[0][1]
        for radius, near in ((1e-6, 1e-4), (0.05, math.inf), (0.4, math.inf)):
            region = Ball(norm, np.array([0.3, 0.55, 0.7]), radius, net.lo, net.hi)
            bounds = linear_bounds(net.graph, region, Budget())
            best = net.largest_margin(region, goal)
            plain = goal_upper(net.graph, region, bounds, goal, Budget(), NO_WORK)
            upper = goal_upper(net.graph, region, bounds, goal, Budget(), WORK)
            assert best - 1e-7 <= upper <= plain
            assert upper - best <= near


def test_weights_close_a_goal_that_no_single_row_closes() -> None:
    """z = (x, −x): one of the two is ≤ 0 everywhere, so both ≥ 1/4 is impossible; each alone is not."""
    builder = GraphBuilder(1)
    graph = builder.graph(builder.affine([(Dense(readonly([[1.0], [-1.0]])), 0)]))
    region = Ball(Norm.LINF, np.zeros(1), 1.0, -np.ones(1), np.ones(1))
    goal = Halfspaces(np.eye(2), np.full(2, -0.25))
    bounds = linear_bounds(graph, region, Budget())
    assert goal_upper(graph, region, bounds, goal, Budget(), NO_WORK) >= 0.7
    assert -0.25 <= goal_upper(graph, region, bounds, goal, Budget(), WORK) < 0


def test_the_first_layer_is_exact(norm: Norm, truth: Any) -> None:
    net = truth.net(4, (3, 6, 2))
    region = Ball(norm, np.array([0.25, 0.5, 1.0]), 0.5, net.lo, net.hi)
    bounds = linear_bounds(net.graph, region, Budget())
    weight, bias = net.layers[0]
    exact = truth.of_layers((weight, bias))
    for i in np.flatnonzero(interval_bounds(net.graph, region).unstable(1)):
        for side, end in ((1.0, bounds.upper[1]), (-1.0, bounds.lower[1])):
            row = np.zeros((1, 6))
            row[0, i] = side
            best = exact.largest_margin(region, Halfspaces(row, np.zeros(1)))
            assert side * end[i] == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("norm", Norm)
def test_fewer_signs_are_open_than_by_intervals(truth: Any, norm: Norm) -> None:
    totals = [0, 0, 0]
    for seed in range(6):
        net = truth.net(seed, (4, 8, 8, 8, 3))
        region = Ball(norm, np.full(4, 0.5), 0.25, net.lo, net.hi)
        for place, bounds in enumerate(
            (
                interval_bounds(net.graph, region),
                linear_bounds(net.graph, region, Budget(), NO_WORK),
                linear_bounds(net.graph, region, Budget(), WORK),
            )
        ):
            totals[place] += unstable_count(net.graph, bounds)
    assert totals[0] > totals[1] >= totals[2] > 0


def test_without_a_budget_intervals_remain(make_setting: Any) -> None:
    setting = make_setting("dense", "clipping box", Norm.L1)
    wide = interval_bounds(setting.graph, setting.region)
    bounds = linear_bounds(setting.graph, setting.region, Budget(0.0))
    for found, expected in zip((*bounds.lower, *bounds.upper), (*wide.lower, *wide.upper), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_an_empty_region_has_no_margin() -> None:
    builder = GraphBuilder(1)
    graph = builder.graph(builder.affine([(identity(1), 0)]))
    region = Ball(Norm.LINF, np.array([3.0]), 0.5, np.zeros(1), np.ones(1))
    bounds = interval_bounds(graph, region)
    assert goal_upper(graph, region, bounds, Halfspaces(np.eye(1), np.zeros(1)), Budget()) == -math.inf


def test_only_lowered_graphs() -> None:
    builder = GraphBuilder(1)
    graph = builder.graph(builder.abs(0))
    with pytest.raises(TypeError, match="Abs"):
        linear_bounds(graph, Ball(Norm.LINF, np.zeros(1), 1.0, -np.ones(1), np.ones(1)), Budget())


def unbounded() -> tuple[Graph, Ball]:
    builder = GraphBuilder(2)
    hidden = builder.relu(builder.affine([(Dense(readonly([[1.0, 1.0], [1.0, -1.0]])), 0)], [0.0, 1.0]))
    graph = builder.graph(builder.affine([(Dense(readonly([[1.0, -1.0], [0.5, 0.5]])), hidden)]))
    return graph, Ball(Norm.LINF, np.zeros(2), math.inf, np.full(2, -np.inf), np.full(2, np.inf))


def test_an_unbounded_region_gives_open_ends_not_errors() -> None:
    graph, region = unbounded()
    bounds: NodeBounds = linear_bounds(graph, region, Budget())
    assert np.all(np.isneginf(bounds.lower[1]))
    assert np.all(np.isposinf(bounds.upper[1]))
    assert goal_upper(graph, region, bounds, Halfspaces(np.eye(2), np.zeros(2)), Budget()) == math.inf


def test_gamma_counts_every_sum() -> None:
    """A convolution has more entries than weights: `message · bias` is a sum over all entries."""
    wide = Conv(readonly(np.ones((20, 1, 1, 1))), (15, 20), (1, 1), (1, 1), (0, 0, 0, 0))
    builder = GraphBuilder(300)
    graph = builder.graph(builder.affine([(wide, 0)]))
    assert wide.out_size == 6000 > wide.fan_in + wide.fan_out + graph.input_size
    assert rounding.graph_gamma(graph) >= rounding.gamma(6000)
