"""The checker's own ONNX reader: the same function as the engine reads, and a refusal of what it does not know."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from encoders.exact import exact_outputs
from encoders.to_stages import to_stages
from verifier.certifying import certified
from verifier.model import Model, load
from verifier.proof import checker
from verifier.questions import ask
from verifier.verdict import Budget

Nodes = list[tuple[str, list[str], str, dict[str, Any]]]


def saved(folder: Path, nodes: Nodes, shape: list[int], weights: dict[str, Any], opset: int = 13) -> Model:
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    made = [helper.make_node(op, inputs, [out], **attributes) for op, inputs, out, attributes in nodes]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, shape),
        helper.make_tensor_value_info(nodes[-1][2], TensorProto.FLOAT, [1, 3]),
    ]
    graph = helper.make_graph(made, "net", ends[:1], ends[1:], constants)
    path = folder / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return load(path)


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
    nodes: Nodes = [
        ("Reshape", ["x", "shape"], "v", {}),
        ("MatMul", ["v", "w"], "a", {}),
        ("Mul", ["v", "half"], "b", {}),
        ("Neg", ["b"], "n", {}),
        ("Max", ["a", "b", "n"], "m", {}),
        ("Identity", ["m"], "last", {}),
    ]
    return nodes, {"shape": np.array([0, -1]), "w": f(rng, 72, 72), "half": np.float32(0.5)}, 72


NETS: dict[str, Callable[..., tuple[Nodes, dict[str, Any], int]]] = {
    found.__name__: found for found in (conv, groups, batch_norm, pools, max_pool, residual, maxima)
}


@pytest.fixture(params=NETS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Model:
    rng = np.random.default_rng(3)
    nodes, weights, size = NETS[request.param](rng)
    more, last = head(rng, size)
    return saved(tmp_path, [*nodes, *more], [1, 2, 6, 6], {**weights, **last})


def test_the_checker_reads_the_same_function_as_the_engine(model):
    net = checker.read_network(model.path.read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(3):
        x = rng.normal(size=72).astype(np.float32).astype(float)
        values, den = net.forward(*checker.exact(x.tolist()))
        assert [Fraction(int(value), den) for value in values] == exact_outputs(model.network.graph, x)


def test_the_layers_are_the_stages_of_the_engine(model):
    net = checker.read_network(model.path.read_bytes())
    assert [size for _, size in net.layers] == [stage.size for stage in to_stages(model.graph).hidden]


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_small_radii_of_every_kind_of_net_are_certified(model, norm):
    x = np.random.default_rng(5).random(72).astype(np.float32)
    question = ask(model, x, norm=norm, target=None, label=None, box=(0.0, 1.0), margin=0.0)
    radius = 0.001 if norm == "linf" else 0.01
    assert certified(question, radius, None, Budget()).result.lower == radius


@pytest.mark.parametrize(
    ("op", "reason"),
    [("Sigmoid", "Sigmoid"), ("Abs", "Abs"), ("Softplus", "Softplus")],
)
def test_unknown_operators_are_refused_by_name(tmp_path, op, reason):
    rng = np.random.default_rng(0)
    more, last = head(rng, 72)
    nodes = [helper.make_node(op, ["x"], ["last"])]
    nodes += [helper.make_node(name, inputs, [out], **attributes) for name, inputs, out, attributes in more]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in last.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 72]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()
    with pytest.raises(checker.InvalidError, match=reason):
        checker.read_network(content)


def test_every_operator_is_tried():
    rng = np.random.default_rng(0)
    tried = {op for made in NETS.values() for op, *_ in made(rng)[0]} | {"Flatten", "Gemm", "Relu"}
    assert set(checker.OPERATORS) == tried
