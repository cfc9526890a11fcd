"""What users need is in `verifier` itself: listed, found by completion, cheap until it is used, and never shadowed."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import verifier
from verifier import api

ROOMS = sorted(path.parent.name for path in Path(verifier.__file__).parent.glob("*/__init__.py"))

NAMES = """
import importlib, json, sys
import verifier
early = [name for name in ("numpy", "onnx", "verifier.api", "typer") if name in sys.modules]
missing = sorted(set(verifier.__all__) - set(dir(verifier)))
for room in {rooms!r}:
    importlib.import_module("verifier." + room)
kinds = {{name: type(getattr(verifier, name)).__name__ for name in verifier.__all__}}
star = {{}}
exec("from verifier import *", star)
print(json.dumps([early, missing, kinds, sorted(set(verifier.__all__) - set(star))]))
"""


def test_they_are_listed_and_found_in_a_fresh_process_and_no_room_shadows_one() -> None:
    call = [sys.executable, "-c", NAMES.format(rooms=ROOMS)]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    early, missing, kinds, left_out = json.loads(done.stdout)
    assert (early, missing, left_out) == ([], [], [])
    assert len(kinds) == len(verifier.__all__) > 30
    assert "module" not in kinds.values()


def test_no_name_is_a_rooms() -> None:
    assert "solvers" in ROOMS
    assert set(ROOMS) & set(verifier.__all__) == set()


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(verifier.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert set(imported) == set(verifier.__all__)
    assert {name: home for name, home in imported.items() if home != "verifier.api"} == verifier.HOMES


def test_the_list_is_in_order() -> None:
    assert verifier.__all__ == sorted(verifier.__all__)


def test_another_name_is_none() -> None:
    with pytest.raises(AttributeError, match="module 'verifier' has no attribute 'solve'"):
        verifier.solve  # noqa: B018


@pytest.mark.parametrize("function", ["minimal", "minimal_all_targets", "brackets", "check", "attack", "certificate"])
def test_arguments_are_keywords_with_types(function: str) -> None:
    """Editors complete them."""
    parameters = list(inspect.signature(getattr(api, function)).parameters.values())
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in parameters)
    kinds = {parameter.kind for parameter in parameters}
    assert kinds == {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}


def test_minimal_and_brackets_ask_alike() -> None:
    one, other = inspect.signature(api.minimal).parameters, inspect.signature(api.brackets).parameters
    assert [asked for name, asked in one.items() if name != "property"] == list(other.values())
