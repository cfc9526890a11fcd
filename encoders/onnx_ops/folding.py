"""Nodes that onnx.reference evaluates: those with constant inputs only, and movements of a variable's entry numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ValueInfoProto, helper
from onnx.reference import ReferenceEvaluator

from encoders.onnx_ops.call import Call, Constant, entries

NOT_FOLDED: Mapping[str, str] = {
    **dict.fromkeys(("If", "Loop", "Scan", "SequenceMap"), "control flow is not supported; export without it"),
    **dict.fromkeys(
        ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"),
        "a random op gives no fixed function; export for inference",
    ),
    **dict.fromkeys(
        (
            *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
            *("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"),
        ),
        "quantised ops are not supported; export the float network",
    ),
}
"""Ops that are refused even with constant inputs, and why."""


def evaluate_node(call: Call, inputs: Sequence[Constant | None]) -> list[Constant]:
    """The node's outputs for these inputs, in the node's opset; raises InputError where they cannot be had."""
    named = {name: value for name, value in zip(call.proto.input, inputs, strict=True) if name and value is not None}
    _check_growth(call, inputs)
    graph = helper.make_graph(
        [call.proto],
        "one node",
        [ValueInfoProto(name=name) for name in named],
        [ValueInfoProto(name=name) for name in call.proto.output if name],
    )
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(graph, opsets={"": call.opset}).run(None, named)
    except Exception as error:  # the reference ops raise any class on a damaged node
        raise call.error(f"cannot be evaluated: {one_line(error)}") from error
    given = iter(results)
    return [np.asarray(next(given)) if name else np.zeros(0) for name in call.proto.output]


def one_line(error: BaseException) -> str:
    """An error's message on one line, shortened to what a reader takes in."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 240 else text[:237] + "..."


def _check_growth(call: Call, inputs: Sequence[Constant | None]) -> None:
    rule = GROWTH.get(call.op)
    if rule is None:
        return
    try:
        entries(rule(call, [np.zeros(0) if value is None else value for value in inputs]))
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise call.error(f"cannot be evaluated: {one_line(error)}") from error


def _sizes(values: Constant) -> tuple[int, ...]:
    return tuple(int(n) for n in values.reshape(-1))


def _range(_: Call, inputs: Sequence[Constant]) -> tuple[int, ...]:
    start, limit, delta = (float(value.reshape(-1)[0]) for value in inputs[:3])
    return (max(0, math.ceil((limit - start) / delta)),)


def _pad(call: Call, inputs: Sequence[Constant]) -> tuple[int, ...]:
    pads = _sizes(inputs[1]) if len(inputs) > 1 else call.attr_ints("pads", ())
    return tuple(n + sum(abs(p) for p in pads) for n in inputs[0].shape)


GROWTH: Mapping[str, Callable[[Call, Sequence[Any]], tuple[int, ...]]] = {
    "ConstantOfShape": lambda _, inputs: _sizes(inputs[0]),
    "Expand": lambda _, inputs: np.broadcast_shapes(inputs[0].shape, _sizes(inputs[1])),
    "Tile": lambda _, inputs: (inputs[0].size, *_sizes(inputs[1])),
    "Range": _range,
    "OneHot": lambda _, inputs: (inputs[0].size, int(np.max(inputs[1]))),
    "Pad": _pad,
}
"""For ops whose inputs say how large the output is: a bound on its shape, looked at before anything is allocated."""
