"""Small nets of every operator that the checker reads, as nodes and weights, and the files made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Nodes = list[tuple[str, list[str], str, dict[str, Any]]]


def model_of(nodes: Nodes, shape: list[int], weights: dict[str, Any], opset: int = 13) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    made = [helper.make_node(op, inputs, [out], **attributes) for op, inputs, out, attributes in nodes]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, shape),
        helper.make_tensor_value_info(nodes[-1][2], TensorProto.FLOAT, [1, 3]),
    ]
    graph = helper.make_graph(made, "net", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def f(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def head(rng: np.random.Generator, size: int) -> tuple[Nodes, dict[str, Any]]:
    nodes: Nodes = [("Flatten", ["last"], "flat", {}), ("Gemm", ["flat", "wl", "bl"], "y", {"transB": 1})]
    return nodes, {"wl": f(rng, 3, size), "bl": f(rng, 3)}


def conv(rng: np.random.Generator) -> tuple[Nodes, dict[str, Any], int]:
    nodes: Nodes = [
        ("Conv", ["x", "w", "b"], "c", {"strides": [2, 1], "pads": [1, 0, 1, 2]}),
        ("Relu", ["c"], "last", {}),
    ]
    return nodes, {"w": f(rng, 4, 2, 3, 3), "b": f(rng, 4)}, 4 * 3 * 6


def groups(rng: np.random.Generator) -> tuple[Nodes, dict[str, Any], int]:
    nodes: Nodes = [("Conv", ["x", "w"], "c", {"group": 2, "dilations": [2, 2]}), ("Relu", ["c"], "last", {})]
    return nodes, {"w": f(rng, 4, 1, 2, 2)}, 4 * 4 * 4


def batch_norm(rng: np.random.Generator) -> tuple[Nodes, dict[str, Any], int]:
    nodes: Nodes = [("BatchNormalization", ["x", "g", "b", "m", "v"], "n", {}), ("Relu", ["n"], "last", {})]
    return nodes, {"g": f(rng, 2), "b": f(rng, 2), "m": f(rng, 2), "v": np.abs(f(rng, 2))}, 72


def pools(rng: np.random.Generator) -> tuple[Nodes, dict[str, Any], int]:
    nodes: Nodes = [
        ("AveragePool", ["x"], "a", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ("Conv", ["a", "w"], "c", {}),
        ("Relu", ["c"], "r", {}),
        ("GlobalAveragePool", ["r"], "last", {}),
    ]
    return nodes, {"w": f(rng, 5, 2, 1, 1)}, 5


def max_pool(rng: np.random.Generator) -> tuple[Nodes, dict[str, Any], int]:
    return [("MaxPool", ["x"], "last", {"kernel_shape": [3, 2], "strides": [3, 2]})], {}, 12


def padded(rng: np.random.Generator) -> tuple[Nodes, dict[str, Any], int]:
    """Windows of 9 places and of 12, parts of them in the padding."""
    nodes: Nodes = [
        ("Pad", ["x", "sizes", "value"], "p", {}),
        ("MaxPool", ["p"], "m", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ("MaxPool", ["m"], "last", {"kernel_shape": [4, 3], "strides": [1, 2], "pads": [0, 1, 0, 0]}),
    ]
    return nodes, {"sizes": np.array([0, 0, 1, 0, 0, 0, 0, 1]), "value": np.float32(0.25)}, 4


def residual(rng: np.random.Generator) -> tuple[Nodes, dict[str, Any], int]:
    nodes: Nodes = [
        ("Sub", ["x", "mean"], "s", {}),
        ("Div", ["s", "std"], "d", {}),
        ("Conv", ["d", "w"], "c", {"pads": [1, 1, 1, 1]}),
        ("Relu", ["c"], "r", {}),
        ("Sub", ["d", "r"], "e", {}),
        ("LeakyRelu", ["e"], "i", {"alpha": 0.1}),
        ("LeakyRelu", ["i"], "p", {}),
        ("PRelu", ["p", "slopes"], "q", {}),
        ("Add", ["q", "d"], "l", {}),
        ("Clip", ["l", "low", "high"], "k", {}),
        ("Transpose", ["k"], "last", {"perm": [0, 2, 3, 1]}),
    ]
    weights = {"mean": f(rng, 2, 1, 1), "std": np.abs(f(rng, 2, 1, 1)) + 1, "w": f(rng, 2, 2, 3, 3)}
    weights["slopes"] = f(rng, 2, 1, 1)
    return nodes, {**weights, "low": np.float32(-0.5), "high": np.float32(0.75)}, 72


def maxima(rng: np.random.Generator) -> tuple[Nodes, dict[str, Any], int]:
    """Behind parts side by side, first of tensors that are moved from one, then of others."""
    nodes: Nodes = [
        ("Reshape", ["x", "shape"], "v", {}),
        ("Flatten", ["x"], "u", {}),
        ("Concat", ["v", "u"], "vu", {"axis": 1}),
        ("MatMul", ["vu", "w"], "a", {}),
        ("Mul", ["v", "half"], "b", {}),
        ("Neg", ["b"], "n", {}),
        ("Max", ["a", "b", "n"], "m", {}),
        ("Identity", ["m"], "i", {}),
        ("Dropout", ["i"], "o", {}),
        ("Concat", ["o", "n"], "on", {"axis": -1}),
        ("Cast", ["on"], "last", {"to": TensorProto.FLOAT}),
    ]
    return nodes, {"shape": np.array([0, -1]), "w": f(rng, 144, 72), "half": np.float32(0.5)}, 144


NETS: dict[str, Callable[..., tuple[Nodes, dict[str, Any], int]]] = {
    found.__name__: found for found in (conv, groups, batch_norm, pools, max_pool, padded, residual, maxima)
}


def whole(name: str, seed: int = 3) -> onnx.ModelProto:
    """One of the nets with a linear layer of three scores behind it; the input is 1 × 2 × 6 × 6."""
    rng = np.random.default_rng(seed)
    nodes, weights, size = NETS[name](rng)
    more, last = head(rng, size)
    return model_of([*nodes, *more], [1, 2, 6, 6], {**weights, **last})


def with_end(end: str, size: int, seed: int = 0) -> onnx.ModelProto:
    """Two linear layers with ReLUs between them and an operator at the end ("": none), of `size` numbers."""
    rng = np.random.default_rng(seed)
    weights = {"w": f(rng, 4, 6), "b": f(rng, 6), "v": f(rng, 6, size), "c": f(rng, size)}
    nodes: Nodes = [("Gemm", ["x", "w", "b"], "h", {}), ("Relu", ["h"], "r", {}), ("Gemm", ["r", "v", "c"], "z", {})]
    model = model_of([*nodes, (end or "Identity", ["z"], "y", {})], [1, 4], weights)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = size
    return model
