"""Root bounds and trees of a question of the competition are counted; data that is not there is one line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")

from benchmarks.harness.mnist import SHARED
from benchmarks.performance.others import rooted
from benchmarks.performance.provenance import Measured
from benchmarks.vnncomp import roots
from benchmarks.vnncomp.roots import Row, main, measured, summary
from verifier.problem.budget import Budget


class Looks(Budget):
    """Ends after so many looks where there is a limit, whatever the machine is doing."""

    looks = 200

    @property
    def remaining(self) -> float:
        if math.isinf(self.limit):
            return math.inf
        self.looks -= 1
        return float(max(0, self.looks))


@pytest.mark.skipif(not (SHARED / roots.FOLDER).is_dir(), reason="VNN-COMP's oval21 is not beside the project")
def test_nodes_are_those_of_the_goals_that_root_bounds_leave_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roots, "RUNS", 1)
    monkeypatch.setattr(roots, "Budget", Looks)
    row = measured("base 3568", SHARED, 0.5)
    assert row.relus == 3172
    assert 0 < row.open_relus < row.relus
    assert row.closed <= row.goals <= 9
    assert row.goals == 0 or row.nodes >= row.goals
    assert row.root_seconds > 0


def test_the_record_is_continued_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(roots, "one_core", lambda: None)
    monkeypatch.setattr(roots, "compile_kernels", lambda: None)
    monkeypatch.setattr(roots, "measured", lambda question, *_: Row(question, 6756, 1151, 0.41, 1, 0, 600, 3.0))
    out = tmp_path / "roots.json"
    assert main(["--questions", "deep 9931", "--out", str(out)]) == 0
    monkeypatch.setattr(roots, "measured", None)
    assert main(["--questions", "deep 9931", "--out", str(out)]) == 0
    assert "| 200 " in capsys.readouterr().out
    cell = rooted(Measured("roots", json.loads(out.read_text(encoding="utf-8"))))
    assert cell == "deep 9931, 6,756 ReLUs: 0.41 s, 200 nodes a second"
    assert summary([Row("base 3568", 3172, 738, 0.2, 0, 0, 0, 0.0)]).rstrip().endswith("| 0             |")


def test_data_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(roots, "one_core", lambda: None)
    monkeypatch.setattr(roots, "compile_kernels", lambda: None)
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "r.json")]) == 2
    assert "no such file" in capsys.readouterr().err
