"""Nodes whose value is computed on reading: those with constant inputs, and movements of a variable's entry numbers.

ONNX Runtime computes them, one node at a time, because its value is the one that the file's user gets; no other
evaluator agrees with it on every op of every opset. What moves nothing but the numbers in the file is done here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from encoders.errors import InputError
from encoders.onnx_io.ops.call import FLOATS, Call, Constant, Variable
from encoders.onnx_io.ops.foldable import FOLDABLE, GROWTH, NOT_FOLDED, STORE, complaint
from encoders.onnx_io.ops.room import MAX_ENTRIES, Allowance, TooLargeError
from encoders.onnx_io.runtime import FATAL, IR_VERSION, runtime, runtime_complaint

FEW = 1024
"""Inputs of so few entries are weights of the node's model: ONNX Runtime infers sizes from shapes, axes and scales."""

BITS = (8, 16, 32, 64)
NUMBERS = "biuf"
"""numpy's kinds of dtype that can be read: bool, int, unsigned, float."""

NUMERIC_TYPES = frozenset(
    f"tensor({name})"
    for name in ("bool", "float16", "float", "double", *(f"{sign}int{bits}" for sign in ("", "u") for bits in BITS))
)
"""ONNX Runtime's names of the same."""


def evaluate_node(call: Call, inputs: Sequence[Constant | None], room: Allowance) -> list[Constant]:
    """The node's outputs for these inputs, in the node's opset; raises InputError where they cannot be had.

    They take room: what is too large for it is refused before it is computed.
    """
    if call.op in OWN:
        return OWN[call.op](call, inputs)
    if call.op not in FOLDABLE:
        raise call.error(f"{NOT_FOLDED.get(call.op, 'this op cannot be computed from constants')}; {STORE}")
    for name, value in zip(call.proto.input, inputs, strict=True):
        if value is not None and value.dtype.kind not in NUMBERS:
            raise call.error(f"'{name}' is {value.dtype}; only numbers can be read")
    fault = complaint(call, inputs)
    if fault is not None:
        raise call.error(f"cannot be evaluated: {fault}")
    given = {name: value for name, value in zip(call.proto.input, inputs, strict=True) if name and value is not None}
    try:
        return _run(call, inputs, given, room)
    except (InputError, TooLargeError):
        raise
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise call.error(f"cannot be evaluated: {runtime_complaint(error)}") from error


def _run(
    call: Call, inputs: Sequence[Constant | None], given: Mapping[str, Constant], room: Allowance
) -> list[Constant]:
    names = [name for name in call.proto.output if name]
    fed = {name: np.ascontiguousarray(value) for name, value in given.items() if value.size > FEW}
    graph = helper.make_graph(
        [call.proto],
        "one node",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in fed.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in names],
        [numpy_helper.from_array(value, name) for name, value in given.items() if name not in fed],
    )
    session = _session(helper.make_model(graph, opset_imports=[helper.make_opsetid("", call.opset)]))
    for value in session.get_outputs():
        if value.type not in NUMERIC_TYPES:
            raise call.error(f"gives '{value.name}', a {value.type}; only tensors of numbers can be read")
    _take_room(call, inputs, [value.shape for value in session.get_outputs()], room)
    results = dict(zip(names, session.run(names, fed), strict=True))
    return [results[name] if name else np.zeros(0) for name in call.proto.output]


def _session(model: onnx.ModelProto) -> Any:
    """A session that runs the node as it stands, in one thread, and keeps no memory."""
    model.ir_version = IR_VERSION
    onnxruntime = runtime()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = FATAL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _take_room(call: Call, inputs: Sequence[Constant | None], shapes: Sequence[Sequence[Any]], room: Allowance) -> None:
    """Raise before anything is computed of a size that is unknown or too large."""
    total = 0
    for shape in shapes:
        if all(isinstance(size, int) for size in shape):
            total += math.prod(shape)
        elif call.op in GROWTH:
            total += math.prod(GROWTH[call.op](call, inputs))
        else:
            raise call.error(f"the size of its result is not known before it is computed; {STORE}")
    # What a large file stores may be moved as it is.
    if total > max(MAX_ENTRIES, sum(value.size for value in inputs if value is not None)):
        raise TooLargeError(f"its result has more than {MAX_ENTRIES} entries")
    room.store(total)
    room.compute(FOLDABLE[call.op](call, inputs, total))


def positions(call: Call, x: Variable, others: Sequence[Constant | None]) -> list[Constant]:
    """What the node makes of x's entry numbers: the places that its outputs are taken from.

    The numbers have x's own dtype where it counts so far, since that is the kernel that moves x; others are tried where
    it does not, or where ONNX Runtime has no kernel for it. Only for ops that make no entries of their own.
    """
    kinds = [kind for kind in (x.dtype, *FLOATS[1:], np.dtype(np.int64)) if _counts(kind, x.size)]
    first: InputError | None = None
    for kind in dict.fromkeys(kinds):
        try:
            results = evaluate_node(call, [x.index().astype(kind), *others], Allowance())
        except InputError as error:
            first = first or error
        else:
            return [result.astype(np.intp) for result in results]
    assert first is not None
    raise first


def _counts(kind: np.dtype[Any], size: int) -> bool:
    """Whether a dtype holds every number below `size`."""
    return kind.kind == "i" or size <= 2 ** (np.finfo(kind).nmant + 1)


def _constant(call: Call, _: Sequence[Constant | None]) -> list[Constant]:
    for name, kind in CONSTANTS.items():
        if name in call.attributes:
            value = call.attributes[name]
            return [numpy_helper.to_array(value) if kind is None else np.array(value, dtype=kind)]
    raise call.error(f"has no value that can be read; it needs one of {', '.join(CONSTANTS)}")


CONSTANTS: Mapping[str, type | None] = {
    "value": None,
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}
"""The attributes of Constant, and the dtype of those that are no tensors."""


def sizes(call: Call, shape: tuple[int, ...]) -> Constant:
    """What Shape or Size says of a tensor of that shape."""
    if call.op == "Size":
        return np.array(int(np.prod(shape, dtype=np.int64)), dtype=np.int64)
    end = call.attr_int("end", len(shape)) if "end" in call.attributes else len(shape)
    return np.array(shape[slice(call.attr_int("start", 0), end)], dtype=np.int64)


def _sizes_of(call: Call, _: Sequence[Constant | None]) -> list[Constant]:
    return [sizes(call, call.constant(0).shape)]


OWN: Mapping[str, Callable[[Call, Sequence[Constant | None]], list[Constant]]] = {
    "Constant": _constant,
    "Identity": lambda call, _: [call.constant(0)],
    "Shape": _sizes_of,
    "Size": _sizes_of,
}
"""Ops that compute nothing."""
