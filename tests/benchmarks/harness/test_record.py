"""A record gives back what was written, goes on where it stopped, and refuses rows of another setting."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from benchmarks.harness.instances import ERROR, Instance, Result, pending
from benchmarks.harness.record import RESULTS, Record, table, write_atomically
from encoders.errors import InputError

SETTING = {"timeout": 60.0, "norms": ("linf", "l1")}
Made = Callable[..., Result]


def opened(path: Path | None, **options: Any) -> Record[Result]:
    return Record(path, SETTING, Result, **options)


def test_rows_come_back_as_they_were(tmp_path: Path, result: Made) -> None:
    path = tmp_path / "new" / "record.json"
    rows = [
        result(index=1, radius=0.25, cpu_seconds=None, nodes=None),
        result(index=2, method="gurobi", initial=0.7, reason="a reason"),
        result(index=2, lower=math.inf, upper=math.inf, status="unreachable"),
    ]
    record = opened(path)
    for row in reversed(rows):
        record.add(row)
    assert record.rows == opened(path).rows == rows


def test_the_file_is_strict_json(tmp_path: Path, result: Made) -> None:
    def refuse(constant: str) -> NoReturn:
        raise AssertionError(constant)

    path = tmp_path / "record.json"
    opened(path).add(result(upper=math.inf, lower=math.inf))
    content = json.loads(path.read_text(), parse_constant=refuse)
    assert content["rows"][0]["upper"] is None
    assert list(tmp_path.iterdir()) == [path]


def test_a_session_says_what_it_ran_on(tmp_path: Path, result: Made) -> None:
    path = tmp_path / "record.json"
    opened(path, note="how it was timed").add(result())
    content = json.loads(path.read_text())
    (session,) = content["sessions"]
    assert content["note"] == "how it was timed"
    assert session["rows"] == 1
    assert session["wall_seconds"] > 0
    assert session["machine"]["cores"] >= 1
    assert {"relu-verifier", "python", "numpy"} <= set(session["versions"])


def test_a_later_session_goes_on(tmp_path: Path, result: Made) -> None:
    path = tmp_path / "record.json"
    opened(path).add(result(index=1))
    later = opened(path)
    before = later.wall_seconds
    later.add(result(index=2))
    assert [row.index for row in later.rows] == [1, 2]
    assert later.wall_seconds > before > 0
    assert [session["rows"] for session in json.loads(path.read_text())["sessions"]] == [1, 1]


def test_a_result_replaces_the_earlier_one_of_its_instance(tmp_path: Path, result: Made) -> None:
    record = opened(tmp_path / "record.json")
    record.add(result(status=ERROR))
    record.add(result())
    assert record.rows == [result()]


def test_other_settings_are_refused_and_named(tmp_path: Path, result: Made) -> None:
    path = tmp_path / "record.json"
    opened(path).add(result())
    with pytest.raises(InputError, match=re.escape("timeout 60.0 instead of 5.0")):
        Record(path, {**SETTING, "timeout": 5.0}, Result)
    assert Record(path, {**SETTING, "timeout": 5.0}, Result, fresh=True).rows == []


def test_only_what_is_missing_or_failed_is_pending(result: Made) -> None:
    record = opened(None)
    record.add(result(index=1))
    record.add(result(index=2, status=ERROR))
    record.add(result(index=3, status="bracketed"))
    instances = [result(index=index).instance for index in (1, 2, 3, 4)]
    assert [instance.index for instance in pending(instances, "tree", record)] == [2, 4]
    assert pending(instances, "gurobi", record) == instances


def test_the_instance_of_a_result_is_its_question(result: Made) -> None:
    assert result(radius=0.1).instance == Instance("mnist_n", 3, 1, 2, "linf", 0.1)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("pairs_*.json")), ids=lambda path: path.stem)
def test_records_of_the_first_format_are_read(path: Path) -> None:
    content = json.loads(path.read_text())
    defaults = {"model": content["setting"]["model"], "method": content["setting"]["method"]}
    record: Record[Result] = Record(path, content["setting"], Result, defaults=defaults)
    assert len(record.rows) == len(content["rows"]) > 0
    assert {row.upper for row in record.rows} == {row["upper"] for row in content["rows"]}


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    folder = tmp_path / "taken"
    folder.mkdir()
    with pytest.raises(OSError, match="taken"):
        write_atomically(folder, b"new")
    assert list(tmp_path.iterdir()) == [folder]


def test_table_is_aligned_markdown() -> None:
    assert table(("a", "bc"), [("def", "g")]) == "| a   | bc |\n| --- | -- |\n| def | g  |"
