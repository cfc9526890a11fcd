"""The float32 lower end where ONNX Runtime fuses operators: no replay crosses it, at any level, with any threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import verifier
from tests.verifier.replays import all_sessions, inside
from verifier.problem.query import Ball, Norm

Nodes = list[tuple[str, list[str], str, dict[str, Any]]]

POINTS = 600
"""For each net and norm, in one batch; the first so many also one by one, since batches take other kernels."""

SINGLE = 100

PRECISION = 1e-5
"""So fine that the float32 end lies next to where the class changes: rounding has a say there."""


def relu(*nodes: tuple[str, list[str], str, dict[str, Any]]) -> Nodes:
    """The nodes, the last one giving `a`, then a ReLU and a dense layer."""
    flat: Nodes = [
        ("Relu", ["a"], "r", {}),
        ("Flatten", ["r"], "flat", {}),
        ("Gemm", ["flat", "wl", "bl"], "y", {"transB": 1}),
    ]
    return [*nodes, *flat]


CONV = ("Conv", ["x", "w", "b"], "c", {"pads": [1, 1, 1, 1], "strides": [2, 2]})
NORMAL = ("BatchNormalization", ["c", "scale", "shift", "mean", "variance"], "a", {})
SPREAD = {"pads": [1, 1, 1, 1]}

NETS: dict[str, Nodes] = {
    "Conv+BatchNorm+Relu": relu(CONV, NORMAL),
    "Conv+Add+Relu": relu(
        ("Conv", ["x", "w", "b"], "p", SPREAD),
        ("Relu", ["p"], "q", {}),
        ("Conv", ["q", "v", "b"], "s", SPREAD),
        ("Add", ["s", "q"], "t", {}),
        ("AveragePool", ["t"], "a", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ),
    "Gemm+Relu": relu(("Flatten", ["x"], "f", {}), ("Gemm", ["f", "wg", "bg"], "a", {"transB": 1, "alpha": 0.5})),
    "MatMul+Add": relu(("Flatten", ["x"], "f", {}), ("MatMul", ["f", "wm"], "m", {}), ("Add", ["m", "bg"], "a", {})),
    "AveragePool": relu(
        ("Conv", ["x", "w", "b"], "p", SPREAD),
        ("Relu", ["p"], "q", {}),
        ("AveragePool", ["q"], "t", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ("Mul", ["t", "half"], "a", {}),
    ),
    "MaxPool": relu(
        CONV,
        ("Relu", ["c"], "q", {}),
        ("MaxPool", ["q"], "t", {"kernel_shape": [2, 2], "strides": [1, 1]}),
        ("Conv", ["t", "u"], "a", {}),
    ),
}

FUSED = {"Conv+BatchNorm+Relu": "BatchNormalization", "MatMul+Add": "MatMul"}
"""Operators that are gone from what ONNX Runtime makes of these nets."""

SIDE, CHANNELS, CLASSES = 4, 2, 3

SEED = 4
"""Weights with which every net has adversarial points."""


def saved(name: str, folder: Path, seed: int = SEED) -> Path:
    """The net with random weights, biases far from 0 and a BatchNormalization that cancels."""
    rng = np.random.default_rng(seed)
    c, n = CHANNELS, SIDE * SIDE
    sizes = {"Gemm+Relu": 16, "MatMul+Add": 16, "MaxPool": c}
    weights: dict[str, Any] = {
        "w": rng.normal(size=(c, 1, 3, 3)), "v": rng.normal(size=(c, c, 3, 3)), "u": rng.normal(size=(c, c, 1, 1)),
        "b": rng.normal(size=c), "scale": rng.normal(size=c) * 3.0, "shift": rng.normal(size=c) * 20.0,
        "mean": rng.normal(size=c) * 20.0, "variance": rng.random(c) + 0.1, "half": np.array(0.5),
        "wg": rng.normal(size=(16, n)), "wm": rng.normal(size=(n, 16)), "bg": rng.normal(size=16),
    }  # fmt: skip
    weights["shift"] = weights["scale"] * weights["mean"] / np.sqrt(weights["variance"] + 1e-5)
    weights["wl"], weights["bl"] = rng.normal(size=(CLASSES, sizes.get(name, c * 4))), rng.normal(size=CLASSES)
    used = {source for _, sources, _, _ in NETS[name] for source in sources}
    stored = [numpy_helper.from_array(np.float32(value), key) for key, value in weights.items() if key in used]
    made = [helper.make_node(op, sources, [out], **attributes) for op, sources, out, attributes in NETS[name]]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, SIDE, SIDE]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES]),
    ]
    graph = helper.make_graph(made, "net", ends[:1], ends[1:], stored)
    path = folder / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize("name", NETS)
def test_no_replay_crosses(name: str, norm: str, tmp_path: Path) -> None:
    model = verifier.load(saved(name, tmp_path))
    x = np.random.default_rng(1).random((1, SIDE, SIDE)).astype(np.float32)
    bracket = verifier.minimal(model, x, norm=norm, precision=PRECISION)
    assert bracket.float32 is not None
    assert bracket.witness is not None
    assert 0.99 * bracket.upper - 2.0 * PRECISION < bracket.float32 <= bracket.lower
    size = x.size
    ball = Ball(Norm(norm), x.astype(float).reshape(-1), bracket.float32, np.zeros(size), np.ones(size))
    points = inside(ball, bracket.witness.point.astype(float), 3, POINTS).reshape(-1, 1, SIDE, SIDE)
    label = model.predict(x)
    for session in all_sessions(model.path):
        rows = [session.run(None, {"x": points})[0]]
        rows += [session.run(None, {"x": point[np.newaxis]})[0] for point in points[:SINGLE]]
        logits = np.concatenate(rows)
        assert np.all(logits[:, label] > np.delete(logits, label, axis=1).max(axis=1))


@pytest.mark.parametrize("name", FUSED)
def test_onnx_runtime_does_fuse(name: str, tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(str(saved(name, tmp_path)), options, providers=["CPUExecutionProvider"])
    left = {node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node}
    assert FUSED[name] not in left
