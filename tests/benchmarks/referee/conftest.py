"""A list of anybody's: a net packed and plain, properties that are sat, unsat, torn, and one that cannot be read."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROWS = {"over": "(>= Y_0 0.4)", "never": "(>= Y_0 0.6)", "torn": "(<= X_0 0.1)", "odd": "(>= (sin Y_0) 0)"}


@pytest.fixture
def listed(truth: Any, save_net: Callable[..., Any], tmp_path: Path) -> Path:
    """y = min(x, 1 − x) on [0.1, 1]; the list holds the first three properties."""
    model = save_net(truth.of_layers(([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, -2.0]], [0.0])))
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "ramp.onnx.gz").write_bytes(gzip.compress(model.path.read_bytes()))
    for name, row in ROWS.items():
        box = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (and (>= X_0 0.1) (<= X_0 1)))"
        (folder / f"{name}.vnnlib").write_text(f"{box}(assert {row})")
    place = folder / "instances.csv"
    place.write_text("ramp.onnx,over.vnnlib,30\nramp.onnx.gz, never.vnnlib, 30\n\nramp.onnx,torn.vnnlib\n")
    return place
