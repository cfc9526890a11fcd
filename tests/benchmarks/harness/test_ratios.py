"""Ratios count what is open at the limit and say so; two brackets with nothing in common are a contradiction."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from benchmarks.harness.instances import ERROR, Result
from benchmarks.harness.ratios import SOLVER_TOLERANCE, contradictions, ratio

Made = Callable[..., Result]
LIMIT = 60.0


def test_the_geometric_mean_of_closed_instances(result: Made) -> None:
    ours = [result(index=1, seconds=1.0), result(index=2, seconds=4.0)]
    theirs = [result(index=2, seconds=32.0), result(index=1, seconds=2.0)]
    found = ratio(ours, theirs, LIMIT)
    assert found.mean == pytest.approx(4.0)
    assert (found.instances, found.ours_open, found.theirs_open) == (2, 0, 0)
    assert str(found) == "4"


def test_what_is_open_counts_at_the_limit(result: Made) -> None:
    ours = [result(index=1, seconds=1.0), result(index=2, seconds=2.0)]
    theirs = [result(index=1, seconds=10.0), result(index=2, seconds=31.0, status="bracketed")]
    found = ratio(ours, theirs, LIMIT)
    assert found.mean == pytest.approx(math.sqrt(10.0 * 30.0))
    assert found.theirs_open == 1
    assert str(found) == "≥ 17.3"
    assert str(ratio(theirs, ours, LIMIT)) == "≤ 0.0577"
    assert str(ratio(theirs, theirs, LIMIT)) == "~ 1"


@pytest.mark.parametrize(("measure", "mean"), [("cpu_seconds", 20.0), ("nodes", 3.0)])
def test_other_measures_count_what_was_spent(result: Made, measure: str, mean: float) -> None:
    ours = [result(cpu_seconds=1.0, nodes=10)]
    theirs = [result(cpu_seconds=20.0, nodes=30, status="bracketed")]
    found = ratio(ours, theirs, LIMIT, measure)
    assert found.mean == pytest.approx(mean)
    assert str(found).startswith("≥ ")


def test_a_search_without_nodes_counts_one(result: Made) -> None:
    assert ratio([result(nodes=0)], [result(nodes=7)], LIMIT, "nodes").mean == pytest.approx(7.0)


def test_errors_and_missing_instances_are_left_out(result: Made) -> None:
    ours = [result(index=1), result(index=2), result(index=3, status=ERROR), result(index=4, nodes=None)]
    theirs = [result(index=1, status=ERROR), result(index=2, seconds=3.0), result(index=3), result(index=5)]
    assert ratio(ours, theirs, LIMIT).instances == 1
    assert ratio(ours, [result(index=4)], LIMIT, "nodes").instances == 0
    assert str(ratio(ours, [], LIMIT)) == "-"


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        (0.5, 0.501),
        (0.501 + SOLVER_TOLERANCE / 2, 0.502),
        (0.499, 0.5 - SOLVER_TOLERANCE / 2),
        (0.0, 0.7),
        (0.0, math.inf),
    ],
)
def test_brackets_that_meet_within_the_tolerance_agree(result: Made, lower: float, upper: float) -> None:
    assert contradictions([result()], [result(method="gurobi", lower=lower, upper=upper)]) == []


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        (0.501 + 2 * SOLVER_TOLERANCE, 0.502),
        (0.499, 0.5 - 2 * SOLVER_TOLERANCE),
        (math.inf, math.inf),
    ],
)
def test_brackets_that_do_not_meet_are_named(result: Made, lower: float, upper: float) -> None:
    (line,) = contradictions([result()], [result(method="gurobi", lower=lower, upper=upper)])
    assert "gurobi" in line
    assert "tree" in line
    assert "image 3, target 2" in line


def test_unreachable_agrees_with_unreachable_alone(result: Made) -> None:
    nothing = result(lower=math.inf, upper=math.inf, status="unreachable")
    assert contradictions([nothing], [nothing]) == []
    assert len(contradictions([nothing], [result()])) == 1


def test_an_error_contradicts_nothing(result: Made) -> None:
    broken = result(status=ERROR, lower=9.0, upper=9.0)
    assert contradictions([result()], [broken]) == contradictions([broken], [result()]) == []
