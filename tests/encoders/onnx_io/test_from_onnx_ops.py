"""Every op of the rule table, tensor by tensor, against ONNX Runtime; then lowered and exact."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from onnx import helper

from encoders.network.enclosure import enclosed_outputs
from encoders.network.exact import exact_outputs
from encoders.network.graph import evaluate, outputs
from encoders.onnx_io.from_onnx import network_from_model
from encoders.onnx_io.ops.rules import RULES
from encoders.passes.lower import lower

RUNTIME_TOLERANCE = 2e-5  # ONNX Runtime computes in float32: 24 bits, and sums of up to some hundred terms here
EXACT_TOLERANCE = 1e-9  # float64 against rational arithmetic, on values of size 1 to 100
BITS = 64  # of each σ, where there is no rational one
NEWEST = 26  # the newest opset that ONNX Runtime 1.31 reads
RNG = np.random.default_rng(7)


def r(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def i(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def f(value: Any) -> np.ndarray:
    return np.array(value, dtype=np.float32)


X = "x"  # where the variable stands among a node's inputs


@dataclass(frozen=True)
class Case:
    """One node: its op type, opsets, the shape of the variable, its inputs (X, an array, or None), its attributes."""

    op: str
    opsets: tuple[int, ...]
    shape: tuple[int, ...]
    inputs: tuple[Any, ...] = (X,)
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1

    def model(self, build: Any, opset: int, output: int = 0) -> Any:
        names, constants = [], {}
        for place, value in enumerate(self.inputs):
            if isinstance(value, str):
                names.append(value)
            elif value is None:
                names.append("")
            else:
                names.append(f"c{place}")
                constants[f"c{place}"] = value
        results = [f"y{place}" for place in range(self.outputs)]
        node = helper.make_node(self.op, names, results, name="node", **self.attributes)
        if self.shape[0] == 1:
            return build([node], self.shape, constants, output=results[output], opset=opset)
        # A first axis that stays would look like a batch.
        row = helper.make_node("Reshape", [results[output], "row"], ["y"])
        return build([node, row], self.shape, {**constants, "row": i(1, -1)}, opset=opset)


def c(
    op: str, opsets: tuple[int, ...], shape: tuple[int, ...], *inputs: Any, outputs: int = 1, **attributes: Any
) -> Case:
    return Case(op, opsets, shape, inputs or (X,), attributes, outputs)


IMAGE, VOLUME, LINE = (1, 2, 5, 6), (1, 2, 4, 3, 5), (1, 2, 9)
ANY = (7, 13, NEWEST)

CASES = [
    # arithmetic
    *(c(op, ANY, (1, 3, 4), X, r(1, 3, 4)) for op in ("Add", "Sub", "Mul", "Div")),
    *(c(op, ANY, (1, 3, 1), r(2, 1, 4), X) for op in ("Add", "Sub", "Mul")),
    *(c(op, ANY, (1, 3, 1), X, r(2, 1, 4)) for op in ("Add", "Sub", "Mul", "Div")),
    *(c(op, (14,), (1, 4), X, X) for op in ("Add", "Sub")),
    c("Add", (14,), (1, 4), X, f(0.5)),
    c("Sum", (8, 13), (1, 3), X, r(2, 1), X, r(1, 3)),
    c("Sum", (8, 13), (1, 3), X),
    c("Neg", (7, 13), (1, 3)),
    c("BatchNormalization", (7, 9, 14, 15), IMAGE, X, r(2), r(2), r(2), f([0.5, 2.0])),
    c("BatchNormalization", (15,), (1, 3), X, r(3), r(3), np.zeros(3, np.float32), f([1, 2, 3]), epsilon=0.25),
    # products
    c("Gemm", (7, 9, 11, 13), (1, 4), X, r(4, 3), r(3)),
    c("Gemm", (13,), (1, 4), X, r(3, 4), transB=1),
    c("Gemm", (13,), (4, 2), X, r(4, 3), r(2, 1), transA=1, alpha=0.3),
    c("Gemm", (13,), (4, 2), r(3, 4), X, r(3, 2), beta=0.7),
    c("Gemm", (13,), (2, 4), r(4, 3), X, f(1.5), transA=1, transB=1, alpha=-2.5, beta=0.1),
    c("Gemm", (13,), (1, 3), X, r(3, 3), X, beta=0.3),
    c("Gemm", (13,), (1, 3), X, r(3, 3), X),
    c("Gemm", (13,), (1, 3), X, r(3, 3), r(3), beta=0.0),
    c("MatMul", (7, 9, 13), (1, 4), X, r(4, 3)),
    c("MatMul", (13,), (1, 2, 4), X, r(4, 3)),
    c("MatMul", (13,), (1, 2, 4), X, r(4)),
    c("MatMul", (13,), (4,), X, r(4, 3)),
    c("MatMul", (13,), (4,), X, r(4)),
    c("MatMul", (13,), (4,), X, r(2, 4, 3)),
    c("MatMul", (13,), (4,), r(3, 4), X),
    c("MatMul", (13,), (4,), r(4), X),
    c("MatMul", (13,), (4,), r(2, 3, 4), X),
    c("MatMul", (13,), (1, 4, 3), r(2, 4), X),
    c("MatMul", (13,), (1, 4, 3), r(4), X),
    c("MatMul", (13,), (1, 4, 3), r(5, 2, 4), X),
    c("MatMul", (13,), (1, 2, 4), X, r(5, 4, 3)),
    c("MatMul", (13,), (3, 1, 2, 4), X, r(5, 4, 3)),
    c("MatMul", (13,), (3, 1, 4, 2), r(1, 5, 3, 4), X),
    c("MatMul", (13,), (1, 2, 4), X, r(1, 1, 4, 3)),
    # windows
    c("Conv", (7, 11, NEWEST), IMAGE, X, r(3, 2, 3, 2), r(3)),
    c("Conv", (11,), IMAGE, X, r(3, 2, 3, 2), pads=[1, 0, 2, 1], strides=[2, 1]),
    c("Conv", (11,), IMAGE, X, r(4, 1, 3, 3), r(4), group=2, dilations=[2, 1], kernel_shape=[3, 3]),
    *(
        c("Conv", (11,), IMAGE, X, r(3, 2, 2, 3), auto_pad=mode, strides=[2, 2])
        for mode in ("SAME_UPPER", "SAME_LOWER")
    ),
    *(c("Conv", (11,), IMAGE, X, r(3, 2, 2, 2), auto_pad=mode, strides=[3, 4]) for mode in ("SAME_UPPER", "VALID")),
    c("Conv", (11,), LINE, X, r(3, 2, 4), r(3), strides=[2], pads=[1, 2]),
    c("Conv", (11,), VOLUME, X, r(3, 2, 2, 2, 3), r(3), pads=[0, 1, 0, 1, 1, 0]),
    *(
        c("MaxPool", (8, 12), IMAGE, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 2, 1], ceil_mode=ceil)
        if ceil is None
        else c("MaxPool", (10, 12), IMAGE, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1], ceil_mode=ceil)
        for ceil in (0, 1)
    ),
    c("MaxPool", (7, 8, 22), IMAGE, kernel_shape=[2, 2]),
    c("MaxPool", (12,), (2, 3, 4, 4), kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    c("MaxPool", (12,), IMAGE, kernel_shape=[2, 3], dilations=[2, 2], pads=[1, 1, 1, 1]),
    *(
        c("MaxPool", (12,), IMAGE, kernel_shape=[2, 3], strides=[2, 2], auto_pad=m)
        for m in ("SAME_UPPER", "SAME_LOWER")
    ),
    c("MaxPool", (12,), IMAGE, kernel_shape=[3, 2], strides=[2, 2], auto_pad="VALID"),
    c("MaxPool", (12,), LINE, kernel_shape=[4], strides=[3], ceil_mode=1),
    c("MaxPool", (12,), (1, 1, 4), kernel_shape=[1], strides=[2], ceil_mode=1),
    c("MaxPool", (12,), VOLUME, kernel_shape=[2, 2, 2], strides=[2, 1, 2]),
    *(
        c("AveragePool", (opset,), IMAGE, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1], count_include_pad=pad)
        for pad in (0, 1)
        for opset in (7, 11, 19)
    ),
    *(
        c(
            "AveragePool",
            (19,),
            (1, 2, 6, 6),
            kernel_shape=[3, 3],
            strides=[2, 2],
            ceil_mode=1,
            count_include_pad=p,
            pads=[e] * 4,
        )
        for p in (0, 1)
        for e in (0, 1)
    ),
    c("AveragePool", (19,), IMAGE, kernel_shape=[2, 2], dilations=[2, 3], pads=[1, 1, 1, 1]),
    *(
        c("AveragePool", (11,), IMAGE, kernel_shape=[2, 3], strides=[2, 2], auto_pad=m)
        for m in ("SAME_UPPER", "SAME_LOWER")
    ),
    c("AveragePool", (11,), LINE, kernel_shape=[3]),
    c("AveragePool", (11,), VOLUME, kernel_shape=[2, 3, 2]),
    *(c(op, (7, 22), shape) for op in ("GlobalAveragePool", "GlobalMaxPool") for shape in (IMAGE, LINE, VOLUME)),
    # activations
    c("Relu", (7, 13, 14), (1, 4)),
    c("Abs", (7, 13), (1, 4)),
    c("Tanh", (7, 13), (1, 4)),
    *(
        c("HardSigmoid", ANY, (1, 4), **attributes)
        for attributes in ({}, {"alpha": 0.7, "beta": -0.1}, {"alpha": -2.0})
    ),
    c("LeakyRelu", (7, 16), (1, 4)),
    c("LeakyRelu", (16,), (1, 4), alpha=1.5),
    c("LeakyRelu", (16,), (1, 4), alpha=-0.5),
    c("PRelu", (7, 9, 16), IMAGE, X, r(2, 1, 1)),
    c("PRelu", (16,), (1, 4), X, r(1)),
    c("Clip", (7,), (1, 4), min=-0.5, max=0.25),
    c("Clip", (7,), (1, 4), max=0.25),
    c("Clip", (7,), (1, 4), min=0.0, max=float(np.finfo(np.float32).max)),
    c("Clip", (11, 13), (1, 4), X, f(-0.5), f(0.5)),
    c("Clip", (13,), (1, 4), X, None, f(0.5)),
    c("Clip", (13,), (1, 4), X, f(-math.inf), f(math.inf)),
    c("Clip", (13,), (1, 4), X),
    *(c(op, (8, 13), (1, 3, 1), X, r(2, 1, 4), X, r(1)) for op in ("Max", "Min")),
    *(c(op, (8, 13), (1, 3), X) for op in ("Max", "Min")),
    *(c(op, (8, 13), (1, 3), X, f(0.0)) for op in ("Max", "Min")),
    # movement
    c("Identity", (7, 13), (1, 4)),
    c("Dropout", (7, 12, 13), (1, 4)),
    c("Dropout", (13,), (1, 4), X, f(0.5), np.array(False)),
    *(c("Cast", (9, 13), (1, 4), to=to) for to in (1, 11)),
    *(c("Flatten", (9, 13), (1, 2, 3, 4), axis=axis) for axis in (0, 1, 3, 4)),
    c("Flatten", (13,), (1, 2, 3, 4), axis=-1),
    *(c("Reshape", (7, 14), (1, 2, 6), X, i(*to)) for to in ((0, -1), (1, 3, -1), (-1,), (0, 6, 2))),
    c("Reshape", (14,), (1, 2, 6), X, i(-1, 4), allowzero=1),
    c("Transpose", (7, 13), (1, 2, 3)),
    c("Transpose", (7, 13), IMAGE, perm=[0, 2, 3, 1]),
    c("Squeeze", (7, 11), (1, 3, 1)),
    c("Squeeze", (7, 11), (1, 3, 1), axes=[2]),
    c("Squeeze", (13,), (1, 3, 1), X, i(-1)),
    c("Squeeze", (13,), (1, 3, 1)),
    c("Unsqueeze", (7, 11), (1, 3), axes=[0, 3]),
    c("Unsqueeze", (13,), (1, 3), X, i(0, -1)),
    c("Concat", (7, 13), (1, 3), X, r(1, 2), X, axis=1),
    c("Concat", (13,), (1, 3), r(2, 3), X, axis=-2),
    c("Split", (7, 11), (1, 6), axis=1, split=[1, 3, 2], outputs=3),
    c("Split", (7, 11), (1, 6), axis=-1, outputs=2),
    c("Split", (13,), (1, 6), X, i(1, 5), axis=1, outputs=2),
    c("Split", (18,), (1, 6), axis=1, num_outputs=3, outputs=3),
    c("Split", (18,), (1, 7), axis=1, num_outputs=3, outputs=3),
    c("Slice", (7, 9), (1, 5, 6), axes=[1, 2], starts=[1, -4], ends=[4, 1000]),
    c("Slice", (9,), (1, 5, 6), starts=[0, 2], ends=[1, -1]),
    c("Slice", (10, 13), (1, 5, 6), X, i(-1), i(-(2**62)), i(2), i(-2)),
    c("Slice", (13,), (1, 5, 6), X, i(1, 5), i(2**62, 0), i(1, 2), i(2, -1)),
    c("Gather", (7, 13), (1, 5, 2), X, i(3, -1, 0), axis=1),
    c("Gather", (13,), (1, 5, 2), X, np.array(2), axis=1),
    c("Gather", (13,), (1, 5), X, np.array([[0, 4], [1, 1]]), axis=-1),
    c("DepthToSpace", (7, 11, 13), (1, 8, 2, 3), blocksize=2),
    c("DepthToSpace", (11, 13), (1, 8, 2, 3), blocksize=2, mode="CRD"),
    c("SpaceToDepth", (7, 13), (1, 2, 4, 6), blocksize=2),
    c("Expand", (8, 13), (1, 3, 1), X, i(2, 1, 4)),
    c("Tile", (7, 13), (1, 3), X, i(2, 2)),
    c("Pad", (7, 10), IMAGE, pads=[0, 0, 1, 0, 0, 1, 2, 3], value=0.5),
    *(c("Pad", (7,), IMAGE, pads=[0, 0, 1, 0, 0, 0, 2, 3], mode=mode) for mode in ("reflect", "edge")),
    c("Pad", (11, 13), IMAGE, X, i(0, 0, -1, 1, 0, 0, 2, -2), f(-1.5)),
    c("Pad", (13,), IMAGE, X, i(0, 0, 1, 1, 0, 0, 2, 0)),
    c("Pad", (18, 21), IMAGE, X, i(1, 2, 0, 3), f(0.25), i(-1, 2)),
    *(c("Pad", (19,), IMAGE, X, i(0, 0, 1, 0, 0, 0, 2, 3), mode=mode) for mode in ("reflect", "edge", "wrap")),
    # reductions
    *(c(op, (7, 12), (1, 3, 4), axes=[1]) for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")),
    *(
        c(op, (7, 12), (2, 3, 4), axes=[0, -1], keepdims=0)
        for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")
    ),
    *(c(op, (12,), (1, 3, 4)) for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")),
    *(c(op, (18,), (1, 3, 4), X, i(-1, 1)) for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")),
    *(c(op, (18,), (1, 3, 4), noop_with_empty_axes=1) for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")),
    *(c(op, (18,), (2, 1, 4), X, i(1), keepdims=0) for op in ("ReduceSum", "ReduceMean")),
]

ELSEWHERE = {
    **dict.fromkeys(("Shape", "Size"), "test_from_onnx.py, test_shape_chain"),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Sigmoid"), "test_endings.py"),
}
"""Ops that no single node can show, and the tests that cover them."""


def test_every_rule_has_a_case() -> None:
    covered = {case.op for case in CASES} | set(ELSEWHERE)
    assert covered == set(RULES)


PARAMETERS = [
    pytest.param(case, opset, output, id=f"{case.op}-{opset}-{place}-{output}")
    for place, case in enumerate(CASES)
    for opset in case.opsets
    for output in range(case.outputs)
]


@pytest.mark.parametrize(("case", "opset", "output"), PARAMETERS)
def test_op_is_that_of_onnx_runtime(case: Case, opset: int, output: int, onnx_model: Any, ort_values: Any) -> None:
    model = case.model(onnx_model, opset, output)
    network = network_from_model(model)
    assert network.input_shape == case.shape
    rng = np.random.default_rng(opset)
    points = [rng.normal(size=case.shape).astype(np.float32), rng.integers(-2, 3, case.shape).astype(np.float32)]
    flat = np.stack([point.reshape(-1) for point in points])
    values = evaluate(network.graph, flat)
    assert network.logits_name in network.tensors
    assert network.tensors[network.logits_name] == network.graph.output
    for place, expected in enumerate(ort_values(model, points)):
        for name in set(expected) & set(network.tensors):
            ours = values[network.tensors[name]][place]
            np.testing.assert_allclose(ours, expected[name].reshape(-1), rtol=RUNTIME_TOLERANCE, atol=RUNTIME_TOLERANCE)
    ours = values[network.graph.output]
    np.testing.assert_allclose(outputs(lower(network.graph), flat), ours, rtol=EXACT_TOLERANCE, atol=EXACT_TOLERANCE)
    for graph in (network.graph, lower(network.graph)):
        for place, point in enumerate(flat):
            known = enclosed_outputs(graph, [Fraction(entry) for entry in point.tolist()], BITS)[0]
            exact = [float(value) for value in (known if graph.smooth else exact_outputs(graph, point))]
            np.testing.assert_allclose(exact, ours[place], rtol=EXACT_TOLERANCE, atol=EXACT_TOLERANCE)
