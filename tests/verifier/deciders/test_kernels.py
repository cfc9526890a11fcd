"""Kernels are compiled anew when anything that they hold changes: their sources, and the constants of other files."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest

from verifier.deciders.kernels import CONSTANTS, SOURCES


def constants_of(path: Path) -> set[Path]:
    """The project's files from which a source imports names in capitals."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and any(name.name.isupper() for name in node.names):
            spec = find_spec(node.module or "")
            assert spec is not None
            assert spec.origin is not None
            found.add(Path(spec.origin))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_file_whose_constants_a_kernel_holds_is_looked_at(path: Path) -> None:
    assert constants_of(path) <= {*SOURCES, *CONSTANTS}


def test_nothing_else_is() -> None:
    assert set(CONSTANTS) <= {other for path in SOURCES for other in constants_of(path)}
