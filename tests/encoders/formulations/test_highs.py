"""HiGHS runs whatever ran before it in the thread; an error is raised, and nothing stale is taken for an answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import highspy
import numpy as np
import pulp
import pytest

from encoders.errors import SolverError
from encoders.formulations.highs import run, simplex
from encoders.formulations.pulp_highs import PulpHighs

Status = highspy.HighsModelStatus
CASES = [(1, 2), (2, 1), (3, 1), (0, 1), (1, 0), (0, 2)]
"""Numbers of threads of two runs; 0 leaves the number to HiGHS."""


def model(threads: int) -> Any:
    """min −x − 2y with x + y ≤ 3 and x, y in [0, 2]: −5 at (1, 2)."""
    highs = simplex()
    highs.setOptionValue("threads", threads)
    highs.addVars(2, np.zeros(2), np.full(2, 2.0))
    highs.changeColsCost(2, np.arange(2, dtype=np.int32), np.array([-1.0, -2.0]))
    highs.addRow(-highspy.kHighsInf, 3.0, 2, np.arange(2, dtype=np.int32), np.ones(2))
    return highs


def optimum(highs: Any) -> float:
    assert run(highs) == Status.kOptimal
    return float(highs.getInfo().objective_function_value)


@pytest.mark.parametrize(("before", "threads"), CASES)
def test_another_number_of_threads_than_before(before: int, threads: int) -> None:
    assert optimum(model(before)) == pytest.approx(-5.0)
    assert optimum(model(threads)) == pytest.approx(-5.0)


@pytest.mark.parametrize(("before", "threads"), CASES)
def test_a_warm_model_is_solved_again_not_remembered(before: int, threads: int) -> None:
    highs = model(threads)
    optimum(highs)
    optimum(model(before))
    highs.changeColCost(1, 1.0)
    assert optimum(highs) == pytest.approx(-2.0)


def test_threads_of_the_caller_do_not_meet() -> None:
    counts = [1 + place % 3 for place in range(60)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda count: optimum(model(count)), counts))
    assert found == pytest.approx([-5.0] * 60)


@pytest.mark.parametrize("before", [0, 1, 2])
def test_pulp_after_another_number_of_threads(before: int) -> None:
    optimum(model(before))
    problem, whole = pulp.LpProblem("of_integers", pulp.LpMinimize), pulp.LpVariable("n", 0.5, 7, pulp.LpInteger)
    problem.setObjective(pulp.LpAffineExpression({whole: 1.0}))
    problem.addConstraint(pulp.LpAffineExpression({whole: 2.0}) >= 3.0)
    problem.solve(PulpHighs(msg=False, threads=3 - before))
    assert (problem.status, whole.varValue) == (pulp.LpStatusOptimal, 2.0)


class Refusing:
    """A HiGHS whose runs all fail; what an earlier one left stays readable, as in HiGHS."""

    def __init__(self, status: Any, returned: Any = highspy.HighsStatus.kError) -> None:
        self._status, self._returned, self.runs = status, returned, 0

    def run(self) -> Any:
        self.runs += 1
        return self._returned

    def getModelStatus(self) -> Any:  # noqa: N802, HiGHS's name
        return self._status

    def modelStatusToString(self, status: Any) -> str:  # noqa: N802, HiGHS's name
        return str(status)

    def version(self) -> str:
        return "0"


@pytest.mark.parametrize("stale", [Status.kOptimal, Status.kInfeasible, Status.kTimeLimit, Status.kNotset])
def test_a_run_that_is_refused_is_an_error(stale: Any) -> None:
    with pytest.raises(SolverError, match="HiGHS 0 did not run"):
        run(Refusing(stale))


def test_a_run_that_says_nothing_is_an_error() -> None:
    with pytest.raises(SolverError, match="HiGHS 0 did not run"):
        run(Refusing(Status.kNotset, highspy.HighsStatus.kOk))


def test_giving_up_on_numbers_is_a_status_of_one_run() -> None:
    highs = Refusing(Status.kSolveError)
    assert run(highs) == Status.kSolveError
    assert highs.runs == 1


@pytest.mark.parametrize("status", [Status.kSolveError, Status.kNotset])
def test_an_error_under_pulp_is_raised(monkeypatch: pytest.MonkeyPatch, status: Any) -> None:
    monkeypatch.setattr(highspy.Highs, "run", lambda _: highspy.HighsStatus.kError)
    monkeypatch.setattr(highspy.Highs, "getModelStatus", lambda _: status)
    problem = pulp.LpProblem("query", pulp.LpMinimize)
    problem.addConstraint(pulp.LpAffineExpression({pulp.LpVariable("x", 0.0, 1.0): 1.0}) >= 0.5)
    with pytest.raises(SolverError, match="HiGHS"):
        problem.solve(PulpHighs(msg=False, threads=1))


@pytest.mark.parametrize("status", [Status.kUnboundedOrInfeasible, Status.kUnknown, Status.kMemoryLimit])
def test_what_pulp_would_call_infeasible_is_not(monkeypatch: pytest.MonkeyPatch, status: Any) -> None:
    monkeypatch.setattr(highspy.Highs, "getModelStatus", lambda _: status)
    problem = pulp.LpProblem("query", pulp.LpMinimize)
    problem.addConstraint(pulp.LpAffineExpression({pulp.LpVariable("x", 0.0, 1.0): 1.0}) >= 0.5)
    problem.solve(PulpHighs(msg=False, threads=1))
    assert problem.status == pulp.LpStatusNotSolved
