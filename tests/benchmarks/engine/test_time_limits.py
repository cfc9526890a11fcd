"""A limit counts as kept by the wall clock of a whole process and by its answer; every question is recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.engine import time_limits
from benchmarks.engine.time_limits import QUESTIONS, Row
from verifier import models

ROW = Row("net", "check, tree", 10.0, 0, 11.4, 3, True, 0.5)


def test_a_limit_may_be_overrun_by_a_second_and_a_twentieth() -> None:
    assert ROW.kept
    assert ROW.overrun == pytest.approx(1.4)
    assert not replace(ROW, seconds=11.6).kept
    assert not replace(ROW, answered=False).kept


def test_a_question_is_asked_in_a_process_of_its_own() -> None:
    row = time_limits.asked(models.path("digits"), "attack", 600.0, 0)
    assert (row.code, row.answered, row.model) == (0, True, "digits")
    assert 0 < row.seconds < row.limit


def test_every_question_is_recorded_once_and_a_limit_that_is_not_kept_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def asked(model: Path, question: str, limit: float, busy: int) -> Row:
        calls.append(question)
        return replace(ROW, model=model.stem, question=question, limit=limit, busy=busy, seconds=limit + 2.0)

    monkeypatch.setattr(time_limits, "compile_kernels", lambda: None)
    monkeypatch.setattr(time_limits, "asked", asked)
    out = tmp_path / "time_limits.json"
    words = ["--timeout", "3", "100", "--out", str(out)]
    assert time_limits.main(words) == 1
    assert capsys.readouterr().out.count("NOT KEPT") == 2 * len(QUESTIONS)
    before = len(calls)
    assert before == 4 * len(QUESTIONS)
    assert time_limits.main(words) == 1
    assert len(calls) == before
    assert len(json.loads(out.read_text())["rows"]) == before
