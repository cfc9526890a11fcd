"""How far tolerances move values: against perturbed evaluations of random networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from encoders.formulations.solver_tolerances import ORDINARY, margin_error, row_errors, scale
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Norm

TOLERANCE = 1e-3


@pytest.mark.parametrize("radius", [0.05, 0.5])
@pytest.mark.parametrize("seed", range(10))
def test_no_perturbed_evaluation_moves_a_row_by_more(truth: Any, seed: int, radius: float) -> None:
    """Every entry is moved by what its rows allow, at random and in the worst directions of each output."""
    net, rng = truth.net(seed, (3, 5, 4, 3)), np.random.default_rng(seed)
    centre = np.full(3, 0.5)
    ball = Ball(Norm.LINF, centre, radius, net.lo, net.hi)
    bounds = linear_bounds(net.graph, ball, Budget())
    rows = rng.integers(-2, 3, (4, 3)).astype(float)
    allowed = row_errors(net.graph, bounds, net.graph.output, rows, TOLERANCE)
    for _ in range(300):
        x = centre + rng.uniform(-radius, radius, 3)
        exact, moved = x, x + TOLERANCE * rng.choice([-1, 1], 3)
        for place, (weight, bias) in enumerate(net.layers):
            exact, moved = weight @ exact + bias, weight @ moved + bias
            moved = moved + TOLERANCE * rng.choice([-1, 1], moved.size)
            if place + 1 < len(net.layers):
                # Where a sign is fixed there are no rows; the bounds hold for what is modelled.
                exact, moved = np.maximum(exact, 0.0), np.maximum(moved, 0.0)
        assert np.all(np.abs(rows @ (moved - exact)) <= allowed + 1e-12)


def test_an_error_grows_with_the_weights_behind_it(truth: Any) -> None:
    small = truth.of_layers(([[1.0]], [-0.5]), ([[1.0], [0.0]], [0.0, 0.25]))
    large = truth.of_layers(([[1.0]], [-0.5]), ([[64.0], [0.0]], [0.0, 0.25]))
    found = []
    for net in (small, large):
        ball = Ball(Norm.LINF, np.full(1, 0.5), 0.25, net.lo, net.hi)
        bounds = linear_bounds(net.graph, ball, Budget())
        found.append(margin_error(net.graph, bounds, np.array([[1.0, -1.0]]), 1e-6))
    assert found[1] > 16 * found[0] > 0


def test_without_a_tolerance_nothing_moves(truth: Any) -> None:
    net = truth.net(0, (2, 3, 2))
    ball = Ball(Norm.LINF, np.full(2, 0.5), 0.25, net.lo, net.hi)
    bounds = linear_bounds(net.graph, ball, Budget())
    assert margin_error(net.graph, bounds, np.array([[1.0, -1.0]]), 0.0) == 0.0


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (0.0, ORDINARY), (-1.0 / ORDINARY, 0.0), (0.0, 0.0)])
def test_ordinary_entries_are_modelled_as_they_are(low: float, high: float) -> None:
    assert scale(low, high) == 1.0


@pytest.mark.parametrize("reach", [2.0**-20, 3e-7, 2.0**-1070, 2.0**30, 1e300])
def test_others_are_brought_near_to_1_by_a_power_of_2(reach: float) -> None:
    unit = scale(-0.5 * reach, reach)
    assert np.frexp(unit)[0] == 0.5
    assert reach / unit <= 1.0
    assert reach / unit >= 0.5 or reach < 2.0**-1000
    assert scale(-np.inf, reach) == 1.0
