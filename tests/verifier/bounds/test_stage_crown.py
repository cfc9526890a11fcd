"""Bounds of later ReLU arguments below splits: they contain every exact value, never loosen, and are those of CROWN."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.exact import Rational, exact_values
from encoders.network.graph import Array
from encoders.network.node_bounds import NodeBounds
from verifier.bounds.alpha_crown import Effort, linear_bounds
from verifier.bounds.crown import LinearRelaxation
from verifier.bounds.half_space import HalfSpace
from verifier.bounds.interval import interval_bounds
from verifier.bounds.lagrangian import Lagrangian
from verifier.bounds.stage_crown import StageBounds
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces, Norm
from verifier.solvers.branch_and_bound import hidden_bounds

NO_WORK = Effort(neuron_iterations=0, goal_iterations=0)

WIDE = 1e6
"""An end that no argument here comes near."""

SIZES = ((3, 5, 5, 3), (2, 4, 4, 4, 2), (4, 3, 6, 2, 2))


def everything(like: Array) -> npt.NDArray[np.bool_]:
    return np.ones(like.shape, dtype=np.bool_)


def stage_bounds(stages: Stages, region: Ball, lower: Array, upper: Array) -> StageBounds:
    """The radius is the region's; the goal plays no part."""
    nothing = Halfspaces(np.zeros((1, stages.output.size)), np.zeros(1))
    return StageBounds(stages, Lagrangian(stages, region, nothing, lower, upper), region.radius)


def nowhere(region: Ball) -> HalfSpace:
    """A half-space that leaves out nothing."""
    return HalfSpace(np.zeros(region.centre.size), math.inf)


def arguments_of(stages: Stages, values: list[Rational]) -> list[Any]:
    return [entry for node in stages.nodes[:-1] for entry in values[node].fractions()]


def assert_inside(arguments: list[Any], lower: Array, upper: Array) -> None:
    for argument, low, high in zip(arguments, lower.tolist(), upper.tolist(), strict=True):
        assert low <= argument <= high  # Python compares a float with a fraction exactly


def split_like(arguments: list[Any], lower: Array, upper: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Random ReLUs split to the side on which the arguments are."""
    chosen = (lower < 0) & (upper > 0) & (rng.random(lower.size) < 0.5)
    up = np.array([argument >= 0 for argument in arguments], dtype=bool)
    return np.where(chosen & up, np.maximum(lower, 0.0), lower), np.where(chosen & ~up, np.minimum(upper, 0.0), upper)


def test_every_exact_argument_is_inside(setting: Any) -> None:
    """On every kind of network and region, from intervals, with and without splits on the point's side."""
    region = (
        setting.region if math.isfinite(setting.region.radius) else setting.region.with_radius(setting.region.reach)
    )
    stages = to_stages(setting.graph)
    wide = hidden_bounds(stages, interval_bounds(setting.graph, region))
    found = stage_bounds(stages, region, *wide)
    root = found.tighten(*wide, everything(wide[0]), nowhere(region))
    for point in setting.points[:8]:
        arguments = arguments_of(stages, exact_values(setting.graph, point))
        assert_inside(arguments, *root)
        split = split_like(arguments, *wide, setting.rng)
        assert_inside(arguments, *found.tighten(*split, everything(wide[0]), nowhere(region)))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), sizes=st.sampled_from(SIZES), norm=st.sampled_from(list(Norm)))
def test_below_splits_each_point_on_their_side_is_inside(
    make_root: Any, seed: int, sizes: tuple[int, ...], norm: Norm
) -> None:
    root, rng = make_root(seed, sizes, norm), np.random.default_rng(seed)
    found = stage_bounds(root.stages, root.ball, *root.ends)
    known = [arguments_of(root.stages, exact_values(root.net.graph, x)) for x in root.points(seed)]
    for arguments in known[:4]:
        lower, upper = split_like(arguments, *root.ends, rng)
        low, high = found.tighten(lower, upper, everything(lower), nowhere(root.ball))
        assert np.all(low >= lower)
        assert np.all(high <= upper)
        for other in known:
            if all(l_ <= z <= u for z, l_, u in zip(other, lower.tolist(), upper.tolist(), strict=True)):
                assert_inside(other, low, high)


@pytest.mark.parametrize("norm", Norm)
def test_within_a_half_space_each_of_its_points_is_inside(make_root: Any, norm: Norm) -> None:
    """Half-spaces through sampled points: bounds get tighter than without, and contain all sampled points of theirs."""
    tighter, checked = 0, 0
    for seed in range(12):
        root, rng = make_root(seed, SIZES[seed % len(SIZES)], norm, radius=0.5), np.random.default_rng(seed)
        found, points = stage_bounds(root.stages, root.ball, *root.ends), list(root.points(seed))
        plain = found.tighten(*root.ends, everything(root.ends[0]), nowhere(root.ball))
        known = [arguments_of(root.stages, exact_values(root.net.graph, x)) for x in points]
        for through in points[:4]:
            row = rng.normal(size=through.size)
            amount = float(row @ (through - root.ball.centre))
            low, high = found.tighten(*root.ends, everything(root.ends[0]), HalfSpace(row, amount))
            # An upper end that has left the lower one behind says that nothing is there.
            tighter += bool(np.any(low > plain[0]) or np.any(high < plain[1]))
            for x, arguments in zip(points, known, strict=True):
                step = [Fraction(a) - Fraction(b) for a, b in zip(x.tolist(), root.ball.centre.tolist(), strict=True)]
                if sum(Fraction(g) * d for g, d in zip(row.tolist(), step, strict=True)) <= amount:
                    assert_inside(arguments, low, high)
                    checked += 1
    assert tighter >= 25
    assert checked >= 100


@pytest.mark.parametrize("norm", Norm)
def test_splits_tighten_later_stages(make_root: Any, norm: Norm) -> None:
    tighter = 0
    for seed in range(10):
        root = make_root(seed, SIZES[seed % len(SIZES)], norm, radius=0.5)
        found = stage_bounds(root.stages, root.ball, *root.ends)
        before = found.tighten(*root.ends, everything(root.ends[0]), nowhere(root.ball))
        arguments = arguments_of(root.stages, exact_values(root.net.graph, root.ball.centre))
        lower, upper = split_like(arguments, *before, np.random.default_rng(seed))
        first = root.stages.starts[1]
        lower[first:], upper[first:] = before[0][first:], before[1][first:]
        after = found.tighten(lower, upper, everything(lower), nowhere(root.ball))
        tighter += bool(np.any(after[0][first:] > lower[first:]) or np.any(after[1][first:] < upper[first:]))
    assert tighter >= 4


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("name", ["dense", "conv", "residual"])
def test_the_same_lines_as_on_the_graph(make_setting: Any, name: str, norm: Norm) -> None:
    """Each stage from the same bounds of those before it, walked on stages and on nodes."""
    setting = make_setting(name, "clipping box", norm)
    graph, region = setting.graph, setting.region
    bounds: NodeBounds = linear_bounds(graph, region, Budget(), NO_WORK)
    stages = to_stages(graph)
    ends = hidden_bounds(stages, bounds)
    found, relaxation, compared = (
        stage_bounds(stages, region, *ends),
        LinearRelaxation(graph, region, bounds, Budget()),
        0,
    )
    for number, node in enumerate(stages.nodes[1:-1], start=2):
        part = slice(stages.starts[number - 1], stages.starts[number])
        lower, upper = ends[0].copy(), ends[1].copy()
        lower[part], upper[part] = -WIDE, WIDE
        low, high = found.tighten(lower, upper, everything(lower), nowhere(region))
        eye = np.eye(graph.nodes[node].size)
        rows, slopes = np.vstack([eye, -eye]), relaxation.default_slopes()
        expected = relaxation.lower(node, rows, np.zeros(len(rows)), slopes, Budget()).value
        np.testing.assert_allclose(np.concatenate([low[part], -high[part]]), expected, rtol=1e-10, atol=1e-10)
        compared += len(eye)
    assert compared >= 4


def test_a_fixed_argument_is_left_alone(make_root: Any) -> None:
    root = make_root(4, SIZES[0], Norm.LINF)
    lower, upper = root.ends[0].copy() - 1.0, root.ends[1].copy() + 1.0
    lower[5:], upper[5:] = -WIDE, WIDE
    lower[7] = upper[8] = 0.0
    found = stage_bounds(root.stages, root.ball, lower, upper)
    low, high = found.tighten(lower, upper, everything(lower), nowhere(root.ball))
    fixed, opened = [7, 8], [5, 6, 9]
    np.testing.assert_array_equal(low[fixed], lower[fixed])
    np.testing.assert_array_equal(high[fixed], upper[fixed])
    assert np.all(low[opened] > -WIDE)
    assert np.all(high[opened] < WIDE)
