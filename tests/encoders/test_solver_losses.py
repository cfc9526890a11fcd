"""What solvers leave out: known sums on a chain of ReLUs, and nothing on ordinary networks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from encoders.node_bounds import NodeBounds
from encoders.solver_losses import NEGLIGIBLE
from encoders.to_milp import to_milp
from verifier.bounds.interval import interval_bounds
from verifier.query import Ball, Norm


def lost(net: Any, lo: float = 0.0, hi: float = 1.0) -> float:
    """Of the goal z0 ≥ z1 over a box."""
    size = net.lo.size
    region = Ball(Norm.LINF, np.full(size, (lo + hi) / 2), math.inf, np.full(size, lo), np.full(size, hi))
    bounds = interval_bounds(net.graph, region)
    return to_milp(net.graph, bounds, [[1.0, -1.0]], [0.0]).lost


def wide(*rows: list[float]) -> tuple[Any, Any]:
    return [*rows], [0.0] * len(rows)


@pytest.mark.parametrize(
    ("first", "behind", "expected"),
    [(1e-8, 1.0, 0.0), (1e-10, 1.0, 1e-10), (1e-10, 1e10, 1.0), (-1e-10, 1e10, 1.0), (0.0, 1e10, 0.0)],
)
def test_a_dropped_coefficient_counts_as_much_as_the_weights_behind_it(
    truth: Any, first: float, behind: float, expected: float
) -> None:
    """Three terms, so that the sum has a row of its own; z0 = behind · relu(x0 + x1 + first · x2)."""
    net = truth.of_layers(wide([1.0, 1.0, first]), wide([behind], [0.0]))
    assert lost(net) == pytest.approx(expected, rel=1e-6)


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


def test_bounds_may_be_infinite(truth: Any) -> None:
    net = truth.of_layers(wide([1.0, 1.0, 1e-10]), wide([1.0], [0.0]))
    lower, upper = ([np.full(node.size, end) for node in net.graph.nodes] for end in (-np.inf, np.inf))
    lower[1][:] = 1.0  # the ReLU passes its argument on
    bounds = NodeBounds(tuple(lower), tuple(upper), proved=True)
    assert to_milp(net.graph, bounds, [[1.0, -1.0]], [0.0]).lost == math.inf
