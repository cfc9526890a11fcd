"""The table of peers: what is open counts, errors do not; methods that are not to be had are named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from benchmarks.harness.instances import ERROR, Result
from benchmarks.peers import peers
from benchmarks.peers.marabou import MarabouMissingError
from benchmarks.peers.peers import METHODS, OURS, missing, summary

Made = Callable[..., Result]
LIMIT = 60.0


def cells(text: str, method: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if f"| {method} " in line]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_what_is_open_counts_at_the_limit_and_makes_a_lower_bound(result: Made) -> None:
    rows = [
        result(method=OURS, index=1, seconds=2.0, cpu_seconds=1.0),
        result(method=OURS, index=2, seconds=2.0, cpu_seconds=1.0),
        result(method="gurobi", index=1, seconds=4.0, cpu_seconds=4.0),
        result(method="gurobi", index=2, seconds=30.0, cpu_seconds=9.0, status="bracketed"),
    ]
    text = summary(rows, [OURS, "gurobi"], LIMIT)
    assert cells(text, OURS) == ["linf", OURS, "2/2", "0", "0", "1", "1", "2.00"]
    assert cells(text, "gurobi") == ["linf", "gurobi", "1/2", "1", "0", "≥ 7.75", "≥ 6", "17.00"]


def test_an_error_is_counted_and_compared_with_nothing(result: Made) -> None:
    rows = [result(method=OURS), result(method="marabou", status=ERROR, seconds=0.1)]
    assert cells(summary(rows, [OURS, "marabou"], LIMIT), "marabou")[2:7] == ["0/1", "0", "1", "-", "-"]


def test_a_method_without_rows_has_no_line(result: Made) -> None:
    assert "gurobi" not in summary([result(method=OURS)], list(METHODS), LIMIT)


def test_peers_that_are_not_to_be_had_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interpreter(_: Path) -> NoReturn:
        raise MarabouMissingError("no Python 3.11")

    monkeypatch.setattr(peers, "interpreter", interpreter)
    monkeypatch.setitem(sys.modules, "gurobipy", None)
    assert "pip install" in missing("gurobi", tmp_path)
    assert missing("marabou", tmp_path) == "no Python 3.11"
    assert missing(OURS, tmp_path) == ""
