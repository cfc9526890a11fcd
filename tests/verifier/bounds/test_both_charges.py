"""Duals that tell the real network from all float32 evaluations: both bounds hold, numpy and kernel give the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from encoders.formulations.to_stages import to_stages
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.kernels.jit import AVAILABLE
from verifier.bounds.lagrangian import Lagrangian
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Halfspaces, Norm
from verifier.problem.rounding import FLOAT32
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.tree.lp_tree import LpSettings, LpTree
from verifier.solvers.tree.protocol import TreeRoot

GOAL = Halfspaces(np.array([[-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]]), np.zeros(2))


def made(truth: Any, seed: int, norm: Norm, *, both: bool) -> tuple[Any, ...]:
    net = truth.net(seed, (3, 6, 5, 3))
    ball = Ball(norm, np.full(3, 0.5), 0.2, net.lo, net.hi).finite
    stages = replace(to_stages(net.graph, FLOAT32.unit, FLOAT32.floors(net.graph)), both=both)
    bounds = linear_bounds(net.graph, ball, Budget(), arithmetic=FLOAT32)
    return stages, ball, GOAL, *hidden_bounds(stages, bounds)


@pytest.mark.parametrize("norm", Norm)
def test_the_real_bound_is_the_higher_one_where_it_is_wanted(truth: Any, norm: Norm) -> None:
    rng = np.random.default_rng(0)
    for seed in range(10):
        for both in (True, False):
            arguments = made(truth, seed, norm, both=both)
            dual = Lagrangian(*arguments).evaluate(np.ones(2), rng.normal(size=arguments[0].relu_count), *arguments[3:])
            assert (dual.real > dual.constant) is both
            assert dual.real - dual.constant <= 1e-3 * (1.0 + abs(dual.constant))
            assert dual.real_value(0.2) >= dual.value(0.2)


@pytest.mark.skipif(not AVAILABLE, reason="numba is not installed")
@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_trees_note_what_float32_leaves(truth: Any, norm: Norm) -> None:
    """With the kernel and with numpy: the real end is the radius, the float32 end hardly less; alone they are equal."""
    noted = 0
    for seed in range(12):
        for kernels in (True, False):
            ends = {}
            for both in (True, False):
                stages, ball, goal, lower, upper = made(truth, seed, norm, both=both)
                tree = LpTree(TreeRoot(stages, ball, goal, lower, upper), LpSettings(kernels=kernels))
                found = None
                while tree.open_nodes and not tree.stuck and found is None:
                    found = tree.explore(Budget())
                if found is None and not tree.stuck:
                    ends[both] = tree.lower_end, tree.float32_end
            if True in ends:
                assert ends[True][0] == ball.radius
                assert 0.9 * ball.radius <= ends[True][1] <= ball.radius
                noted += 1
            if False in ends:
                assert ends[False] == (ball.radius, ball.radius)
    assert noted
