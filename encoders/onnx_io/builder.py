"""Collects ONNX nodes and constants by name: the counterpart of `graph.GraphBuilder` for ONNX models."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper, numpy_helper

from encoders.onnx_io.runtime import IR_VERSION
from encoders.onnx_io.weights import LARGE, OnnxModel, Weight, placeholder

OPSET = 17
BATCH = "batch"  # the name of the dynamic first axis


class OnnxBuilder:
    """Each method appends to one ONNX graph (float32 unless said otherwise) and returns the new tensor's name."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._initializers: list[TensorProto] = []
        self._weights: dict[str, Weight] = {}
        self._inputs: list[Any] = []
        self._count = 0

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"

    def input(self, name: str, shape: Sequence[int | str]) -> str:
        """A float32 input of the model; a string stands for a dynamic axis."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))
        return name

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """A constant tensor; equal constants are stored once."""
        array = np.ascontiguousarray(values, dtype=dtype).reshape(np.shape(values))
        large = array.nbytes >= LARGE
        key = (array.dtype.str, array.shape, hashlib.sha256(array.data).digest() if large else array.tobytes())
        if key not in self._constants:
            name = self._constants[key] = self._name("constant")
            self._initializers.append(placeholder(name, array) if large else numpy_helper.from_array(array, name))
            if large:
                self._weights[name] = array
        return self._constants[key]

    def integers(self, values: npt.ArrayLike) -> str:
        """A constant tensor of int64, as shapes and indices need it."""
        return self.constant(values, np.int64)

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The single output of a new node of operator `kind`."""
        result = self._name(kind)
        self._nodes.append(helper.make_node(kind, list(inputs), [result], **attributes))
        return result

    def reshape(self, tensor: str, shape: Sequence[int]) -> str:
        """`tensor` with the axes after the batch replaced by `shape`."""
        return self.op("Reshape", tensor, self.integers([-1, *shape]))

    def row_sum(self, tensor: str) -> str:
        """Σ over axis 1, kept as an axis of length 1."""
        return self.op("ReduceSum", tensor, self.integers([1]), keepdims=1)

    def row_max(self, tensor: str) -> str:
        """The maximum over axis 1, kept as an axis of length 1."""
        return self.op("ReduceMax", tensor, axes=[1], keepdims=1)

    def row_min(self, tensor: str) -> str:
        """The minimum over axis 1, kept as an axis of length 1."""
        return self.op("ReduceMin", tensor, axes=[1], keepdims=1)

    def largest(self, tensor: str, count: int) -> tuple[str, str]:
        """The `count` largest entries of each row, in falling order, and their places: both (batch, count)."""
        values, places = self._name("TopK"), self._name("TopK")
        self._nodes.append(helper.make_node("TopK", [tensor, self.integers([count])], [values, places], axis=1))
        return values, places

    def mask(self, condition: str) -> str:
        """1.0 where `condition` holds, else 0.0."""
        return self.op("Cast", condition, to=TensorProto.FLOAT)

    def model(self, outputs: Mapping[str, tuple[str, Sequence[int | str]]]) -> OnnxModel:
        """The model whose output `name` is the tensor outputs[name][0], of float32 and shape outputs[name][1].

        A computed tensor takes the output's name, which spares a copy; an input, a constant or a tensor that is an
        output twice goes through Identity.
        """
        computed = {name for node in self._nodes for name in node.output}
        renamed: dict[str, str] = {}
        copies, infos = [], []
        for name, (tensor, shape) in outputs.items():
            infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))
            if tensor in computed and tensor not in renamed:
                renamed[tensor] = name
            else:
                copies.append(helper.make_node("Identity", [renamed.get(tensor, tensor)], [name]))
        nodes = [_with_names(node, renamed) for node in self._nodes] + copies
        graph = helper.make_graph(nodes, "graph", self._inputs, infos, self._initializers)
        opsets = [helper.make_opsetid("", OPSET)]
        proto = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="relu-verifier")
        return OnnxModel(proto, self._weights)


def _with_names(node: NodeProto, renamed: Mapping[str, str]) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    for names in (copy.input, copy.output):
        for place, name in enumerate(names):
            names[place] = renamed.get(name, name)
    return copy
