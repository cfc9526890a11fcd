"""The compiled simplex against HiGHS on the same relaxation, from any basis, at any node."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from verifier.problem.norms.table import FLAT_NORMS

pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")

import verifier
from encoders.formulations.to_stages import to_stages
from encoders.network.graph import Array
from verifier import models
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.lagrangian import Lagrangian
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Norm, Targeted, disjuncts
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.kernels import simplex
from verifier.solvers.tree.dense_lp import DenseLp
from verifier.solvers.tree.node_lp import NodeLp
from verifier.solvers.tree.protocol import TreeRoot

SAME = 1e-6
"""Relative to 1 + |optimum|: HiGHS's tolerances."""

SIZES = (((0, (5, 6, 3), 2)), (7, (3, 6, 6, 3), 0), (3, (40, 12, 8, 8, 4), 3), (5, (30, 16, 16, 3), 1))


@pytest.fixture(params=itertools.product(SIZES, FLAT_NORMS), ids=str)
def root(request: pytest.FixtureRequest, make_root: Callable[..., Any]) -> Any:
    (seed, sizes, rows), norm = request.param
    return make_root(seed, sizes, norm, rows)


def solvers(root: Any) -> tuple[DenseLp, NodeLp]:
    moves = [(entry, sign) for entry in range(root.ball.centre.size) for sign in (1, -1)]
    given = TreeRoot(root.stages, root.ball, root.goal, *root.ends, tolerance=1e-9)
    return DenseLp(given), NodeLp(given, moves)


def child(lower: Array, upper: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """A node below: one ReLU split, another one's bounds tightened."""
    lower, upper = lower.copy(), upper.copy()
    places = np.flatnonzero((lower < 0) & (upper > 0))
    if places.size:
        end = lower if rng.random() < 0.5 else upper
        end[rng.choice(places)] = 0.0
        j = rng.choice(places)
        lower[j], upper[j] = 0.7 * lower[j], 0.8 * upper[j]
    return lower, upper


def test_optima_agree_on_the_way_down_and_after_jumps(root: Any) -> None:
    """Bases of one node are started from at others; the triangle's coefficients follow each node exactly."""
    rng, feasible = np.random.default_rng(5), 0
    dense, _ = solvers(root)
    for _ in range(12):
        lower, upper = root.ends
        for _ in range(10):
            # HiGHS keeps triangles a little wide from node to node: a fresh model has the node's own.
            wanted = solvers(root)[1].solve(lower, upper, Budget())
            found = dense.solve(lower, upper, Budget(), dense.first_basis() if rng.random() < 0.2 else None)
            assert found.usable
            assert wanted.usable
            if wanted.optimum is None:
                value = root.lagrangian.evaluate(found.weights, found.nu, lower, upper).value(root.ball.radius)
                assert found.optimum is None
                assert value > 0
                break
            feasible += 1
            assert found.optimum == pytest.approx(wanted.optimum, rel=SAME, abs=SAME)
            dual = root.lagrangian.evaluate(found.weights, found.nu, lower, upper)
            assert dual.value(root.ball.radius) == pytest.approx(wanted.optimum, rel=SAME, abs=SAME)
            assert np.all((found.point >= root.ball.lo) & (found.point <= root.ball.hi))
            length = np.linalg.norm(found.point - root.ball.centre, 1 if root.ball.norm is Norm.L1 else math.inf)
            assert length <= root.ball.radius * (1.0 + SAME)
            lower, upper = child(lower, upper, rng)
    assert feasible >= 20


@pytest.mark.parametrize("seed", range(2))
def test_ties_do_not_stall_it(seed: int) -> None:
    """Steps of slope 4096: hundreds of pivots in a row gain nothing, unless a and p have costs of their own."""
    model, rng = verifier.load(models.path("mnist_n_masked")), np.random.default_rng(seed)
    x = np.clip(rng.normal(0.1, 0.3, 784), 0.0, 1.0)
    ball = Ball(Norm.LINF, x, 0.05, np.zeros(784), np.ones(784))
    goal = disjuncts(Targeted((model.predict(x.astype(np.float32)) + 3) % 10), 10)[0][1]
    root = hidden_bounds(to_stages(model.graph), linear_bounds(model.graph, ball, Budget()))
    given = TreeRoot(to_stages(model.graph), ball, goal, *root, tolerance=1e-9)
    dense, highs = DenseLp(given), NodeLp(given, [])
    lagrangian = Lagrangian(given.stages, ball, goal, *root)
    feasible, unproved = 0, 0
    for depth in range(20):
        lower, upper = (end.copy() for end in root)
        for _ in range(depth // 2):
            end = lower if rng.random() < 0.5 else upper
            end[rng.choice(np.flatnonzero((lower < 0) & (upper > 0)))] = 0.0
        found = dense.solve(lower, upper, Budget(), dense.first_basis())
        wanted = highs.solve(lower, upper, Budget())
        if found.optimum is None:
            # A safe evaluation excludes a node, never the LP's word: on some processors rounding loses one ray.
            value = lagrangian.evaluate(found.weights, found.nu, lower, upper).value(ball.radius)
            assert value <= 0 or wanted.optimum is None
            unproved += value <= 0
        elif wanted.usable:  # HiGHS gives up on one of these
            assert wanted.optimum is not None
            feasible += 1
            assert found.optimum == pytest.approx(wanted.optimum, rel=SAME, abs=SAME)
    assert feasible >= 15
    assert unproved <= 1
    assert dense.pivots <= 500 * dense.solved


def test_a_smaller_ball(root: Any) -> None:
    dense, highs = solvers(root)
    for share in (1.0, 0.5, 0.1, 0.0):
        for lp in (dense, highs):
            lp.set_radius(share * root.ball.radius)
        found, wanted = (lp.solve(*root.ends, Budget()) for lp in (dense, highs))
        assert (found.optimum is None) == (wanted.optimum is None)
        if wanted.optimum is not None:
            assert found.optimum == pytest.approx(wanted.optimum, rel=SAME, abs=SAME)


def test_the_cutoff_ends_a_run_with_multipliers_that_prove_it(root: Any) -> None:
    dense, _ = solvers(root)
    optimum = dense.solve(*root.ends, Budget()).optimum
    assert optimum is not None
    made, (basic, key) = dense.program, dense.first_basis()
    duals, moved, off = np.zeros(made.constants.size), np.zeros(made.used.size), np.zeros(made.kept.size)
    lower, upper = root.ends
    cutoff = optimum - 0.05 * (1.0 + abs(optimum))
    low, high = lower[made.kept], upper[made.kept]
    end, _, _ = simplex.solve(made, low, high, basic, key, 10_000, cutoff, duals, moved, off)
    assert end == simplex.EXCLUDED
    nu = np.zeros(lower.size)
    nu[made.kept] = duals[: made.kept.size]
    weights = np.maximum(duals[made.kept.size : made.kept.size + made.goals], 0.0)
    value = root.lagrangian.evaluate(weights, nu, lower, upper).value(root.ball.radius)
    assert cutoff - SAME <= value <= optimum + SAME


def test_no_pivots_allowed_means_stopped(root: Any) -> None:
    dense, _ = solvers(root)
    made, (basic, key) = dense.program, dense.first_basis()
    duals, moved, off = np.zeros(made.constants.size), np.zeros(made.used.size), np.zeros(made.kept.size)
    low, high = (end[made.kept] for end in root.ends)
    end, _, pivots = simplex.solve(made, low, high, basic, key, 0, math.inf, duals, moved, off)
    assert (end, pivots) == (simplex.STOPPED, 0)
