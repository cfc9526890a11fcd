"""200 random small nets, half of them in each norm, every decider against exact enumeration: not one contradiction."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from encoders.network.exact import exact_outputs
from tests.traps.enumeration import Exact
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Halfspaces, Norm, Query, Targeted, disjuncts
from verifier.problem.verdict import Holds, Unknown, Violated
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.milp import Milp
from verifier.solvers.smt import Smt

NETS = 112

SIZES = ((2, 3, 2), (2, 4, 3), (1, 6, 2), (2, 3, 3, 2), (2, 5, 3), (1, 4, 4, 3), (2, 2, 2, 2, 2))

PROVING: list[Any] = [BranchAndBound(), BranchAndBound().having("lp", kernels=False), Smt()]

DECIDERS: list[Any] = [*PROVING, Milp("highs"), Milp("highs", tighten=False), Milp("cbc")]

NEAR = 1e-5
"""This far from the truth every decider knows the answer; nearer, those with tolerances need not."""

TOLERANCE = 1e-5
"""What a MILP's points and minima may be off by."""


def question(truth: Any, seed: int) -> tuple[Any, Any, int, Halfspaces]:
    """(net, centre, target, goal): weights in eighths, where ties are common, or any float32; every fourth as drawn."""
    sizes, rng = SIZES[seed % len(SIZES)], np.random.default_rng(seed)
    net = truth.net(seed, sizes)
    if seed % 2:
        layers = ((w + rng.normal(0, 0.1, w.shape), b + rng.normal(0, 0.1, b.shape)) for w, b in net.layers)
        net = truth.of_layers(*((np.float32(w), np.float32(b)) for w, b in layers))
    if seed % 4:
        # No class is to be hopeless: near the middle of the box they are about even.
        middle = exact_outputs(net.graph, (net.lo + net.hi) / 2)
        last, bias = net.layers[-1]
        even = bias - [float(z) for z in middle] + rng.integers(-2, 3, sizes[-1]) / 8
        net = truth.of_layers(*net.layers[:-1], (last, np.float32(even)))
    centre = rng.integers(0, 9, sizes[0]) / 8
    target = int(np.argsort([float(z) for z in exact_outputs(net.graph, centre)])[-2])
    return net, centre, target, disjuncts(Targeted(target), sizes[-1])[0][1]


def enumerated(net: Any, norm: Norm, centre: Any, target: int) -> Fraction | None:
    layers = tuple((w.tolist(), b.tolist()) for w, b in net.layers)
    ends = (tuple(map(Fraction, end.tolist())) for end in (net.lo, net.hi))
    return Exact(layers, *ends).nearest(norm, tuple(map(Fraction, centre.tolist())), target)


@pytest.mark.parametrize("seed", range(NETS))
def test_no_decider_contradicts_the_enumeration(truth: Any, seed: int) -> None:
    norm = FLAT_NORMS[seed // 28 % 2]  # every size and way to draw weights comes in both
    net, centre, target, goal = question(truth, seed)
    nearest = enumerated(net, norm, centre, target)
    ball = Ball(norm, centre, math.inf, net.lo, net.hi)
    if nearest is None:
        asked = [(ball.reach, DECIDERS)]
    else:
        close = float(nearest)
        asked = [(close + NEAR, DECIDERS), (close - NEAR, DECIDERS)]
        asked += [(math.nextafter(close, 0.0), PROVING), (close, PROVING)]
    for radius, deciders in asked:
        if radius <= 0.0:
            continue
        query = Query(net.graph, ball.with_radius(radius), goal)
        bounds = linear_bounds(net.graph, query.region, Budget())
        reached = nearest is not None and nearest <= Fraction(radius)
        for decider in deciders:
            verdict = decider.decide(query, bounds, Budget())
            if isinstance(verdict, Holds):
                assert not reached, (decider, radius)
            elif isinstance(verdict, Violated) and not reached:
                # Floats see a point of the goal within their tolerances, and the judge looks again; Z3 may not.
                assert not isinstance(decider, Smt), radius
                assert goal.margin_exact(exact_outputs(net.graph, verdict.point)) >= -TOLERANCE, (decider, radius)
            elif isinstance(verdict, Unknown):
                assert deciders is PROVING, (decider, radius, verdict)


@pytest.mark.parametrize("norm", FLAT_NORMS)
@pytest.mark.parametrize("seed", range(0, NETS, 4))
def test_the_direct_minimum_is_the_enumerated_one(truth: Any, seed: int, norm: Norm) -> None:
    net, centre, target, goal = question(truth, seed)
    nearest = enumerated(net, norm, centre, target)
    query = Query(net.graph, Ball(norm, centre, math.inf, net.lo, net.hi), goal)
    found = Milp("highs").nearest(query, linear_bounds(net.graph, query.region, Budget()), Budget())
    assert found.infeasible == (nearest is None)
    if nearest is not None:
        # The goal is soft by what tolerances can move it, which lowers the end by what that is worth.
        assert found.lower == pytest.approx(float(nearest), abs=5 * TOLERANCE)
        assert found.lower <= float(nearest) + TOLERANCE / 10


def test_the_nets_are_of_every_kind(truth: Any) -> None:
    found = [enumerated(net, Norm.L1, centre, target) for net, centre, target, _ in
             (question(truth, seed) for seed in range(NETS))]  # fmt: skip
    assert sum(nearest is None for nearest in found) >= NETS // 20
    assert sum(nearest is not None and nearest > 0 for nearest in found) >= NETS // 2


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_both_enumerations_agree(truth: Any, norm: Norm) -> None:
    """The rational one here, and the one by LPs that the other tests use."""
    for seed in range(0, NETS, 10):
        net, centre, target, goal = question(truth, seed)
        nearest = enumerated(net, norm, centre, target)
        expected = math.inf if nearest is None else pytest.approx(float(nearest), abs=1e-8)
        assert net.nearest(norm, centre, goal) == expected
