"""Joined models in ONNX Runtime against the models that they are made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from encoders.errors import InputError
from encoders.onnx_io.from_onnx import network_from_model
from encoders.onnx_io.joined import ASKED, GIVEN, JoinedPart, Slot, joined, tensor_types

FLOAT = np.dtype(np.float32)


def model(
    nodes: list[Any], given: dict[str, list[int]], asked: dict[str, list[int]], opset: int = 18, **weights: Any
) -> onnx.ModelProto:
    ends = [[helper.make_tensor_value_info(name, 1, shape) for name, shape in side.items()] for side in (given, asked)]
    constants = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", *ends, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def difference() -> onnx.ModelProto:
    nodes = [helper.make_node("Sub", ["a", "b"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    return model(nodes, {"a": [2, 2], "b": [2, 2]}, {"y": [2, 2]})


def product() -> onnx.ModelProto:
    return model([helper.make_node("MatMul", ["a", "w"], ["y"])], {"a": [3]}, {"y": [2]}, w=np.arange(6).reshape(3, 2))


def run(proto: onnx.ModelProto, names: list[str], given: dict[str, Any]) -> list[Any]:
    opened = onnx.ModelProto()
    opened.CopyFrom(proto)
    own = {value.name for value in proto.graph.output}
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in own)
    session = onnxruntime.InferenceSession(opened.SerializeToString())
    return session.run(names, given)


def test_it_gives_what_its_parts_give() -> None:
    square = (2, 2)
    first = JoinedPart(
        "f", difference(), (Slot("b", square), Slot("a", square)), (Slot("h", square), Slot("y", square))
    )
    parts = [first, JoinedPart("g", product(), (Slot("a", (3,)),), (Slot("y", (2,)),)), replace(first, name="h")]
    made = joined(parts, FLOAT)
    onnx.checker.check_model(made)
    x = np.random.default_rng(0).normal(size=19).astype(np.float32)
    (found,) = run(made, [ASKED], {GIVEN: x[np.newaxis]})
    expected, begin = [], 0
    for part in parts:
        given = {}
        for slot in part.given:
            given[slot.name] = x[begin : begin + slot.size].reshape(slot.shape)
            begin += slot.size
        expected += [value.reshape(-1) for value in run(part.model, [slot.name for slot in part.asked], given)]
    np.testing.assert_array_equal(found, np.concatenate(expected)[np.newaxis])
    graph = network_from_model(made).graph
    assert (graph.input_size, graph.output_size) == (19, 18)


def test_where_no_output_depends_on_an_input_the_first_input_stands_behind() -> None:
    nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Cast", ["s"], ["y"], to=1)]
    made = joined(
        [JoinedPart("f", model(nodes, {"x": [4]}, {"y": [1]}), (Slot("x", (4,)),), (Slot("y", (1,)),))], FLOAT
    )
    (found,) = run(made, [ASKED], {GIVEN: np.array([[7, 1, 2, 3]], np.float32)})
    np.testing.assert_array_equal(found, [[4, 7]])
    assert network_from_model(made).graph.output_size == 2


def test_nodes_in_any_order_show_that_an_output_depends_on_an_input() -> None:
    shuffled = difference()
    nodes = [*reversed(shuffled.graph.node)]
    del shuffled.graph.node[:]
    shuffled.graph.node.extend(nodes)
    slots = (Slot("a", (2, 2)), Slot("b", (2, 2))), (Slot("y", (2, 2)),)
    made = joined([JoinedPart("f", shuffled, *slots)], FLOAT)
    assert network_from_model(made).graph.output_size == 4


def test_versions_that_differ_are_refused_by_name() -> None:
    older = model([helper.make_node("Relu", ["x"], ["y"])], {"x": [1]}, {"y": [1]}, opset=14)
    slots = (Slot("x", (1,)),), (Slot("y", (1,)),)
    newer = model([helper.make_node("Relu", ["x"], ["y"])], {"x": [1]}, {"y": [1]})
    with pytest.raises(InputError, match=r"'f' has version 14 of the op set ai.onnx, 'g' 18"):
        joined([JoinedPart("f", older, *slots), JoinedPart("g", newer, *slots)], FLOAT)


def test_types_of_inner_tensors_are_inferred() -> None:
    found = tensor_types(difference())
    assert [dim.dim_value for dim in found["h"].shape.dim] == [2, 2]


def test_an_axis_of_size_minus_1_is_an_open_one() -> None:
    """Exporters write so for dynamic axes; ONNX's inference ends the process where such an axis is sliced."""
    nodes = [helper.make_node("Slice", ["x", "first", "last", "axis"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    sliced = model(nodes, {"x": [-1, 2]}, {"y": [-1, 2]})
    for name, value in {"first": 0, "last": 1, "axis": 0}.items():
        sliced.graph.initializer.append(numpy_helper.from_array(np.array([value]), name))
    found = tensor_types(sliced)
    assert found["h"].shape.dim[1].dim_value == 2
    assert sliced.graph.input[0].type.tensor_type.shape.dim[0].dim_value == -1
