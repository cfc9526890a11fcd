"""Gurobi's model of the nearest point against every activation pattern, and against our own MILP."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.ratios import SOLVER_TOLERANCE
from benchmarks.peers.gurobi_milp import minimise
from benchmarks.peers.peer_case import Case
from encoders.formulations.to_stages import to_stages
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Halfspaces, Norm, Query, Targeted, disjuncts
from verifier.solvers.milp import Milp

pytest.importorskip("gurobipy", reason="gurobipy is not installed (extra bench)")

PRECISION = 1e-6


def case(net: Any, norm: Norm, centre: Any, goal: Halfspaces) -> Case:
    whole = Ball(norm, centre, math.inf, net.lo, net.hi)
    ball = whole.with_radius(whole.reach)
    return Case(to_stages(net.graph), ball, goal, linear_bounds(net.graph, ball, Budget()))


@pytest.mark.parametrize("norm", list(FLAT_NORMS))
@pytest.mark.parametrize("seed", range(6))
def test_the_optimum_is_the_true_one(truth: Any, norm: Norm, seed: int) -> None:
    net = truth.net(seed, (4, 5, 5, 3))
    centre = np.where(np.arange(4) % 3 == 0, 0.0, np.random.default_rng(seed).random(4))
    ((_, goal),) = disjuncts(Targeted(seed % 3), 3)
    asked = case(net, norm, centre, goal)
    found, true = minimise(asked, PRECISION, 20.0), net.nearest(norm, centre, goal)
    ours = Milp().nearest(Query(net.graph, asked.ball, goal), asked.bounds, Budget())
    assert found.reason == ""
    if math.isinf(true):
        assert math.isinf(found.lower)
        assert ours.infeasible
        return
    assert found.lower - SOLVER_TOLERANCE <= true <= found.upper + SOLVER_TOLERANCE
    assert found.upper - found.lower <= PRECISION
    assert found.upper == pytest.approx(ours.lower, abs=SOLVER_TOLERANCE)


def test_nothing_in_reach_is_infeasible(truth: Any) -> None:
    net = truth.of_layers(([[1.0, 1.0]], [0.0]), ([[1.0], [0.0]], [0.0, 5.0]))
    ((_, goal),) = disjuncts(Targeted(0), 2)
    found = minimise(case(net, Norm.LINF, np.zeros(2), goal), PRECISION, 20.0)
    assert math.isinf(found.lower)
    assert math.isinf(found.upper)
