"""`minimal --property` through the command line: what it prints, writes and returns."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from verifier.cli.exit_codes import Exit
from verifier.cli.main import main


@pytest.fixture
def call(truth: Any, save_net: Callable[..., Any], tmp_path: Path) -> list[str]:
    """From 0.125 to y = min(x, 1 − x) ≥ 0.4."""
    model = save_net(truth.of_layers(([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, -2.0]], [0.0])))
    np.save(tmp_path / "x.npy", np.array([0.125], np.float32))
    file = tmp_path / "p.vnnlib"
    box = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (and (>= X_0 0) (<= X_0 1)))"
    file.write_text(f"{box}(assert (>= Y_0 0.4))")
    return ["minimal", str(model.path), str(tmp_path / "x.npy"), "--property", str(file)]


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_the_bracket_is_told_and_written(
    call: list[str], norm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([*call, "--norm", norm, "--json", "--out", str(out), "--precision", "1e-4"]) == Exit.GOOD
    text = capsys.readouterr().out
    found = json.loads(text)
    assert (out / "result.json").read_text() == text
    assert (found["status"], found["norm"], found["evidence"]) == ("minimal", norm, "proved")
    assert found["lower"] <= 0.275 <= found["upper"] <= found["lower"] + 1e-4
    assert found["float32"]["lower"] <= found["lower"]
    x = np.load(out / "witness.npy")
    assert (found["witness"]["path"], found["witness"]["point"]) == (str(out / "witness.npy"), x.tolist())
    assert found["witness"]["outputs"][0] >= 0.4


def test_the_table(call: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(call) == Exit.GOOD
    out = capsys.readouterr().out
    for word in ("Distance to the nearest point that satisfies the property, L-inf", "0.274", "0.275", "proved"):
        assert word in out


def test_too_little_time_is_bracketed(call: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*call, "--timeout", "0.001s", "--json"]) == Exit.UNDECIDED
    found = json.loads(capsys.readouterr().out)
    assert (found["status"], found["lower"], found["upper"]) == ("bracketed", 0.0, None)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--target", "1"], "--target does not go with --property"),
        (["--box", "0", "2"], "--box does not go with --property"),
        (["--all-targets"], "--all-targets does not go with --property"),
        (["--certificate", "c"], "--certificate does not go with --property"),
    ],
)
def test_what_does_not_go_with_it_is_told(
    call: list[str], given: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*call, *given]) == Exit.BAD_INPUT
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert told in err
