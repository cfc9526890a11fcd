"""Several ONNX models → one: a flat input that holds all their inputs, a flat output that holds what is asked of them.

Inputs are cut out of the flat one by Gather and Reshape, outputs put side by side by Reshape and Concat, so that
nothing is computed beside what the models compute. A tensor inside a model may be asked for like an output.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from encoders.errors import InputError

GIVEN, ASKED = "all_inputs", "all_outputs"
"""What the joined model calls its input and output."""


@dataclass(frozen=True)
class Slot:
    """A tensor of a model by its name, with the shape that it is given or asked in. cast: is it of another type?"""

    name: str
    shape: tuple[int, ...]
    cast: bool = False

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class JoinedPart:
    """A model, called `name`: its inputs, and which of its tensors are asked for. No two of a joined model are called
    the same, and tensors and nodes are called name/… in it."""

    name: str
    model: onnx.ModelProto
    given: tuple[Slot, ...]
    asked: tuple[Slot, ...]


def joined(parts: Sequence[JoinedPart], dtype: np.dtype[Any]) -> onnx.ModelProto:
    """One model of the parts, side by side: [1, Σ inputs] → [1, Σ asked], all inputs and outputs of one dtype.

    Where none of these depends on an input, the first input stands behind them. Raises InputError where the models'
    versions of the op set differ, or several have functions of their own.
    """
    joint = _Joint(parts, dtype)
    for part in parts:
        joint.add(part, f"{part.name}/")
    return joint.model()


class _Joint:
    def __init__(self, parts: Sequence[JoinedPart], dtype: np.dtype[Any]) -> None:
        self._type = helper.np_dtype_to_tensor_dtype(dtype)
        self._size = sum(slot.size for part in parts for slot in part.given)
        self._opsets = _opsets(parts)
        self._functions = _functions(parts)
        self._ir = max(part.model.ir_version for part in parts)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._begin = 0
        self._asked: list[tuple[str, int]] = []

    def add(self, part: JoinedPart, prefix: str) -> None:
        """Its nodes and weights under names that begin with the prefix, its inputs cut out of the flat one."""
        for slot in part.given:
            self._cut(slot, prefix)
        graph = part.model.graph
        for tensor in graph.initializer:
            self._weights.append(_copied(tensor, name=prefix + tensor.name))
        for sparse in graph.sparse_initializer:
            raise InputError(
                f"network '{part.name}': its sparse weight '{sparse.values.name}' cannot be joined; export it dense"
            )
        for node in graph.node:
            renamed = _copied(node, name=prefix + node.name if node.name else "")
            for names in (renamed.input, renamed.output):
                names[:] = [prefix + name if name else "" for name in names]
            self._nodes.append(renamed)
        for slot in part.asked:
            name = prefix + slot.name
            if slot.cast:
                name = self._node("Cast", [name], f"asked/{len(self._asked)}/cast", to=self._type)
            self._asked.append((name, slot.size))

    def _cut(self, slot: Slot, prefix: str) -> None:
        source, name = GIVEN, prefix + slot.name
        if slot.size < self._size:
            places = np.arange(self._begin, self._begin + slot.size, dtype=np.int64)
            source = self._node("Gather", [GIVEN, self._weight(places, f"{name}/places")], f"{name}/flat", axis=1)
        shape = self._weight(np.array(slot.shape, dtype=np.int64), f"{name}/shape")
        self._node("Reshape", [source, shape], name)
        self._begin += slot.size

    def model(self) -> onnx.ModelProto:
        """The whole."""
        if not varying(self._nodes, [GIVEN]).intersection(name for name, _ in self._asked):
            self._asked.append((self._first_input(), 1))
        flat, sizes = [], [size for _, size in self._asked]
        for place, (name, size) in enumerate(self._asked):
            shape = self._weight(np.array([1, size], dtype=np.int64), f"asked/{place}/shape")
            flat.append(self._node("Reshape", [name, shape], f"asked/{place}"))
        self._node("Concat", flat, ASKED, axis=1)
        given = helper.make_tensor_value_info(GIVEN, self._type, [1, self._size])
        asked = helper.make_tensor_value_info(ASKED, self._type, [1, sum(sizes)])
        graph = helper.make_graph(self._nodes, "joined", [given], [asked], self._weights)
        model = helper.make_model(graph, functions=self._functions, ir_version=self._ir)
        del model.opset_import[:]
        model.opset_import.extend(helper.make_opsetid(domain, number) for domain, number in self._opsets.items())
        return model

    def _first_input(self) -> str:
        return self._node("Gather", [GIVEN, self._weight(np.zeros(1, dtype=np.int64), "first/place")], "first", axis=1)

    def _node(self, kind: str, sources: Sequence[str], name: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, list(sources), [name], **attributes))
        return name

    def _weight(self, values: np.ndarray[Any, Any], name: str) -> str:
        self._weights.append(numpy_helper.from_array(values, name))
        return name


def _copied(message: Any, name: str) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    copy.name = name
    return copy


def _opsets(parts: Sequence[JoinedPart]) -> dict[str, int]:
    found: dict[str, tuple[int, str]] = {}
    for part in parts:
        for entry in part.model.opset_import:
            domain = "" if entry.domain == "ai.onnx" else entry.domain
            number, other = found.setdefault(domain, (entry.version, part.name))
            if number != entry.version:
                known = domain or "ai.onnx"
                raise InputError(
                    f"'{other}' has version {number} of the op set {known}, '{part.name}' {entry.version}: "
                    "networks of one query need the same; onnx.version_converter converts models"
                )
    return {domain: number for domain, (number, _) in found.items()}


def _functions(parts: Sequence[JoinedPart]) -> list[onnx.FunctionProto]:
    with_some = [part for part in parts if part.model.functions]
    if len({part.name for part in with_some}) > 1:
        raise InputError(f"'{with_some[0].name}' and '{with_some[1].name}' have functions of their own: inline them")
    return list(with_some[0].model.functions) if with_some else []


def varying(nodes: Iterable[onnx.NodeProto], given: Iterable[str]) -> set[str]:
    """The tensors that depend on the values of some: a Shape or Size does not. Nodes stand in any order."""
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in nodes:
        if node.op_type not in ("Shape", "Size"):
            for name in node.input:
                readers[name].append(node)
    reached, waiting = set(given), list(given)
    while waiting:
        for node in readers.pop(waiting.pop(), ()):
            found = {name for name in node.output if name} - reached
            reached |= found
            waiting += found
    return reached


def tensor_types(model: onnx.ModelProto) -> dict[str, onnx.TypeProto.Tensor]:
    """Element type and shape of the tensors that the file tells of, or that ONNX infers."""
    model = _with_open_axes(model)
    # Where it fails only what the file says is known.
    with suppress(onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        model = onnx.shape_inference.infer_shapes(model)
    graph = model.graph
    return {
        value.name: value.type.tensor_type
        for value in (*graph.value_info, *graph.input, *graph.output)
        if value.type.HasField("tensor_type")
    }


def _with_open_axes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without sizes below 0, as some exporters write dynamic axes: inference aborts where one is sliced."""
    if not any(size.dim_value < 0 for size in _sizes(model.graph)):
        return model
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    for size in _sizes(opened.graph):
        if size.dim_value < 0:
            size.ClearField("dim_value")
    return opened


def _sizes(graph: onnx.GraphProto) -> Iterator[onnx.TensorShapeProto.Dimension]:
    for value in (*graph.value_info, *graph.input, *graph.output):
        yield from value.type.tensor_type.shape.dim
