"""The cost of a command is that of its process, and a record holds a row for each command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.engine import start


def test_the_cost_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.run
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    monkeypatch.setattr(subprocess, "run", lambda _, **options: real([sys.executable, "-c", busy], **options))
    cpu, wall = start.cost(["minimal"])
    assert cpu >= 0.29  # the clock of processes ticks in hundredths
    assert wall >= 0.3


def test_a_command_that_fails_is_no_row() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        start.cost(["inspect", "missing.onnx"])


def test_each_command_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(start, "compile_kernels", lambda: None)
    monkeypatch.setattr(start, "cost", lambda arguments: (float(len(arguments)), 2.0))
    assert start.main(["--runs", "3", "--out", str(tmp_path / "start.json")]) == 0
    written = json.loads((tmp_path / "start.json").read_text())
    assert [row["command"] for row in written["rows"]] == list(start.COMMANDS)
    assert "load_average_at_start" in written["sessions"][0]
    assert "minimal" in capsys.readouterr().out
