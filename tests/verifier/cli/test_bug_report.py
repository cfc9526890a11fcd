"""A report of a defect says what is installed and how, and nothing about whose machine it is."""

from __future__ import annotations

import getpass
import os
import re
import socket
import sys
from pathlib import Path

import pytest

from verifier.cli import bug_report, doctor
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What is written on the machine `lighthouse` of a user `somebody`, whose kernels do not load."""
    home = tmp_path / "homes" / "somebody"
    (home / "My Secret Project").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "My Secret Project"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "elsewhere" / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("API_TOKEN", "hunter2")
    monkeypatch.setattr(socket, "gethostname", lambda: "lighthouse")
    monkeypatch.setattr(getpass, "getuser", lambda: "somebody")
    monkeypatch.setattr(doctor.cache, "state", lambda: doctor.cache.KernelState(
        True, False, str(home / "cache"), f"{home}/cache/1f.kernels: made by somebody@lighthouse", None
    ))  # fmt: skip
    monkeypatch.chdir(home)
    assert main(["doctor", "--bug-report", "report.md"]) == Exit.GOOD
    assert capsys.readouterr().err == ""
    assert sorted(os.listdir()) == ["My Secret Project", "report.md"]
    return Path("report.md").read_text(encoding="utf-8")


def test_it_says_what_a_maintainer_asks_first(report: str) -> None:
    for told in (
        "What I ran",
        "VERIFIER_DEBUG=1",
        "CPUExecutionProvider",
        "1f.kernels: made by",
        "highs",
        "OMP_NUM_THREADS | 3",
    ):
        assert told in report
    assert re.search(r"\| numpy \| [\d.]+ \(asked: [<>=,.\d]+\) \|", report)
    assert re.search(r"\| python \| CPython 3\.\d+", report)


def test_it_names_nobody_and_no_folder(report: str, tmp_path: Path) -> None:
    for private in ("somebody", "lighthouse", "hunter2", "API_TOKEN", "Secret", "elsewhere", str(tmp_path), sys.prefix):
        assert private not in report
    assert not re.search(r"(?<![\w…])/\w+/", report), report


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("/opt/cuda/lib/libcublas.so: cannot open", "…/libcublas.so: cannot open"),
        (r"C:\Users\Ann\cache\k.kernels", "…/k.kernels"),
        ("[/home/ann/x.onnx]", "[…/x.onnx]"),
        ("Linux-6.1/x86_64, 1/3 of it", "Linux-6.1/x86_64, 1/3 of it"),
    ],
)
def test_of_a_path_its_last_part_is_left(said: str, left: str) -> None:
    assert bug_report.public(said) == left


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--bug-report", str(tmp_path / "missing" / "report.md")]) == Exit.BAD_INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert "report.md: cannot be written" in err
    assert err.count("\n") == 1
