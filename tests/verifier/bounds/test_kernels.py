"""The kernels against their numpy references: same formulas, other order of sums."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from verifier.problem.query import Norm

pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")

from encoders.network.graph import Array
from verifier.bounds.half_space import HalfSpace
from verifier.bounds.kernels import half_space, lagrangian, network, norms, stage_crown
from verifier.bounds.lagrangian import tightened
from verifier.bounds.stage_crown import StageBounds
from verifier.solvers.node_constants import STEPS
from verifier.solvers.tree.goal_ascent import GoalAscent
from verifier.solvers.tree.primal_heuristics import GradientDescent

SAME = 1e-9
"""Relative to 1 + |value|: both charge rounding, in slightly different amounts."""

ROUNDED = 0.02
"""Of an argument's interval: the kernel's scales of rows in L2 are of fewer rounds than the reference's."""

QUESTIONS = list(itertools.product(((0, (5, 6, 3), 2), (7, (3, 6, 6, 3), 0), (3, (40, 12, 8, 8, 4), 3)), Norm))


@pytest.fixture(params=QUESTIONS, ids=str)
def root(request: pytest.FixtureRequest, make_root: Callable[..., Any]) -> Any:
    (seed, sizes, rows), norm = request.param
    return make_root(seed, sizes, norm, rows)


def split(root: Any, rng: np.random.Generator) -> tuple[Array, Array]:
    """The root's bounds with a third of the open ReLUs split."""
    lower, upper = (end.copy() for end in root.ends)
    for j in np.flatnonzero((lower < 0) & (upper > 0)):
        side = rng.integers(3)
        if side == 0:
            lower[j] = 0.0
        elif side == 1:
            upper[j] = 0.0
    return lower, upper


def close(found: Any, wanted: Any) -> bool:
    return bool(np.all(np.abs(np.asarray(found) - wanted) <= SAME * (1.0 + np.abs(wanted))))


def test_evaluations_agree(root: Any) -> None:
    rng, net = np.random.default_rng(1), network.network(root.stages, root.lagrangian)
    for _ in range(20):
        lower, upper = split(root, rng)
        weights, nu = rng.random(len(root.goal.offset)), rng.normal(size=lower.size)
        wanted = root.lagrangian.evaluate(weights, nu.copy(), lower, upper)
        mu, row, shares = np.empty(lower.size), np.empty(net.around.centre.size), np.empty(lower.size)
        constant = lagrangian.evaluate(net, weights, nu, lower, upper, mu, row, shares)
        for found, reference in (
            (constant, wanted.constant),
            (nu, wanted.nu),
            (mu, wanted.mu),
            (row, wanted.row),
            (shares, wanted.shares),
        ):
            assert close(found, reference)
        radius = root.ball.radius
        assert close(norms.fall(net.around, row, radius), wanted.geometry.fall(row, radius))
        for amount in (-1.0, 0.0, 0.1, 1.0, 100.0):
            found = norms.excluded(net.around, row, amount, radius)
            assert close(found, wanted.geometry.excluded(row, amount, radius))
            assert amount < 0 or wanted.geometry.fall(row, found) <= amount


@pytest.mark.parametrize("share", [0.0, 1e-3, 0.2, 0.9, 1.5])
def test_support_functions_agree(root: Any, share: float) -> None:
    """Also where a ball is spent on more entries than are sought first, and where some have no room."""
    rng, net, geometry = np.random.default_rng(6), network.network(root.stages, root.lagrangian), root.ball.geometry
    radius = share * root.ball.reach
    for zeros in (0.0, 0.3, 1.0):
        row = np.where(rng.random(net.around.centre.size) < zeros, 0.0, rng.normal(size=net.around.centre.size))
        fall = norms.fall(net.around, row, radius)
        assert close(fall, geometry.fall(row, radius))
        for part in (-1.0, 0.0, 0.3, 0.99, 1.0, 1.1, np.nan):
            found = norms.excluded(net.around, row, part * fall, radius)
            assert 0.0 <= found <= radius
            wanted = geometry.excluded(row, part * fall, radius)
            # Where the ball leaves the box behind the fall is level: rounding decides between the two ends of that.
            level = part == 1.0 and close(geometry.fall(row, found), geometry.fall(row, wanted))
            assert close(found, wanted) or level
        assert norms.excluded(net.around, row, np.inf, radius) == 0.0


def test_more_entries_are_sought_than_first_ones() -> None:
    """The ball of `test_support_functions_agree` that the steepest entries do not use up."""
    assert max(sizes[0] for (_, sizes, _), _ in QUESTIONS) > norms.TOP


def test_steps_of_an_ascent_agree(root: Any) -> None:
    rng, net, geometry = np.random.default_rng(7), network.network(root.stages, root.lagrangian), root.ball.geometry
    ends, radius = np.array([root.ball.lo, root.ball.hi]), 0.7 * root.ball.radius
    x = root.ball.centre.copy()
    for step in range(STEPS):
        gradient = rng.normal(size=x.size) * rng.integers(0, 2, x.size)
        wanted = geometry.ascended(x, gradient, radius, geometry.ascent_share(step, STEPS))
        norms.ascend(net.around, ends, gradient, radius, step, STEPS, x)
        assert close(x, wanted)


def test_tightenings_agree(root: Any) -> None:
    rng, net = np.random.default_rng(2), network.network(root.stages, root.lagrangian)
    stages = StageBounds(root.stages, root.lagrangian, root.ball.radius)
    crossed = 0
    radius, centre = root.ball.radius, root.ball.centre
    for _ in range(30):
        lower, upper = split(root, rng)
        chosen = rng.random(lower.size) < rng.choice([0.5, 1.0])
        row = rng.normal(size=centre.size)
        # A half-space that leaves out nothing: multipliers for one that does are compared in test_half_space.
        cut = HalfSpace(row, float(rng.choice([np.inf, root.ball.geometry.fall(-row, radius)])))
        wanted = stages.tighten(lower, upper, chosen, cut)
        low, high = lower.copy(), upper.copy()
        made = half_space.cut_of(net.around, cut.row, cut.amount, radius)
        inside = stage_crown.tighten_stages(net, made, low, high, chosen)
        assert np.array_equal(low[~chosen], lower[~chosen])
        assert inside == bool(np.all(wanted[0] <= wanted[1]))
        if inside:
            assert np.all(low >= lower)
            assert np.all(high <= upper)
            # In L1 the reference looks at the steepest entries only: the kernel's bounds may be tighter.
            slack = SAME * (1.0 + np.abs(wanted))
            if root.ball.norm is Norm.L2:
                slack = slack + ROUNDED * (upper - lower)
            assert np.all(low >= wanted[0] - slack[0])
            assert np.all(high <= wanted[1] + slack[1])
        crossed += not inside
    assert crossed < 30


def test_reduced_costs_agree(root: Any) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        lower, upper = split(root, rng)
        dual = root.lagrangian.evaluate(rng.random(len(root.goal.offset)), rng.normal(size=lower.size), lower, upper)
        for value in (-10.0, -1.0, -1e-3):
            wanted = tightened(dual, value, lower, upper)
            low, high = lower.copy(), upper.copy()
            inside = lagrangian.tighten_by_costs(dual.mu, dual.nu, dual.shares, value, low, high)
            assert inside == bool(np.all(wanted[0] <= wanted[1]))
            if inside:
                assert close(low, wanted[0])
                assert close(high, wanted[1])


def test_values_agree(root: Any) -> None:
    net = network.network(root.stages, root.lagrangian)
    for x in root.points(4):
        arguments = np.empty(root.stages.relu_count)
        margin = lagrangian.forward(net, x, arguments)
        wanted, outputs = root.stages.values(x)
        assert close(arguments, wanted[0])
        assert close(margin, root.goal.margin(outputs)[0])


def test_descents_agree(root: Any) -> None:
    net, goal = network.network(root.stages, root.lagrangian), GoalAscent(root.stages, root.ball, root.goal)
    ends = np.array([root.ball.lo, root.ball.hi])
    reached = 0
    for x in root.points(5):
        _, margin = GradientDescent(goal).search(x, root.ball.radius)
        best = np.empty_like(x)
        found = lagrangian.descend(net, ends, x.copy(), root.ball.radius, STEPS, best)
        assert found == pytest.approx(margin, rel=SAME, abs=SAME)
        assert goal.margin(best) == pytest.approx(found, rel=SAME, abs=SAME)
        assert root.holds(best, SAME)
        reached += found > goal.margin(x)
    assert reached
