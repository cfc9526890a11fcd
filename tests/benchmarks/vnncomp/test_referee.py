"""The referee on three instances: proved sat, proved unsat, tolerance only; published answers and witness files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.harness.record import PROJECT
from benchmarks.vnncomp import certificates, referee, run
from benchmarks.vnncomp.referee_page import page

ANSWERS = """tool,year,onnx,vnnlib,verdict,seconds
right,2025,onnx/ramp.onnx,vnnlib/over.vnnlib,sat,1
right,2025,onnx/ramp.onnx,vnnlib/never.vnnlib,unsat,1
right,2025,onnx/ramp.onnx,vnnlib/torn.vnnlib,timeout,1
wrong,2024,onnx/ramp.onnx,vnnlib/over.vnnlib,unsat,1
wrong,2024,onnx/ramp.onnx,vnnlib/never.vnnlib,sat,1
wrong,2024,onnx/ramp.onnx,vnnlib/torn.vnnlib,sat,1
"""


@pytest.fixture
def record(data: Path, tmp_path: Path) -> Path:
    (data / "vnncomp_results/toy.csv").write_text(ANSWERS)
    place = tmp_path / "record.json"
    words = ["--benchmark", "toy", "--data", str(data), "--out", str(place), "--limit", "30"]
    assert run.main([*words, "--witnesses", str(tmp_path / "given/ours")]) == 0
    return place


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_instances_answers_and_witnesses(data: Path, record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = data / "given/other/2025_toy"
    other.mkdir(parents=True)
    (other / "ramp_over.counterexample").write_text("sat\n((X_0 0.39995)\n (Y_0 0.4))\n")
    (other / "ramp_never.counterexample").write_text("sat\n((X_0 0.5)\n (Y_0 0.7))\n")
    capsys.readouterr()
    out, proofs, shown = data / "referee.json", data / "c.json", data / "referee.md"
    words = ["--data", str(data), "--benchmark", "toy"]
    assert certificates.main([*words, "--instances", str(record), "--out", str(proofs)]) == 0
    words += ["--record", str(record), "--submitted", str(data / "given"), "--certificates", str(proofs)]
    words += ["--out", str(out), "--page", str(shown)]
    capsys.readouterr()
    assert referee.main(words) == 0
    told = [cells(line) for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert ["toy", "3", "1", "1", "1", "1", "1", "0", "0"] in told
    assert ["right 2025", "2", "2", "0", "0", "0", "0"] in told
    assert ["wrong 2024", "3", "0", "1", "1", "1", "0"] in told
    assert ["ours", "1", "0", "0", "0", "0", "0"] in told
    assert ["other", "0", "0", "0", "1", "1", "0"] in told
    content = json.loads(out.read_text())
    assert {one["instance"][2]: one["ends"] for one in content["instances"]} == {
        "vnnlib/over.vnnlib": "proved sat",
        "vnnlib/never.vnnlib": "proved unsat",
        "vnnlib/torn.vnnlib": "tolerance only",
    }
    assert len(content["contradictions"]) == 3
    assert shown.read_text() == page(content)
    assert "Of 5 published answers (sat or unsat, all years, these instances) 2 are confirmed, 2 are" in page(content)
    # What its own witness refutes is told, and the witness is believed.
    record.write_text(record.read_text().replace('"verdict": "sat"', '"verdict": "unsat"'))
    assert referee.main(words) == 1
    assert "OUR RECORD IS WRONG: toy onnx/ramp.onnx vnnlib/over.vnnlib" in capsys.readouterr().err


def test_the_page_is_what_the_findings_say() -> None:
    found = json.loads((PROJECT / "docs/referee.json").read_text(encoding="utf-8"))
    assert (PROJECT / "docs/referee.md").read_text(encoding="utf-8") == page(found)


@pytest.mark.parametrize(("content", "told"), [("{}", "is no record"), ('{"rows": []}', "has no instance")])
def test_records_that_are_none(tmp_path: Path, content: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.json").write_text(content)
    assert referee.main(["--record", str(tmp_path / "r.json")]) == 2
    assert told in capsys.readouterr().err
