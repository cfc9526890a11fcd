"""Z3's answers on small networks with short weights agree with enumeration, exactly at the edge too."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import z3

from encoders.formulations.to_rows import Rows, to_rows
from encoders.formulations.to_z3 import Z3Model, to_z3
from encoders.network.graph import Array, GraphBuilder, outputs
from encoders.network.linear_maps import Dense, readonly
from encoders.network.norm import Norm
from encoders.passes.distance import DISTANCES, with_distance
from verifier.bounds.interval import interval_bounds
from verifier.problem.query import Ball, Halfspaces, Targeted, disjuncts

F = Fraction


def answer(model: Z3Model) -> tuple[bool, list[Fraction]]:
    """(satisfiable, the inputs of a model)."""
    solver = z3.SolverFor("QF_LRA")
    solver.add(*model.assertions)
    if solver.check() == z3.unsat:
        return False, []
    return True, model.point(solver.model())


def value_at(net: Any, x: list[Fraction]) -> list[Fraction]:
    """The network's value at a rational point, by this test's own arithmetic."""
    for number, (weight, bias) in enumerate(net.layers):
        x = [max(v, F(0)) for v in x] if number else x
        rows = zip(weight.tolist(), bias.tolist(), strict=True)
        x = [sum((F(w) * v for w, v in zip(row, x, strict=True)), F(b)) for row, b in rows]
    return x


def system_of(net: Any, norm: Norm, centre: Array, radius: float, goal: Halfspaces) -> Rows:
    region = Ball(norm, centre, math.inf, net.lo, net.hi)
    graph = with_distance(net.graph, norm, centre)
    last = np.append(np.zeros(net.graph.output_size), -1.0)
    matrix = np.vstack([np.hstack([goal.matrix, np.zeros((len(goal.matrix), 1))]), last])
    return to_rows(graph, interval_bounds(graph, region), matrix, np.append(goal.offset, radius))


@pytest.mark.parametrize("norm", DISTANCES)
@pytest.mark.parametrize("sizes", [(2, 4, 2), (4, 3, 3, 2), (3, 6, 3)])
def test_agrees_with_enumeration(truth: Any, sizes: tuple[int, ...], norm: Norm) -> None:
    kinds = set()
    for seed in range(8):
        net = truth.net(seed, sizes)
        centre = np.random.default_rng(seed).integers(0, 9, sizes[0]) / 8
        target = int(np.argsort(outputs(net.graph, centre)[0])[-2])
        goal = disjuncts(Targeted(target), sizes[-1])[0][1]
        optimum = net.nearest(norm, centre, goal)
        kinds.add(math.isinf(optimum))
        radii = [5.0] if math.isinf(optimum) else [optimum + 1e-6, optimum + 0.1]
        for radius in radii + [optimum - 1e-6] * (1e-6 < optimum < math.inf):
            found, x = answer(to_z3(system_of(net, norm, centre, radius, goal)))
            assert found == (radius >= optimum)
            if found:
                assert goal.margin_exact(value_at(net, x)) >= 0
                gaps = [abs(a - F(c)) for a, c in zip(x, centre.tolist(), strict=True)]
                assert (sum(gaps) if norm is Norm.L1 else max(gaps)) <= F(radius)
    assert False in kinds


@pytest.mark.parametrize("norm", DISTANCES)
@pytest.mark.parametrize(("radius", "found"), [(0.25, True), (math.nextafter(0.25, 0), False)])
def test_the_edge_belongs_to_it_and_the_next_float_does_not(truth: Any, norm: Norm, radius: float, found: bool) -> None:
    net = truth.of_layers(([[1, 0], [-1, 1]], [0, -2]), ([[1, 0], [0, 1]], [0, 0.75]))
    goal = disjuncts(Targeted(0), 2)[0][1]
    result, x = answer(to_z3(system_of(net, norm, np.array([0.5, 0.5]), radius, goal)))
    assert result == found
    assert not found or x[0] == F(3, 4)


def folded() -> Rows:
    """z = relu(x) + relu(−x) = |x| on [−1, 1], z ≥ 1/2: two solutions, one per phase pattern."""
    builder = GraphBuilder(1)
    hidden = builder.relu(builder.affine([(Dense(readonly([[1.0], [-1.0]])), 0)], [0.0, 0.0]))
    graph = builder.graph(builder.affine([(Dense(readonly([[1.0, 1.0]])), hidden)]))
    region = Ball(Norm.LINF, np.zeros(1), math.inf, -np.ones(1), np.ones(1))
    return to_rows(graph, interval_bounds(graph, region), [[1.0]], [-0.5])


def test_phases_fix_the_side() -> None:
    system = folded()
    assert len(system.splits) == 2
    expected = {(True, False): True, (False, True): True, (True, True): False, (False, False): False}
    for phases in itertools.product((True, False), repeat=2):
        found, x = answer(to_z3(system, dict(enumerate(phases))))
        assert found == expected[phases]
        if found:
            assert (x[0] >= F(1, 2)) if phases[0] else (x[0] <= F(-1, 2))
    for number, active in itertools.product((0, 1), (True, False)):
        found, x = answer(to_z3(system, {number: active}))
        assert found
        assert (x[0] > 0) == (active == (number == 0))
    assert answer(to_z3(system))[0]


def test_the_phases_together_are_the_whole(truth: Any) -> None:
    """Some phase pattern has a solution exactly when the formula without fixed phases has one."""
    kinds = set()
    for seed in range(8):
        net = truth.net(seed, (2, 4, 2))
        goal = disjuncts(Targeted(seed % 2, margin=1.0), 2)[0][1]
        system = system_of(net, Norm.LINF, np.full(2, 0.5), 0.3, goal)
        count = len(system.splits)
        assert count <= 4
        patterns = itertools.product((True, False), repeat=count)
        whole = answer(to_z3(system))[0]
        assert whole == any(answer(to_z3(system, dict(enumerate(pattern))))[0] for pattern in patterns)
        kinds.add(whole)
    assert kinds == {True, False}


def test_fixed_inputs_are_numbers() -> None:
    builder = GraphBuilder(2)
    graph = builder.graph(builder.relu(builder.affine([(Dense(readonly([[1.0, 1.0]])), 0)], [-0.5])))
    region = Ball(Norm.LINF, np.full(2, 0.25), math.inf, np.array([0.0, 0.25]), np.array([1.0, 0.25]))
    found, x = answer(to_z3(to_rows(graph, interval_bounds(graph, region), [[1.0]], [-0.75])))
    assert found
    assert x == [F(1), F(1, 4)]
