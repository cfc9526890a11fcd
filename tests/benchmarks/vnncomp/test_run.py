"""The competition's runner: a killed run goes on where it stopped; what is against the official verdict is wrong."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.vnncomp import run
from benchmarks.vnncomp.run import is_counterexample

PROJECT = Path(run.__file__).parents[2]


def rows(record: Path) -> list[dict[str, Any]]:
    return json.loads(record.read_text())["rows"] if record.exists() else []


def test_a_run_that_is_killed_goes_on(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = data / "record.json"
    words = ["--benchmark", "toy", "--data", str(data), "--out", str(record), "--limit", "30"]
    code = [sys.executable, "-m", "benchmarks.vnncomp.run", *words]
    running = subprocess.Popen(code, cwd=PROJECT, start_new_session=True, stdout=subprocess.DEVNULL)
    while not rows(record):
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    before = rows(record)
    assert run.main(words) == 0
    told, after = capsys.readouterr().out, rows(record)
    assert all(row in after for row in before)
    assert told.count("ramp.onnx") == 3 - len(before)
    assert {row["vnnlib"]: row["verdict"] for row in after} == {
        "vnnlib/over.vnnlib": "sat",
        "vnnlib/never.vnnlib": "unsat",
        "vnnlib/torn.vnnlib": "tolerance only",
    }
    assert "| toy       | 3         | 2       | 1   | 1     | 1 " in told


def test_a_verdict_against_the_official_one_is_wrong(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    consensus = data / "vnncomp_results/CONSENSUS.csv"
    consensus.write_text(consensus.read_text().replace("over.vnnlib,sat", "over.vnnlib,unsat"))
    words = ["--benchmark", "toy", "--data", str(data), "--out", str(data / "r.json"), "--limit", "30", "--every", "3"]
    assert run.main(words) == 1
    assert "WRONG" in capsys.readouterr().out


def test_what_has_an_official_verdict_is_asked_first(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    consensus = data / "vnncomp_results/CONSENSUS.csv"
    consensus.write_text(consensus.read_text().replace("over.vnnlib,sat", "over.vnnlib,single"))
    asked: list[str] = []
    answered = run.answered
    monkeypatch.setattr(run, "answered", lambda one, words: asked.append(Path(one.vnnlib).stem) or answered(one, words))
    words = ["--benchmark", "toy", "--data", str(data), "--limit", "0.01", "--known-first"]
    assert run.main([*words, "--out", str(data / "r.json")]) == 0
    assert asked == ["never", "torn", "over"]


def test_a_limit_that_ends_before_the_model_is_read_is_an_answer_that_can_be_asked_again(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--benchmark",
        "toy",
        "--data",
        str(data),
        "--out",
        str(data / "r.json"),
        "--limit",
        "0.01",
        "--every",
        "3",
    ]
    for again, told in ([], True), ([], False), (["--again"], True):
        assert run.main([*words, *again]) == 0
        assert ("unknown (official sat)" in capsys.readouterr().out) is told


def test_counterexamples_are_judged_again(data: Path, tmp_path: Path) -> None:
    model, query = tmp_path / "ramp.onnx", data / "vnncomp/toy/vnnlib/over.vnnlib"
    with gzip.open(data / "vnncomp/toy/onnx/ramp.onnx.gz") as packed, model.open("wb") as stream:
        shutil.copyfileobj(packed, stream)
    assert is_counterexample([[0.5]], model, query)
    assert not is_counterexample([[0.25]], model, query)
    assert not is_counterexample([[0.4500000001]], model, query)  # no float32


@pytest.fixture
def toy(data: Path, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """An instance's model, and an environment in which the scripts find this `verifier`."""
    model = tmp_path / "ramp.onnx"
    model.write_bytes(gzip.decompress((data / "vnncomp/toy/onnx/ramp.onnx.gz").read_bytes()))
    command = tmp_path / "verifier"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m verifier "$@"\n')
    command.chmod(0o755)
    paths = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    return model, {**os.environ, "PATH": paths, "PYTHONPATH": str(PROJECT)}


def test_an_instance_is_prepared_also_where_no_kernels_can_be(toy: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    model, where = toy
    command = tmp_path / "python"
    command.write_text("#!/bin/sh\nexit 1\n")
    command.chmod(0o755)
    for name, expected, told in ((str(model), 0, "slower"), (str(tmp_path / "missing.onnx"), 1, "cannot be read")):
        call = ["bash", str(Path(run.__file__).parent / "prepare_instance.sh"), "v1", "toy", name, str(model)]
        done = subprocess.run(call, env=where, check=False, capture_output=True, text=True)
        assert done.returncode == expected
        assert ("can be run" in done.stdout) is (expected == 0)
        assert told in done.stderr


@pytest.mark.parametrize("ended", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_script_that_is_killed_writes_no_answer_later(ended: signal.Signals, tmp_path: Path) -> None:
    engine, begun, results = tmp_path / "verifier", tmp_path / "begun", tmp_path / "results.txt"
    engine.write_text(f'#!/bin/sh\necho > "{begun}"\nsleep 0.2\necho unsat > "$6"\n')
    engine.chmod(0o755)
    where = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    call = ["bash", str(Path(run.__file__).parent / "run_instance.sh"), "v1", "toy", "a.onnx", "b.vnnlib", str(results)]
    script = subprocess.Popen([*call, "30"], env=where)
    while not begun.exists():
        time.sleep(0.01)
    script.send_signal(ended)
    assert script.wait() != 0
    time.sleep(0.3)
    assert not results.exists()


def test_the_run_scripts_write_what_the_competition_reads(
    toy: tuple[Path, dict[str, str]], data: Path, tmp_path: Path
) -> None:
    (model, where), folder = toy, Path(run.__file__).parent
    for query, first, expected, limit in (
        ("over", "sat", 0, "30"),
        ("never", "unsat", 0, "30"),
        ("never", "timeout", 0, "0.01"),
        ("missing", "error", 1, "30"),
    ):
        results = tmp_path / f"{query}.txt"
        call = ["bash", str(folder / "run_instance.sh"), "v1", "toy", str(model)]
        call += [str(data / f"vnncomp/toy/vnnlib/{query}.vnnlib"), str(results), limit]
        assert subprocess.run(call, env=where, check=False, capture_output=True).returncode == expected
        assert results.read_text().splitlines()[0] == first


@pytest.mark.parametrize(("name", "told"), [("nothing", "no benchmark 'nothing'"), ("toy", "no such file")])
def test_what_is_not_there_is_told(data: Path, name: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "vnncomp/toy/onnx/ramp.onnx.gz").unlink()
    assert run.main(["--benchmark", name, "--data", str(data), "--out", str(data / "r.json")]) == 2
    assert told in capsys.readouterr().err
