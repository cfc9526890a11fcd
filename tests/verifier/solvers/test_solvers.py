"""One table of small problems, every decider, and the truth by enumeration of activation patterns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import pytest

from encoders.errors import InputError
from encoders.network.exact import exact_outputs
from encoders.network.graph import Array, Graph, GraphBuilder
from encoders.network.linear_maps import Dense, identity, readonly
from encoders.network.node_bounds import NodeBounds
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Halfspaces, Norm, Query, Targeted, disjuncts, distance_exact
from verifier.problem.verdict import Evidence, Holds, Unknown, Verdict, Violated
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.milp import Milp
from verifier.solvers.process import Guarded, Worker
from verifier.solvers.smt import Smt

DECIDERS: list[Any] = [Smt(), Milp("highs"), Milp("cbc"), Milp("highs", tighten=False), BranchAndBound()]

STEPS = (1e-5, 0.1)
"""Distances of the radii from the optimum, on both sides: the nearest is that of the deciders' agreement."""

MARGIN = 1e-6
"""What a point of a floating-point solver may miss the goal or the region by: its feasibility tolerance."""


@dataclass(frozen=True)
class Problem:
    """A network, a point and a target; `seed` and `sizes` make it, or `layers` give it."""

    name: str
    sizes: tuple[int, ...] = ()
    seed: int = 0
    layers: tuple[tuple[Any, Any], ...] = ()
    centre: tuple[float, ...] = ()
    target: int = -1
    lo: float = 0.0
    hi: float = 1.0

    def case(self, truth: Any) -> Case:
        net = truth.of_layers(*self.layers, lo=self.lo, hi=self.hi) if self.layers else truth.net(self.seed, self.sizes)
        size = net.graph.input_size
        drawn = np.random.default_rng(self.seed).integers(0, 9, size) / 8
        return Case(net, np.array(self.centre) if self.centre else drawn, self.target)


@dataclass(frozen=True, eq=False)
class Case:
    """A problem with its network built; a target of −1 is the runner-up at the centre."""

    net: Any
    centre: Array
    wanted: int
    _optima: dict[Norm, float] = field(default_factory=dict)

    @cached_property
    def goal(self) -> Halfspaces:
        logits = [float(z) for z in exact_outputs(self.net.graph, self.centre)]
        target = int(np.argsort(logits)[-2]) if self.wanted < 0 else self.wanted
        return disjuncts(Targeted(target), len(logits))[0][1]

    def query(self, norm: Norm, radius: float) -> Query:
        return Query(self.net.graph, Ball(norm, self.centre, radius, self.net.lo, self.net.hi), self.goal)

    def optimum(self, norm: Norm) -> float:
        if norm not in self._optima:
            self._optima[norm] = float(self.net.nearest(norm, self.centre, self.goal))
        return self._optima[norm]


PROBLEMS = [
    Problem("3-4-3, 3", (3, 4, 3), 3),
    Problem("2-5-2, 12", (2, 5, 2), 12),
    Problem("3-4-4-3, 0", (3, 4, 4, 3), 0),
    Problem("3-4-4-3, 1", (3, 4, 4, 3), 1),
    Problem("4-3-3-2, 1", (4, 3, 3, 2), 1),
    Problem("2-4-4-4-2, 12", (2, 4, 4, 4, 2), 12),
    Problem("3-12-4, 10", (3, 12, 4), 10),
    Problem("3-12-4, 11", (3, 12, 4), 11),
    Problem("2-6-6-3, 6", (2, 6, 6, 3), 6),
    Problem("4-4-4-4-3, 5", (4, 4, 4, 4, 3), 5),
    Problem("5-6-3, 13", (5, 6, 3), 13),
    Problem("3-4-3, 1", (3, 4, 3), 1),
    Problem("odd box", (), 8, (([[1, -1], [2, 1], [-1, 1]], [0.25, -0.5, 0]), ([[1, 1, 0], [0, 1, 2]], [0, 0.125])),
            (-0.25, 0.5), lo=-0.5, hi=2.0),
    Problem("linear", (), 0, (([[1, 2], [3, -1]], [0, 0.5]),), (0.5, 0.25)),
    Problem("dead neurons", (), 0,
            (([[1, -1], [0, 0], [-1, -1], [0, 0]], [0, 0, -1, -2]), ([[1, 5, 7, 3], [-1, 2, 1, 1]], [0, 0.25])),
            (0.125, 0.5)),
    Problem("duplicate neurons", (), 0,
            (([[1, -1], [1, -1], [-2, 1], [-2, 1]], [0.25, 0.25, 0.5, 0.5]),
             ([[1, -1, 1, 0], [2, 2, -1, -1], [0, 1, 0, 1]], [0, -0.5, 0.25])),
            (0.75, 0.25)),
    Problem("constant outputs, never", (), 0, (([[1, 1]], [0]), ([[0], [0]], [1, 2])), (0.5, 0.5), target=0),
    Problem("constant outputs, always", (), 0, (([[1, 1]], [0]), ([[0], [0]], [2, 2])), (0.5, 0.5), target=0),
    Problem("target out of the box", (), 0, (([[1, 1]], [0]), ([[1], [0]], [0, 3])), (0.5, 0.5), target=0),
    Problem("already there", (), 0, (([[1, 1]], [0]), ([[1], [0]], [0, 0.5])), (0.5, 0.5), target=0),
]  # fmt: skip


@pytest.fixture(scope="module", params=PROBLEMS, ids=lambda problem: problem.name)
def case(request: pytest.FixtureRequest, truth: Any) -> Case:
    problem: Problem = request.param
    return problem.case(truth)


@pytest.fixture(params=DECIDERS, ids=repr)
def decider(request: pytest.FixtureRequest) -> Any:
    return request.param


def cancelled() -> Budget:
    budget = Budget()
    budget.cancel()
    return budget


def bounds_of(query: Query) -> NodeBounds:
    return linear_bounds(query.graph, query.region, Budget())


def decided(decider: Any, query: Query) -> Verdict:
    verdict: Verdict = decider.decide(query, bounds_of(query), Budget())
    if isinstance(verdict, Violated):
        check_point(query, verdict.point, exact=isinstance(decider, Smt))
    elif isinstance(verdict, Holds):
        assert verdict.evidence in (decider.evidence, Evidence.PROVED)
    return verdict


def check_point(query: Query, point: Array, *, exact: bool, slack: float = MARGIN) -> None:
    """The point is inside the region and reaches the goal: exactly, or within a solver's tolerance."""
    slack = 0.0 if exact else slack
    region = query.region
    assert np.all(point >= region.lo - slack)
    assert np.all(point <= region.hi + slack)
    assert distance_exact(region.norm, point, region.centre) <= region.radius + slack * len(point)
    assert query.goal.margin_exact(exact_outputs(query.graph, point)) >= -slack


def test_only_branch_and_bound_has_trees_to_explore() -> None:
    with Worker() as worker:
        for decider in [*DECIDERS, Guarded(BranchAndBound(), worker)]:
            assert decider.trees is (decider if isinstance(decider, BranchAndBound) else None)
            assert (decider.asked_once().trees is None) == (decider.trees is None)


def test_only_milp_minimises_the_distance(truth: Any) -> None:
    query = PROBLEMS[0].case(truth).query(Norm.LINF, 1.0)
    for decider in DECIDERS:
        if isinstance(decider, Milp):
            continue
        with pytest.raises(TypeError, match=f"{decider.name} answers whole queries"):
            decider.nearest(query, bounds_of(query), Budget())


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_verdicts_around_the_optimum(case: Case, norm: Norm, decider: Any) -> None:
    optimum = case.optimum(norm)
    if math.isinf(optimum) or optimum < MARGIN:
        radii = [0.0, 0.25, 5.0, math.inf]
    else:
        radii = [optimum + side * step for step in STEPS for side in (-1, 1) if optimum + side * step > 0]
    for radius in radii:
        verdict = decided(decider, case.query(norm, radius))
        assert isinstance(verdict, Violated if radius > optimum - MARGIN else Holds), (radius, optimum, verdict)


def test_the_table_has_every_kind_of_truth(truth: Any) -> None:
    optima = [problem.case(truth).optimum(Norm.L1) for problem in PROBLEMS]
    assert sum(MARGIN < optimum < math.inf for optimum in optima) >= 8
    assert math.inf in optima
    assert min(optima) < MARGIN


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_a_tie_exactly_at_the_radius_counts(truth: Any, norm: Norm, decider: Any) -> None:
    """relu(x₀) ≥ 3/4 from x₀ = 1/2: the distance is 1/4, and every number is a short binary fraction."""
    net = truth.of_layers(([[1, 0]], [0]), ([[1], [0]], [0, 0.75]))
    case = Case(net, np.array([0.5, 0.5]), 0)
    assert isinstance(decided(decider, case.query(norm, 0.25)), Violated)


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_the_exact_decider_sees_the_last_bit(truth: Any, norm: Norm) -> None:
    """The goal begins one float beyond the ball: no tolerance may hide that."""
    net = truth.of_layers(([[1, 0]], [0]), ([[1], [0]], [0, math.nextafter(0.75, 1)]))
    assert isinstance(decided(Smt(), Case(net, np.array([0.5, 0.5]), 0).query(norm, 0.25)), Holds)


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_an_optimum_that_is_no_float(truth: Any, norm: Norm) -> None:
    """10·relu(x) ≥ 1 from 0: the least distance is 1/10, which lies between two floats."""
    case = Case(truth.of_layers(([[10]], [0]), ([[1], [0]], [0, 1])), np.zeros(1), 0)
    above = 0.1
    below = math.nextafter(above, 0)
    assert Fraction(below) < Fraction(1, 10) < Fraction(above)
    assert isinstance(decided(Smt(), case.query(norm, below)), Holds)
    query = case.query(norm, above)
    verdict = Smt().decide(query, bounds_of(query), Budget())
    assert isinstance(verdict, Violated)
    # Z3's exact point 1/10 has no float: what is handed over is off by its rounding, and the caller judges it again.
    assert verdict.point == pytest.approx([0.1], rel=1e-15)


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_a_network_that_shares_arguments_and_skips(norm: Norm, decider: Any) -> None:
    """Two ReLUs of one node, a ReLU of the input itself, a skip connection: 2·relu(x₀ + x₁ − 1) ≥ relu(x₀)."""
    builder = GraphBuilder(2)
    first = builder.affine([(Dense(readonly([[1.0, 1.0], [1.0, -1.0]])), 0)], [-1.0, 0.0])
    doubled = builder.affine([(identity(2), builder.relu(first)), (identity(2), builder.relu(first))])
    mixed = builder.affine([(identity(2), doubled), (identity(2, -1.0), builder.relu(0))])
    graph = builder.graph(mixed)
    goal = Halfspaces(np.array([[1.0, 0.0]]), np.array([0.0]))

    def query(radius: float) -> Query:
        # From (1/2, 1/2): 2·relu(x₀ + x₁ − 1) ≥ x₀ first at (1/2 + t, 1/2 + t), t = 1/6, or (1/2, 3/4) in L1.
        return Query(graph, Ball(norm, np.full(2, 0.5), radius, np.zeros(2), np.ones(2)), goal)

    optimum = 1 / 6 if norm is Norm.LINF else 0.25
    assert isinstance(decided(decider, query(optimum * (1 + 1e-5))), Violated)
    assert isinstance(decided(decider, query(optimum * (1 - 1e-5))), Holds)


def renamed() -> tuple[Graph, Halfspaces]:
    """z = −relu(a), a = 2x − 1, where the ReLU reads a through an identity: another name of the same column."""
    builder = GraphBuilder(1)
    a = builder.affine([(Dense(readonly([[2.0]])), 0)], [-1.0])
    hidden = builder.relu(builder.affine([(identity(1), a)]))
    z = builder.affine([(identity(1, -1.0), hidden)], [0.0])
    return builder.graph(z), Halfspaces(np.array([[1.0]]), np.array([0.25]))


def test_a_column_with_two_names(decider: Any) -> None:
    graph, goal = renamed()
    for centre, lo in ((0.9, 0.8), (0.9, 0.0), (0.1, 0.0)):
        query = Query(graph, Ball(Norm.LINF, np.array([centre]), math.inf, np.array([lo]), np.ones(1)), goal)
        assert isinstance(decided(decider, query), Holds if lo > 0.7 else Violated)


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_an_empty_region_holds(truth: Any, norm: Norm, decider: Any) -> None:
    case = PROBLEMS[0].case(truth)
    lo, hi = np.full(3, 0.75), np.full(3, 0.25)
    query = Query(case.net.graph, Ball(norm, case.centre, 1.0, lo, hi), case.goal)
    assert isinstance(decided(decider, query), Holds)


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_a_ball_that_misses_the_box_holds(truth: Any, norm: Norm, decider: Any) -> None:
    case = PROBLEMS[0].case(truth)
    query = Query(case.net.graph, Ball(norm, np.full(3, 3.0), 0.5, np.zeros(3), np.ones(3)), case.goal)
    assert isinstance(decided(decider, query), Holds)


def test_crossed_bounds_hold_at_once(truth: Any, decider: Any) -> None:
    query = PROBLEMS[0].case(truth).query(Norm.LINF, 0.5)
    bounds = bounds_of(query)
    lower = (bounds.upper[0] + 1.0, *bounds.lower[1:])
    for proved, rests_on in ((True, Evidence.PROVED), (False, Evidence.SOLVER)):
        if isinstance(decider, BranchAndBound) and not proved:
            continue  # it takes proved bounds only
        crossed = NodeBounds(lower, bounds.upper, proved=proved)
        verdict = decider.decide(query, crossed, Budget())
        assert isinstance(verdict, Holds)
        assert verdict.evidence == (Evidence.EXACT if isinstance(decider, Smt) else rests_on) or not proved


@pytest.mark.parametrize("norm", FLAT_NORMS)
@pytest.mark.parametrize("end", [lambda: Budget(0.0), cancelled], ids=["no time", "cancelled"])
def test_without_a_budget_there_is_a_reason(truth: Any, norm: Norm, decider: Any, end: Callable[[], Budget]) -> None:
    case = PROBLEMS[2].case(truth)
    query = case.query(norm, case.optimum(norm) * 0.9)
    budget = end()
    verdict = decider.decide(query, bounds_of(query), budget)
    assert isinstance(verdict, Unknown)
    assert verdict.reason == budget.reason


def test_an_unknown_solver_is_named(truth: Any) -> None:
    query = PROBLEMS[0].case(truth).query(Norm.LINF, 0.5)
    with pytest.raises(InputError, match=r"unknown solver 'abacus': choose one of .*highs"):
        Milp("abacus").decide(query, bounds_of(query), Budget())


@pytest.mark.parametrize("solver", ["highs", "cbc"])
@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_minimising_the_distance_finds_the_optimum(case: Case, norm: Norm, solver: str) -> None:
    optimum = case.optimum(norm)
    query = case.query(norm, math.inf)
    found = Milp(solver).nearest(query, bounds_of(query), Budget())
    if math.isinf(optimum):
        assert found.infeasible
        assert found.lower == math.inf
        return
    # The goal is soft by what tolerances can move it, and the lower end by what that is worth.
    assert found.lower == pytest.approx(optimum, abs=5e-5)
    assert found.lower <= optimum + MARGIN
    assert found.point is not None
    check_point(query, found.point, exact=False, slack=5e-5)
    assert float(distance_exact(norm, found.point, case.centre)) == pytest.approx(optimum, abs=5e-5)


def test_minimising_without_a_budget_says_why(truth: Any) -> None:
    query = PROBLEMS[2].case(truth).query(Norm.L1, math.inf)
    found = Milp("highs").nearest(query, bounds_of(query), Budget(0.0))
    assert (found.lower, found.point, found.infeasible) == (0.0, None, False)
    assert found.reason
