"""Standard output holds one JSON object and nothing else, whatever libraries write to its file descriptor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import verifier
from verifier import models
from verifier.streams import DEBUG

ROOT = Path(verifier.__file__).resolve().parents[1]
DIGITS = str(models.path("digits"))
DIGIT = [DIGITS, str(models.path("digits").with_name("digits_inputs.npz")), "--index", "6"]
NOISE = "a library's banner"
NOISY = f"""
import os, sys

def speak(event, arguments):
    if event == "import" and arguments[0] in {{"highspy", "pulp", "z3", "numba", "onnxruntime", "scipy", "onnx"}}:
        os.write(1, b"{NOISE}\\n")

sys.addaudithook(speak)
"""
"""Every library writes a line as it is imported, as native code does; some releases do as they are first used."""

COMMANDS = {
    "inspect": ["inspect", DIGITS],
    "doctor": ["doctor"],
    "attack": ["attack", *DIGIT],
    "check": ["check", *DIGIT, "--radius", "0.05"],
    "all targets": ["minimal", *DIGIT, "--all-targets"],
    **{
        method: ["minimal", *DIGIT, "--target", "8", "--precision", "0.05", "--method", method]
        for method in ("tree", "milp", "milp-direct", "z3")
    },
    "cbc": ["minimal", *DIGIT, "--target", "8", "--precision", "0.05", "--method", "milp", "--solver", "cbc"],
    "two threads": ["minimal", *DIGIT, "--target", "8", "--precision", "0.05", "--method", "milp", "--threads", "2"],
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which Python's libraries are noisy."""
    folder = tmp_path_factory.mktemp("noisy")
    (folder / "sitecustomize.py").write_text(NOISY)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def command(asked: list[str], environment: dict[str, str], **options: Any) -> subprocess.CompletedProcess[str]:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(
        [sys.executable, "-m", "verifier", *asked], env=environment, text=True, check=False, **options
    )


@pytest.mark.parametrize("asked", COMMANDS.values(), ids=COMMANDS.keys())
def test_stdout_is_one_json_object(asked: list[str], environment: dict[str, str]) -> None:
    found = command([*asked, "--json"], environment)
    assert found.returncode == 0, found.stderr
    assert isinstance(json.loads(found.stdout), dict)
    assert found.stderr == ""


def test_certify_answers_in_json_alone(environment: dict[str, str], tmp_path: Path) -> None:
    path = str(tmp_path / "proof.json.gz")
    made = command(["minimal", *DIGIT, "--target", "8", "--certificate", path, "--json"], environment)
    assert isinstance(json.loads(made.stdout), dict)
    found = command(["certify", path, DIGITS, "--json"], environment)
    assert found.returncode == 0, found.stderr
    assert isinstance(json.loads(found.stdout), dict)


def test_text_is_as_clean(environment: dict[str, str]) -> None:
    for asked in (["--help"], ["--version"], ["minimal", "--help"], ["inspect", DIGITS]):
        found = command(asked, environment)
        assert found.returncode == 0
        assert found.stdout.strip()
        assert NOISE not in found.stdout


def test_what_libraries_say_is_on_stderr_to_debug(environment: dict[str, str]) -> None:
    found = command(["inspect", DIGITS, "--json"], {**environment, DEBUG: "1"})
    assert isinstance(json.loads(found.stdout), dict)
    assert NOISE in found.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="descriptors are closed in the child of a fork")
def test_a_closed_stdout_gets_into_no_file(environment: dict[str, str], tmp_path: Path) -> None:
    """The next file opened would have its number."""
    asked = ["minimal", *DIGIT, "--target", "8", "--method", "milp", "--out", str(tmp_path)]
    command(asked, environment, stdout=None, preexec_fn=lambda: os.close(1))
    for path in tmp_path.iterdir():
        assert NOISE.encode() not in path.read_bytes()


API = """
import os, sys, threading
import numpy as np
import verifier
from unittest import mock
from verifier import models
from verifier.deciders import kernels

x = np.load(models.path("digits").with_name("digits_inputs.npz"))["x"][6]
with mock.patch.object(kernels, "available", return_value=False):  # HiGHS solves the nodes then
    model = verifier.load(models.path("digits"))
    verifier.minimal(model, x, target=8)
    verifier.minimal(model, x, target=8, threads=2)
for method in ("milp", "milp-direct", "z3"):
    verifier.minimal(model, x, target=8, precision=0.05, method=method)
verifier.minimal(model, x, target=8, precision=0.05, method="milp", solver="cbc")
verifier.check(model, x, 0.05, method="milp")
verifier.attack(model, x)
verifier.solvers()
"""


def test_the_api_leaves_the_callers_stdout_alone(tmp_path: Path) -> None:
    """In the process of the caller, whose file descriptor 1 is not ours to move for long."""
    with (tmp_path / "stdout").open("wb") as stdout:
        done = subprocess.run(
            [sys.executable, "-c", API],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "stdout").read_bytes() == b""
