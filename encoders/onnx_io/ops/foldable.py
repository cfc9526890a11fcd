"""The ops that may stand on constants: what each may cost, what would crash it, and how large its result may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from encoders.onnx_io.ops.call import Call, Constant
from encoders.onnx_io.ops.room import MAX_ENTRIES

Inputs = Sequence[Constant | None]
FoldingCost = Callable[[Call, Inputs, int], int]
"""(node, inputs, entries of the result) → the elementary steps that computing it takes, within a small factor."""

STORE = "store its result in the file instead, as onnxsim or ONNX Runtime's offline optimisation do"


def _each_entry(_: Call, inputs: Inputs, results: int) -> int:
    """A few steps for each entry: those of a transcendental function, or of what is looked at around them."""
    return 4 * (results + sum(value.size for value in inputs if value is not None))


def _sorting(call: Call, inputs: Inputs, results: int) -> int:
    return 16 * _each_entry(call, inputs, results)


def _shape(inputs: Inputs, i: int) -> tuple[int, ...]:
    value = inputs[i] if i < len(inputs) else None
    return () if value is None else value.shape


def _product(call: Call, inputs: Inputs, results: int) -> int:
    """A matrix product: each entry of the result is a sum over an inner axis."""
    left = _shape(inputs, 0)
    return results * (left[0 if call.op == "Gemm" and call.attr_int("transA", 0) else -1] if left else 1)


def _convolution(call: Call, inputs: Inputs, results: int) -> int:
    """Each entry is a sum over a kernel; the temporary matrix of all windows is as large at most."""
    taps = math.prod(_shape(inputs, 1)[1:])
    size = math.prod(_shape(inputs, 0)) if call.op == "ConvTranspose" else results
    return MEMORY * size * taps


def _pooling(call: Call, _: Inputs, results: int) -> int:
    return results * math.prod(call.attr_ints("kernel_shape", ()))


def _neighbours(call: Call, _: Inputs, results: int) -> int:
    return results * max(1, call.attr_int("size", 1))


def _summation(_: Call, inputs: Inputs, __: int) -> int:
    """Einsum: at worst a step for each combination of all its labels."""
    sizes = math.prod(math.prod(value.shape) for value in inputs if value is not None)
    return MEMORY * sizes


MEMORY = 16
"""What a step that may also take memory counts, so that half a gibibyte of float32 is in use at most."""

_ENTRYWISE = (
    *("Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift", "BitwiseAnd", "BitwiseNot"),
    *("BitwiseOr", "BitwiseXor", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos", "Cosh", "Div", "Dropout", "Elu"),
    *("Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "IsInf"),
    *("IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not"),
    *("Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh"),
    *("Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor"),
)
_MOVING = (
    *("Compress", "Concat", "ConstantOfShape", "DepthToSpace", "Expand", "EyeLike", "Flatten", "Gather"),
    *("GatherElements", "GatherND", "NonZero", "OneHot", "Pad", "Range", "Reshape", "ReverseSequence", "Scatter"),
    *("ScatterElements", "ScatterND", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Trilu"),
    "Unsqueeze",
)
_REDUCING = (
    *("ArgMax", "ArgMin", "CumProd", "CumSum", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "Hardmax"),
    *("LogSoftmax", "LpNormalization", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax"),
    *("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Softmax"),
)
_NORMALISING = (
    *("BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization"),
    *("MeanVarianceNormalization", "RMSNormalization", "Resize", "Upsample"),
)

FOLDABLE: Mapping[str, FoldingCost] = {
    **dict.fromkeys((*_ENTRYWISE, *_MOVING, *_REDUCING, *_NORMALISING), _each_entry),
    **dict.fromkeys(("TopK", "Unique"), _sorting),
    **dict.fromkeys(("MatMul", "Gemm"), _product),
    **dict.fromkeys(("Conv", "ConvTranspose"), _convolution),
    **dict.fromkeys(("AveragePool", "LpPool", "MaxPool"), _pooling),
    "Einsum": _summation,
    "LRN": _neighbours,
}
"""Op → what computing it costs. Identity, Constant, Shape and Size are not here: they need nobody to compute them."""

_CONTROL_FLOW = "control flow is not supported; export without it"
_RANDOM = "a random op gives no fixed function; export for inference"
_QUANTISED = "quantised ops are not supported; export the float network"
NOT_FOLDED: Mapping[str, str] = {
    **dict.fromkeys(("If", "Loop", "Scan", "SequenceMap"), _CONTROL_FLOW),
    **dict.fromkeys(
        ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"), _RANDOM
    ),
    **dict.fromkeys(
        (
            *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
            *("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"),
        ),
        _QUANTISED,
    ),
}
"""Ops that are refused wherever they stand, and why."""


def complaint(call: Call, inputs: Inputs) -> str | None:
    """Why the op must not be run: its kernel would divide by zero or overflow, which ends the process, or would draw
    numbers."""
    for name in ("strides", "dilations", "kernel_shape"):
        if any(not 1 <= n <= MAX_ENTRIES for n in call.attr_ints(name, ())):
            return f"attribute '{name}' must be positive, and at most {MAX_ENTRIES}"
    for name in ("blocksize", "group", "num_groups", "size", "num_outputs"):
        if not 1 <= call.attr_int(name, 1) <= MAX_ENTRIES:
            return f"attribute '{name}' must be positive, and at most {MAX_ENTRIES}"
    if call.op == "Dropout" and len(inputs) > 2 and inputs[2] is not None and np.any(inputs[2]):
        return "it is in training mode, where it gives no fixed function"
    if call.op in ("Div", "Mod"):
        values = [value for value in inputs if value is not None]
        if len(values) == 2 and values[1].dtype.kind in "iu":
            return _not_divisible(*values)
    return None


def _not_divisible(dividend: Constant, divisor: Constant) -> str | None:
    if np.any(divisor == 0):
        return "it divides integers by zero"
    if divisor.dtype.kind == "i" and np.any(divisor == -1) and np.any(dividend == np.iinfo(dividend.dtype).min):
        return "its quotient is beyond the integers"
    return None


def _range(_: Call, inputs: Inputs) -> tuple[int, ...]:
    start, limit, delta = (float(value.reshape(-1)[0]) for value in inputs[:3] if value is not None)
    return (max(0, math.ceil((limit - start) / delta)),)


def _as_many(_: Call, inputs: Inputs) -> tuple[int, ...]:
    return _shape(inputs, 0)


GROWTH: Mapping[str, Callable[[Call, Inputs], tuple[int, ...]]] = {
    **dict.fromkeys(("Compress", "Reshape", "Slice", "Split", "Squeeze", "Unique"), _as_many),
    "NonZero": lambda _, inputs: (len(_shape(inputs, 0)), math.prod(_shape(inputs, 0))),
    "Range": _range,
}
"""For ops whose result's shape may follow from values only: a bound on each result."""
