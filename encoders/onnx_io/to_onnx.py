"""Graph → ONNX: the logits and a vector–Jacobian product, both as plain ONNX nodes in float32.

vjp(x, v) = vᵀ · ∂logits/∂x (shape (batch, n)) is the graph's own reverse pass: the `reverse` walker with one rule per
node kind, and for every linear map its forward and its adjoint. So ONNX Runtime differentiates the network on any of
its devices, and no autodiff library is needed. At a kink the rules pick one element of that node's generalised gradient
(Clarke): relu'(0) = 0, abs'(0) = 0, and a tied maximum passes everything to its first winner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Abs, Affine, Array, Clip, Graph, LeakyRelu, Max, Relu, Sigmoid, forward, reverse
from encoders.network.linear_maps import Conv, Dense, LinearMap, Scale, Select, Sparse
from encoders.onnx_io.builder import BATCH, OnnxBuilder
from encoders.onnx_io.weights import OnnxModel

MapForward = Callable[[OnnxBuilder, Any, str, Array | None], str]
MapAdjoint = Callable[[OnnxBuilder, Any, str], str]
NodeForward = Callable[[OnnxBuilder, int, Any, list[str]], str]
NodeReverse = Callable[[OnnxBuilder, list[str], int, Any, str], list[tuple[int, str]]]


def to_onnx(graph: Graph, leak: float = 0.0) -> OnnxModel:
    """The model (x, v) ↦ (logits, vjp) in float32; leak: as in `vjp_onnx`.

    x: (batch, n), v: (batch, K), logits: (batch, K), vjp = vᵀ·∂logits/∂x: (batch, n). Weights are rounded to float32,
    which changes nothing for a graph read from a float32 file. Raises TypeError for a node or map without a rule.
    """
    builder = OnnxBuilder()
    n, classes = graph.input_size, graph.output_size
    x, v = builder.input("x", (BATCH, n)), builder.input("v", (BATCH, classes))
    values = forward_onnx(builder, graph, x)
    gradient = vjp_onnx(builder, graph, values, v, leak)
    return builder.model({"logits": (values[graph.output], (BATCH, classes)), "vjp": (gradient, (BATCH, n))})


def forward_onnx(builder: OnnxBuilder, graph: Graph, x: str) -> list[str]:
    """Append the graph's forward pass at the tensor `x` (batch, n); returns the tensor of every node."""
    return forward(graph, {kind: partial(rule, builder) for kind, rule in FORWARD.items()}, x)


def vjp_onnx(builder: OnnxBuilder, graph: Graph, values: list[str], cotangent: str, leak: float = 0.0) -> str:
    """Append cotangentᵀ·∂output/∂x, (batch, n), at the point where the forward pass gave `values`.

    `cotangent` has shape (batch, K) and may depend on the forward pass. Above 0, `leak` is the least slope that a ReLU,
    a clip or a sigmoid passes on: no gradient, but a direction where they are flat.
    """
    rules = dict(REVERSE)
    if leak:
        rules |= dict.fromkeys(FLAT, partial(_leaking, leak))
    table = {kind: partial(rule, builder, values) for kind, rule in rules.items()}
    arrived = reverse(graph, table, graph.output, cotangent, partial(builder.op, "Add"))
    if 0 in arrived:
        return arrived[0]
    return builder.op("Mul", values[0], builder.constant(0.0))


# Linear maps -------------------------------------------------------------------------------------------------------


def _plus(builder: OnnxBuilder, tensor: str, bias: Array | None) -> str:
    return tensor if bias is None else builder.op("Add", tensor, builder.constant(bias))


def _dense(builder: OnnxBuilder, linear: Dense, x: str, bias: Array | None) -> str:
    if linear.left == linear.right == 1:
        offset = () if bias is None else (builder.constant(bias),)
        return builder.op("Gemm", x, builder.constant(linear.weight), *offset, transB=1)
    if linear.right == 1:
        # One product with batch · left rows: a broadcast MatMul would make batch · left of them.
        rows = builder.reshape(x, (linear.weight.shape[1],))
        product = builder.op("MatMul", rows, builder.constant(linear.weight.T))
        return _plus(builder, builder.reshape(product, (linear.out_size,)), bias)
    return _plus(builder, _blocks(builder, linear, linear.weight, x), bias)


def _dense_adjoint(builder: OnnxBuilder, linear: Dense, y: str) -> str:
    if linear.left == linear.right == 1:
        return builder.op("MatMul", y, builder.constant(linear.weight))
    if linear.right == 1:
        rows = builder.reshape(y, (len(linear.weight),))
        product = builder.op("MatMul", rows, builder.constant(linear.weight))
        return builder.reshape(product, (linear.in_size,))
    return _blocks(builder, linear, linear.weight.T, y)


def _blocks(builder: OnnxBuilder, linear: Dense, matrix: Array, tensor: str) -> str:
    rows, columns = matrix.shape
    blocks = builder.reshape(tensor, (linear.left, columns, linear.right))
    product = builder.op("MatMul", builder.constant(matrix), blocks)
    return builder.reshape(product, (linear.left * rows * linear.right,))


def _conv(builder: OnnxBuilder, linear: Conv, x: str, bias: Array | None) -> str:
    image = builder.reshape(x, (linear.channels, *linear.spatial))
    channels = len(linear.weight)
    per_channel = None if bias is None else bias.reshape(channels, -1)
    shared = per_channel is not None and bool((per_channel == per_channel[:, :1]).all())
    offset = (builder.constant(per_channel[:, 0]),) if shared and per_channel is not None else ()
    weight = builder.constant(linear.weight)
    result = builder.op("Conv", image, weight, *offset, pads=linear.pads, **_geometry(linear))
    return _plus(builder, builder.reshape(result, (linear.out_size,)), None if shared else bias)


def _conv_adjoint(builder: OnnxBuilder, linear: Conv, y: str) -> str:
    """ConvTranspose onto the padded input, then the padding is cut off: right for asymmetric pads on every device."""
    kernel = linear.weight.shape[2:]
    reach = [d * (k - 1) + 1 for d, k in zip(linear.dilations, kernel, strict=True)]
    # Where the stride does not divide, the last entries of the padded input are read by no window: zeros.
    unread = [(n - r) % s for n, r, s in zip(linear.padded, reach, linear.strides, strict=True)]
    image = builder.reshape(y, (len(linear.weight), *linear.out_spatial))
    weight = builder.constant(linear.weight)
    padded = builder.op("ConvTranspose", image, weight, output_padding=unread, **_geometry(linear))
    if any(linear.pads):
        dimensions = len(linear.spatial)
        begin = linear.pads[:dimensions]
        end = [b + n for b, n in zip(begin, linear.spatial, strict=True)]
        axes = [2 + i for i in range(dimensions)]
        padded = builder.op("Slice", padded, builder.integers(begin), builder.integers(end), builder.integers(axes))
    return builder.reshape(padded, (linear.in_size,))


def _geometry(linear: Conv) -> dict[str, Any]:
    kernel = linear.weight.shape[2:]
    return {
        "kernel_shape": kernel,
        "strides": linear.strides,
        "dilations": linear.dilations,
        "group": linear.groups,
    }


def _select(builder: OnnxBuilder, linear: Select, x: str, bias: Array | None) -> str:
    return _plus(builder, _gather(builder, x, linear.in_size, linear.index), bias)


def _select_adjoint(builder: OnnxBuilder, linear: Select, y: str) -> str:
    """Column i of the result is the sum of the entries of y that read it: one Gather and a sum, no scatter."""
    kept = np.flatnonzero(linear.index >= 0)
    readers = kept[np.argsort(linear.index[kept], kind="stable")]
    counts = np.bincount(linear.index[kept], minlength=linear.in_size)
    places = np.full((linear.in_size, max(1, linear.fan_out)), -1, dtype=np.intp)
    rank = np.arange(readers.size) - np.repeat(np.cumsum(counts) - counts, counts)
    places[linear.index[readers], rank] = readers
    gathered = _gather(builder, y, linear.out_size, places.reshape(-1))
    if places.shape[1] == 1:
        return gathered
    summands = builder.reshape(gathered, places.shape)
    return builder.op("ReduceSum", summands, builder.integers([2]), keepdims=0)


def _gather(builder: OnnxBuilder, tensor: str, size: int, index: npt.NDArray[np.intp]) -> str:
    """Columns index[·] of a tensor (batch, size), zeros where the index is −1; free for the identity."""
    if index.size == size and np.array_equal(index, np.arange(size)):
        return tensor
    if (index < 0).any():
        tensor = builder.op("Pad", tensor, builder.integers([0, 0, 0, 1]))
    return builder.op("Gather", tensor, builder.integers(np.where(index < 0, size, index)), axis=1)


def _scale(builder: OnnxBuilder, linear: Scale, x: str, bias: Array | None) -> str:
    return _plus(builder, _scale_adjoint(builder, linear, x), bias)


def _scale_adjoint(builder: OnnxBuilder, linear: Scale, y: str) -> str:
    if (linear.quotient == 1.0).all():
        return y
    if (linear.quotient == -1.0).all():
        return builder.op("Neg", y)
    return builder.op("Mul", y, builder.constant(linear.quotient))


TAPS = 32
"""Rows of a sparse map with at most this many entries are gathered and summed; others make it a full matrix."""


def _sparse(builder: OnnxBuilder, linear: Sparse, x: str, bias: Array | None) -> str:
    if linear.fan_in > TAPS:
        product = builder.op("MatMul", x, builder.constant(linear.rows().T.toarray()))
        return _plus(builder, product, bias)
    counts = np.diff(linear.indptr)
    row = np.repeat(np.arange(linear.out_size), counts)
    tap = np.arange(row.size) - linear.indptr[row]
    shape = (linear.out_size, max(1, linear.fan_in))
    index, weight = np.full(shape, -1, dtype=np.intp), np.zeros(shape)
    index[row, tap], weight[row, tap] = linear.indices, linear.data
    gathered = builder.reshape(_gather(builder, x, linear.in_size, index.reshape(-1)), shape)
    products = builder.op("Mul", gathered, builder.constant(weight))
    return _plus(builder, builder.op("ReduceSum", products, builder.integers([2]), keepdims=0), bias)


def _sparse_adjoint(builder: OnnxBuilder, linear: Sparse, y: str) -> str:
    return _sparse(builder, linear.transposed, y, None)


MAP_FORWARD: Mapping[type, MapForward] = {
    Dense: _dense,
    Conv: _conv,
    Select: _select,
    Scale: _scale,
    Sparse: _sparse,
}
MAP_ADJOINT: Mapping[type, MapAdjoint] = {
    Dense: _dense_adjoint,
    Conv: _conv_adjoint,
    Select: _select_adjoint,
    Scale: _scale_adjoint,
    Sparse: _sparse_adjoint,
}


def _map_rule(table: Mapping[type, Any], linear: LinearMap) -> Any:
    try:
        return table[type(linear)]
    except KeyError:
        known = ", ".join(kind.__name__ for kind in table)
        raise TypeError(f"no ONNX rule for {type(linear).__name__} maps; there are rules for: {known}") from None


# Node kinds --------------------------------------------------------------------------------------------------------


def _affine(builder: OnnxBuilder, _: int, node: Affine, values: list[str]) -> str:
    bias = node.bias if node.bias.any() else None
    total = ""
    for term in node.terms:
        rule = _map_rule(MAP_FORWARD, term.map)
        part = rule(builder, term.map, values[term.source], None if total else bias)
        total = builder.op("Add", total, part) if total else part
    if total:
        return total
    zeros = builder.op("Mul", builder.row_sum(values[0]), builder.constant(0.0))
    return builder.op("Add", zeros, builder.constant(node.bias))


def _max(builder: OnnxBuilder, _: int, node: Max, values: list[str]) -> str:
    return builder.op("Max", *(values[source] for source in node.sources))


def _leaky(builder: OnnxBuilder, _: int, node: LeakyRelu, values: list[str]) -> str:
    return builder.op("PRelu", values[node.source], builder.constant(node.slope))


def _clip(builder: OnnxBuilder, _: int, node: Clip, values: list[str]) -> str:
    return builder.op("Clip", values[node.source], builder.constant(node.low), builder.constant(node.high))


FORWARD: Mapping[type, NodeForward] = {
    Affine: _affine,
    Relu: lambda builder, _, node, values: builder.op("Relu", values[node.source]),
    Abs: lambda builder, _, node, values: builder.op("Abs", values[node.source]),
    Max: _max,
    LeakyRelu: _leaky,
    Clip: _clip,
    Sigmoid: lambda builder, _, node, values: builder.op("Sigmoid", values[node.source]),
}


def _affine_reverse(
    builder: OnnxBuilder, _values: list[str], _index: int, node: Affine, message: str
) -> list[tuple[int, str]]:
    return [(term.source, _map_rule(MAP_ADJOINT, term.map)(builder, term.map, message)) for term in node.terms]


def _relu_slope(builder: OnnxBuilder, values: list[str], index: int, _: Relu) -> str:
    return builder.op("Sign", values[index])


def _clip_slope(builder: OnnxBuilder, values: list[str], index: int, node: Clip) -> str:
    return builder.mask(builder.op("Equal", values[node.source], values[index]))


def _sigmoid_slope(builder: OnnxBuilder, values: list[str], index: int, _: Sigmoid) -> str:
    return builder.op("Mul", values[index], builder.op("Sub", builder.constant(1.0), values[index]))


FLAT: Mapping[type, Callable[[OnnxBuilder, list[str], int, Any], str]] = {
    Relu: _relu_slope,
    Clip: _clip_slope,
    Sigmoid: _sigmoid_slope,
}
"""The slopes of what is flat somewhere."""


def _flat_reverse(
    builder: OnnxBuilder, values: list[str], index: int, node: Relu | Clip | Sigmoid, message: str
) -> list[tuple[int, str]]:
    return [(node.source, builder.op("Mul", message, FLAT[type(node)](builder, values, index, node)))]


def _leaking(
    leak: float, builder: OnnxBuilder, values: list[str], index: int, node: Relu | Clip | Sigmoid, message: str
) -> list[tuple[int, str]]:
    slope = builder.op("Max", FLAT[type(node)](builder, values, index, node), builder.constant(leak))
    return [(node.source, builder.op("Mul", message, slope))]


def _abs_reverse(builder: OnnxBuilder, values: list[str], _: int, node: Abs, message: str) -> list[tuple[int, str]]:
    return [(node.source, builder.op("Mul", message, builder.op("Sign", values[node.source])))]


def _max_reverse(builder: OnnxBuilder, values: list[str], index: int, node: Max, message: str) -> list[tuple[int, str]]:
    # Max returns one of its arguments bit for bit, so equality finds the winners; the last source takes what is left.
    parts = []
    for source in node.sources[:-1]:
        won = builder.mask(builder.op("Equal", values[source], values[index]))
        part = builder.op("Mul", message, won)
        message = builder.op("Sub", message, part)
        parts.append((source, part))
    return [*parts, (node.sources[-1], message)]


def _leaky_reverse(
    builder: OnnxBuilder, values: list[str], _: int, node: LeakyRelu, message: str
) -> list[tuple[int, str]]:
    above = builder.op("GreaterOrEqual", values[node.source], builder.constant(0.0))
    scaled = builder.op("Mul", message, builder.constant(node.slope))
    return [(node.source, builder.op("Where", above, message, scaled))]


REVERSE: Mapping[type, NodeReverse] = {
    Affine: _affine_reverse,
    **dict.fromkeys(FLAT, _flat_reverse),
    Abs: _abs_reverse,
    Max: _max_reverse,
    LeakyRelu: _leaky_reverse,
}
