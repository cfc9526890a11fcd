"""The unsafe engine is the product's with charges of 0, and finds the same; the table compares variants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import verifier
from benchmarks.engine.safety_cost import AGAIN, FLOAT32, SAFE, UNSAFE, VARIANTS, cost, summary
from benchmarks.engine.unsafe import UnchargedTree
from benchmarks.harness.instances import Result
from encoders.formulations.to_stages import to_stages
from verifier import models
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.verdict import Bracket
from verifier.search import minimum
from verifier.search.initial_attack import attacker
from verifier.search.question import InputRegion, Misclassification, specify
from verifier.search.settings import Settings
from verifier.search.state import Problem
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.tree.lp_tree import LpTree
from verifier.solvers.tree.protocol import TreeRoot

Made = Callable[..., Result]


@pytest.fixture(scope="module")
def problem() -> Problem:
    model = verifier.load(models.path("digits"))
    x = np.load(models.path("digits").parent / "digits_inputs.npz")["x"][3]
    asked = specify(model, InputRegion(x), Misclassification(target=4), Budget())
    settings = Settings(Budget(), device="cpu")
    points = attacker(asked, settings)(Budget())
    return minimum.problem_of(asked, settings, lambda _: points)


def test_all_variants_find_the_same(problem: Problem) -> None:
    found: dict[str, Bracket] = {}
    for name, variant in VARIANTS.items():
        with variant.within():
            *_, found[name] = variant.search(problem, Budget())
    assert max(bracket.lower for bracket in found.values()) <= min(bracket.upper for bracket in found.values())
    assert all(bracket.gap <= problem.precision for bracket in found.values())
    assert found[FLOAT32].float32 == found[FLOAT32].lower
    assert found[SAFE].float32 is None


def test_a_tree_that_is_charged_nothing_bounds_higher(problem: Problem) -> None:
    """The same multipliers at the root: what the product charges is the difference, above 0 and below a bracket."""
    target, goal = problem.disjuncts[0]
    assert target == 4
    stages, ball = to_stages(problem.graph), problem.ball.with_radius(0.05)
    bounds = linear_bounds(problem.graph, ball, Budget())
    lower, upper = hidden_bounds(stages, bounds)
    root = TreeRoot(stages, ball, goal, lower, upper)
    safe, unsafe = (kind(root)._lagrangian for kind in (LpTree, UnchargedTree))
    weights, nu = np.ones(len(goal.offset)), np.full(stages.relu_count, 0.1)
    charged, plain = (float(one.evaluate(weights, nu, lower, upper).constant) for one in (safe, unsafe))
    assert 0.0 < plain - charged < 1e-9


def test_ratios_are_those_of_cpu_time_and_of_nodes(result: Made) -> None:
    times = {UNSAFE: (1.0, 100), SAFE: (1.2, 120), AGAIN: (1.2, 120), FLOAT32: (1.8, 120)}
    rows = [result(method=name, cpu_seconds=seconds, nodes=nodes) for name, (seconds, nodes) in times.items()]
    assert cost(rows, 60.0) == pytest.approx(1.2)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in summary(rows, 60.0).splitlines()[2:]]
    assert [line[4:] for line in lines if line[2] == "both"] == [
        ["1.2", "1.2", "1.2", "1.000"],
        ["1", "1", "1", "1.000"],
        ["1.5", "1.5", "1", "1.500"],
    ]
