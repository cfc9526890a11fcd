"""Engines take the same nodes; a tree that ends early measures nothing; what is worse than numpy's is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")

from benchmarks.engine import throughput
from benchmarks.engine.throughput import KERNEL, NUMPY, Below, Row, main, measured, summary
from benchmarks.performance.others import stepped
from benchmarks.performance.provenance import Measured
from encoders.errors import InputError
from verifier.runtime.device import Device

ENGINES = (NUMPY, KERNEL, "onnxruntime cpu")


@pytest.fixture(scope="module")
def root(mnist_folder: Path) -> Below:
    return Below("mnist_3x256", mnist_folder, seed=0)


def test_engines_gain_alike(root: Below, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Below, "node_rate", lambda *_: 7.0)
    rows = measured(root, "mnist_3x256", 8, ENGINES, Device.CPU, 0.05)
    assert [row.engine for row in rows] == list(ENGINES)
    assert rows[0].gain == 1.0
    assert all(row.step_rate > 0 and row.gain > 0.8 for row in rows)
    assert summary(rows).count("| 7 ") == 3


def test_a_tree_that_ends_is_refused(root: Below, monkeypatch: pytest.MonkeyPatch) -> None:
    assert root.node_rate(NUMPY, Device.CPU, 8, 1.0) == 0.0
    monkeypatch.setitem(throughput.RADII, "mnist_3x256", 0.001)
    easy = Below("mnist_3x256", None, seed=0)
    with pytest.raises(InputError, match=r"the tree about a ball of 0\.001 ended after"):
        easy.node_rate(KERNEL, Device.CPU, 8, 60.0)


def test_exit_codes_say_whether_an_engine_is_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(throughput, "one_core", lambda: None)
    monkeypatch.setattr(throughput, "below", lambda *_: None)
    out, words = tmp_path / "t.json", ["--nets", "mnist_conv", "--batches", "4"]

    def made(last: float) -> Callable[..., list[Row]]:
        gains = (1.0, 0.95, last)
        return lambda _root, net, batch, engines, *_: [
            Row(net, batch, engine, 100.0 * batch, gain, 5.0) for engine, gain in zip(engines, gains, strict=True)
        ]

    for last, code in ((1.2, 0), (0.5, 1)):
        monkeypatch.setattr(throughput, "measured", made(last))
        assert main([*words, "--out", str(out), "--fresh"]) == code
    monkeypatch.setattr(throughput, "measured", None)
    assert main([*words, "--out", str(out)]) == 1, "the record is continued"
    assert "0.500" in capsys.readouterr().out
    cell = stepped(Measured("throughput", json.loads(out.read_text(encoding="utf-8"))))
    assert cell == "mnist_conv, batches of 4: kernel 400 (× 0.95), numpy 400 (× 1.00), onnxruntime cpu 400 (× 0.50)"
