"""CROWN of boxes: it contains every exact value of every point of every box, and is that of one box at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from encoders.formulations.to_stages import to_stages
from encoders.network.exact import exact_values
from encoders.network.graph import Array
from encoders.network.node_bounds import NodeBounds
from verifier.bounds.alpha_crown import Effort, linear_bounds
from verifier.bounds.box_crown import Bounded, BoxCrown
from verifier.bounds.box_part import BoxPart
from verifier.bounds.half_space import HalfSpace
from verifier.bounds.interval import interval_bounds
from verifier.bounds.lagrangian import Lagrangian
from verifier.bounds.stage_crown import StageBounds
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Halfspaces, Norm
from verifier.problem.rounding import FLOAT32
from verifier.solvers.branch_and_bound import hidden_bounds

BOXES = 6

each_norm = pytest.mark.parametrize("norm", FLAT_NORMS, ids=str)


def goal_of(outputs: int, rng: np.random.Generator) -> Halfspaces:
    return Halfspaces(rng.integers(-4, 5, (2, outputs)) / 4, rng.integers(-4, 5, 2) / 4)


def finite(region: Ball) -> Ball:
    return region if math.isfinite(region.radius) else region.with_radius(region.reach)


def boxes_around(points: Array, ball: Ball, rng: np.random.Generator) -> tuple[Array, Array]:
    """One box around each point, of a random size for each entry: some of no width."""
    lo, hi = ball.interval
    share = rng.random(points.shape) * rng.integers(0, 2, points.shape)
    return points - share * (points - lo), points + share * (hi - points)


def assert_contains(
    found: Bounded, place: int, base: Array, goal: Halfspaces, x: Array, values: Any, stages: Any
) -> None:
    """Exactly: ReLU arguments, forms and the least of them at a point of a box."""
    arguments = [entry for node in stages.nodes[:-1] for entry in values[node].fractions()]
    for argument, low, high in zip(arguments, found.lower[place].tolist(), found.upper[place].tolist(), strict=True):
        assert low <= argument <= high
    logits, steps = (
        values[stages.nodes[-1]].fractions(),
        [Fraction(a) - Fraction(b) for a, b in zip(x, base, strict=True)],
    )
    for row, offset, form, constant, least in zip(
        goal.matrix.tolist(),
        goal.offset.tolist(),
        found.rows[place],
        found.constants[place],
        found.values[place],
        strict=True,
    ):
        exact = -sum((Fraction(c) * z for c, z in zip(row, logits, strict=True)), Fraction(offset))
        moved = sum((Fraction(float(g)) * step for g, step in zip(form, steps, strict=True)), Fraction(0))
        assert not math.isfinite(constant) or Fraction(float(constant)) + moved <= exact
        assert least <= exact


def test_every_exact_value_is_inside(setting: Any) -> None:
    """On every kind of network and region: boxes around points, bounded from intervals, and again from their own."""
    region, stages, rng = finite(setting.region), to_stages(setting.graph), setting.rng
    wide = hidden_bounds(stages, interval_bounds(setting.graph, region))
    goal = goal_of(stages.output.size, rng)
    crown = BoxCrown(stages, Lagrangian(stages, region, goal, *wide))
    points = np.array(setting.points[:BOXES], dtype=np.float64)
    part = BoxPart(region, region.radius, *boxes_around(points, region, rng))
    known = [np.tile(end, (len(points), 1)) for end in wide]
    first = crown.bound(part, *known, Budget())
    again = crown.bound(part, first.lower, first.upper, Budget())
    assert np.all(first.lower >= known[0])
    assert np.all(again.upper <= first.upper)
    for place, x in enumerate(points):
        values = exact_values(setting.graph, x)
        for found in (first, again):
            assert_contains(found, place, part.base[place], goal, x, values, stages)


@each_norm
def test_the_whole_ball_is_bounded_as_by_stage_crown(make_root: Any, norm: Any) -> None:
    for seed, sizes in ((0, (3, 6, 6, 3)), (7, (2, 4, 4, 4, 2)), (3, (5, 8, 3))):
        root = make_root(seed, sizes, norm, 2)
        wide = hidden_bounds(root.stages, interval_bounds(root.net.graph, root.ball))
        lagrangian = Lagrangian(root.stages, root.ball, root.goal, *wide)
        part = BoxPart(root.ball, root.ball.radius, *(end[np.newaxis] for end in root.ball.interval))
        found = BoxCrown(root.stages, lagrangian).bound(part, wide[0][np.newaxis], wide[1][np.newaxis], Budget())
        nothing = HalfSpace(np.zeros(sizes[0]), math.inf)
        one = StageBounds(root.stages, lagrangian, root.ball.radius)
        lower, upper = one.tighten(*wide, np.ones(wide[0].size, dtype=bool), nothing)
        np.testing.assert_allclose(found.lower[0], lower, atol=1e-9)
        np.testing.assert_allclose(found.upper[0], upper, atol=1e-9)
        for row, weights in enumerate(np.eye(2)):
            dual = lagrangian.crown(weights, lower, upper)
            np.testing.assert_allclose(found.values[0, row], dual.value(root.ball.radius), atol=1e-9)
            np.testing.assert_allclose(found.rows[0, row], dual.row, atol=1e-9)


@each_norm
def test_float32_evaluations_are_inside_where_they_are_charged(make_root: Any, norm: Any) -> None:
    root = make_root(7, (3, 6, 6, 3), norm, 2)
    graph = root.net.graph
    stages = to_stages(graph, FLOAT32.unit, FLOAT32.floors(graph))
    bounds: NodeBounds = linear_bounds(graph, root.ball, Budget(), Effort(0, 0), FLOAT32)
    rng = np.random.default_rng(1)
    points = np.array(root.points(5, BOXES)[:BOXES]).astype(np.float32).astype(np.float64)
    part = BoxPart(root.ball, root.ball.radius, *boxes_around(points, root.ball, rng))
    ends = hidden_bounds(stages, bounds)
    found = BoxCrown(stages, Lagrangian(stages, root.ball, root.goal, *ends)).bound(
        part, *(np.tile(end, (BOXES, 1)) for end in ends), Budget()
    )
    h = points.astype(np.float32)
    arguments = []
    for stage in stages.hidden:
        (block,) = stage.blocks.values()
        z = h @ np.asarray(block.matrix).astype(np.float32).T + stage.constant.astype(np.float32)
        arguments.append(z)
        h = np.maximum(z, np.float32(0))
    z = np.hstack(arguments)
    inside = np.all((points >= part.low) & (points <= part.high), axis=1)
    assert inside.sum() > 1
    assert np.all((found.lower <= z)[inside])
    assert np.all((z <= found.upper)[inside])


@each_norm
def test_values_over_the_reals_are_charged_less(make_root: Any, norm: Any) -> None:
    root = make_root(7, (3, 6, 6, 3), norm, 2)
    graph = root.net.graph
    stages = replace(to_stages(graph, FLOAT32.unit, FLOAT32.floors(graph)), both=True)
    ends = hidden_bounds(stages, linear_bounds(graph, root.ball, Budget(), Effort(0, 0), FLOAT32))
    part = BoxPart(root.ball, root.ball.radius, *(end[np.newaxis] for end in root.ball.interval))
    crown = BoxCrown(stages, Lagrangian(stages, root.ball, root.goal, *ends))
    found = crown.bound(part, *(end[np.newaxis] for end in ends), Budget())
    assert np.all(found.values < found.real_values)


def test_the_budget_is_looked_at(make_root: Any) -> None:
    root = make_root(7, (3, 6, 6, 3), Norm.LINF, 2)
    wide = hidden_bounds(root.stages, interval_bounds(root.net.graph, root.ball))
    part = BoxPart(root.ball, root.ball.radius, *(end[np.newaxis] for end in root.ball.interval))
    crown = BoxCrown(root.stages, Lagrangian(root.stages, root.ball, root.goal, *wide))
    with pytest.raises(OutOfTimeError):
        crown.bound(part, *(end[np.newaxis] for end in wide), Budget(0.0))
