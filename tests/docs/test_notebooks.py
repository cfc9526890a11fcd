"""The notebooks run from top to bottom, and are committed with what they show."""

from __future__ import annotations

import json
import runpy
from itertools import groupby
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))

LONG, SHORT = "timeout=10", "timeout=1"
"""What stays open after ten seconds, as the net with masked gradients does, is open after one too."""

MANY, FEW = "values())][:5]", "values())][:2]"
"""Inputs of the notebook about defences."""


def test_there_are_two() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["defence", "own_model"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for needed in ("nbclient", "ipykernel"):
        pytest.importorskip(needed, reason="needs the extra `docs`")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    executed = runpy.run_path(str(ROOT / "docs/generate/run_notebooks.py"))["executed"]
    text = path.read_text(encoding="utf-8")
    assert LONG in text
    (tmp_path / path.name).write_text(text.replace(LONG, SHORT).replace(MANY, FEW), encoding="utf-8")
    made = executed(tmp_path / path.name, tmp_path)
    assert kinds(made) == kinds(json.loads(text)), "run `make notebooks`"


def kinds(notebook: dict) -> list[list[str]]:
    """What kinds of output each cell of code has; what is printed comes in one piece or in several."""
    outputs = [cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [[kind for kind, _ in groupby(one["output_type"] for one in made)] for made in outputs]
