"""Any multipliers give a valid bound, in exact arithmetic; excluded radii and cut arguments hold no goal point."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.formulations.to_stages import to_stages
from encoders.network.exact import exact_outputs, exact_values
from encoders.network.graph import Array
from verifier.bounds import lagrangian as module
from verifier.bounds.alpha_crown import Effort, linear_bounds
from verifier.bounds.crown import LinearRelaxation
from verifier.bounds.lagrangian import Dual, Lagrangian, relu_shares, tightened
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Halfspaces, Norm, distance_exact
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.tree.node_lp import NodeLp
from verifier.solvers.tree.protocol import TreeRoot

NO_WORK = Effort(neuron_iterations=0, goal_iterations=0)

SCALES = (1e-6, 1.0, 1e6, 1e15)
"""Sizes of random multipliers; those of an LP are about 1."""

TRUTH = 1e-7
"""Relative: the tolerance of the LPs that the enumerated truth is made of."""

SIZES = ((3, 5, 3), (3, 4, 4, 3), (2, 4, 3, 3, 2))


def exact_form(weights: Array, goal: Halfspaces, logits: list[Fraction]) -> Fraction:
    """m(x) = −λ·(C z(x) + d)."""
    total = Fraction(0)
    for weight, row, offset in zip(weights.tolist(), goal.matrix.tolist(), goal.offset.tolist(), strict=True):
        value = sum((Fraction(c) * z for c, z in zip(row, logits, strict=True)), Fraction(offset))
        total -= Fraction(weight) * value
    return total


def finite(region: Ball) -> Ball:
    """The same set with a finite radius."""
    return region if math.isfinite(region.radius) else region.with_radius(region.reach)


def evaluations(found: Lagrangian, ends: tuple[Array, Array], rng: np.random.Generator) -> Iterator[tuple[Array, Dual]]:
    """(λ, evaluation) for CROWN's multipliers, for ones near those, and for random ones of every size."""
    rows = len(found.goal.offset)
    for weights in (np.eye(rows)[0], rng.random(rows)):
        crown = found.crown(weights, *ends)
        yield weights, crown
        yield weights, found.evaluate(weights, crown.nu * (1.0 + 0.1 * rng.normal(size=crown.nu.size)), *ends)
        for size in SCALES:
            nu = size * rng.normal(size=crown.nu.size) * (rng.random(crown.nu.size) < 0.8)
            yield size * weights, found.evaluate(size * weights, nu, *ends)


def test_never_above_the_form_in_exact_arithmetic(setting: Any) -> None:
    region, graph, rng = finite(setting.region), setting.graph, setting.rng
    stages = to_stages(graph)
    ends = hidden_bounds(stages, linear_bounds(graph, region, Budget(), NO_WORK))
    points = [exact_outputs(graph, point) for point in setting.points[:8]]
    for rows in (1, 2, 3):
        scale = np.abs(points[0]).max()
        goal = Halfspaces(rng.normal(size=(rows, graph.output_size)), float(scale) * rng.normal(size=rows))
        found = Lagrangian(stages, region, goal, *ends)
        for weights, dual in evaluations(found, ends, rng):
            value = dual.value(region.radius)
            assert value > -math.inf
            for logits in points:
                assert Fraction(value) <= exact_form(weights, goal, logits)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16), sizes=st.sampled_from(SIZES), norm=st.sampled_from(list(Norm)), rows=st.integers(0, 3)
)
def test_never_above_the_form_in_smaller_balls(
    make_root: Any, seed: int, sizes: tuple[int, ...], norm: Norm, rows: int
) -> None:
    """One evaluation bounds the form in every ball within: value(r) at points within r."""
    root = make_root(seed, sizes, norm, rows)
    points = [(distance_exact(norm, x, root.ball.centre), exact_outputs(root.net.graph, x)) for x in root.points(seed)]
    for weights, dual in evaluations(root.lagrangian, root.ends, np.random.default_rng(seed)):
        for distance, logits in points:
            radius = min(root.ball.radius, math.nextafter(float(distance), math.inf))
            assert Fraction(dual.value(radius)) <= exact_form(weights, root.goal, logits)


def drawn_nodes(root: Any, seed: int) -> Iterator[tuple[Array, Array]]:
    """The root's bounds, and those of nodes that lie a few random splits below it."""
    rng, (lower, upper) = np.random.default_rng(seed), root.ends
    yield lower, upper
    for _ in range(3):
        chosen = (lower < 0) & (upper > 0) & (rng.random(lower.size) < 0.4)
        up = rng.random(lower.size) < 0.5
        yield np.where(chosen & up, 0.0, lower), np.where(chosen & ~up, 0.0, upper)


def arguments_of(root: Any, x: Array) -> list[Fraction]:
    """All ReLU arguments at x, exactly."""
    values = exact_values(root.net.graph, x)
    return [entry for node in root.stages.nodes[:-1] for entry in values[node].fractions()]


def inside(arguments: list[Fraction], lower: Array, upper: Array) -> bool:
    ends = zip(arguments, lower.tolist(), upper.tolist(), strict=True)
    return all(Fraction(low) <= z <= Fraction(high) for z, low, high in ends)


def lp_dual(root: Any, lower: Array, upper: Array) -> tuple[Array, Dual] | None:
    """(λ, evaluation) of the multipliers of a node's LP."""
    every = [(entry, sign) for entry in range(root.ball.centre.size) for sign in (1, -1)]
    solved = NodeLp(TreeRoot(root.stages, root.ball, root.goal, *root.ends), every).solve(lower, upper, Budget())
    if not solved.usable or solved.optimum is None:
        return None
    return solved.weights, root.lagrangian.evaluate(solved.weights, solved.nu, lower, upper)


@pytest.mark.parametrize("rows", range(4))
@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_excluded_radii_hold_no_point_of_the_goal(make_root: Any, norm: Norm, rows: int) -> None:
    excluded = 0
    for seed in range(8):
        root = make_root(seed, SIZES[seed % len(SIZES)], norm, rows)
        nearest, rng = root.nearest, np.random.default_rng(seed)
        solved = lp_dual(root, *root.ends)
        for _, dual in (*evaluations(root.lagrangian, root.ends, rng), *([solved] if solved else [])):
            for most in (root.ball.radius, 0.3 * root.ball.radius):
                radius = dual.radius(most)
                assert 0.0 <= radius <= most
                assert radius <= nearest * (1.0 + TRUTH) + TRUTH
                assert dual.value(most) <= 0 or radius >= most * (1.0 - 1e-12)
                if 0.0 < radius < most * (1.0 - 1e-12):
                    assert dual.value(radius) >= 0.0 >= dual.value(radius * (1.0 + 1e-9))
                excluded += radius > 0.0
    assert excluded >= 20


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_tightening_keeps_every_point_of_the_goal(make_root: Any, norm: Norm) -> None:
    """In exact arithmetic: the arguments at a point with m(x) ≤ 0 stay inside, in every node that it lies in."""
    cut = kept = 0
    for seed in range(12):
        root = make_root(seed, SIZES[seed % len(SIZES)], norm, 1 + seed % 3, radius=0.8)
        points = [(arguments_of(root, x), exact_outputs(root.net.graph, x)) for x in root.points(seed, 30)]
        rng = np.random.default_rng(seed)
        for lower, upper in drawn_nodes(root, seed):
            solved = lp_dual(root, lower, upper)
            tried = [*evaluations(root.lagrangian, (lower, upper), rng), *([solved] if solved else [])]
            for weights, dual in tried:
                value = dual.value(root.ball.radius)
                if value > 0:
                    continue
                low, high = tightened(dual, value, lower, upper)
                assert np.all(low >= lower)
                assert np.all(high <= upper)
                cut += bool(np.any(low > lower) or np.any(high < upper))
                for arguments, logits in points:
                    if inside(arguments, lower, upper) and exact_form(weights, root.goal, logits) <= 0:
                        assert inside(arguments, low, high)
                        kept += bool(np.any(low > lower) or np.any(high < upper))
    assert cut >= 30
    assert kept >= 30


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("name", ["dense", "conv", "residual"])
def test_crown_is_that_of_the_graph(make_setting: Any, name: str, norm: Norm) -> None:
    """The same lines over the same bounds, walked on stages and on nodes."""
    setting = make_setting(name, "clipping box", norm)
    graph, region, rng = setting.graph, setting.region, setting.rng
    bounds = linear_bounds(graph, region, Budget(), NO_WORK)
    stages = to_stages(graph)
    ends = hidden_bounds(stages, bounds)
    goal = Halfspaces(rng.normal(size=(3, graph.output_size)), rng.normal(size=3))
    found, relaxation = Lagrangian(stages, region, goal, *ends), LinearRelaxation(graph, region, bounds, Budget())
    for weights in (*np.eye(3), rng.random(3)):
        row, offset = -(weights @ goal.matrix)[np.newaxis], -(weights @ goal.offset)[np.newaxis]
        expected = float(relaxation.lower(graph.output, row, offset, relaxation.default_slopes(), Budget()).value[0])
        assert found.crown(weights, *ends).value(region.radius) == pytest.approx(expected, rel=1e-10, abs=1e-10)


def test_huge_multipliers_need_their_rounding_charged(make_root: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a single point with known arguments the bound equals m(x) but for rounding: without a charge it is above."""
    above, charge = {0.0: 0, module.CHARGE: 0}, module.CHARGE
    for seed in range(40):
        root = make_root(seed, (3, 4, 4, 3), Norm.LINF, 2, radius=0.0)
        x = root.ball.centre
        logits, arguments = exact_outputs(root.net.graph, x), root.stages.values(x)[0][0]
        assert [Fraction(float(z)) for z in arguments] == arguments_of(root, x)  # eighths: float64 is exact
        rng = np.random.default_rng(seed)
        weights, nu = 1e15 * rng.random(2), 1e15 * rng.normal(size=arguments.size)
        form = exact_form(weights, root.goal, logits)
        for rate in above:
            monkeypatch.setattr(module, "CHARGE", rate)
            found = Lagrangian(root.stages, root.ball, root.goal, arguments, arguments)
            value = found.evaluate(weights, nu, arguments, arguments).value(0.0)
            above[rate] += Fraction(value) > form
            assert float(form) - value <= 1e5  # 10¹⁵ · some hundred operations · 2⁻⁵³ · sizes that sum up to some 100
    assert above[0.0] >= 10
    assert above[charge] == 0


def test_an_active_relu_takes_a_multiplier_that_is_off_by_rounding(make_root: Any) -> None:
    root = make_root(3, (3, 6, 3), Norm.LINF, 2, radius=0.25)
    rng, (lower, upper) = np.random.default_rng(3), root.ends
    lower = np.where(upper > 0, np.maximum(lower, 0.0), lower)
    active, weights = lower >= 0, rng.random(2)
    mu = root.lagrangian.evaluate(weights, np.zeros(6), lower, upper).mu
    assert np.any(active & (mu != 0))
    for factor, snapped in ((1.0 + 1e-12, True), (1.0 + 1e-6, False)):
        dual = root.lagrangian.evaluate(weights, mu * factor, lower, upper)
        np.testing.assert_array_equal(dual.nu, np.where(active & snapped, mu, mu * factor))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_shares_are_least_at_an_end_or_at_zero(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mu, nu, ends = rng.normal(size=20), rng.normal(size=20), np.sort(rng.normal(size=(20, 2)), axis=1)
    lower, upper = ends.T
    grid = lower + np.linspace(0, 1, 201)[:, np.newaxis] * (upper - lower)
    grid = np.vstack([grid, np.clip(0.0, lower, upper)])
    least = (mu * np.maximum(grid, 0.0) - nu * grid).min(axis=0)
    np.testing.assert_allclose(relu_shares(mu, nu, lower, upper), least, rtol=1e-12, atol=1e-12)
