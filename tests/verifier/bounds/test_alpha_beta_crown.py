"""Batched multipliers: values are those of the safe evaluation, steps climb, points are minimisers."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from encoders.formulations.to_stages import to_stages
from encoders.network.graph import Array, GraphBuilder
from encoders.network.linear_maps import Dense
from verifier.bounds.alpha_beta_crown import FIRST_SHARE, BatchedBound, Proposed, Start
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.lagrangian import Dual, Duals
from verifier.bounds.row_weights import onto_simplex
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Halfspaces, Norm
from verifier.solvers.branch_and_bound import hidden_bounds

QUESTIONS = [(0, (5, 6, 3), 0), (7, (3, 6, 6, 3), 0), (7, (2, 4, 4, 4, 2), 2), (15, (3, 12, 4), 0)]

SINGLE = 1e-4
"""What a float32 value may be off by on these nets, whose weights are about 1."""

MOST = 0.6
"""Of what a hundred steps gain: ten gain 0.7 to 0.9; 0.05 to 0.3 where all α, and all β, move in the same units."""


@pytest.fixture(params=QUESTIONS, ids=str)
def root(request: pytest.FixtureRequest, make_root: Callable[..., Any], norm: Norm) -> Any:
    seed, sizes, rows = request.param
    return make_root(seed, sizes, norm, rows)


@pytest.fixture(params=list(Norm), ids=str)
def norm(request: pytest.FixtureRequest) -> Norm:
    chosen: Norm = request.param
    return chosen


def nodes(root: Any, count: int, seed: int = 0) -> tuple[Array, Array]:
    """Bounds (relu_count, count): the root's, then with some open ReLUs fixed."""
    rng = np.random.default_rng(seed)
    lower, upper = (np.repeat(end[:, np.newaxis], count, axis=1) for end in root.ends)
    chosen = (lower < 0) & (upper > 0) & (rng.random(lower.shape) < 0.4)
    chosen[:, 0] = False
    active = rng.random(lower.shape) < 0.5
    lower[chosen & active] = 0.0
    upper[chosen & ~active] = 0.0
    return lower, upper


def any_start(root: Any, bound: BatchedBound, count: int) -> Start:
    rng = np.random.default_rng(1)
    shape = bound.open.size, count
    alpha = rng.random(shape).astype(np.float32)
    beta = (0.1 * rng.normal(size=shape)).astype(np.float32)
    weights = rng.dirichlet(np.ones(len(root.goal.offset)), count).T.astype(np.float32)
    return Start(alpha, beta, weights, np.full(count, FIRST_SHARE))


def evaluated(root: Any, bound: BatchedBound, proposed: Proposed, lower: Array, upper: Array) -> Duals:
    alpha, beta = bound.spread(proposed.best)
    duals: Duals = root.lagrangian.on_lines(proposed.best.weights.astype(np.float64), alpha, beta, lower, upper)
    return duals


def bound_of(root: Any) -> BatchedBound:
    return BatchedBound(root.stages, root.ball, root.goal, *root.ends)


@pytest.mark.parametrize("steps", [0, 1, 12])
def test_values_are_those_of_the_safe_evaluation(root: Any, steps: int) -> None:
    bound, (lower, upper) = bound_of(root), nodes(root, 9)
    found = bound.optimise(lower[bound.undecided], upper[bound.undecided], any_start(root, bound, 9), steps, Budget())
    for value, dual in zip(found.values, evaluated(root, bound, found, lower, upper), strict=True):
        assert abs(value - dual.value(root.ball.radius)) <= SINGLE * (1.0 + abs(value))


def test_points_are_where_the_forms_are_least(root: Any) -> None:
    bound, (lower, upper) = bound_of(root), nodes(root, 9)
    found = bound.optimise(lower[bound.undecided], upper[bound.undecided], any_start(root, bound, 9), 3, Budget())
    for point, dual in zip(found.points.T, evaluated(root, bound, found, lower, upper), strict=True):
        least = root.ball.geometry.fall(dual.row, root.ball.radius)
        assert abs(dual.row @ (root.ball.centre - point) - least) <= SINGLE * (1.0 + least)
        assert root.ball.length(point) <= root.ball.radius + SINGLE
        assert np.all((point >= root.ball.interval[0] - SINGLE) & (point <= root.ball.interval[1] + SINGLE))


def test_margins_are_those_of_the_network(root: Any) -> None:
    bound, rng = bound_of(root), np.random.default_rng(3)
    low, high = root.ball.interval
    rows = rng.normal(size=(8, low.size))
    points = np.clip(root.ball.centre + root.ball.geometry.steps(rows, root.ball.radius), low, high)
    wanted = root.goal.margin(root.stages.values(points)[1])
    np.testing.assert_allclose(bound.margins(points.T.astype(np.float32), np.arange(len(points))), wanted, atol=SINGLE)


def test_flags_of_invalid_operations_are_no_warnings(root: Any) -> None:
    """BLAS raises them where there are none, on some processors: a real one, at an infinite point, shows as such."""
    bound = bound_of(root)
    assert np.isnan(bound.margins(np.full((root.stages.input_size, 3), np.inf, np.float32), np.arange(3))).all()
    start, (lower, upper) = any_start(root, bound, 3), nodes(root, 3)
    start.weights[:] = np.inf
    bound.optimise(lower[bound.undecided], upper[bound.undecided], start, 0, Budget())


def test_a_batch_of_duals_is_one_after_the_other(root: Any) -> None:
    bound, radius = bound_of(root), root.ball.radius
    lower, upper = nodes(root, 4)
    start = any_start(root, bound, 4)
    batch = evaluated(
        root, bound, bound.optimise(lower[bound.undecided], upper[bound.undecided], start, 2, Budget()), lower, upper
    )
    again = Duals.of(list(batch)).at(np.array([2, 0]))
    for place, alone in zip((2, 0), again, strict=True):
        dual: Dual = batch[place]
        assert (alone.constant, alone.real) == (dual.constant, dual.real)
        assert np.array_equal(alone.nu, dual.nu)
        values, real = batch.values(radius)
        assert values[place] == pytest.approx(dual.value(radius), rel=1e-12)
        assert real[place] == pytest.approx(dual.real_value(radius), rel=1e-12)
        assert batch.radii(radius)[place] == pytest.approx(dual.radius(radius), rel=1e-12)
    fewer = again.within(bound.undecided)
    fewer.replace(1, batch[3], bound.undecided)
    assert np.array_equal(fewer.mu[1], batch.mu[3][bound.undecided])
    assert np.array_equal(fewer.row[1], batch.row[3])


def test_steps_follow_the_gradient(root: Any) -> None:
    """A first step that is cut to a hundredth gains what the gradient promises: the finite difference is positive."""
    bound, (lower, upper) = bound_of(root), nodes(root, 9)
    low, high = lower[bound.undecided], upper[bound.undecided]
    start = any_start(root, bound, 9)
    before = bound.optimise(low, high, start, 0, Budget())
    one = bound.optimise(low, high, start, 1, Budget())
    moved = one.values > before.values
    assert moved.any()
    mixed = Start(
        before.best.alpha + 0.01 * (one.best.alpha - before.best.alpha),
        before.best.beta + 0.01 * (one.best.beta - before.best.beta),
        before.best.weights + 0.01 * (one.best.weights - before.best.weights),
        one.best.shares,
    )
    little = bound.optimise(low, high, mixed, 0, Budget()).values
    assert np.all(little[moved] >= before.values[moved] - SINGLE)


def test_more_steps_are_never_worse_and_mostly_better(make_root: Callable[..., Any], norm: Norm) -> None:
    gains = []
    for seed, sizes, rows in QUESTIONS:
        root = make_root(seed, sizes, norm, rows)
        bound, (lower, upper) = bound_of(root), nodes(root, 9)
        low, high = lower[bound.undecided], upper[bound.undecided]
        values = [bound.optimise(low, high, any_start(root, bound, 9), steps, Budget()).values for steps in (0, 5, 40)]
        open_ = values[0] <= 0
        assert np.all(values[1][open_] >= values[0][open_])
        assert np.all(values[2][open_] >= values[1][open_])
        gains += (values[2] - values[0])[open_].tolist()
    assert np.mean(np.array(gains) > SINGLE) > 0.5


def test_a_cut_ball_gives_greater_values(root: Any) -> None:
    bound, (lower, upper) = bound_of(root), nodes(root, 5)
    low, high, start = lower[bound.undecided], upper[bound.undecided], any_start(root, bound, 5)
    before = bound.optimise(low, high, start, 0, Budget()).values
    bound.set_radius(0.5 * root.ball.radius)
    after = bound.optimise(low, high, start, 0, Budget()).values
    assert np.all(after >= before - SINGLE)
    assert np.any(after > before + SINGLE)


def test_no_time_left(make_root: Callable[..., Any], norm: Norm) -> None:
    root = make_root(*QUESTIONS[0][:2], norm)
    bound, (lower, upper) = bound_of(root), nodes(root, 2)
    with pytest.raises(OutOfTimeError):
        bound.optimise(lower[bound.undecided], upper[bound.undecided], any_start(root, bound, 2), 5, Budget(0.0))


@pytest.mark.parametrize("radius", [0.0, 0.01, 0.7, 3.0, 60.0])
def test_minimisers_spend_the_whole_ball(norm: Norm, radius: float) -> None:
    """Also where many entries have no room, so that the steepest ones do not use up an L1 ball."""
    rng = np.random.default_rng(5)
    centre = np.where(rng.random(120) < 0.6, 0.0, rng.random(120))
    ball = Ball(norm, centre, radius, np.zeros(120), np.ones(120))
    rows = rng.normal(size=(120, 6)).astype(np.float32)
    rows[:, 1] = np.abs(rows[:, 1])
    rows[:, 2] = 0.0
    points, values = ball.geometry.least_of_batch(rows)
    for row, point, value in zip(rows.T.astype(np.float64), points.T, values, strict=True):
        truth = row @ centre - ball.geometry.fall(row, radius)
        assert math.isclose(value, truth, rel_tol=1e-4, abs_tol=1e-4)
        assert math.isclose(row @ point, truth, rel_tol=1e-4, abs_tol=1e-4)


def test_the_simplex_projection_is_the_nearest_point() -> None:
    rng = np.random.default_rng(2)
    given = rng.normal(size=(4, 50)).astype(np.float32)
    found = onto_simplex(given)
    assert np.allclose(found.sum(axis=0), 1.0, atol=1e-5)
    assert np.all(found >= 0)
    others = rng.dirichlet(np.ones(4), 500).T
    nearest = ((others[:, :, np.newaxis] - given[:, np.newaxis]) ** 2).sum(axis=0).min(axis=0)
    assert np.all(((found - given) ** 2).sum(axis=0) <= nearest + 1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_ten_steps_of_children_gain_most_of_what_many_gain(norm: Norm, seed: int) -> None:
    """From where the root's steps have ended, near 0 and far from it: steps of one length for all hardly gain."""
    rng = np.random.default_rng(seed)
    builder, last = GraphBuilder(8), 0
    for n, m in pairwise((8, 20, 20, 20, 1)):
        source = builder.relu(last) if last else last
        last = builder.affine([(Dense(rng.normal(size=(m, n)) / math.sqrt(n)), source)], 0.1 * rng.normal(size=m))
    graph = builder.graph(last)
    ball = Ball(norm, np.full(8, 0.5), {Norm.LINF: 0.3, Norm.L1: 1.5, Norm.L2: 0.7}[norm], np.zeros(8), np.ones(8))
    bounds, stages = linear_bounds(graph, ball, Budget()), to_stages(graph)
    low, high = (float(end[graph.output][0]) for end in (bounds.lower, bounds.upper))
    goal = Halfspaces(np.ones((1, 1)), np.array([-(0.35 * low + 0.65 * high)]))
    ends = hidden_bounds(stages, bounds)
    bound = BatchedBound(stages, ball, goal, *ends)
    lower, upper = (end[bound.undecided, np.newaxis] for end in ends)
    root = bound.optimise(lower, upper, bound.first(), 60, Budget())
    bound.deficit = -float(root.values[0])
    assert bound.deficit > 0
    split = (lower < 0) & (upper > 0) & (rng.random((bound.open.size, 12)) < 0.15)
    active = rng.random(split.shape) < 0.5
    lower, upper = np.where(split & active, 0.0, lower), np.where(split & ~active, 0.0, upper)
    start = root.best.columns(np.zeros(12, np.int64))
    values = [bound.optimise(lower, upper, start, steps, Budget()).values for steps in (0, 10, 100)]
    left = values[2] <= 0
    gained = [float((value - values[0])[left].sum()) for value in values[1:]]
    assert left.any()
    assert gained[0] >= MOST * gained[1] > 0
