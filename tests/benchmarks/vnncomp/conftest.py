"""A benchmark of the competition in small: one net, three properties."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROWS = {"over": ("(>= Y_0 0.4)", "sat"), "never": ("(>= Y_0 0.6)", "unsat"), "torn": ("(<= X_0 0.1)", "sat")}


@pytest.fixture
def data(truth: Any, save_net: Callable[..., Any], tmp_path: Path) -> Path:
    """y = min(x, 1 − x) on [0.1, 1], the net packed, three properties and their official verdicts."""
    model = save_net(truth.of_layers(([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, -2.0]], [0.0])))
    folder, results = tmp_path / "vnncomp/toy", tmp_path / "vnncomp_results"
    for made in (folder / "onnx", folder / "vnnlib", results):
        made.mkdir(parents=True)
    (folder / "onnx/ramp.onnx.gz").write_bytes(gzip.compress(model.path.read_bytes()))
    instances, official = [], ["benchmark,onnx,vnnlib,consensus,tools_sat,tools_unsat"]
    for name, (row, verdict) in ROWS.items():
        box = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (and (>= X_0 0.1) (<= X_0 1)))"
        (folder / f"vnnlib/{name}.vnnlib").write_text(f"{box}(assert {row})")
        instances.append(f"onnx/ramp.onnx,vnnlib/{name}.vnnlib,30")
        official.append(f"toy,onnx/ramp.onnx,vnnlib/{name}.vnnlib,{verdict},3,0")
    (folder / "instances.csv").write_text("\n".join(instances) + "\n")
    (results / "CONSENSUS.csv").write_text("\n".join(official) + "\n")
    return tmp_path
