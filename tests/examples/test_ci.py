"""The example of a gate in CI: the robust net passes, a weakened copy fails with a picture, 1 s is not enough."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from verifier.cli.exit_codes import Exit
from verifier.cli.main import main

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "ci"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "project"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns(".verifier", "weakened.onnx"))
    monkeypatch.chdir(copy)
    return copy


def changed(project: Path, old: str, new: str) -> None:
    path = project / "robustness.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_the_robust_net_passes_and_is_not_asked_again(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "--json"]) == Exit.GOOD
    first = json.loads(capsys.readouterr().out)
    assert main(["gate", "--json"]) == Exit.GOOD
    again = json.loads(capsys.readouterr().out)
    assert (first["questions"] > 0, again["questions"]) == (True, 0)
    assert [one["ruling"] for one in again["requirements"]] == ["pass"] * len(again["requirements"])


def test_a_weakened_copy_fails_with_the_picture_of_a_witness(project: Path) -> None:
    changed(project, "count = 40", "count = 10")
    runpy.run_path(str(project / "weaken.py"), run_name="__main__")
    assert main(["gate", "--model", "weakened.onnx", "--witnesses", "witnesses"]) == Exit.VIOLATED
    assert list((project / "witnesses").glob("weakened-*.png"))


def test_a_budget_that_does_not_suffice_is_undecided(project: Path) -> None:
    assert main(["gate", "--total-budget", "0.01s"]) == Exit.UNDECIDED


def test_workflow_files_name_commands_that_there_are(project: Path) -> None:
    """Their options are the command's: what the workflow calls is what the tests call."""
    lines = [
        line.split("verifier gate", 1)[1].split()
        for name in (".github/workflows/robustness.yml", ".gitlab-ci.yml")
        for line in (project / name).read_text(encoding="utf-8").splitlines()
        if "verifier gate" in line
    ]
    assert len(lines) == 2
    changed(project, 'total_budget = "5m"', 'total_budget = "0.01s"')
    for arguments in lines:
        assert main(["gate", *arguments]) == Exit.UNDECIDED


@pytest.mark.skipif(sys.platform == "win32", reason="the action is bash's")
def test_the_actions_last_step_is_the_gate(project: Path) -> None:
    """As a runner calls it; the steps before it install the package where this one looks for it."""
    yaml = pytest.importorskip("yaml", reason="comes with pre-commit")
    action = yaml.safe_load((EXAMPLE.parents[1] / "action.yml").read_text(encoding="utf-8"))
    installs, gate = action["runs"]["steps"]
    assert 'python3 -m venv "$RUNNER_TEMP/relu-verifier"' in installs["run"]
    command = project / "relu-verifier" / "bin" / "verifier"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m verifier "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    asked = 'models = ["digits"]\ndata = "digits"\nselect = { indices = [0] }\n[[require]]\nmin_distortion = 0.5\n'
    (project / "robustness.toml").write_text(asked, encoding="utf-8")
    inputs = {name: str(given["default"]) for name, given in action["inputs"].items()}
    given = {name: inputs[value.split(".")[1].split()[0]] for name, value in gate["env"].items()}
    summary = project / "summary.md"
    runner = {"RUNNER_TEMP": str(project), "GITHUB_STEP_SUMMARY": str(summary), "PYTHONPATH": str(EXAMPLE.parents[1])}
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", gate["run"]], env={**os.environ, **given, **runner}, check=False
    )
    assert done.returncode == Exit.VIOLATED
    assert (project / "robustness.xml").is_file()
    assert list((project / "witnesses").glob("*.png"))
    assert "FAIL" in summary.read_text(encoding="utf-8")
