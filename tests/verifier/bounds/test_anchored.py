"""Lines anchored at the centre hold at every point, in exact arithmetic, whatever is chosen between them and chords."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.exact import exact_outputs
from encoders.network.graph import Array
from encoders.network.node_bounds import NodeBounds
from verifier.bounds import anchored as module
from verifier.bounds.alpha_crown import Effort, goal_upper, linear_bounds
from verifier.bounds.anchored import AnchoredBounds, anchors
from verifier.bounds.interval import interval_bounds
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces, Norm
from verifier.problem.rounding import Arithmetic, evaluation_error

NO_WORK = Effort(neuron_iterations=0, goal_iterations=0)

COARSE = Arithmetic(2.0**-12, 0.0)
"""Evaluations that round so much that whoever forgets it is found out."""

SIZES = (3, 6, 5, 4, 3)


def alone(stages: Stages, region: Ball, known: NodeBounds) -> tuple[AnchoredBounds, NodeBounds]:
    """By anchored lines alone, from intervals, and what they make of these."""
    found, lower, upper = AnchoredBounds(stages, region), list(known.lower), list(known.upper)
    for node in sorted(stages.nodes[:-1]):
        lower[node], upper[node] = found.ends(node, lower[node], upper[node], Budget())
        found.passed(node, lower[node], upper[node])
    assert found.complete
    return found, NodeBounds(tuple(lower), tuple(upper), proved=True)


def exact_rows(goal: Halfspaces, logits: list[Fraction]) -> list[Fraction]:
    rows = zip(goal.matrix.tolist(), goal.offset.tolist(), strict=True)
    return [sum((Fraction(c) * z for c, z in zip(row, logits, strict=True)), Fraction(d)) for row, d in rows]


def l1_setting(make_setting: Any, net: str, kind: str) -> Any:
    made = make_setting(net, kind, Norm.L1)
    made.region = made.region.finite
    return made


@pytest.fixture
def anchored_setting(make_setting: Any, net_name: str, region_kind: str) -> Any:
    return l1_setting(make_setting, net_name, region_kind)


def test_ends_contain_exact_values(anchored_setting: Any) -> None:
    graph, region = anchored_setting.graph, anchored_setting.region
    assert anchors(graph, region)
    stages = to_stages(graph)
    _, bounds = alone(stages, region, interval_bounds(graph, region))
    anchored_setting.contains(bounds)
    anchored_setting.contains(linear_bounds(graph, region, Budget(), NO_WORK, before=AnchoredBounds(stages, region)))


def random_choice(found: AnchoredBounds, rng: np.random.Generator) -> Any:
    """Lines that no optimiser would choose, some of them none at all."""
    shapes = {number: lines.alpha[np.newaxis] for number, lines in found._lines.items()}
    alpha, chord = (
        {number: rng.uniform(-0.5, 1.5, one.shape) * (rng.random(one.shape) < 0.8) for number, one in shapes.items()}
        for _ in range(2)
    )
    return module._Choice(alpha, chord)


def exact_steps(found: AnchoredBounds, point: Array) -> list[Fraction]:
    """q of a point."""
    step = [Fraction(x) - Fraction(c) for x, c in zip(point.tolist(), found._centre.tolist(), strict=True)]
    return [max(step[place], Fraction(0)) for place in found._rises] + [
        max(-step[place], Fraction(0)) for place in found._falls
    ]


def test_a_pass_holds_at_every_point_whatever_is_chosen(anchored_setting: Any) -> None:
    graph, region, rng = anchored_setting.graph, anchored_setting.region, anchored_setting.rng
    stages = to_stages(graph)
    found, _ = alone(stages, region, interval_bounds(graph, region))
    points = anchored_setting.points
    logits = [exact_outputs(graph, point) for point in points]
    scale = max(abs(float(value)) for value in logits[0])
    goal = Halfspaces(rng.normal(size=(2, graph.output_size)), scale * rng.normal(size=2))
    assert found.goal_upper(goal, region.radius, 3, Budget()) < math.inf
    for choice in (found._exact(), *(random_choice(found, rng) for _ in range(4))):
        passed = found._pass(len(stages.stages), goal.matrix, goal.offset, choice, Budget())
        least = found._least(passed, region.radius)
        for point, outputs in zip(points, logits, strict=True):
            q = exact_steps(found, point)
            for row, value in enumerate(exact_rows(goal, outputs)):
                assert Fraction(float(least[row])) <= value
                line = zip(passed.steps[row].tolist(), q, strict=True)
                assert Fraction(float(passed.constant[row])) + sum(Fraction(c) * d for c, d in line) <= value


@pytest.mark.parametrize("net", ["dense", "conv", "residual"])
def test_goals_are_bounded_by_their_best_row_at_smaller_radii_too(make_setting: Any, net: str) -> None:
    made = l1_setting(make_setting, net, "clipping box")
    graph, region, rng = made.graph, made.region, made.rng
    found, _ = alone(to_stages(graph), region, interval_bounds(graph, region))
    goal = Halfspaces(rng.normal(size=(3, graph.output_size)), rng.normal(size=3))
    tops = []
    for radius in (0.0, 0.1, 0.3):
        inner = region.with_radius(radius)
        top = found.goal_upper(goal, radius, 5, Budget())
        tops.append(top)
        for corner in inner.geometry.minimiser(rng.normal(size=(20, region.centre.size))):
            if inner.length(corner) <= radius:
                assert min(exact_rows(goal, exact_outputs(graph, corner))) <= top
    assert tops == sorted(tops)
    at_centre = min(exact_rows(goal, exact_outputs(graph, region.centre)))
    rows = exact_rows(goal, exact_outputs(graph, region.centre))
    assert at_centre <= tops[0] <= min(rows) + Fraction(1, 10**9)


def test_tighter_than_chords_where_many_relus_are_open(truth: Any) -> None:
    """At a radius that pays for few of the ReLUs which it opens; climbing helps further."""
    rng, better = np.random.default_rng(0), 0
    for seed in range(8):
        net = truth.net(seed, (12, 24, 12, 3))
        ball = Ball(Norm.L1, rng.random(12), 0.6, np.zeros(12), np.ones(12))
        goal = Halfspaces(np.array([[1.0, -1.0, 0.0]]), np.zeros(1))
        plain = linear_bounds(net.graph, ball, Budget(), NO_WORK)
        stages = to_stages(net.graph)
        found = AnchoredBounds(stages, ball)
        linear_bounds(net.graph, ball, Budget(), NO_WORK, before=found)
        tops = [found.goal_upper(goal, ball.radius, count, Budget()) for count in (0, 20)]
        assert tops[1] <= tops[0]
        better += tops[1] < goal_upper(net.graph, ball, plain, goal, Budget())
    assert better >= 6


def rounded(
    stages: Stages, x: Array, unit: float, rng: np.random.Generator
) -> tuple[list[list[Fraction]], list[Fraction]]:
    """An evaluation whose every sum is off by as much as this unit allows: arguments by stage, and outputs."""
    outputs, arguments = [[Fraction(v) for v in x.tolist()]], []
    for stage in stages.stages:
        share = Fraction(evaluation_error(stage.operations, unit)) * Fraction(999, 1000)
        values = []
        for place, constant in enumerate(stage.constant.tolist()):
            value, size = Fraction(constant), abs(Fraction(constant))
            for source, block in stage.blocks.items():
                row = block.matrix[[place]]
                weights = (row if isinstance(row, np.ndarray) else row.toarray())[0].tolist()
                products = [Fraction(w) * h for w, h in zip(weights, outputs[source], strict=True)]
                value, size = value + sum(products), size + sum(map(abs, products))
            values.append(value + int(rng.choice([-1, 1])) * share * size)
        arguments.append(values)
        outputs.append([max(value, Fraction(0)) for value in values])
    return arguments[:-1], arguments[-1]


@pytest.mark.parametrize("radius", [1e-6, 0.2])
def test_evaluations_that_round_are_contained(truth: Any, radius: float) -> None:
    missed, rng = 0, np.random.default_rng(2)
    for seed in range(6):
        net = truth.net(seed, SIZES)
        region = Ball(Norm.L1, np.full(3, 0.5), radius, net.lo, net.hi)
        goal = Halfspaces(np.vstack([np.eye(3), -np.eye(3)]), np.zeros(6))
        tops = []
        for arithmetic in (None, COARSE):
            floors = COARSE.floors(net.graph) if arithmetic else None
            stages = to_stages(net.graph, COARSE.unit if arithmetic else 2.0**-53, floors)
            intervals = linear_bounds(net.graph, region, Budget(0.0), arithmetic=COARSE)
            found, bounds = alone(stages, region, intervals)
            rows = (Halfspaces(goal.matrix[[row]], goal.offset[[row]]) for row in range(6))
            tops.append([found.goal_upper(row, radius, 4, Budget()) for row in rows])
        for corner in (region.centre, *region.geometry.minimiser(rng.normal(size=(6, 3)))):
            for _ in range(6):
                arguments, outputs = rounded(stages, corner, COARSE.unit, rng)
                for node, values in zip(stages.nodes, arguments, strict=False):
                    ends = zip(bounds.lower[node].tolist(), values, bounds.upper[node].tolist(), strict=True)
                    assert all(low <= value <= high for low, value, high in ends)
                values = exact_rows(goal, outputs)
                assert all(value <= top for value, top in zip(values, tops[1], strict=True))
                missed += any(value > top for value, top in zip(values, tops[0], strict=True))
    assert missed > 10 or radius > 1e-3


def test_what_is_not_anchored(truth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    net = truth.net(0, SIZES)
    ball = Ball(Norm.L1, np.full(3, 0.5), 0.2, net.lo, net.hi)
    assert anchors(net.graph, ball)
    assert not anchors(net.graph, Ball(Norm.LINF, ball.centre, 0.2, ball.lo, ball.hi))
    assert not anchors(net.graph, Ball(Norm.L2, ball.centre, 0.2, ball.lo, ball.hi))
    assert not anchors(net.graph, ball.with_radius(math.inf))
    assert not anchors(net.graph, Ball(Norm.L1, ball.hi + 1.0, 2.0, ball.lo, ball.hi))
    assert not anchors(net.graph, Ball(Norm.L1, ball.hi, 2.0, ball.hi, ball.hi)), "nothing moves there"
    monkeypatch.setattr(module, "MOST_ENTRIES", 10)
    assert not anchors(net.graph, ball)


def test_the_end_of_the_time_leaves_intervals(truth: Any) -> None:
    net = truth.net(0, SIZES)
    ball = Ball(Norm.L1, np.full(3, 0.5), 0.2, net.lo, net.hi)
    stages = to_stages(net.graph)
    found, over = AnchoredBounds(stages, ball), Budget(0.0)
    wide = np.full(stages.stages[0].size, -1.0), np.full(stages.stages[0].size, 1.0)
    first, second = stages.nodes[:2]
    found.passed(first, *found.ends(first, *wide, Budget()))
    ends = -np.ones(stages.stages[1].size), np.ones(stages.stages[1].size)
    kept = found.ends(second, *ends, over)
    assert all(np.array_equal(a, b) for a, b in zip(kept, ends, strict=True))
    found.passed(second, *kept)
    assert not found.complete
