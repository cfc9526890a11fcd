"""A benchmark that lacks a package or a file says so in one line, and how to get it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness import one_line
from encoders.errors import InputError

ROOT = Path(__file__).resolve().parents[3]

WITHOUT = """raise ModuleNotFoundError("No module named 'torch'", name="torch")"""
"""PyTorch where it is not installed."""


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            ("benchmarks.training.mnist_natural", "--out", "there"),
            "training.mnist_natural: error: torch is not installed: pip install 'relu-verifier[train]'",
        ),
        (
            ("benchmarks.training.mnist_3x100", "--data", "nowhere", "--out", "there"),
            "training.mnist_3x100: error: nowhere/train-images-idx3-ubyte.gz: no such file",
        ),
    ],
)
def test_what_is_missing_is_one_line(command: tuple[str, ...], told: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(WITHOUT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.replace("\\", "/")) == (2, "", f"{told}\n")


def test_every_other_error_is_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (ValueError("mine"), ModuleNotFoundError("No module named 'here'", name="here")):
        one_line.tell(type(error), error, None)
        assert capsys.readouterr().err.startswith(type(error).__name__)
    with pytest.raises(SystemExit, match="2"):
        one_line.tell(InputError, InputError("no such file"), None)
