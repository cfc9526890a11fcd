"""The number of HiGHS's threads changes no answer, and an error of a solver ends the search with its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import highspy
import numpy as np
import pulp
import pytest

import verifier
from encoders.errors import SolverError
from encoders.formulations.highs import run, simplex
from encoders.network.graph import outputs
from encoders.network.node_bounds import NodeBounds
from tests.traps.answers import driven_by
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.lp_tightening import lp_bounds
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Norm, Query, Targeted, disjuncts
from verifier.problem.verdict import Holds, Status, Unknown, Violated
from verifier.solvers.milp import Milp
from verifier.solvers.process import Guarded, Worker

METHODS = ("tree-numpy", "milp-highs", "milp-direct", "z3")
"""All that use HiGHS."""

CENTRE = np.full(3, 0.5)


def used(threads: int) -> None:
    """HiGHS has run in this thread with so many threads (0: as many as it likes)."""
    highs = simplex()
    highs.setOptionValue("threads", threads)
    highs.addVars(1, np.zeros(1), np.ones(1))
    run(highs)


@pytest.fixture(scope="module")
def net(truth: Any) -> Any:
    return truth.net(2, (3, 8, 8, 2))


@pytest.fixture(scope="module")
def model(net: Any, save_net: Callable[[Any], verifier.Model]) -> verifier.Model:
    return save_net(net)


def query(net: Any, radius: float) -> tuple[Query, NodeBounds]:
    ball = Ball(Norm.LINF, CENTRE, radius, np.zeros(3), np.ones(3))
    goal = disjuncts(Targeted(int(np.argmin(outputs(net.graph, CENTRE)[0]))), 2)[0][1]
    return Query(net.graph, ball, goal), linear_bounds(net.graph, ball, Budget())


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("radius", [0.05, 0.5])
def test_the_milp_decides_with_any_number_of_threads(net: Any, before: int, threads: int, radius: float) -> None:
    """LP bounds, on one thread, come before the MILP, on `threads`."""
    asked = query(net, radius)
    used(before)
    found = Milp("highs", threads).decide(*asked, Budget())
    assert isinstance(found, Holds | Violated)
    assert type(found) is type(Milp("cbc").decide(*asked, Budget()))
    assert Milp("highs", threads).nearest(*asked, Budget()).reason == Milp("highs").nearest(*asked, Budget()).reason


@pytest.mark.parametrize("before", [0, 2])
def test_lp_bounds_are_not_those_of_an_earlier_run(net: Any, before: int) -> None:
    asked, bounds = query(net, 0.5)
    used(1)
    wanted = lp_bounds(asked.graph, bounds, asked.goal, Budget())
    used(before)
    found = lp_bounds(asked.graph, bounds, asked.goal, Budget())
    assert wanted is not None
    assert found is not None
    assert not wanted.proved  # some bound was the LP's
    for ends in ("lower", "upper"):
        for one, other in zip(getattr(found, ends), getattr(wanted, ends), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("before", [0, 2])
def test_a_callers_own_highs_changes_no_answer(model: verifier.Model, method: str, before: int) -> None:
    used(1)
    with driven_by(method) as options:
        wanted = verifier.minimal(model, CENTRE, box=(0.0, 1.0), **options)
        used(before)
        found = verifier.minimal(model, CENTRE, box=(0.0, 1.0), **options)
    assert wanted.status is Status.MINIMAL
    assert (found.status, found.lower, found.upper) == (wanted.status, wanted.lower, wanted.upper)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """HiGHS refuses every run."""
    monkeypatch.setattr(highspy.Highs, "run", lambda _: highspy.HighsStatus.kError)


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("method", METHODS)
def test_a_solver_that_does_not_run_is_the_reason(model: verifier.Model, method: str) -> None:
    with driven_by(method) as options:
        found = verifier.minimal(model, CENTRE, box=(0.0, 1.0), **options)
        one = verifier.check(model, CENTRE, 0.3, box=(0.0, 1.0), **options)
    assert found.status is Status.BRACKETED
    assert found.reason.startswith("HiGHS")
    assert isinstance(one.verdict, Unknown)
    assert one.reason.startswith("HiGHS")


def test_a_failing_program_is_named(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise pulp.PulpSolverError("no such file")

    monkeypatch.setattr(pulp.LpProblem, "solve", fail)
    with pytest.raises(SolverError, match="the solver 'cbc' failed: no such file"):
        Milp("cbc").decide(*query(net, 0.5), Budget())


class Failing:
    """A decider whose solver fails."""

    name, evidence = "failing", None

    def decide(self, *_: object) -> None:
        raise SolverError("the solver 'abacus' failed: a bead is stuck")


def test_a_childs_solver_error_is_the_parents(net: Any) -> None:
    with Worker() as worker, pytest.raises(SolverError, match="a bead is stuck"):
        Guarded(Failing(), worker).decide(*query(net, 0.5), Budget())  # type: ignore[arg-type]
