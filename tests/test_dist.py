"""What `make dist` has built: `pytest tests/test_dist.py --built dist` looks through it."""

from __future__ import annotations

import ast
import subprocess
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("encoders", "verifier")


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Path:
    given = request.config.getoption("built")
    if given is None:
        pytest.skip("`make dist` builds wheel and sdist, and runs this")
    built: Path = given
    return built


@pytest.fixture(scope="module")
def wheel(folder: Path) -> zipfile.ZipFile:
    (only,) = folder.glob("*.whl")
    return zipfile.ZipFile(only)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def tracked(*folders: str) -> set[str]:
    done = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_the_wheel_holds_the_packages_as_they_are_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """It was built from the sdist, which therefore lacks nothing either: templates, nets, py.typed and all."""
    inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert inside == tracked(*PACKAGES)
    assert {name for name in inside if wheel.read(name) != (ROOT / name).read_bytes()} == set()
    assert {f"{package}/py.typed" for package in PACKAGES} <= inside


def test_the_sdist_holds_what_builds_it_and_no_tests(folder: Path) -> None:
    (only,) = folder.glob("*.tar.gz")
    with tarfile.open(only) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    own = {name for name in names if not name.startswith(("relu_verifier.egg-info/", "PKG-INFO", "setup.cfg"))}
    assert own == tracked(*PACKAGES) | {"LICENSE", "MANIFEST.in", "README.md", "pyproject.toml"}


def test_the_metadata_are_those_of_the_project(metadata: Message) -> None:
    assert metadata["Name"] == "relu-verifier"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")
    source = ast.parse((ROOT / "verifier" / "__init__.py").read_text(encoding="utf-8"))
    versions = [
        ast.literal_eval(node.value)
        for node in source.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    ]
    assert versions == [metadata["Version"]]


def test_the_licence_and_the_plugin_are_found(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
    text = wheel.read(entry_points).decode()
    assert "verifier = verifier.__main__:main" in text
    assert "relu_verifier = verifier.pytest_plugin" in text
