"""The competition's certificates: what is in the record is not made again, and the lone checker's word counts."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.vnncomp import certificates, run
from benchmarks.vnncomp.certifying import built_apart
from benchmarks.vnncomp.instances import read_instances
from benchmarks.vnncomp.run import VnnRow
from verifier.certificates import checker


def test_unsat_instances_are_certified_once(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, out = data / "r.json", data / "c.json"
    run.main(["--benchmark", "toy", "--data", str(data), "--out", str(answers), "--limit", "30"])
    words = ["--benchmark", "toy", "--data", str(data), "--instances", str(answers), "--out", str(out)]
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


def test_what_is_killed_says_what_it_had(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = read_instances(data, "toy")[0]
    model, query = data / "vnncomp" / "toy" / one.onnx, data / "vnncomp" / "toy" / one.vnnlib
    built = built_apart(model, query, 0.1)
    assert "0.1 s" in built.reason
    assert built.cpu_seconds > 0
    other = data / "checker.py"
    other.write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(checker, "__file__", str(other))
    reason, used = certificates._checked(built, model, query, 0.1)
    assert reason == "the checker had not ended after 0.1 s"
    assert used > 0


def test_samples_are_of_our_record_or_else_of_the_consensus(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = certificates._parser().parse_args(["--data", str(data), "--sample", "2"])
    every = read_instances(data, "toy")
    rows: list[VnnRow] = []
    monkeypatch.setattr(certificates, "read_rows", lambda *_: rows)
    assert [one.vnnlib for one in certificates.sample("toy", asked)] == ["vnnlib/never.vnnlib"]
    answer: dict[str, Any] = {
        "float32": True,
        "reason": "",
        "engine": "",
        "nodes": 0,
        "limit": 1.0,
        "seconds": 0.0,
        "cpu_seconds": 0.0,
    }
    rows += [
        VnnRow(**asdict(one), verdict=run.UNSAT, wrong=one.vnnlib.endswith("over.vnnlib"), **answer) for one in every
    ]
    assert [one.vnnlib for one in certificates.sample("toy", asked)] == ["vnnlib/never.vnnlib", "vnnlib/torn.vnnlib"]
    asked.sample = 1
    assert [one.vnnlib for one in certificates.sample("toy", asked)] == ["vnnlib/never.vnnlib"]


def test_a_record_that_is_none_is_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--benchmark", "toy", "--instances", str(data / "none.json"), "--data", str(data)]
    assert certificates.main([*words, "--out", str(data / "c.json")]) == 2
    assert "is no record" in capsys.readouterr().err
