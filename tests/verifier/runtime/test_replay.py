"""The user's own file in ONNX Runtime: its output, its logits, its tensors."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from encoders.errors import InputError
from encoders.onnx_io import weights
from encoders.onnx_io.file import load_model
from encoders.onnx_io.from_onnx import read_network
from encoders.onnx_io.weights import OnnxModel
from verifier.runtime import replay
from verifier.runtime.replay import Replay, Trace

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4) / 10


def _file(path: Path, first: Any, *, reshape: bool = False, inner: bool = True) -> Path:
    """y = softmax(W · x), the logits an inner tensor; `reshape` fixes the batch inside the file."""
    nodes = [
        helper.make_node("MatMul", ["flat" if reshape else "x", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    initializers = [numpy_helper.from_array(np.ascontiguousarray(WEIGHT.T), "w")]
    if reshape:
        nodes.insert(0, helper.make_node("Reshape", ["x", "shape"], ["flat"]))
        initializers.append(numpy_helper.from_array(np.array([1, 4]), "shape"))
    output = "probabilities" if inner else "logits"
    graph = helper.make_graph(
        nodes if inner else nodes[:-1],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [first, 4])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [first, 3])],
        initializers,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def opened(path: Path) -> Replay:
    return Replay(path, OnnxModel(onnx.load(path)), read_network(path))


@pytest.mark.parametrize("first", [1, "batch"])
@pytest.mark.parametrize("reshape", [False, True])
@pytest.mark.parametrize("inner", [False, True])
def test_replay_returns_the_logits_row_by_row_or_batched(
    tmp_path: Path, first: Any, reshape: bool, inner: bool
) -> None:
    replay = opened(_file(tmp_path / "m.onnx", first, reshape=reshape, inner=inner))
    points = np.random.default_rng(0).random((5, 4)).astype(np.float32)
    for rows in (points, points[:1], points):
        got = replay.logits(rows)
        assert got.shape == (len(rows), 3)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, rows @ WEIGHT.T, rtol=1e-6)
        scores = np.exp(rows @ WEIGHT.T)
        expected = scores / scores.sum(axis=1, keepdims=True) if inner else rows @ WEIGHT.T
        np.testing.assert_allclose(replay.scores(rows), expected, rtol=1e-5)
        for both, alone in zip(replay.outputs(rows), (replay.logits(rows), replay.scores(rows)), strict=True):
            np.testing.assert_array_equal(both, alone)
    np.testing.assert_allclose(replay.logits(points[0]), [WEIGHT @ points[0]], rtol=1e-6)


def test_rows_that_meet_each_other_in_a_batch_are_run_one_by_one(tmp_path: Path) -> None:
    """y = W · (x + the batch's first row): of a single row 2 W · x, which is what the file says of it."""
    path, nodes = tmp_path / "m.onnx", [
        helper.make_node("Gather", ["x", "zero"], ["first"], axis=0),
        helper.make_node("Add", ["x", "first"], ["sum"]),
        helper.make_node("MatMul", ["sum", "w"], ["y"]),
    ]  # fmt: skip
    kept = {"zero": np.array([0]), "w": np.ascontiguousarray(WEIGHT.T)}
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", n]) for name, n in (("x", 4), ("y", 3))]
    values = [numpy_helper.from_array(value, name) for name, value in kept.items()]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    points = np.random.default_rng(0).random((5, 4)).astype(np.float32)
    assert np.allclose(opened(path).logits(points), 2.0 * points @ WEIGHT.T)


def test_replay_prints_nothing_when_a_batch_does_not_fit(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    replay = opened(_file(tmp_path / "m.onnx", "batch", reshape=True))
    assert replay.logits(np.ones((3, 4))).shape == (3, 3)
    assert capfd.readouterr() == ("", "")


def test_replay_names_what_is_not_there(tmp_path: Path) -> None:
    path = _file(tmp_path / "m.onnx", 1)
    network = read_network(path)
    with pytest.raises(InputError, match="no input named 'pixels'"):
        Replay(path, OnnxModel(onnx.load(path)), replace(network, input_name="pixels"))
    with pytest.raises(InputError, match="cannot load the model"):
        Replay(path, OnnxModel(onnx.load(path)), replace(network, logits_name="no such tensor"))


def test_a_trace_has_every_tensor(tmp_path: Path) -> None:
    path = _file(tmp_path / "m.onnx", "batch", reshape=True)
    trace = Trace(path, OnnxModel(onnx.load(path)), read_network(path), ["flat", "logits"])
    points = np.random.default_rng(0).random((3, 4)).astype(np.float32)
    values = trace.values(points)
    np.testing.assert_array_equal(values["flat"], points)
    np.testing.assert_allclose(values["logits"], points @ WEIGHT.T, rtol=1e-6)


def test_any_thread_may_ask_first_and_again_where_no_session_was_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions with large weights are made late."""
    monkeypatch.setattr(weights, "LARGE", 1)
    path = _file(tmp_path / "m.onnx", 1)
    made = Replay(path, load_model(path)[0], read_network(path))

    def failing(*_: Any, **__: Any) -> Any:
        raise RuntimeError("Exception during initialization: std::bad_alloc")

    with monkeypatch.context() as context:
        context.setattr(replay, "session", failing)
        with pytest.raises(MemoryError, match=r"m\.onnx does not fit"):
            made.logits(np.zeros((1, 4)))
    together = threading.Barrier(4)

    def asked(_: int) -> Any:
        together.wait()
        return made.logits(np.ones((1, 4)))

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(asked, range(4)))
    np.testing.assert_allclose(found, np.tile(WEIGHT.sum(axis=1), (4, 1, 1)), rtol=1e-6)
