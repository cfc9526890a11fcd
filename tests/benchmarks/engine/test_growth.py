"""`benchmarks.engine.growth` on its smallest network, and what it says of costs above their limits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.engine import growth
from benchmarks.engine.growth import MOST_MIB, NETS, Row, convolutional, made, measure, missed, summary

ENOUGH = 60.0


@pytest.mark.parametrize("step", growth.STEPS)
def test_each_step_says_what_it_took(step: str, tmp_path: Path) -> None:
    path, relus = made("3x24", tmp_path)
    row = measure("3x24", relus, path, step, ENOUGH)
    assert (row.relus, row.step, row.dense) == (72, step, True)
    assert row.seconds >= 0
    assert 50 < row.peak_mib < MOST_MIB
    assert row.answer.split()[0].rstrip(",") in {"72", "0", "holds", "minimal"} or row.answer.endswith(" open")


def test_convolutional_networks_are_as_large_as_is_said() -> None:
    assert [convolutional(channels)[1] for channels in (1, 8, 64)] == [1_636, 12_388, 98_404]


def test_the_record_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "STEPS", {"read": growth.read})
    words = ["--nets", "3x24", "--out", str(tmp_path / "growth.json")]
    for _ in range(2):
        assert growth.main(words) == 0
        (row,) = json.loads((tmp_path / "growth.json").read_text())["rows"]
        assert (row["net"], row["answer"]) == ("3x24", "72 ReLUs")
        monkeypatch.setattr(growth, "measure", None)
    assert set(NETS) >= {"50x2000", "conv-64"}


def test_what_is_too_much_or_too_late_is_told() -> None:
    good = Row("3x24", 72, "check", "holds", 21.5, 20.0, 100.0)
    large = replace(good, step="read", peak_mib=MOST_MIB + 1)
    late = replace(good, step="minimal", seconds=22.5)
    slow = replace(good, step="read", seconds=100.0)
    assert missed([good, large, late, slow], 20.0) == [large, late]
    assert "20.0 s, 100, holds" in summary([good])
