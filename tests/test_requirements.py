"""The locks of `requirements/` are those of pyproject.toml: what CI tests is what the bounds promise."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("run", "cpu", "dev", "lowest", "uv")
CAPPED = {"highspy", "numba", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "pulp", "scipy", "z3-solver"}
"""Those of whose next major version something that is used here is known to go, or has gone before."""


def project() -> dict[str, list[str]]:
    """The requirements of pyproject.toml by extra; "" for what every installation has."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"": table["dependencies"], **table["optional-dependencies"]}


def asked(*extras: str) -> list[Requirement]:
    """The requirements of some extras, without those that only name this project's other extras."""
    every = (Requirement(line) for extra in extras for line in project()[extra])
    return [requirement for requirement in every if requirement.name != "relu-verifier"]


def locked(name: str) -> dict[str, list[Requirement]]:
    """Each package of a lock with its pins, one for each marker."""
    found: dict[str, list[Requirement]] = {}
    for line in entries(name):
        pin = Requirement(line.split("\\")[0].split(" --hash")[0])
        found.setdefault(pin.name, []).append(pin)
    return found


def entries(name: str) -> Iterator[str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    for line in re.sub(r"\\\n", "", text).splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line


def version(pin: Requirement) -> Version:
    (only,) = pin.specifier
    assert only.operator == "=="
    return Version(only.version)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_by_version_and_hash(lock: str) -> None:
    for entry in entries(lock):
        assert re.fullmatch(r"[\w.-]+==[\w.]+( ; [^\\]*)?(\s+--hash=sha256:[0-9a-f]{64})+\s*", entry), entry[:200]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index_and_no_folder(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    assert not re.search(r"://|--index|--extra-index|--find-links|^/|@ ", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("run", [""]),
        ("dev", ["", "cluster", "watch", "test", "docs", "dev"]),
        ("lowest", ["", "cluster", "watch", "test"]),
    ],
)
def test_a_lock_has_what_is_asked_for_within_its_bounds(lock: str, extras: list[str]) -> None:
    """A requirement that was added or moved without `make lock` fails here."""
    pins = locked(lock)
    for requirement in asked(*extras):
        assert pins.get(requirement.name), f"{requirement.name}: run `make lock`"
        for pin in pins[requirement.name]:
            assert version(pin) in requirement.specifier, f"{requirement.name}: run `make lock`"


def test_the_lowest_environment_has_the_lower_bounds() -> None:
    """On the oldest Python at least: newer ones may lack wheels of what was the lowest."""
    pins = locked("lowest")
    for requirement in asked("", "cluster", "watch", "test"):
        (bound,) = (Version(one.version) for one in requirement.specifier if one.operator == ">=")
        assert min(map(version, pins[requirement.name])) == bound, requirement.name


def test_what_runs_is_what_is_tested() -> None:
    run, dev = locked("run"), locked("dev")
    for name, pins in run.items():
        assert set(map(version, pins)) == set(map(version, dev[name])), name


def test_without_cuda_only_onnx_runtime_is_another() -> None:
    run, cpu = locked("run"), locked("cpu")
    assert set(run) - set(cpu) == {"onnxruntime-gpu"}
    assert set(cpu) <= set(run)
    assert [pin.marker for pin in cpu["onnxruntime"]] == [None]
    for name, pins in cpu.items():
        assert set(map(version, pins)) == set(map(version, run[name])), name


def test_next_majors_are_kept_out_where_they_are_known_to_break() -> None:
    bounded = {requirement.name for requirement in asked("") if "<" in {one.operator for one in requirement.specifier}}
    assert bounded == CAPPED
