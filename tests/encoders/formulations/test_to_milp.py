"""The MILP's optimum is that of enumeration, with and without the splits that polarity saves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pulp
import pytest

from encoders.formulations import to_milp as module
from encoders.formulations.pulp_highs import PulpHighs
from encoders.formulations.to_milp import MilpModel, to_milp
from encoders.network.graph import GraphBuilder, outputs
from encoders.network.linear_maps import Dense, readonly
from encoders.network.node_bounds import NodeBounds, unstable_count
from encoders.network.norm import Norm
from encoders.passes.distance import DISTANCES, with_distance
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.interval import interval_bounds
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces, Targeted, disjuncts

AGREEMENT = 1e-5
"""Feasibility and integrality tolerances of 1e-6 and 1e-7, times slopes of about 10."""


def solved(model: MilpModel, solver: str = "HiGHS") -> float | None:
    """The optimum, or None where there is none."""
    model.problem.solve(PulpHighs(msg=False) if solver == "HiGHS" else pulp.getSolver(solver, msg=False))
    if model.problem.status == pulp.LpStatusInfeasible:
        return None
    assert model.problem.status == pulp.LpStatusOptimal
    return float(pulp.value(model.problem.objective) or 0.0)


@pytest.fixture
def all_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch polarity off: every unstable ReLU gets its binary."""

    def everything(graph: Any, wants: Any) -> dict[int, np.ndarray]:
        return {index: np.ones(graph.nodes[index].size, dtype=bool) for index in graph.relus()}

    monkeypatch.setattr(module, "wanted_large", everything)


def problem(truth: Any, seed: int, sizes: tuple[int, ...] = (3, 5, 4, 2)) -> tuple[Any, np.ndarray, Halfspaces]:
    net = truth.net(seed, sizes)
    centre = np.random.default_rng(seed).integers(0, 9, sizes[0]) / 8
    return net, centre, disjuncts(Targeted(int(np.argmin(outputs(net.graph, centre)[0]))), sizes[-1])[0][1]


def margin_model(net: Any, region: Ball, *, relaxed: bool = False) -> MilpModel:
    """min z₁ − z₀ over the region."""
    bounds = linear_bounds(net.graph, region, Budget())
    none = np.zeros((0, net.graph.output_size))
    return to_milp(net.graph, bounds, none, np.zeros(0), minimise=np.array([-1.0, 1.0]), relaxed=relaxed)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("solver", ["HiGHS", "PULP_CBC_CMD"])
def test_the_least_margin_is_that_of_enumeration(truth: Any, seed: int, solver: str) -> None:
    net, centre, _ = problem(truth, seed)
    region = Ball(Norm.LINF, centre, 0.4, net.lo, net.hi)
    truly = -net.largest_margin(region, Halfspaces(np.array([[1.0, -1.0]]), np.zeros(1)))
    model = margin_model(net, region)
    found = solved(model, solver)
    assert found == pytest.approx(truly, abs=AGREEMENT)
    z = outputs(net.graph, model.point())[0]
    assert z[1] - z[0] == pytest.approx(truly, abs=AGREEMENT)
    assert solved(margin_model(net, region, relaxed=True)) <= truly + AGREEMENT


def distance_model(net: Any, centre: np.ndarray, norm: Norm, goal: Halfspaces, *, relaxed: bool = False) -> MilpModel:
    graph = with_distance(net.graph, norm, centre)
    bounds = linear_bounds(graph, Ball(norm, centre, math.inf, net.lo, net.hi), Budget())
    matrix = np.hstack([goal.matrix, np.zeros((len(goal.matrix), 1))])
    objective = np.append(np.zeros(net.graph.output_size), 1.0)
    return to_milp(graph, bounds, matrix, goal.offset, minimise=objective, relaxed=relaxed)


@pytest.mark.parametrize("norm", DISTANCES)
@pytest.mark.parametrize("seed", range(12))
def test_the_least_distance_is_that_of_enumeration(truth: Any, seed: int, norm: Norm) -> None:
    net, centre, goal = problem(truth, seed)
    truly = net.nearest(norm, centre, goal)
    model = distance_model(net, centre, norm, goal)
    found = solved(model)
    relaxed = distance_model(net, centre, norm, goal, relaxed=True)
    assert relaxed.binaries == 0
    below = solved(relaxed)
    if math.isinf(truly):
        assert found is None
        return
    assert found == pytest.approx(truly, abs=AGREEMENT)
    assert below is not None
    assert below <= found + AGREEMENT
    assert goal.margin(outputs(net.graph, model.point()))[0] >= -AGREEMENT


def test_the_table_has_both_kinds(truth: Any) -> None:
    optima = [net.nearest(Norm.L1, centre, goal) for net, centre, goal in (problem(truth, seed) for seed in range(12))]
    assert 3 <= sum(math.isfinite(optimum) for optimum in optima) <= 11


@pytest.mark.parametrize("norm", DISTANCES)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.usefixtures("all_split")
def test_all_splits_give_the_same_optimum(truth: Any, seed: int, norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    net, centre, goal = problem(truth, seed, (2, 4, 3, 2))
    full = distance_model(net, centre, norm, goal)
    best = solved(full)
    monkeypatch.undo()
    sparse = distance_model(net, centre, norm, goal)
    assert sparse.binaries < full.binaries
    assert solved(sparse) == (None if best is None else pytest.approx(best, abs=AGREEMENT))


def chain() -> Any:
    """relu(x − 2), relu(x + 2), relu(x − 1/2) on [0, 1]: never, always and sometimes active."""
    builder = GraphBuilder(1)
    hidden = builder.relu(builder.affine([(Dense(readonly([[1.0], [1.0], [1.0]])), 0)], [-2.0, 2.0, -0.5]))
    return builder.graph(builder.affine([(Dense(readonly([[1.0, 1.0, 2.0]])), hidden)]))


def unit() -> Ball:
    return Ball(Norm.LINF, np.array([0.5]), math.inf, np.zeros(1), np.ones(1))


def test_stable_relus_have_no_binary() -> None:
    graph = chain()
    bounds = interval_bounds(graph, unit())
    assert unstable_count(graph, bounds) == 1
    pulled = to_milp(graph, bounds, [[1.0]], [-3.5])
    assert pulled.binaries == 1
    assert sum(variable.cat == "Integer" for variable in pulled.problem.variables()) == 1
    assert to_milp(graph, bounds, [[-1.0]], [3.5]).binaries == 0
    assert to_milp(graph, bounds, [[1.0]], [-3.5], relaxed=True).binaries == 0


@pytest.mark.parametrize(("sign", "best"), [(1.0, 2.0), (-1.0, -4.0)])
def test_the_chain_by_hand(sign: float, best: float) -> None:
    """z = 0 + (x + 2) + 2·relu(x − 1/2): between 2 and 4."""
    graph = chain()
    bounds = interval_bounds(graph, unit())
    model = to_milp(graph, bounds, np.zeros((0, 1)), np.zeros(0), minimise=[sign])
    assert solved(model) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("solver", ["HiGHS", "PULP_CBC_CMD"])
@pytest.mark.parametrize(("offset", "feasible"), [(-3.999, True), (-4.001, False)])
def test_the_goal_is_a_constraint(offset: float, feasible: bool, solver: str) -> None:
    graph = chain()
    model = to_milp(graph, interval_bounds(graph, unit()), [[1.0]], [offset])
    assert (solved(model, solver) is not None) == feasible


def test_the_relaxation_is_the_triangle() -> None:
    """max of relu(x − 1/2) − (x − 1/2)/2 on [0, 1]: 1/4 at an end, and 1/4 everywhere on the triangle's third side."""
    builder = GraphBuilder(1)
    argument = builder.affine([(Dense(readonly([[1.0]])), 0)], [-0.5])
    hidden = builder.relu(argument)
    graph = builder.graph(
        builder.affine([(Dense(readonly([[1.0], [0.0]])), hidden), (Dense(readonly([[0.0], [1.0]])), argument)])
    )
    bounds = interval_bounds(graph, unit())
    model = to_milp(graph, bounds, [[0.0, -1.0], [0.0, 1.0]], [0.0, 0.0], minimise=[-1.0, 0.0], relaxed=True)
    assert solved(model) == pytest.approx(-0.25, abs=1e-6)
    exact = to_milp(graph, bounds, [[0.0, -1.0], [0.0, 1.0]], [0.0, 0.0], minimise=[-1.0, 0.0])
    assert solved(exact) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("relaxed", [False, True])
def test_infinite_bounds_are_refused(relaxed: bool) -> None:
    graph = chain()
    region = Ball(Norm.LINF, np.zeros(1), math.inf, np.full(1, -np.inf), np.full(1, np.inf))
    with pytest.raises(ValueError, match="without finite bounds"):
        to_milp(graph, interval_bounds(graph, region), [[1.0]], [0.0], relaxed=relaxed)


def test_what_polarity_saves_needs_no_finite_bounds() -> None:
    graph = chain()
    region = Ball(Norm.LINF, np.zeros(1), math.inf, np.full(1, -np.inf), np.full(1, np.inf))
    model = to_milp(graph, interval_bounds(graph, region), [[-1.0]], [1.5])
    assert model.binaries == 0
    assert solved(model) is not None


def test_crossed_bounds_are_infeasible() -> None:
    graph = chain()
    bounds = interval_bounds(graph, unit())
    crossed = NodeBounds((bounds.upper[0] + 1.0, *bounds.lower[1:]), bounds.upper, proved=True)
    assert solved(to_milp(graph, crossed, [[1.0]], [0.0])) is None


@pytest.mark.parametrize("solver", ["HiGHS", "PULP_CBC_CMD"])
def test_inputs_that_nothing_reads_have_a_value_in_their_bounds(solver: str) -> None:
    builder = GraphBuilder(3)
    graph = builder.graph(builder.relu(builder.affine([(Dense(readonly([[1.0, 0.0, 0.0]])), 0)], [-0.5])))
    lo, hi = np.array([0.0, 0.25, -2.0]), np.array([1.0, 0.75, -1.0])
    region = Ball(Norm.LINF, 0.5 * (lo + hi), math.inf, lo, hi)
    model = to_milp(graph, interval_bounds(graph, region), [[1.0]], [-0.25])
    assert solved(model, solver) is not None
    assert len(model.read_inputs()) == 1
    point = model.point()
    assert np.all((point >= lo - 1e-9) & (point <= hi + 1e-9))
    assert point[0] >= 0.75 - AGREEMENT


def test_a_weight_of_zero_in_front_of_a_short_sum_loses_nothing() -> None:
    builder = GraphBuilder(2)
    short = builder.affine([(Dense(readonly([[0.5, 0.25]])), 0)])
    graph = builder.graph(builder.affine([(Dense(readonly([[0.0], [1.0]])), short)]))
    region = Ball(Norm.LINF, np.full(2, 0.5), math.inf, np.zeros(2), np.ones(2))
    assert to_milp(graph, interval_bounds(graph, region), [[0.0, 1.0]], [0.0]).lost == 0.0
