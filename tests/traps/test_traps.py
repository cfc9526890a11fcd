"""Every trap, both norms, every method: no wrong "holds", no wrong minimum; unknowns have reasons and are counted."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from encoders.network.exact import exact_outputs
from tests.traps.answers import METHODS, Answers
from tests.traps.table import TRAPS, Trap
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Norm, Query, Targeted, disjuncts, distance_exact
from verifier.problem.verdict import Evidence, Holds, Status, Unknown, Violated, Witness
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.milp import Milp
from verifier.solvers.smt import Smt

EVIDENCE = {"tree": Evidence.PROVED, "milp": Evidence.SOLVER, "z3": Evidence.EXACT}
"""The least that a method's answers rest on."""

SOLVER_SLACK = Fraction(1, 10**6)
"""Relative: on a tie at the very radius a floating-point solver may miss by its tolerance; its evidence says so."""

every_trap = pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
every_norm = pytest.mark.parametrize("norm", FLAT_NORMS)
every_method = pytest.mark.parametrize("method", METHODS)


def assert_real(witness: Witness, trap: Trap, norm: Norm, answers: Answers) -> Fraction:
    """The exact distance of a witness that reaches the target exactly and by ONNX Runtime."""
    model, x = answers.model(trap), witness.point.astype(np.float64)
    assert witness.point.dtype == np.float32
    assert np.all((x >= trap.lo) & (x <= trap.hi))
    logits = exact_outputs(model.network.graph, x)
    assert logits[trap.target] == max(logits)
    assert model.predict(witness.point) == trap.target
    return distance_exact(norm, x, trap.centre)


@every_method
@every_norm
@every_trap
def test_the_minimum(trap: Trap, norm: Norm, method: str, answers: Answers) -> None:
    truth, bracket = answers.nearest(trap, norm), answers.minimal(trap, norm, method)
    if math.isinf(bracket.lower):
        assert truth is None
        assert bracket.status is Status.UNREACHABLE
    else:
        assert truth is None or Fraction(bracket.lower) <= truth
        assert bracket.status is not Status.UNREACHABLE
    if bracket.witness is not None:
        assert truth is not None
        assert truth <= assert_real(bracket.witness, trap, norm, answers) <= bracket.upper
    else:
        assert math.isinf(bracket.upper)
    if bracket.status is Status.MINIMAL:
        assert bracket.gap <= trap.precision
    assert bool(bracket.reason) == (bracket.status is Status.BRACKETED)
    assert bracket.evidence >= EVIDENCE[method.split("-", maxsplit=1)[0]]


def radii(truth: Fraction | None) -> list[float]:
    """Radii on both sides of the truth, next to it and hardly farther; where there is none, the whole box and less."""
    if truth is None:
        return [0.5, 1.0, 4.0]
    nearest = float(truth)
    beside = [math.nextafter(nearest, 0.0), nearest, math.nextafter(nearest, math.inf)]
    found = [*beside, *(nearest * (1.0 + side * 1e-9) for side in (-1, 1))]
    return [radius for radius in found if radius > 0.0] or [1e-7]


DECIDERS: list[Any] = [
    BranchAndBound(),
    BranchAndBound().having("lp", kernels=False),
    Milp("highs"),
    Milp("highs", tighten=False),
    Milp("cbc"),
    Smt(),
]


@pytest.mark.parametrize("decider", DECIDERS, ids=repr)
@every_norm
@every_trap
def test_nothing_holds_at_or_beyond_the_minimum(trap: Trap, norm: Norm, decider: Any, answers: Answers) -> None:
    """The points of floating-point deciders are claims that the judge looks at; those of Z3 are the truth."""
    graph, truth = answers.model(trap).graph, answers.nearest(trap, norm)
    goal = disjuncts(Targeted(trap.target), graph.output_size)[0][1]
    size = len(trap.centre)
    for radius in radii(truth):
        ball = Ball(norm, np.array(trap.centre), radius, np.full(size, trap.lo), np.full(size, trap.hi))
        query = Query(graph, ball, goal)
        match decider.decide(query, linear_bounds(graph, ball, Budget()), Budget()):
            case Holds(evidence):
                slack = SOLVER_SLACK if evidence is Evidence.SOLVER else 0
                assert truth is None or Fraction(radius) * (1 - slack) < truth, radius
                assert evidence >= decider.evidence
            case Violated():
                assert not isinstance(decider, Smt) or (truth is not None and Fraction(radius) >= truth), radius
            case Unknown(reason):
                assert reason


ANSWERED = {"tree": 80, "tree-numpy": 75, "milp-highs": 72, "milp-cbc": 75, "milp-direct": 54, "z3": 86}
"""Brackets of 104 that close with HiGHS 1.11, CBC 2.10 and Z3 4.15, less 6 for other versions."""


@every_method
def test_unknowns_are_counted(method: str, answers: Answers, record_property: Any) -> None:
    """A verifier that never answers makes no mistake: the share of closed brackets may not fall."""
    asked = [(trap, norm) for trap in TRAPS for norm in FLAT_NORMS]
    open_ = {
        f"{trap.name}, {norm.value}": bracket.reason
        for trap, norm in asked
        if (bracket := answers.minimal(trap, norm, method)).status is Status.BRACKETED
    }
    record_property("unknown", open_)
    print(f"{method}: {len(asked) - len(open_)} of {len(asked)} closed", *open_.items(), sep="\n  ")
    assert len(asked) - len(open_) >= ANSWERED[method]
