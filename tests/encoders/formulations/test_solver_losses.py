"""What solvers leave out is given back to the row; the rest is counted, and is nothing on ordinary networks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pulp
import pytest

import verifier
from encoders.formulations.pulp_highs import PulpHighs
from encoders.formulations.solver_losses import MENDED, NEGLIGIBLE
from encoders.formulations.to_milp import to_milp
from encoders.network.node_bounds import NodeBounds
from encoders.passes.distance import DISTANCES
from encoders.passes.lower import lower
from verifier import models
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.interval import interval_bounds
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Norm


def lost(net: Any, lo: float = 0.0, hi: float = 1.0) -> float:
    """Of the goal z0 ≥ z1 over a box."""
    size = net.lo.size
    region = Ball(Norm.LINF, np.full(size, (lo + hi) / 2), math.inf, np.full(size, lo), np.full(size, hi))
    bounds = interval_bounds(net.graph, region)
    return to_milp(net.graph, bounds, [[1.0, -1.0]], [0.0]).lost


def wide(*rows: list[float]) -> tuple[Any, Any]:
    return [*rows], [0.0] * len(rows)


def solved(net: Any) -> int:
    """PuLP's status of the goal z0 ≥ z1 over [0, 1]^n after HiGHS."""
    region = Ball(Norm.LINF, np.full(net.lo.size, 0.5), 0.5, net.lo, net.hi)
    problem = to_milp(net.graph, interval_bounds(net.graph, region), [[1.0, -1.0]], [0.0]).problem
    problem.solve(PulpHighs(msg=False))
    return int(problem.status)


def only_by_a_small_coefficient(first: float, by: float) -> tuple[Any, Any]:
    """z0 − z1 = (relu(x0 + x1 + first · x2) − relu(x0 + x1)) · by/first − by/2 = by · (x2 − 1/2)."""
    behind = by / first
    return wide([1.0, 1.0, first], [1.0, 1.0, 0.0]), ([[behind, 0.0], [0.0, behind]], [0.0, by / 2])


@pytest.mark.parametrize("first", [1e-8, 1e-9, 1e-10, 1e-12])
def test_what_is_reached_by_a_small_coefficient_only(truth: Any, first: float) -> None:
    net = truth.of_layers(*only_by_a_small_coefficient(first, MENDED / 2))
    assert lost(net) == 0.0
    assert solved(net) == pulp.LpStatusOptimal


def test_too_much_hangs_on_small_coefficients(truth: Any) -> None:
    assert lost(truth.of_layers(*only_by_a_small_coefficient(1e-10, 2 * MENDED))) == math.inf
    assert lost(truth.of_layers(*only_by_a_small_coefficient(1e-8, 2 * MENDED))) == 0.0


def test_what_small_coefficients_cannot_reach(truth: Any) -> None:
    """z0 = relu(x0 + x1 + 1e-10 · x2) stays below z1 = 2.1: what is left to the row is too little to make up for it."""
    net = truth.of_layers(wide([1.0, 1.0, 1e-10]), ([[1.0], [0.0]], [0.0, 2.1]))
    assert solved(net) == pulp.LpStatusInfeasible


def test_a_small_coefficient_in_the_goal_itself(truth: Any) -> None:
    """z0 − z1 = 1e-10 · relu(x0) − 5e-11 reaches 0 by a coefficient that solvers drop."""
    net = truth.of_layers(wide([1.0]), ([[1e-10], [0.0]], [0.0, 5e-11]))
    assert lost(net) == 0.0
    assert solved(net) == pulp.LpStatusOptimal


def test_what_a_dead_neuron_loses_does_not_count(truth: Any) -> None:
    dead = truth.of_layers(([[-1.0, -1.0, 1e-10]], [-1.0]), wide([1e10], [0.0]))
    assert lost(dead) == 0.0


def test_a_coefficient_that_a_solver_refuses(truth: Any) -> None:
    assert lost(truth.of_layers(wide([1.0, 1.0, 2e15]), wide([1.0], [0.0]))) == math.inf


def test_a_narrow_box_counts(truth: Any) -> None:
    """Presolve fixes inputs in a range below its tolerance; z0 − z1 moves by 3 · 5 · 2^-30 with both."""
    net = truth.of_layers(wide([3.0, 3.0]), wide([5.0], [0.0]))
    assert lost(net, 0.5, 0.5 + 2.0**-30) == pytest.approx(2 * 15 * 2.0**-30)
    assert lost(net, 0.5, 0.5 + 1e-5) == 0.0


@pytest.mark.parametrize("seed", range(6))
def test_ordinary_networks_lose_nothing(truth: Any, seed: int) -> None:
    assert lost(truth.net(seed, (3, 5, 4, 2))) < NEGLIGIBLE / 1000


@pytest.mark.parametrize("name", ["mnist_n", "mnist_n_adversarial", "mnist_n_masked"])
@pytest.mark.parametrize("norm", list(DISTANCES))
def test_networks_whose_weights_faded_in_training(name: str, norm: Norm) -> None:
    """Adam takes the weights of idle pixels below 1e-9; all together they must not keep MILP solvers from an answer."""
    graph = lower(verifier.load(models.path(name)).graph)
    ball = Ball(norm, np.full(784, 0.5), 0.05, np.zeros(784), np.ones(784))
    rows = np.eye(1, 10) - np.eye(1, 10, 1)
    assert to_milp(graph, linear_bounds(graph, ball, Budget()), rows, [0.0]).lost < NEGLIGIBLE


def test_bounds_may_be_infinite(truth: Any) -> None:
    net = truth.of_layers(wide([1.0, 1.0, 1e-10]), wide([1.0], [0.0]))
    lower, upper = ([np.full(node.size, end) for node in net.graph.nodes] for end in (-np.inf, np.inf))
    lower[1][:] = 1.0  # the ReLU passes its argument on
    bounds = NodeBounds(tuple(lower), tuple(upper), proved=True)
    assert to_milp(net.graph, bounds, [[1.0, -1.0]], [0.0]).lost == math.inf
