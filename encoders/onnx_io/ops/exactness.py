"""Whether a folded value is the one that real arithmetic gives, so that no other order of summation gives another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from encoders.network.graph import Array
from encoders.onnx_io.ops.call import Call, Constant

ConstantInputs = Sequence[Constant]
ExactnessTest = Callable[[Call, ConstantInputs, Constant], bool]

WIDE: Mapping[np.dtype[np.generic], int] = {np.dtype(np.float32): 24, np.dtype(np.float64): 53}
"""Dtypes in which ONNX Runtime computes as it says, and the bits of their fractions. It has no float16 kernels for most
ops, and what it casts in their place may keep more bits than a single node shows."""

CHOOSING = frozenset(
    (
        *("Abs", "And", "ArgMax", "ArgMin", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Ceil"),
        *("Clip", "Compress", "Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Dropout", "Equal", "Expand"),
        *("EyeLike", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "GlobalMaxPool", "Greater"),
        *("GreaterOrEqual", "Hardmax", "Identity", "IsInf", "IsNaN", "Less", "LessOrEqual", "Max", "MaxPool", "Min"),
        *("Neg", "NonZero", "Not", "OneHot", "Or", "Pad", "ReduceMax", "ReduceMin", "Relu", "Reshape"),
        *("ReverseSequence", "Round", "Shape", "Sign", "Size", "Slice", "SpaceToDepth", "Split", "Squeeze"),
        *("Tile", "TopK", "Transpose", "Trilu", "Unique", "Unsqueeze", "Where", "Xor"),
    )
)
"""Ops that choose, move or compare: their value is exact unless a NaN is among what they choose from."""

COUNTING = frozenset(("Add", "CumSum", "Div", "MatMul", "Mod", "Mul", "Range", "ReduceProd", "ReduceSum", "Sub", "Sum"))
"""Ops that are exact on integers: modulo 2ⁿ, sums and products are the same in any order."""


def is_exact(call: Call, inputs: Sequence[Constant | None], results: Sequence[Constant]) -> bool:
    """Whether the node's results are known to be exact; False where that is not so, and where it is not known."""
    given = [value for value in inputs if value is not None]
    if any(value.dtype.kind == "f" and bool(np.any(np.isnan(value))) for value in given):
        return False
    if call.op in CHOOSING:
        return call.attr_int("sorted", 1) != 0  # TopK without it leaves the order open
    if call.op in COUNTING and all(value.dtype.kind in "biu" for value in (*given, *results)):
        return True
    check = CHECKED.get(call.op)
    with np.errstate(all="ignore"):  # an overflow is a value that is not exact
        return check is not None and len(results) == 1 and bool(check(call, given, results[0]))


def _wide(values: Sequence[Constant]) -> bool:
    return all(value.dtype in WIDE and value.dtype == values[0].dtype for value in values)


def _sum_of_two(call: Call, given: ConstantInputs, result: Constant) -> bool:
    """Knuth's TwoSum: the rounding error of a ± b, computed without one."""
    if len(given) != 2 or not _wide([*given, result]):
        return False
    a, b = given[0], -given[1] if call.op == "Sub" else given[1]
    part = result - a
    error = (a - (result - part)) + (b - part)
    return bool(np.all(error == 0))


def _product_of_two(_: Call, given: ConstantInputs, result: Constant) -> bool:
    return len(given) == 2 and _single([*given, result]) and _equal(_double(given[0]) * _double(given[1]), result)


def _quotient(_: Call, given: ConstantInputs, result: Constant) -> bool:
    return len(given) == 2 and _single([*given, result]) and _equal(_double(result) * _double(given[1]), given[0])


def _root(_: Call, given: ConstantInputs, result: Constant) -> bool:
    return _single([*given, result]) and _equal(_double(result) ** 2, given[0])


def _single(values: Sequence[Constant]) -> bool:
    """All float32: their products are exact in float64."""
    return all(value.dtype == np.float32 for value in values)


def _double(values: Constant) -> Array:
    return values.astype(np.float64)


def _equal(a: Constant, b: Constant) -> bool:
    return bool(np.all(a == b))


def _cast(_: Call, given: ConstantInputs, result: Constant) -> bool:
    """The value is kept, or cut to an integer that the dtype holds, as the standard says."""
    value = given[0]
    if value.dtype.kind == "f" and result.dtype.kind in "iu":
        limits = np.iinfo(result.dtype)
        cut = np.trunc(_double(value))
        # float64(max) may be max + 1, which the dtype does not hold.
        return bool(np.all((cut >= float(limits.min)) & (cut < float(limits.max)) & (cut == _double(result))))
    if result.dtype.kind == "b" or value.dtype == result.dtype:
        return True
    small = bool(np.all(np.abs(_double(value)) <= EXACT_IN_FLOAT64)) if value.dtype.kind in "iu" else True
    return small and _equal(_double(value), _double(result))


EXACT_IN_FLOAT64 = 2.0**53


def _sums(call: Call, given: ConstantInputs, result: Constant) -> bool:
    """Every partial sum is a multiple of the addends' common grid, and small enough to be exact."""
    addends = given if call.op == "Sum" else given[:1]
    if not _wide([*addends, result]):
        return False
    step = min(_grid(value) for value in addends)
    if call.op == "Sum":
        total = float(np.max(sum(np.abs(_double(value)) for value in addends), initial=0.0))
    else:
        total = float(np.sum(np.abs(_double(addends[0]))))
    return _fits(total, step, result)


def _matrix_product(_: Call, given: ConstantInputs, result: Constant) -> bool:
    if len(given) != 2 or not _wide([*given, result]):
        return False
    total = float(np.max(np.abs(_double(given[0])) @ np.abs(_double(given[1])), initial=0.0))
    return _fits(total, _grid(given[0]) + _grid(given[1]), result)


MARGIN = 1.0 + 2.0**-20
"""The sum of absolute values is itself rounded; with fewer than 2**30 addends by less than this factor."""


def _fits(total: float, step: int, result: Constant) -> bool:
    """Whether multiples of 2**step, whose absolute values add up to `total`, can be summed exactly in any order."""
    kind = np.finfo(result.dtype)
    if not math.isfinite(total) or not np.all(np.isfinite(result)) or step < kind.minexp - kind.nmant:
        return False
    return math.frexp(total * MARGIN)[1] <= step + WIDE[result.dtype]


def _grid(values: Constant) -> int:
    """The largest e such that every value is a multiple of 2**e; very small where one is not finite."""
    fractions, exponents = np.frexp(_double(values).reshape(-1))
    if not np.all(np.isfinite(fractions)):
        return NO_GRID
    used = fractions != 0
    whole = np.abs(np.ldexp(fractions[used], 53)).astype(np.int64)
    # The lowest set bit of a positive integer, as a power of two.
    lowest = np.frexp((whole & -whole).astype(np.float64))[1] - 1
    return int(np.min(exponents[used] - 53 + lowest, initial=0))


NO_GRID = -(2**20)


def _counted(_: Call, given: ConstantInputs, result: Constant) -> bool:
    """Range over whole numbers, whether it adds or multiplies."""
    ends = np.concatenate([np.abs(_double(value)).reshape(-1) for value in given])
    return _wide([*given, result]) and bool(np.all((ends == np.rint(ends)) & (ends < 2.0 ** (WIDE[result.dtype] - 1))))


CHECKED: Mapping[str, ExactnessTest] = {
    "Add": _sum_of_two,
    "Cast": _cast,
    "CastLike": lambda call, given, result: _cast(call, given[:1], result),
    "Div": _quotient,
    "MatMul": _matrix_product,
    "Mul": _product_of_two,
    "Range": _counted,
    "ReduceSum": _sums,
    "Sqrt": _root,
    "Sub": _sum_of_two,
    "Sum": _sums,
}
"""Op → whether this value of it is exact."""
