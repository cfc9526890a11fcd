"""Small nets that encode 3-SAT: a formula that can be met is a tie, met exactly. No solver may call that "holds"."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from encoders.network.exact import exact_outputs
from encoders.network.graph import Graph, GraphBuilder
from encoders.network.linear_maps import Dense, readonly
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.lp_tightening import lp_bounds
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Halfspaces, Norm, Query
from verifier.problem.verdict import Holds, Unknown, Violated
from verifier.solvers.milp import Milp

Clause = list[tuple[int, bool]]

SOLVERS = [Milp("highs"), Milp("highs", tighten=False), Milp("cbc"), Milp("cbc", tighten=False)]

MET = (0, 1, 2, 3, 4, 5, 7)
"""Seeds of formulas with three clauses a variable that can be met."""

GOAL = Halfspaces(np.array([[1.0, 0.0], [0.0, -1.0]]), np.array([-1.0, 0.0]))
"""z₀ ≥ 1: every clause holds; z₁ ≤ 0: every input is 0 or 1."""


@dataclass(frozen=True, eq=False)
class Formula:
    """z₀ = 1 − Σ relu(1 − true literals), z₁ = Σ min(x, 1 − x), each ReLU's argument in units of its own power of 2."""

    size: int
    clauses: list[Clause]
    powers: int
    seed: int

    def graph(self) -> Graph:
        rows, constants = [], []
        for clause in self.clauses:
            row = np.zeros(self.size)
            for variable, wanted in clause:
                row[variable] = -1.0 if wanted else 1.0
            rows.append(row)
            constants.append(1.0 - sum(not wanted for _, wanted in clause))
        for i in range(self.size):
            rows += [np.eye(self.size)[i], 2.0 * np.eye(self.size)[i]]
            constants += [0.0, -1.0]
        rng = np.random.default_rng(self.seed)
        units = 2.0 ** rng.integers(-self.powers, self.powers + 1, len(rows))
        last = np.zeros((2, len(rows)))
        last[0, : len(self.clauses)] = -1.0
        last[1, len(self.clauses) :: 2], last[1, len(self.clauses) + 1 :: 2] = 1.0, -1.0
        builder = GraphBuilder(self.size)
        first = Dense(readonly(np.array(rows) * units[:, np.newaxis]))
        hidden = builder.relu(builder.affine([(first, 0)], np.array(constants) * units))
        return builder.graph(builder.affine([(Dense(readonly(last / units)), hidden)], [1.0, 0.0]))

    def models(self) -> list[tuple[int, ...]]:
        """The assignments that meet every clause."""
        return [
            bits
            for bits in itertools.product((0, 1), repeat=self.size)
            if all(any(bits[variable] == wanted for variable, wanted in clause) for clause in self.clauses)
        ]


def random_formula(seed: int, share: float, powers: int) -> Formula:
    rng, size = np.random.default_rng(seed), 5 + seed % 5
    clauses = [
        [(int(v), bool(rng.integers(2))) for v in rng.choice(size, 3, replace=False)] for _ in range(int(share * size))
    ]
    return Formula(size, clauses, powers, seed)


def query_of(formula: Formula, norm: Norm = Norm.LINF) -> Query:
    size = formula.size
    ball = Ball(norm, np.full(size, 0.5), math.inf, np.zeros(size), np.ones(size))
    return Query(formula.graph(), ball.with_radius(ball.reach), GOAL)


@pytest.mark.parametrize("milp", SOLVERS, ids=repr)
@pytest.mark.parametrize("powers", [0, 16, 20])
@pytest.mark.parametrize("seed", MET)
def test_a_tie_is_never_called_holds(seed: int, powers: int, milp: Milp) -> None:
    """Rows in units of 2^±20 put all that decides below solvers' tolerances, and the same net a scale away does not."""
    formula = random_formula(seed, 3.0, powers)
    assert formula.models()
    query = query_of(formula)
    assert max(GOAL.margin_exact(exact_outputs(query.graph, np.array(bits, float))) for bits in formula.models()) == 0
    verdict = milp.decide(query, linear_bounds(query.graph, query.region, Budget()), Budget())
    assert isinstance(verdict, (Violated, Unknown))
    if powers == 0:
        assert isinstance(verdict, Violated)


@pytest.mark.parametrize("milp", SOLVERS, ids=repr)
@pytest.mark.parametrize("seed", range(4))
def test_a_formula_that_cannot_be_met_holds(seed: int, milp: Milp) -> None:
    """Being careful with ties does not cost these answers."""
    formula = random_formula(seed, 9.0, 0)
    assert not formula.models()
    query = query_of(formula)
    verdict = milp.decide(query, linear_bounds(query.graph, query.region, Budget()), Budget())
    assert isinstance(verdict, Holds)


@pytest.mark.parametrize("milp", SOLVERS, ids=repr)
@pytest.mark.parametrize("powers", [0, 20])
@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_the_least_distance_of_a_tie_is_not_lost(norm: Norm, powers: int, milp: Milp) -> None:
    formula = random_formula(3, 3.0, powers)
    query = query_of(formula, norm)
    truth = Fraction(1, 2) * (1 if norm is Norm.LINF else formula.size)
    found = milp.nearest(query, linear_bounds(query.graph, query.region, Budget()), Budget())
    assert not found.infeasible
    assert Fraction(found.lower) <= truth


@pytest.mark.parametrize("powers", [0, 16, 20])
@pytest.mark.parametrize("seed", MET)
def test_tightening_keeps_every_tie(seed: int, powers: int) -> None:
    """LP bounds hold at each point that meets the goal, to the last bit."""
    formula = random_formula(seed, 3.0, powers)
    query = query_of(formula)
    bounds = lp_bounds(query.graph, linear_bounds(query.graph, query.region, Budget()), GOAL, Budget())
    assert bounds is not None
    (relu,) = query.graph.relus()
    place = query.graph.nodes[relu].sources[0]
    inside = Graph(query.graph.nodes[: place + 1], place)
    for bits in formula.models():
        for value, low, high in zip(
            exact_outputs(inside, np.array(bits, float)), bounds.lower[place], bounds.upper[place], strict=True
        ):
            assert Fraction(low) <= value <= Fraction(high)
