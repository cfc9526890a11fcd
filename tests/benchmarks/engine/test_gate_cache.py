"""A gate asked twice: the runs share a folder of their own, and the second one's share is what is judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.engine import gate_cache


@pytest.mark.parametrize(("second", "code"), [(0.5, 0), (2.0, 1)])
def test_both_runs_are_of_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: float, code: int) -> None:
    asked: list[Any] = []

    def cost(arguments: list[str], folder: Path) -> tuple[float, float]:
        asked.append((arguments[0], folder))
        kept = folder / ".verifier"
        known = kept.exists()
        assert (folder / "robustness.toml").exists()
        kept.mkdir(exist_ok=True)
        return (second, 1.0) if known else (10.0, 12.0)

    monkeypatch.setattr(gate_cache, "compile_kernels", lambda: None)
    monkeypatch.setattr(gate_cache, "cost", cost)
    assert gate_cache.main(["--runs", "2", "--out", str(tmp_path / "gate.json")]) == code
    rows = json.loads((tmp_path / "gate.json").read_text())["rows"]
    assert [(row["first_cpu"], row["second_cpu"]) for row in rows] == [(10.0, second)] * 2
    assert [folder for _, folder in asked[::2]] == [folder for _, folder in asked[1::2]]
