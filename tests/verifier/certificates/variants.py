"""Models of one operator each, in all its variants: attributes, shapes, weights, operator sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSETS = (7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 24, 26, 28)
TYPES = (*[np.float32] * 8, np.float64, np.float16)
LEFT_OUT = object()
"""Among an attribute's values: it is not given."""

Rng = np.random.Generator
Made = tuple[Sequence[int], list[str], dict[str, np.ndarray], dict[str, Sequence[Any]], int]
"""(shape of x, the node's inputs, weights, values of each attribute, outputs) of a variant."""


def any_of(rng: Rng, *values: Any) -> Any:
    return values[rng.integers(len(values))]


def floats(rng: Rng, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


PADDED = (LEFT_OUT, LEFT_OUT, LEFT_OUT, "NOTSET", "VALID", "VALID", "SAME_UPPER", "SAME_LOWER", "")


def sliding(rng: Rng, d: int, kernel: Sequence[int]) -> dict[str, Sequence[Any]]:
    pads = [*rng.integers(0, 2, 2 * d).tolist()]
    return {
        "kernel_shape": [kernel],
        "strides": [LEFT_OUT, [1] * d, rng.integers(1, 4, d).tolist()],
        "dilations": [LEFT_OUT, LEFT_OUT, [1] * d, rng.integers(1, 3, d).tolist()],
        "pads": [
            LEFT_OUT,
            LEFT_OUT,
            LEFT_OUT,
            [0] * 2 * d,
            pads,
            pads,
            [1] * 2 * d,
            [2] * 2 * d,
            [-1] * 2 * d,
            pads[:d],
        ],
        "auto_pad": PADDED,
    }


def average_pool(rng: Rng, opset: int) -> Made:
    d = int(rng.integers(1, 3))
    more = {"ceil_mode": [LEFT_OUT, LEFT_OUT, 0, 1], "count_include_pad": [LEFT_OUT, 0, 1]}
    kernel = rng.integers(1, 4, d).tolist()
    return [any_of(rng, 1, 1, 2), 2, 5, 6][: d + 2], ["x"], {}, {**sliding(rng, d, kernel), **more}, 1


def max_pool(rng: Rng, opset: int) -> Made:
    shape, inputs, weights, values, _ = average_pool(rng, opset)
    values = {**values, "count_include_pad": [LEFT_OUT], "storage_order": [LEFT_OUT, LEFT_OUT, 0, 1]}
    return shape, inputs, weights, values, any_of(rng, 1, 1, 1, 2)


def global_average_pool(rng: Rng, opset: int) -> Made:
    values = {"kernel_shape": [LEFT_OUT, LEFT_OUT, [2, 2]], "strides": [LEFT_OUT, LEFT_OUT, [2, 2]]}
    return [1, 3, 4, 5][: int(rng.integers(2, 5))], ["x"], {}, values, 1


def conv(rng: Rng, opset: int) -> Made:
    d, group = int(rng.integers(1, 3)), any_of(rng, 1, 1, 2)
    kernel = rng.integers(1, 4, d).tolist()
    weights = {"w": floats(rng, 4, any_of(rng, 4, 4, 2) // group, *kernel)}
    bias = any_of(rng, (), (4,), (4,), (1,), (1, 4))
    inputs = ["x", "w", any_of(rng, "b", "b", "")][: 2 + bool(bias)]
    weights |= {"b": floats(rng, *bias)} if bias else {}
    values = {**sliding(rng, d, kernel), "group": [LEFT_OUT, group, group]}
    values["kernel_shape"] = [LEFT_OUT, LEFT_OUT, kernel, kernel[::-1]]
    return [any_of(rng, 1, 1, 1, 2), 4, 5, 6][: d + 2], inputs, weights, values, 1


def gemm(rng: Rng, opset: int) -> Made:
    trans = int(rng.integers(2))
    sizes = any_of(rng, (3, 4), (4, 4), (4, 3))
    added = any_of(rng, None, (), (1,), (4,), (1, 4), (2, 4), (2, 1), (3,), (1, 3), (1, 1, 3))
    values = {
        "alpha": [LEFT_OUT, 1.0, 0.5, 0.0, -2.0],
        "beta": [LEFT_OUT, LEFT_OUT, 1.0, 2.0, 0.0],
        "transA": [LEFT_OUT, LEFT_OUT, 0, 1],
        "transB": [LEFT_OUT, trans, trans, 2],
    }
    weights = {"w": floats(rng, *sizes)}
    inputs = ["x", "w"]
    if added is not None:
        weights["b"], inputs = floats(rng, *added), [*inputs, "b"]
    return any_of(rng, [1, 4], [1, 4], [1, 3], [2, 4], [4]), inputs, weights, values, 1


def matmul(rng: Rng, opset: int) -> Made:
    shape = any_of(rng, [4], [1, 4], [2, 4], [1, 2, 4], [4, 1], [1, 4, 1])
    weight = any_of(rng, (4, 3), (3, 4), (4, 4), (4,), (1, 4, 3), (2, 4, 3))
    inputs = any_of(rng, ["x", "w"], ["w", "x"], ["x", "x"])
    return shape, inputs, {"w": floats(rng, *weight)}, {}, 1


def binary(rng: Rng, opset: int) -> Made:
    shape = any_of(rng, [4], [1, 4], [2, 4], [1, 2, 4])
    weight = any_of(rng, (), (1,), (4,), (1, 4), (2, 4), (2, 1), (4, 1), (1, 1, 4), (1, 2, 4))
    inputs = any_of(rng, ["x", "w"], ["w", "x"], ["x", "w"], ["x", "x"], ["x", "w", "x"], ["x"])
    values = {"axis": [LEFT_OUT] * 9 + [1], "broadcast": [LEFT_OUT] * 9 + [1]}
    return shape, inputs, {"w": floats(rng, *weight)}, values, 1


def batch_normalization(rng: Rng, opset: int) -> Made:
    shape = any_of(rng, [1, 3], [1, 3, 2], [1, 3, 2, 2], [3], [2, 3])
    size = any_of(rng, (3,), (3,), (3,), (1,), (3, 2))
    weights = {name: floats(rng, *size) for name in ("scale", "b", "mean", "var")}
    weights["var"] = np.abs(weights["var"])
    values = {
        "epsilon": [LEFT_OUT, 1e-3, 0.0, 1.0],
        "momentum": [LEFT_OUT, 0.9, 0.1],
        "training_mode": [LEFT_OUT, LEFT_OUT, 0, 1] if opset > 13 else [LEFT_OUT] * 5 + [0],
        "spatial": [LEFT_OUT, LEFT_OUT, 1, 0] if opset < 9 else [LEFT_OUT] * 5 + [1],
    }
    return shape, ["x", *weights], weights, values, any_of(rng, 1, 1, 1, 3, 5)


def clip(rng: Rng, opset: int) -> Made:
    low, high = (any_of(rng, (), (), (1,), (2,)) for _ in range(2))
    ends = {"low": floats(rng, *low) - any_of(rng, 1, 1, -1), "high": floats(rng, *high) + 1}
    inputs = any_of(rng, *[["x", "low", "high"]] * 3, ["x"], ["x", "low"], ["x", "", "high"])
    values: dict[str, Sequence[Any]] = {"min": [-0.5, -0.5, 2.0, LEFT_OUT], "max": [0.5, 0.5, LEFT_OUT]}
    of_its_time = rng.integers(8) > 0
    values = values if (opset < 11) == of_its_time else {}
    inputs = inputs if (opset > 10) == of_its_time else ["x"]
    return [1, 5], inputs, {name: end.astype(np.float32) for name, end in ends.items()}, values, 1


def concat(rng: Rng, opset: int) -> Made:
    rank = int(rng.integers(1, 4))
    inputs = any_of(rng, ["x"], *[["x", "x"]] * 4, ["x", "x", "x"], ["x", "w"])
    values = {"axis": [LEFT_OUT, *range(-rank, rank), *range(rank), rank, -rank - 1]}
    return [1, 2, 3][:rank], inputs, {"w": floats(rng, *[1, 2, 3][:rank])}, values, any_of(rng, *[1] * 9, 2)


def flatten(rng: Rng, opset: int) -> Made:
    return [1, 2, 3, 2][: rng.integers(1, 5)], ["x"], {}, {"axis": [LEFT_OUT, *range(-4, 5)]}, 1


def transpose(rng: Rng, opset: int) -> Made:
    rank = int(rng.integers(1, 5))
    order = rng.permutation(rank).tolist()
    values = {
        "perm": [LEFT_OUT, order, order, [n - rank for n in order], [0] * rank, order[1:] or [0, 0], [*order, rank]]
    }
    return [1, 2, 3, 2][:rank], ["x"], {}, values, 1


def reshape(rng: Rng, opset: int) -> Made:
    wanted = any_of(
        rng, [0, -1], [-1], [1, -1], [-1, 1], [0, 0, -1], [2, 0, -1], [2, 3, 2], [-1, -1], [-2, 6], [0, 0, 0, 0],
        [], [12], [1, 12], [0], [3, 4, -1], [1, 0],
    )  # fmt: skip
    given = np.array(wanted, dtype=any_of(rng, *[np.int64] * 5, np.int32))
    given = any_of(rng, *[given] * 5, given.reshape(1, -1))
    values: dict[str, Sequence[Any]] = {"allowzero": [LEFT_OUT, 0, 1] if opset > 13 else [LEFT_OUT] * 5 + [0]}
    return any_of(rng, [1, 2, 6], [12], [1, 12]), any_of(rng, ["x", "w"], ["x", "w"], ["x"]), {"w": given}, values, 1


def pad(rng: Rng, opset: int) -> Made:
    shape = any_of(rng, [4], [1, 4], [1, 2, 3])
    sizes = rng.integers(0, 3, 2 * len(shape))
    sizes = any_of(rng, *[sizes] * 4, 0 * sizes, sizes - 1, sizes[1:])
    values: dict[str, Sequence[Any]] = {"mode": [*[LEFT_OUT, "constant"] * 3, "reflect", "edge"]}
    if (opset > 10) != (rng.integers(8) > 0):
        values |= {"pads": [sizes.tolist()], "value": [LEFT_OUT, 0.5, 0.0, -1.0, np.inf]}
        return shape, ["x"], {}, values, 1
    value = any_of(rng, *[floats(rng)] * 4, floats(rng, 1), floats(rng, 2), np.float32(np.inf))
    weights = {"p": sizes.astype(any_of(rng, *[np.int64] * 5, np.int32)), "v": value, "a": np.arange(len(shape))}
    inputs = any_of(rng, ["x", "p"], *[["x", "p", "v"]] * 3, ["x", "p", ""], ["x", "p", "v", "a"])
    return shape, inputs, weights, values, 1


def leaky_relu(rng: Rng, opset: int) -> Made:
    return any_of(rng, [4], [1, 4]), ["x"], {}, {"alpha": [LEFT_OUT, 0.1, 0.0, 1.0, 2.0, -0.5]}, 1


def prelu(rng: Rng, opset: int) -> Made:
    slope = any_of(rng, (), (1,), (3,), (4,), (3, 1), (3, 4), (1, 3, 1), (1, 1, 4), (2, 3, 4), (1, 1, 1, 4))
    return [1, 3, 4], any_of(rng, ["x", "w"], ["x", "w"], ["x", "x"], ["x"]), {"w": floats(rng, *slope)}, {}, 1


def plain(rng: Rng, opset: int) -> Made:
    values = {"alpha": [LEFT_OUT] * 9 + [1.0], "to": [LEFT_OUT] * 9 + [1]}
    return any_of(rng, [4], [1, 4], [1, 2, 2]), any_of(rng, *[["x"]] * 5, ["x", "x"]), {}, values, any_of(rng, 1, 1, 2)


def cast(rng: Rng, opset: int) -> Made:
    values = {"to": [1, 1, 10, 11, 7, 6, LEFT_OUT], "saturate": [LEFT_OUT] * 9 + [1]}
    return any_of(rng, [4], [1, 4]), ["x"], {}, values, 1


def dropout(rng: Rng, opset: int) -> Made:
    new = (opset > 11) == (rng.integers(8) > 0)
    values: dict[str, Sequence[Any]] = {"seed": [LEFT_OUT, 3]} if new else {"ratio": [LEFT_OUT, 0.0, 0.5]}
    inputs = any_of(rng, ["x"], ["x"], ["x", "r"], ["x", "r"], ["x", ""], ["x", "r", "t"])
    shape = any_of(rng, [4], [1, 4], [1, 2, 2])
    return (
        shape,
        inputs[: 3 if new else 1],
        {"r": floats(rng) * 0 + 0.25, "t": np.zeros(())},
        values,
        any_of(rng, 1, 1, 1, 2),
    )


def sigmoid(rng: Rng, opset: int) -> Made:
    values = {"axis": [LEFT_OUT] * 9 + [1]}
    return any_of(rng, [4], [1, 4], [1, 1], [1], [2, 2]), any_of(rng, *[["x"]] * 9, ["x", "x"]), {}, values, 1


def softmax(rng: Rng, opset: int) -> Made:
    shape = any_of(rng, [4], [1, 4], [1, 4, 1], [1, 1, 4], [2, 2], [4, 1], [1, 1], [1, 2, 2])
    return shape, ["x"], {}, {"axis": [LEFT_OUT, LEFT_OUT, *range(-3, 4)]}, 1


MAKERS: dict[str, Callable[[Rng, int], Made]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Max"), binary),
    **dict.fromkeys(("Identity", "Neg", "Relu"), plain),
    **dict.fromkeys(("Sigmoid", "Tanh"), sigmoid),
    **dict.fromkeys(("Softmax", "LogSoftmax"), softmax),
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Cast": cast,
    "Clip": clip,
    "Concat": concat,
    "Conv": conv,
    "Dropout": dropout,
    "Flatten": flatten,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "LeakyRelu": leaky_relu,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "PRelu": prelu,
    "Pad": pad,
    "Reshape": reshape,
    "Transpose": transpose,
}
ENDS = ("Softmax", "LogSoftmax", "Sigmoid")


def variants(op: str, count: int) -> Iterator[bytes]:
    """So many models y = op(x), flattened to scores unless the operator belongs at the end."""
    for seed in range(count):
        rng = np.random.default_rng([seed, *op.encode()])
        opset = any_of(rng, *OPSETS)
        shape, inputs, weights, values, outputs = MAKERS[op](rng, opset)
        chosen = {name: any_of(rng, *choice) for name, choice in values.items()}
        attributes = {name: value for name, value in chosen.items() if value is not LEFT_OUT}
        made = helper.make_node(op, inputs, ["out", *(f"more{place}" for place in range(1, outputs))])
        for name, value in attributes.items():
            # Now and then a number of another kind, which runtimes might round or leave aside.
            odd = rng.integers(40) == 0 and not isinstance(value, str | list)
            other = float(value) if isinstance(value, int) else 1
            made.attribute.append(helper.make_attribute(name, other if odd else value))
        last = op in ENDS and bool(rng.integers(4))
        told = any_of(rng, shape, shape, ["n", *shape[1:]])
        dtype = any_of(rng, *TYPES)
        typed = {name: value if value.dtype.kind == "i" else value.astype(dtype) for name, value in weights.items()}
        yield one_operator(made, told, typed, opset, last=last, dtype=dtype)


def one_operator(
    made: onnx.NodeProto,
    shape: Sequence[int | str],
    weights: dict[str, np.ndarray],
    opset: int,
    *,
    last: bool,
    dtype: Any = np.float32,
) -> bytes:
    """The model of one node from x to out; where it is not the `last`, out is flattened to scores."""
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    constants.append(numpy_helper.from_array(np.array([1, -1]), "flat"))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [made] if last else [made, helper.make_node("Reshape", ["out", "flat"], ["y"])]
    ends = [
        helper.make_tensor_value_info("x", kind, shape),
        helper.make_tensor_value_info(nodes[-1].output[0], kind, None),
    ]
    # The standard's checker wants a shape of an output: sizes that are not known.
    for axis in range(len(shape) if last else 2):
        ends[1].type.tensor_type.shape.dim.add().dim_param = f"size{axis}"
    graph = helper.make_graph(nodes, "variant", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def every_other_operator() -> list[str]:
    """ONNX's operators that the checker does not know."""
    names = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    return sorted(names - MAKERS.keys())
