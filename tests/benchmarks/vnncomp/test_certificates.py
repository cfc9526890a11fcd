"""The competition's certificates: what is in the record is not made again, and the lone checker's word counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.vnncomp import certificates, run
from verifier.certificates import checker


def test_unsat_instances_are_certified_once(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, out = data / "r.json", data / "c.json"
    run.main(["--benchmark", "toy", "--data", str(data), "--out", str(answers), "--limit", "30"])
    words = ["--data", str(data), "--instances", str(answers), "--out", str(out)]
    assert certificates.main(words) == 0
    assert "| toy       | 1     | 1        |" in capsys.readouterr().out
    (row,) = json.loads(out.read_text())["rows"]
    assert row["accepted"]
    assert row["leaves"] > 0
    assert row["bytes"] > 0
    monkeypatch.setattr(certificates, "certified", None)
    assert certificates.main(words) == 0
    # Another checker refuses what was made.
    monkeypatch.undo()
    other = data / "checker.py"
    other.write_text('print(\'{"valid": false, "reason": "no", "not_demanded": []}\')\n')
    monkeypatch.setattr(checker, "__file__", str(other))
    assert certificates.main([*words, "--fresh"]) == 1
    assert "refused: no" in capsys.readouterr().out


def test_a_record_that_is_none_is_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert certificates.main(["--instances", str(data / "none.json"), "--data", str(data)]) == 2
    assert "is no record" in capsys.readouterr().err
