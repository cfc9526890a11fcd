"""Table 2: what is compared is closed on both nets; ours stands beside the published line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.harness import table_set
from benchmarks.harness.instances import Result
from benchmarks.harness.record import RESULTS, Record
from benchmarks.paper import published, table1, table2

Made = Callable[..., Result]
NATURAL, ADVERSARIAL = table_set.MODELS


def test_only_what_is_closed_on_both_is_compared(result: Made) -> None:
    rows = [
        result(model=NATURAL, target=2),
        result(model=ADVERSARIAL, target=2, upper=2.0),
        result(model=NATURAL, target=3),
        result(model=ADVERSARIAL, target=3, status="bracketed"),
        result(model=NATURAL, target=4),
        result(model=ADVERSARIAL, target=4, norm="l1"),
    ]
    assert [(a.target, a.model, b.model) for a, b in table2.pairs(rows, "linf")] == [(2, NATURAL, ADVERSARIAL)]
    assert table2.pairs(rows, "l1") == []


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_means_factor_and_those_that_got_worse(result: Made) -> None:
    rows = [
        result(model=NATURAL, target=2, lower=0.2, upper=0.2),
        result(model=ADVERSARIAL, target=2, lower=1.0, upper=1.0),
        result(model=NATURAL, target=3, lower=0.4, upper=0.4),
        result(model=ADVERSARIAL, target=3, lower=0.2, upper=0.2),
        # Its bracket overlaps: nobody can say that it got worse.
        result(model=NATURAL, target=4, lower=0.29, upper=0.3),
        result(model=ADVERSARIAL, target=4, lower=0.28, upper=0.295),
    ]
    lines = [cells(line) for line in table2.summary(rows).splitlines()[2:]]
    assert lines[0] == ["linf", "paper", "35", "0.039", "0.165", "4.2", "7", "-", "-"]
    assert lines[1] == ["linf", "ours", "3", "0.3000", "0.4983", "1.66", "1", "0.50", "0.50"]
    assert len(lines) == 2


def test_the_published_figures_fit_together() -> None:
    line = published.TABLE2["linf"]
    assert line.factor == round(line.defended / line.undefended, 1)
    assert set(published.TABLE1) == {(net, norm) for net in published.NETS for norm in table_set.NORMS}
    assert sum(entry.closed for entry in published.TABLE1.values()) == 38 + 6 + 81 + 64


def test_table_1_stands_beside_the_published_one(result: Made) -> None:
    rows = [
        result(index=1, initial=0.6, upper=0.5),
        result(index=2, initial=1.0, upper=0.7),
        result(index=3, initial=9.0, upper=8.0, status="bracketed"),
    ]
    lines = [cells(line) for line in table1.beside_the_paper(rows).splitlines()[2:]]
    assert lines == [["mnist_n", "linf", "38/90", "2/3", "0.042", "0.8000", "0.038", "0.6000", "9.5%", "25.0%"]]


@pytest.mark.parametrize("pair", table_set.PAIRS)
def test_the_committed_record_is_complete(pair: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert table2.main(["--pair", pair]) == 0
    shown = capsys.readouterr().out
    assert "360 of 360 instances are closed" in shown
    assert shown.count("ours") == 2


def test_a_part_is_told(result: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "record.json"
    setting = {**table2.DEFAULTS, "timeout": 7.0}
    record: Record[Result] = Record(path, setting, Result)
    record.add(result())
    assert table2.main(["--record", str(path)]) == table1.UNDECIDED
    assert "1 of 360 instances are closed; 359 are missing: --run runs them" in capsys.readouterr().out
    assert json.loads(path.read_text())["setting"] == setting


def test_no_record_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "record.json").write_text("{}")
    assert table2.main(["--record", str(tmp_path / "record.json")]) == 2
    assert "is no record of benchmarks.paper.table1" in capsys.readouterr().err


@pytest.mark.parametrize("pair", table_set.PAIRS)
def test_the_record_is_where_table_1_writes_it(pair: str) -> None:
    path = table_set.record_path("table1_engine", pair)
    assert path.parent == RESULTS
    assert {row.model for row in table2.opened(path).rows} == set(table_set.PAIRS[pair])
