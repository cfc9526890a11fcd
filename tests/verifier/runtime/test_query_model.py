"""The files of a query as one model: its values against sessions of our own on the files, and what does not fit."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import verifier
from encoders.errors import InputError
from encoders.network.exact import exact_outputs
from verifier import Halfspaces
from verifier.problem.budget import Budget
from verifier.problem.properties.formula import And, Property
from verifier.problem.properties.network_query import DeclaredNetwork, DeclaredTensor, NetworkQuery, TensorKind
from verifier.runtime.model import load
from verifier.runtime.query_model import query_model

BUDGET = Budget(math.inf)
KINDS = {"x": TensorKind.INPUT, "h": TensorKind.HIDDEN, "y": TensorKind.OUTPUT}


def tensors(dtype: str, counts: dict[str, int], *of: tuple[str, tuple[int, ...], str]) -> tuple[DeclaredTensor, ...]:
    """(name, shape, name in the file): the first letter of the name says of what kind it is."""
    found = []
    for name, shape, node in of:
        side = "x" if name[0] == "x" else "y"
        found.append(DeclaredTensor(name, KINDS[name[0]], dtype, shape, node, counts[side]))
        counts[side] += found[-1].size
    return tuple(found)


def asked(*networks: DeclaredNetwork, counts: dict[str, int]) -> NetworkQuery:
    return NetworkQuery(networks, Property(counts["x"], counts["y"], And(()), "q"))


def one(*of: tuple[str, tuple[int, ...], str], dtype: str = "float32") -> NetworkQuery:
    counts = {"x": 0, "y": 0}
    return asked(DeclaredNetwork("N", tensors(dtype, counts, *of)), counts=counts)


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """h = a − b, y = ReLU(h)·w, z = Σ h: two inputs, two outputs, several shapes."""
    nodes = [
        helper.make_node("Sub", ["a", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
        helper.make_node("ReduceSum", ["h"], ["z"], keepdims=0),
    ]
    w = numpy_helper.from_array(np.array([[1, -2], [0.5, 3], [1, 1]], np.float32), "w")
    given = [helper.make_tensor_value_info(name, 1, ["n", 3]) for name in "ab"]
    ends = [helper.make_tensor_value_info("y", 1, ["n", 2]), helper.make_tensor_value_info("z", 1, [])]
    graph = helper.make_graph(nodes, "g", given, ends, [w])
    path = tmp_path / "pair.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


ALL = (("xa", (1, 3), ""), ("xb", (1, 3), ""), ("hh", (1, 3), "h"), ("y", (1, 2), ""), ("yz", (), ""))


def test_it_gives_what_the_file_gives(pair: Path) -> None:
    found = query_model(one(*ALL), {"N": pair}, BUDGET)
    assert (found.prop.inputs, found.prop.outputs, found.model.outputs) == (6, 6, 6)
    session = onnxruntime.InferenceSession(str(pair))
    for seed in range(5):
        x = np.random.default_rng(seed).normal(size=6).astype(np.float32)
        y, z = session.run(None, {"a": x[np.newaxis, :3], "b": x[np.newaxis, 3:]})
        expected = np.concatenate([x[:3] - x[3:], y.reshape(-1), z.reshape(-1)])
        np.testing.assert_array_equal(found.model.replay.scores(x)[0], expected)
        exact = exact_outputs(found.model.network.graph, x.astype(float))
        assert exact[:3] == [Fraction(float(a)) - Fraction(float(b)) for a, b in zip(x[:3], x[3:], strict=True)]


def test_tensors_may_be_named_in_another_order(pair: Path) -> None:
    swapped = (("xb", (1, 3), "b"), ("xa", (1, 3), "a"), ("yz", (), "z"), ("y", (1, 2), "y"))
    found = query_model(one(*swapped), {"N": pair}, BUDGET)
    x = np.array([1, 2, 3, 4, 6, 8], np.float32)  # b, then a
    assert found.model.replay.scores(x)[0].tolist()[0] == 12.0


def test_several_networks_stand_side_by_side(truth: Any, save_net: Callable[..., Any]) -> None:
    nets = [save_net(truth.net(seed, (2, 3, 2))) for seed in (1, 2)]
    counts = {"x": 0, "y": 0}
    networks = (
        DeclaredNetwork("f", tensors("float32", counts, ("xf", (1, 2), ""), ("yf", (1, 2), ""))),
        DeclaredNetwork("g", tensors("float32", counts, ("xg", (1, 2), ""), ("yg", (1, 2), "")), equal_to="f"),
        DeclaredNetwork("s", tensors("float32", counts, ("xs", (1, 2), ""), ("ys", (1, 2), "")), isomorphic_to="f"),
    )
    query = asked(*networks, counts=counts)
    found = query_model(query, {"f": nets[0].path, "s": nets[1].path}, BUDGET)
    x = np.random.default_rng(3).normal(size=6).astype(np.float32)
    each = [net.replay.scores(part)[0] for net, part in zip((nets[0], nets[0], nets[1]), x.reshape(3, 2), strict=True)]
    np.testing.assert_array_equal(found.model.replay.scores(x)[0], np.concatenate(each))
    with pytest.raises(InputError, match=r"--network g=.* is not needed: 'g' runs the file of 'f'"):
        query_model(query, {"f": nets[0].path, "g": nets[0].path, "s": nets[1].path}, BUDGET)
    with pytest.raises(InputError, match=r"network 's' has no file: give --network s=FILE.onnx"):
        query_model(query, {"f": nets[0].path}, BUDGET)
    with pytest.raises(InputError, match="'q' is no network of it; those are f, s"):
        query_model(query, {"f": nets[0].path, "q": nets[0].path}, BUDGET)
    deeper = save_net(truth.net(5, (2, 3, 3, 2)))
    with pytest.raises(
        InputError, match="'s' is declared isomorphic to 'f', and their files differ in operators: Gemm"
    ):
        query_model(query, {"f": nets[0].path, "s": deeper.path}, BUDGET)


def test_one_plain_network_is_its_file(truth: Any, save_net: Callable[..., Any]) -> None:
    net = save_net(truth.net(1, (2, 3, 2)))
    found = query_model(one(("x", (1, 2), ""), ("y", (1, 2), "")), {"N": net.path}, BUDGET)
    assert found.model.path == net.path


@pytest.mark.parametrize(
    ("of", "dtype", "told"),
    [
        (ALL[1:], "float32", "declares 1 inputs, and its file has 2 \\('a', 'b'\\)"),
        ((("xa", (1, 3), "a"), *ALL[1:]), "float32", "its inputs are called a, those of its file a, b"),
        ((("xa", (1, 4), ""), *ALL[1:]), "float32", "'xa' as float32 \\[1, 4\\], and 'a' of its file has shape \\?x3"),
        ((*ALL[:2], ("hh", (3, 1), "h"), *ALL[3:]), "float32", "'hh' as float32 \\[3, 1\\], and 'h' of its file"),
        ((*ALL[:2], ("hh", (1, 3), "q"), *ALL[3:]), "float32", "no node of its file gives 'q', declared as 'hh'"),
        (ALL, "float64", "nothing can be proved about 'xa' in float64; float32 can be"),
    ],
)
def test_what_does_not_fit_is_told(pair: Path, of: Any, dtype: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        query_model(one(*of, dtype=dtype), {"N": pair}, BUDGET)


def test_real_queries_go_with_any_float_and_float32_with_its_own(truth: Any, save_net: Callable[..., Any]) -> None:
    net = save_net(truth.net(1, (2, 3, 2)), np.float64)
    of = (("x", (1, 2), ""), ("y", (1, 2), ""))
    assert query_model(one(*of, dtype="real"), {"N": net.path}, BUDGET).model.dtype == np.float64
    with pytest.raises(InputError, match="'x' as float32 \\[1, 2\\], and 'x' of its file is float64"):
        query_model(one(*of), {"N": net.path}, BUDGET)
    counts = {"x": 0, "y": 0}
    mixed = tensors("real", counts, of[0]) + tensors("float32", counts, of[1])
    with pytest.raises(InputError, match="it mixes real with float32"):
        query_model(asked(DeclaredNetwork("N", mixed), counts=counts), {"N": net.path}, BUDGET)


def test_integers_are_read_where_they_depend_on_no_input(tmp_path: Path) -> None:
    of = (("x", (2, 3), ""), ("y", (2,), ""))
    for kind, to in (("Shape", {}), ("Cast", {"to": onnx.TensorProto.INT64})):
        shape = [2] if kind == "Shape" else [2, 3]
        ends = [helper.make_tensor_value_info("x", 1, [2, 3]), helper.make_tensor_value_info("y", 7, shape)]
        graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"], **to)], "g", ends[:1], ends[1:])
        path = tmp_path / f"{kind}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    counts = {"x": 0, "y": 0}
    declared = tensors("float32", counts, of[0]) + tensors("int64", counts, of[1])
    found = query_model(asked(DeclaredNetwork("N", declared), counts=counts), {"N": tmp_path / "Shape.onnx"}, BUDGET)
    # Behind what depends on no input stands the first input.
    assert (found.model.outputs, found.prop.outputs) == (3, 3)
    assert found.model.replay.scores(np.arange(6, dtype=np.float32) + 5)[0].tolist() == [2, 3, 5]
    counts = {"x": 0, "y": 0}
    declared = tensors("float32", counts, of[0]) + tensors("int64", counts, ("y", (2, 3), ""))
    with pytest.raises(InputError, match="'y' of its file holds integers that depend on inputs"):
        query_model(asked(DeclaredNetwork("N", declared), counts=counts), {"N": tmp_path / "Cast.onnx"}, BUDGET)


def test_all_inputs_and_outputs_of_a_file_are_one(pair: Path) -> None:
    found = load(pair, output="*")
    assert (found.graph.input_size, found.outputs, found.dtype) == (6, 3, np.float32)
    session = onnxruntime.InferenceSession(str(pair))
    x = np.random.default_rng(4).normal(size=6).astype(np.float32)
    y, z = session.run(None, {"a": x[np.newaxis, :3], "b": x[np.newaxis, 3:]})
    np.testing.assert_array_equal(found.replay.scores(x)[0], np.concatenate([y.reshape(-1), z.reshape(-1)]))
    far = Halfspaces([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], [-2.9, -2.0])  # z = sum of a - b, three entries in [-1, 1]
    assert isinstance(verifier.check(found, region=(0.0, 1.0), property=far).verdict, verifier.Violated)
    never = Halfspaces([[0.0, 0.0, 1.0]], [-3.01])
    answer = verifier.check(found, region=(0.0, 1.0), property=never)
    assert isinstance(answer.verdict, verifier.Holds)
    ranges = verifier.output_ranges(found, (0.0, 1.0))
    assert -4 < ranges.ranges[2].lower <= -3 < 3 <= ranges.ranges[2].upper < 4
    # What was asked is told by the file's own bytes, not by those of the model that joins its tensors.
    digest = hashlib.sha256(pair.read_bytes()).hexdigest()
    assert [one.about.model_sha256 for one in (answer, ranges) if one.about] == [digest] * 2


def test_a_file_with_one_input_and_scores_is_read_as_ever(truth: Any, save_net: Callable[..., Any]) -> None:
    net = save_net(truth.net(1, (2, 3, 2)))
    assert load(net.path, output="*").path == net.path


def test_what_cannot_stand_side_by_side_is_told(tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, kind, [1, 2]) for name, kind in (("a", 1), ("b", 11))]
    nodes = [helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Relu", ["b"], ["z"])]
    gives = [helper.make_tensor_value_info(name, kind, [1, 2]) for name, kind in (("y", 1), ("z", 11))]
    path = tmp_path / "mixed.onnx"
    graph = helper.make_graph(nodes, "g", ends, gives)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    with pytest.raises(InputError, match="have several types: 'a' float32, 'b' float64"):
        load(path, output="*")
