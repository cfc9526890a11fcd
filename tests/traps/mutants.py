"""Models of several kinds, and random changes of their parts and bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NUMBERS = (0, 1, -1, 2, 3, 7, 255, -(2**31), 2**31, 2**40, 2**62, -(2**63))

FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 3e38, float("inf"), float("-inf"), float("nan"))

node = helper.make_node


def dense() -> onnx.ModelProto:
    nodes = [
        node("Flatten", ["x"], ["f"]),
        node("Gemm", ["f", "w", "b"], ["g"], transB=1, alpha=0.5),
        node("LeakyRelu", ["g"], ["l"], alpha=0.25),
        node("MatMul", ["l", "v"], ["m"]),
        node("Clip", ["m", "low", "high"], ["c"]),
        node("Softmax", ["c"], ["y"], axis=1),
    ]
    constants = {
        "w": np.ones((4, 6)),
        "b": np.arange(4.0),
        "v": np.arange(12.0).reshape(4, 3) - 5.0,
        "low": np.array(-1.0),
        "high": np.array(6.0),
    }
    return assembled(nodes, [1, 2, 3], [1, 3], constants)


def convolved() -> onnx.ModelProto:
    nodes = [
        node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1], strides=[1, 1]),
        node("BatchNormalization", ["c", "s", "s", "t", "s"], ["n"], epsilon=1e-3),
        node("Relu", ["n"], ["r"]),
        node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Pad", ["p", "pads"], ["q"]),
        node("Reshape", ["q", "shape"], ["f"]),
        node("Transpose", ["f"], ["u"], perm=[1, 0]),
        node("Transpose", ["u"], ["v"], perm=[1, 0]),
        node("MatMul", ["v", "w"], ["y"]),
    ]
    constants = {
        "k": np.ones((2, 1, 3, 3)),
        "s": np.ones(2),
        "t": np.zeros(2),
        "w": np.arange(36.0).reshape(18, 2),
        "pads": np.array([0, 0, 1, 0, 0, 0, 0, 1]),
        "shape": np.array([1, -1]),
    }
    return assembled(nodes, [1, 1, 4, 4], [1, 2], constants)


def woven() -> onnx.ModelProto:
    nodes = [
        node("Slice", ["x", "from", "to", "axis"], ["a"]),
        node("Gather", ["x", "places"], ["g"], axis=1),
        node("Concat", ["a", "g"], ["c"], axis=1),
        node("Split", ["c", "sizes"], ["p", "q"], axis=1),
        node("Max", ["p", "q"], ["m"]),
        node("Abs", ["p"], ["h"]),
        node("Sub", ["m", "h"], ["d"]),
        node("ReduceSum", ["d", "axis"], ["r"], keepdims=1),
        node("Expand", ["r", "wide"], ["e"]),
        node("Add", ["e", "d"], ["y"]),
    ]
    constants = {
        "from": np.array([1]),
        "to": np.array([3]),
        "axis": np.array([1]),
        "places": np.array([0, 3]),
        "sizes": np.array([2, 2]),
        "wide": np.array([1, 2]),
    }
    return assembled(nodes, [1, 4], [1, 2], constants)


def folded() -> onnx.ModelProto:
    """Shapes and weights that the file computes from constants."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "first"], ["n"]),
        node("Concat", ["n", "rest"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["f"]),
        node("Transpose", ["k"], ["t"], perm=[1, 0]),
        node("Softmax", ["t"], ["q"], axis=1),
        node("Range", ["zero", "six", "one"], ["r"]),
        node("ConstantOfShape", ["six1"], ["o"]),
        node("Tile", ["o", "two"], ["d"]),
        node("Expand", ["half", "six3"], ["e"]),
        node("Sub", ["q", "e"], ["w"]),
        node("MatMul", ["f", "w"], ["m"]),
        node("ReduceSum", ["d", "axis"], ["b"], keepdims=0),
        node("Add", ["m", "b"], ["y"]),
    ]
    constants = {
        "first": np.array([0]),
        "rest": np.array([-1]),
        "k": np.arange(18.0).reshape(3, 6) / 7.0,
        "zero": np.array(0),
        "six": np.array(6),
        "one": np.array(1),
        "six1": np.array([2, 3]),
        "two": np.array([2, 1]),
        "half": np.array(0.5),
        "six3": np.array([6, 3]),
        "axis": np.array([0]),
    }
    return assembled(nodes, [1, 2, 3], [1, 3], constants)


def assembled(nodes: list[Any], shape: list[int], out: list[int], constants: dict[str, Any]) -> onnx.ModelProto:
    """A model of opset 13; whole numbers are int64, others float32."""
    stored = [
        numpy_helper.from_array(value.astype(np.int64 if value.dtype.kind == "i" else np.float32), name)
        for name, value in constants.items()
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in (("x", shape), ("y", out))]
    graph = helper.make_graph(nodes, "fuzzed", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


MODELS = {"dense": dense, "convolved": convolved, "woven": woven, "folded": folded}


class Mutation:
    """Changes of a model's parts; each picks its place at random."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def pick(self, values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def tensor(self, model: onnx.ModelProto) -> onnx.TensorProto:
        return self.pick(model.graph.initializer)

    def names(self, model: onnx.ModelProto) -> list[str]:
        given = [name for part in model.graph.node for name in part.output]
        return ["", "x", "nothing", *given, *(tensor.name for tensor in model.graph.initializer)]

    def operator(self, model: onnx.ModelProto) -> None:
        """Another operator at the same place."""
        known = ["Relu", "Gemm", "Conv", "Add", "Mul", "Sigmoid", "Reshape", "MaxPool", "Split", "Concat", "Cast", "If"]
        self.pick(model.graph.node).op_type = self.pick([*known, "", "Tile", "DepthToSpace", "ReduceMax", "Identity"])

    def edge(self, model: onnx.ModelProto) -> None:
        """An input or output of a node gets another name, or is left out, or one is added."""
        part = self.pick(model.graph.node)
        side = part.input if self.rng.random() < 0.7 else part.output
        match int(self.rng.integers(3)):
            case 0 if side:
                side[int(self.rng.integers(len(side)))] = self.pick(self.names(model))
            case 1 if side:
                del side[int(self.rng.integers(len(side)))]
            case _:
                side.append(self.pick(self.names(model)))

    def order(self, model: onnx.ModelProto) -> None:
        """A node is left out or is there twice."""
        place = int(self.rng.integers(len(model.graph.node)))
        if self.rng.random() < 0.5:
            del model.graph.node[place]
        else:
            model.graph.node.append(model.graph.node[place])

    def attribute(self, model: onnx.ModelProto) -> None:
        """Another value, another kind, another name, or an attribute more."""
        part = self.pick(model.graph.node)
        name = self.pick(
            [*(entry.name for entry in part.attribute), "axis", "perm", "pads", "to", "group", "dilations"]
        )
        kept = [entry for entry in part.attribute if entry.name != name]
        several = [int(self.pick(NUMBERS)) for _ in range(int(self.rng.integers(0, 5)))]
        value = self.pick([int(self.pick(NUMBERS)), float(self.pick(FLOATS)), several, "text"])
        made = onnx.AttributeProto(name=name, type=onnx.AttributeProto.INTS)
        if value == []:
            made.ints[:] = []
        else:
            made = helper.make_attribute(name, value)
        if self.rng.random() < 0.1:
            made.type = int(self.rng.integers(0, 15))
        del part.attribute[:]
        part.attribute.extend([*kept, made])

    def size(self, model: onnx.ModelProto) -> None:
        """A weight's shape and its data no longer fit, or a weight is reshaped."""
        tensor = self.tensor(model)
        if tensor.dims and self.rng.random() < 0.7:
            tensor.dims[int(self.rng.integers(len(tensor.dims)))] = self.pick(NUMBERS)
        else:
            tensor.dims.append(self.pick(NUMBERS))

    def kind(self, model: onnx.ModelProto) -> None:
        self.tensor(model).data_type = int(self.rng.integers(0, 24))

    def entry(self, model: onnx.ModelProto) -> None:
        """One number of a weight."""
        tensor = self.tensor(model)
        whole = tensor.data_type == TensorProto.INT64
        width, form = (8, "<q") if whole else (4, "<f")
        raw = bytearray(tensor.raw_data)
        if len(raw) >= width:
            place = width * int(self.rng.integers(len(raw) // width))
            raw[place : place + width] = struct.pack(form, self.pick(NUMBERS if whole else FLOATS))
            tensor.raw_data = bytes(raw)

    def length(self, model: onnx.ModelProto) -> None:
        """A weight's data are cut or longer than they should be."""
        tensor = self.tensor(model)
        raw = tensor.raw_data
        tensor.raw_data = raw[: int(self.rng.integers(len(raw) + 1))] if self.rng.random() < 0.7 else raw + b"\0" * 5

    def end(self, model: onnx.ModelProto) -> None:
        """The input's or output's shape, type or name."""
        value = self.pick([model.graph.input[0], model.graph.output[0]])
        match int(self.rng.integers(4)):
            case 0:
                value.name = self.pick(self.names(model))
            case 1:
                value.type.tensor_type.elem_type = int(self.rng.integers(0, 24))
            case 2:
                value.type.tensor_type.shape.dim.add().dim_value = self.pick(NUMBERS)
            case _:
                self.pick(value.type.tensor_type.shape.dim).dim_value = self.pick(NUMBERS)

    def version(self, model: onnx.ModelProto) -> None:
        model.opset_import[0].version = int(self.pick([0, 6, 7, 9, 11, 12, 14, 17, 21, 99, 2**40]))

    def mutate(self, model: onnx.ModelProto) -> None:
        changes: list[Callable[[onnx.ModelProto], None]] = [
            *(self.operator, self.edge, self.edge, self.order, self.attribute, self.attribute),
            *(self.size, self.kind, self.entry, self.length, self.end, self.version),
        ]
        for _ in range(int(self.rng.integers(1, 3))):
            if model.graph.node and model.graph.initializer:
                self.pick(changes)(model)
