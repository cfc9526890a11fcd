"""Checks a certificate, alone: `python checker.py FILE MODEL` needs Python, numpy and nothing of this project.

VALID means: no x of the box with ‖x − centre‖ < radius is adversarial for the network in MODEL, over the real numbers,
and the witness (if there is one) is. It shares no code with the engine, reads the ONNX file itself, calls no solver,
knows no tolerance, and computes with integers only: where it uses float64, every number in it is an integer that
float64 holds exactly. docs/certificate-format.md says what the file holds and why this proves it.

Exit codes: 0 valid, 1 invalid, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MAGIC = b"RELUCERT"
SCHEMA = 1
MOST_BYTES = 1 << 27
"""Of the unpacked certificate; a model may have twice as many. What is larger is refused, not unpacked."""
MOST_ENTRIES = 1 << 22
"""Of all tensors of the network together, and of what is evaluated at a time."""
FINEST = 60
"""The largest exponent q of a step 2⁻q of multipliers and bounds."""
EXACT_BITS = 53
"""Sums of integers below 2⁵³ are exact in float64, in any order."""
WORD_BITS = 62
"""Sums of integers below 2⁶² are exact in int64."""
LONGEST = 1000
"""Bits of the common denominator of a matrix: more of them are refused, as time without end."""
SLOPE_BITS = 24
"""Bits of the slopes u/(u − l) in the bounds of neurons."""
ROWS = 128
"""Leaves, or ends of neurons, that are evaluated at a time."""

Array = npt.NDArray[Any]
Attribute = Any


class InvalidError(Exception):
    """The certificate proves nothing, or not for this model; the text is the first reason."""


def need(condition: object, reason: str) -> None:
    """Refuse, for this reason, unless the condition holds."""
    if not condition:
        raise InvalidError(reason)


# ---------------------------------------------------------------------------------------------------------- integers


def split(integers: Array, bits: int) -> tuple[list[Array], Array]:
    """(digits of the absolute values in float64, the lowest first, each in [0, 2^bits); where they are < 0)."""
    rest: Any = abs(integers)
    most = int(rest.max(initial=0)).bit_length()
    if most <= WORD_BITS:
        rest = rest.astype(np.int64)
    mask = (1 << bits) - 1
    digits = [((rest >> bits * place) & mask).astype(np.float64) for place in range(max(1, -(-most // bits)))]
    return digits, np.asarray(integers < 0, dtype=bool)


def exact(values: Iterable[float]) -> tuple[Array, int]:
    """Finite floats as integers over one common power of two."""
    ratios = [float(value).as_integer_ratio() for value in values]
    common = max((below for _, below in ratios), default=1)
    integers = np.empty(len(ratios), dtype=object)
    integers[:] = [above * (common // below) for above, below in ratios]
    return integers, common


class Weights:
    """A stack (groups, k, n) of finite matrices as float64 digits over the denominator `den`, a power of two."""

    def __init__(self, stack: Array) -> None:
        need(np.all(np.isfinite(stack)) and stack.size, "a weight of the model is not finite, or a matrix is empty")
        self.shape = stack.shape
        self.bits = (EXACT_BITS - max(stack.shape[1:]).bit_length()) // 2
        integers, self.den = exact(stack.reshape(-1).tolist())
        need(self.den < 1 << LONGEST, "the weights of one layer differ too much in size")
        digits, negative = split(integers.reshape(stack.shape), self.bits)
        self.digits = [np.where(negative, -digit, digit) for digit in digits]

    def product(self, rows: Array, *, back: bool) -> Array:
        """rows (B, groups, left, k) · stack, or rows (B, groups, left, n) · its transpose; over den times theirs."""
        batch, groups, left, inner = rows.shape
        # One product for each group, whatever the batch.
        given, negative = split(rows.swapaxes(0, 1).reshape(groups, batch * left, inner), self.bits)
        parts: list[Any] = [0] * (len(given) + len(self.digits) - 1)
        need(min(len(given), len(self.digits)) < 1 << WORD_BITS - EXACT_BITS, "the numbers of a product are too long")
        for i, digit in enumerate(given):
            signed = np.where(negative, -digit, digit)
            for j, own in enumerate(self.digits):
                parts[i + j] = parts[i + j] + (signed @ (own.swapaxes(1, 2) if back else own)).astype(np.int64)
        total = parts[-1].astype(object)
        for part in parts[-2::-1]:
            total = (total << self.bits) + part
        result: Array = total.reshape(groups, batch, left, -1).swapaxes(0, 1)
        return result


# ---------------------------------------------------------------------------------------------------------- ONNX file


def varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        need(at < len(data), "the model file is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value & (2**64 - 1), at
    raise InvalidError("the model file holds a malformed number")


class Message:
    """One protobuf message: its fields by number, each a list of integers or of byte views."""

    def __init__(self, data: memoryview) -> None:
        self.fields: dict[int, list[Any]] = {}
        at = 0
        while at < len(data):
            tag, at = varint(data, at)
            kind = tag & 7
            value: Any
            if kind == 0:
                value, at = varint(data, at)
            else:
                need(kind in (1, 2, 5), "the model file holds an unknown kind of field")
                size = {1: 8, 5: 4}.get(kind)
                if size is None:
                    size, at = varint(data, at)
                need(size <= len(data) - at, "the model file is cut off")
                value, at = data[at : at + size], at + size
            self.fields.setdefault(tag >> 3, []).append(value)

    def one(self, number: int, default: Any = None) -> Any:
        values = self.fields.get(number, [default])
        need(len(values) == 1, "the model file gives a single field twice")
        return values[0]

    def text(self, number: int) -> str:
        return bytes(self.one(number, b"")).decode()

    def messages(self, number: int) -> list[Message]:
        return [Message(value) for value in self.fields.get(number, [])]

    def child(self, number: int) -> Message:
        return Message(self.one(number, memoryview(b"")))

    def integers(self, number: int) -> list[int]:
        """A repeated int64, packed or not."""
        found: list[int] = []
        for value in self.fields.get(number, []):
            if isinstance(value, int):
                found.append(value)
                continue
            at = 0
            while at < len(value):
                entry, at = varint(value, at)
                found.append(entry)
        return [value - 2**64 if value >= 2**63 else value for value in found]

    def joined(self, number: int) -> bytes:
        return b"".join(bytes(value) for value in self.fields.get(number, []))


TENSOR_TYPES: dict[int, tuple[str, int]] = {1: ("<f4", 4), 7: ("<i8", 7), 10: ("<f2", 0), 11: ("<f8", 10)}
"""ONNX's element types: numpy's name, and the field that holds the entries when `raw_data` does not."""


def tensor(message: Message) -> Array:
    """A TensorProto with its data inside the file."""
    kind = message.one(2)
    need(kind in TENSOR_TYPES, f"tensor '{message.text(8)}' is of a type that is not read here")
    need(not message.fields.get(13) and not message.one(14, 0), f"tensor '{message.text(8)}' lies in another file")
    name, place = TENSOR_TYPES[kind]
    if message.fields.get(9):
        values = np.frombuffer(bytes(message.one(9)), dtype=name)
    elif name == "<i8":
        values = np.array(message.integers(place), dtype=name)
    else:
        values = np.frombuffer(message.joined(place) if place else b"", dtype=name)
    shape = tuple(message.integers(1))
    need(all(n >= 0 for n in shape) and math.prod(shape) == values.size, f"tensor '{message.text(8)}' is cut off")
    return values.reshape(shape)


ATTRIBUTES: dict[int, Callable[[Message], Attribute]] = {
    1: lambda message: struct.unpack("<f", bytes(message.one(2, b"\0\0\0\0")))[0],
    2: lambda message: signed(message.one(3, 0)),
    3: lambda message: message.text(4),
    4: lambda message: tensor(message.child(5)),
    6: lambda message: np.frombuffer(message.joined(7), dtype="<f4").tolist(),
    7: lambda message: message.integers(8),
}


def signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


class Node:
    """One operator of the file; every attribute has to be asked for, so that none is overlooked."""

    def __init__(self, message: Message, opset: int) -> None:
        self.opset = opset
        self.op = message.text(4)
        self.inputs = [bytes(name).decode() for name in message.fields.get(1, [])]
        self.outputs = [bytes(name).decode() for name in message.fields.get(2, [])]
        need(message.text(7) in ("", "ai.onnx"), f"operator {self.op} is not ONNX's own")
        self._attributes: dict[str, Attribute] = {}
        for entry in message.messages(5):
            kind = entry.one(20)
            need(kind in ATTRIBUTES, f"operator {self.op} has an attribute of an unknown type")
            self._attributes[entry.text(1)] = ATTRIBUTES[kind](entry)

    def take(self, name: str, default: Attribute) -> Attribute:
        return self._attributes.pop(name, default)

    def done(self) -> None:
        need(not self._attributes, f"operator {self.op} has attributes that are not read here: {[*self._attributes]}")


# ------------------------------------------------------------------------------------------------------------ network


@dataclass(frozen=True)
class Step:
    """A step of the network, by `kind`: y = x[index], x · weights, (factor · x + offset) / den, Σ sources, relu(x)."""

    kind: str
    sources: tuple[str, ...]
    out: str
    weights: Any = None
    index: Any = None
    factor: Any = None
    offset: Any = None
    den: int = 1
    layer: int = -1
    left: int = 1


@dataclass
class Network:
    """The steps of a model from `input` to `output`; `layers` names each ReLU layer with its size."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    layers: list[tuple[str, int]] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    input: str = ""
    output: str = ""
    dtype: str = "<f4"
    entries: int = 0

    def size(self, name: str) -> int:
        return math.prod(self.shapes[name])

    def add(self, kind: str, sources: Sequence[str], out: str, shape: Sequence[int], **rest: Any) -> str:
        need(out and out not in self.shapes and out not in self.constants, f"tensor '{out}' is given twice")
        need(all(n > 0 for n in shape), f"tensor '{out}' is empty")
        self.shapes[out] = tuple(int(n) for n in shape)
        self.entries += math.prod(self.shapes[out])
        need(self.entries <= MOST_ENTRIES, "the model is too large")
        self.steps.append(Step(kind, tuple(sources), out, **rest))
        return out

    def move(self, source: str, out: str, index: Array) -> str:
        """y = x[index] in the shape of `index`; 0 where it is −1."""
        return self.add("move", [source], out, index.shape, index=index.reshape(-1))

    def multiply(self, source: str, out: str, stack: Array, shape: Sequence[int]) -> str:
        weights = Weights(stack)
        return self.add("product", [source], out, shape, weights=weights, left=self.size(source) // stack[..., 0].size)

    def scale(self, source: str, out: str, factor: Array | None, divisor: Array | None, offset: Array | None) -> str:
        """factor · x / divisor + offset, entry by entry: exact fractions over one denominator."""
        shape = self.shapes[source]

        def spread(values: Array | None, otherwise: int) -> list[Fraction]:
            if values is None:
                return [Fraction(otherwise)] * self.size(source)
            need(np.broadcast_shapes(values.shape, shape) == shape, f"tensor '{out}' is broadcast: not read here")
            return [Fraction(float(value)) for value in np.broadcast_to(values, shape).reshape(-1)]

        above, below = spread(factor, 1), spread(divisor, 1)
        need(all(below), f"tensor '{out}' divides by zero")
        ratios = [a / b for a, b in zip(above, below, strict=True)]
        shift = spread(offset, 0)
        den = math.lcm(*(value.denominator for value in itertools.chain(ratios, shift)))
        if factor is None and divisor is None:
            numbers, den = exact(float(value) for value in shift)
            return self.add("scale", [source], out, shape, offset=numbers, den=den)
        return self.add("scale", [source], out, shape, factor=whole(ratios, den), offset=whole(shift, den), den=den)

    def relu(self, source: str, out: str) -> str:
        self.layers.append((out, self.size(source)))
        self.arguments.append(source)
        return self.add("relu", [source], out, self.shapes[source], layer=len(self.layers) - 1)

    def forward(self, x: Array, den: int) -> tuple[Array, int]:
        """The output (K,) over a denominator at the input x (n,) over `den`, exactly."""
        values = {self.input: (x.reshape(1, -1), den)}
        for step in self.steps:
            parts = [FORWARD[step.kind](step, *values[source]) for source in step.sources]
            values[step.out] = total(parts)
        result, den = values[self.output]
        return result[0], den

    def backward(self, start: str, rows: Array, den: int, relu: Relu) -> tuple[Array | None, int, list[Term]]:
        """rows · value of `start` as g · x + Σ terms, `relu` replacing each ReLU: (g over a denominator, terms)."""
        messages = {start: (rows, den)}
        terms: list[Term] = []
        for step in reversed(self.steps):
            message = messages.pop(step.out, None)
            if message is None:
                continue
            if step.kind == "relu":
                nu, below, share = relu(step.layer, *message)
                terms.append(share)
                sent = nu, below
            else:
                if step.offset is not None:
                    terms.append((message[0] @ step.offset, message[1] * step.den))
                sent = BACKWARD[step.kind](step, self.size(step.sources[0]), *message)
            for source in step.sources:
                messages[source] = total([messages[source], sent]) if source in messages else sent
        found, below = messages.get(self.input, (None, 1))
        return found, below, terms


Value = tuple[Array, int]
"""(B, n) integers over a denominator."""
Term = tuple[Array, int]
"""(B,) integers over a denominator."""
Relu = Callable[[int, Array, int], tuple[Array, int, Term]]
"""(layer, μ, denominator) → (ν, its denominator, a lower bound of Σ_j μ_j relu(t_j) − ν_j t_j)."""


def whole(values: Sequence[Fraction], den: int) -> Array:
    integers = np.empty(len(values), dtype=object)
    integers[:] = [value.numerator * (den // value.denominator) for value in values]
    return integers


def total(values: Sequence[Value]) -> Value:
    """The sum of integers over denominators."""
    common = math.lcm(*(den for _, den in values))
    return sum((value * (common // den) for value, den in values[1:]), values[0][0] * (common // values[0][1])), common


def gathered(step: Step, value: Array, den: int) -> Value:
    return np.where(step.index >= 0, value[:, step.index], 0), den


def scattered(step: Step, size: int, value: Array, den: int) -> Value:
    order = np.argsort(step.index, kind="stable")
    order = order[np.count_nonzero(step.index < 0) :]
    places, starts = np.unique(step.index[order], return_index=True)
    result = np.zeros((len(value), size), dtype=object)
    if places.size:
        result[:, places] = np.add.reduceat(value[:, order], starts, axis=1)
    return result, den


def multiplied(step: Step, value: Array, den: int, *, back: bool = False) -> Value:
    groups, k, n = step.weights.shape
    rows = value.reshape(len(value), groups, step.left, n if back else k)
    return step.weights.product(rows, back=back).reshape(len(value), -1), den * step.weights.den


def scaled(step: Step, value: Array, den: int) -> Value:
    return (value, den) if step.factor is None else (value * step.factor, den * step.den)


def shifted(step: Step, value: Array, den: int) -> Value:
    return total([scaled(step, value, den), (step.offset, step.den)])


FORWARD: dict[str, Callable[..., Value]] = {
    "move": gathered,
    "product": multiplied,
    "scale": shifted,
    "sum": lambda _, value, den: (value, den),
    "relu": lambda _, value, den: (np.maximum(value, 0), den),
}
BACKWARD: dict[str, Callable[..., Value]] = {
    "move": scattered,
    "product": lambda step, _, value, den: multiplied(step, value, den, back=True),
    "scale": lambda step, _, value, den: scaled(step, value, den),
    "sum": lambda _, __, value, den: (value, den),
}


# ---------------------------------------------------------------------------------------------------------- operators


def number(net: Network, node: Node, place: int) -> Array | None:
    """The constant input at `place` in float64; None where it is left out."""
    if place >= len(node.inputs) or not node.inputs[place]:
        return None
    need(node.inputs[place] in net.constants, f"operator {node.op} needs a constant as input {place}")
    values = net.constants[node.inputs[place]]
    need(values.dtype != np.int64, f"operator {node.op} needs float weights")
    return values.astype(np.float64)


def weight(net: Network, node: Node, place: int) -> Array:
    values = number(net, node, place)
    if values is None:
        raise InvalidError(f"operator {node.op} lacks input {place}")
    return values


def gemm(net: Network, node: Node, x: str, out: str) -> None:
    alpha, trans = node.take("alpha", 1.0), node.take("transB", 0)
    need(node.take("beta", 1.0) == 1.0 and not node.take("transA", 0), "Gemm with beta or transA is not read here")
    matrix, shape = weight(net, node, 1), net.shapes[x]
    matrix = matrix.T if trans else matrix
    need(matrix.ndim == 2 and len(shape) == 2 and shape[1] == matrix.shape[0], "Gemm does not fit its input")
    product = net.multiply(x, f"{out}#p", matrix[np.newaxis], (shape[0], matrix.shape[1]))
    net.scale(product, out, None if alpha == 1.0 else np.array(alpha), None, number(net, node, 2))


def matmul(net: Network, node: Node, x: str, out: str) -> None:
    first = x == node.inputs[0]
    matrix, shape = weight(net, node, 1 if first else 0), net.shapes[x]
    need(matrix.ndim == 2, "MatMul is read with one matrix")
    if first:
        need(shape and shape[-1] == matrix.shape[0], "MatMul does not fit its input")
        net.multiply(x, out, matrix[np.newaxis], (*shape[:-1], matrix.shape[1]))
        return
    need(shape in ((matrix.shape[1],), (matrix.shape[1], 1)), "MatMul by a matrix from the left is read for a column")
    net.multiply(x, out, matrix.T[np.newaxis], (matrix.shape[0], *shape[1:]))


def add(net: Network, node: Node, x: str, out: str) -> None:
    sign = -1.0 if node.op == "Sub" else 1.0
    need(len(node.inputs) == 2, f"{node.op} of two tensors is read")
    if all(name in net.shapes for name in node.inputs):
        one, other = node.inputs
        need(net.shapes[one] == net.shapes[other], f"{node.op} with broadcasting is not read here")
        if sign < 0:
            other = net.scale(other, f"{out}#n", np.array(-1.0), None, None)
        net.add("sum", [one, other], out, net.shapes[one])
    elif x == node.inputs[0]:
        net.scale(x, out, None, None, sign * weight(net, node, 1))
    else:
        net.scale(x, out, np.array(sign) if sign < 0 else None, None, weight(net, node, 0))


def times(net: Network, node: Node, x: str, out: str) -> None:
    first = x == node.inputs[0]
    need(first or node.op == "Mul", "a division by a variable is not linear")
    values = weight(net, node, 1 if first else 0)
    factor, divisor = (values, None) if node.op == "Mul" else (None, values)
    net.scale(x, out, factor, divisor, None)


def normalise(net: Network, node: Node, x: str, out: str) -> None:
    """γ/√(σ² + ε)·(x − μ) + β; the factor in float64, rounded once: so the network is defined."""
    epsilon, training = node.take("epsilon", float(np.float32(1e-5))), node.take("training_mode", 0)
    need(not training and node.take("spatial", 1) == 1 and len(node.outputs) == 1, "BatchNormalization in training")
    node.take("momentum", 0.9)
    shape = net.shapes[x]
    gamma, beta, mean, variance = (weight(net, node, place) for place in range(1, 5))
    need(len(shape) > 1 and {v.shape for v in (gamma, beta, mean, variance)} == {shape[1:2]}, "BatchNormalization")
    need(np.all(variance + epsilon > 0), "BatchNormalization of a negative variance")
    channels = (shape[1], *(1 for _ in shape[2:]))
    factor = (gamma / np.sqrt(variance + epsilon)).reshape(channels)
    centred = net.scale(x, f"{out}#c", None, None, -mean.reshape(channels))
    net.scale(centred, out, factor, None, beta.reshape(channels))


def windows(net: Network, node: Node, x: str, kernel: Sequence[int]) -> tuple[Array, tuple[int, ...]]:
    """(index (places, taps) into one channel, −1 in the padding; the places' shape) of a sliding kernel."""
    spatial = net.shapes[x][2:]
    d = len(spatial)
    strides, dilations = node.take("strides", [1] * d), node.take("dilations", [1] * d)
    pads = node.take("pads", [0] * 2 * d)
    need(
        node.take("auto_pad", "NOTSET") in ("NOTSET", "VALID") and not node.take("ceil_mode", 0), "auto_pad, ceil_mode"
    )
    need(d and len(kernel) == len(strides) == len(dilations) == d and len(pads) == 2 * d, f"{node.op} does not fit")
    need(min(*kernel, *strides, *dilations) > 0 and min(pads) >= 0, f"{node.op} has a window without sense")
    index, valid, places = np.zeros((), dtype=np.int64), np.ones((), dtype=bool), []
    for axis, n in enumerate(spatial):
        room = n + pads[axis] + pads[d + axis] - dilations[axis] * (kernel[axis] - 1) - 1
        need(0 <= room < MOST_ENTRIES, f"the window of {node.op} does not fit")
        places.append(room // strides[axis] + 1)
        need(index.size * kernel[axis] * places[-1] <= MOST_ENTRIES, f"{node.op} is too large")
        at = np.add.outer(np.arange(places[-1]) * strides[axis], np.arange(kernel[axis]) * dilations[axis]) - pads[axis]
        index, valid = np.add.outer(index * n, at), np.logical_and.outer(valid, (at >= 0) & (at < n))
    order = (*range(0, 2 * d, 2), *range(1, 2 * d, 2))
    rows = (math.prod(places), math.prod(kernel))
    return np.where(valid, index, -1).transpose(order).reshape(rows), tuple(places)


def per_channel(index: Array, channels: int, step: int) -> Array:
    """An index into one channel, for each of several in turn: (channels, *its shape)."""
    need(index.size * channels <= MOST_ENTRIES, "a window is too large")
    moved = index + step * np.arange(channels).reshape(-1, *(1 for _ in index.shape))
    return np.where(index >= 0, moved, -1)


def conv(net: Network, node: Node, x: str, out: str) -> None:
    kernels, shape, groups = weight(net, node, 1), net.shapes[x], node.take("group", 1)
    need(len(shape) > 2 and kernels.ndim == len(shape) and shape[0] == 1, "Conv of a batch of one is read")
    m, c = kernels.shape[:2]
    need(groups > 0 and shape[1] == groups * c and m % groups == 0, "Conv does not fit its channels")
    need(tuple(node.take("kernel_shape", kernels.shape[2:])) == kernels.shape[2:], "Conv's kernel_shape")
    index, places = windows(net, node, x, kernels.shape[2:])
    count, taps = index.shape
    every = per_channel(index, shape[1], math.prod(shape[2:])).reshape(groups, c, count, taps).transpose(0, 2, 1, 3)
    patches = net.move(x, f"{out}#i", every.reshape(groups, count, c * taps))
    stack = kernels.reshape(groups, m // groups, c * taps).swapaxes(1, 2)
    product = net.multiply(patches, f"{out}#p", stack, (groups, count, m // groups))
    turned = np.arange(m * count).reshape(groups, count, m // groups).swapaxes(1, 2).reshape(1, m, *places)
    bias = number(net, node, 2)
    result = net.move(product, out if bias is None else f"{out}#m", turned)
    if bias is not None:
        need(bias.shape == (m,), "Conv's bias does not fit")
        net.scale(result, out, None, None, bias.reshape(m, *(1 for _ in places)))


def average(net: Network, node: Node, x: str, out: str) -> None:
    shape, padded = net.shapes[x], node.take("count_include_pad", 0)
    kernel = shape[2:] if node.op == "GlobalAveragePool" else node.take("kernel_shape", ())
    index, places = windows(net, node, x, kernel)
    count, taps = index.shape
    channels = math.prod(shape[:2])
    counts = np.full(count, taps) if padded else (index >= 0).sum(axis=1)
    need(np.all(counts), "a window lies in the padding only")
    patches = net.move(x, f"{out}#i", per_channel(index, channels, math.prod(shape[2:])))
    together = net.multiply(patches, f"{out}#p", np.ones((1, taps, 1)), (*shape[:2], *places))
    net.scale(together, out, None, counts.astype(np.float64).reshape(places), None)


def max_pool(net: Network, node: Node, x: str, out: str) -> None:
    """A tournament: while two are left, max(a, b) = relu(a − b) + b."""
    shape = net.shapes[x]
    need(len(node.outputs) == 1 and not node.take("storage_order", 0), "MaxPool with indices is not read here")
    index, places = windows(net, node, x, node.take("kernel_shape", ()))
    taps = index.shape[1]
    need(taps <= MOST_PLAYERS and np.all(index >= 0), "MaxPool with padding or of a large window is not read here")
    every = per_channel(index, math.prod(shape[:2]), math.prod(shape[2:])).reshape(*shape[:2], *places, taps)
    tournament(net, [net.move(x, f"{out}#{tap}", every[..., tap]) for tap in range(taps)], out)


MOST_PLAYERS = 9


def maximum(net: Network, node: Node, _: str, out: str) -> None:
    need(all(name in net.shapes for name in node.inputs), "Max with a constant is not read here")
    need(len(node.inputs) <= MOST_PLAYERS and len({net.shapes[name] for name in node.inputs}) == 1, "Max")
    tournament(net, list(node.inputs), out)


def tournament(net: Network, players: list[str], out: str) -> None:
    shape, game = net.shapes[players[0]], 0
    while len(players) > 1:
        winners = []
        for a, b in zip(players[0::2], players[1::2], strict=False):
            game += 1
            minus = net.scale(b, f"{out}#n{game}", np.array(-1.0), None, None)
            ahead = net.relu(net.add("sum", [a, minus], f"{out}#d{game}", shape), f"{out}#r{game}")
            winners.append(net.add("sum", [ahead, b], f"{out}#w{game}", shape))
        players = winners + players[2 * len(winners) :]
    net.move(players[0], out, np.arange(math.prod(shape)).reshape(shape))


def leaky(net: Network, node: Node, x: str, out: str) -> None:
    """s·x + relu(x) − s·relu(x)."""
    slope = np.array(node.take("alpha", float(np.float32(0.01))))
    relu = net.relu(x, f"{out}#r")
    parts = [net.scale(x, f"{out}#s", slope, None, None), relu, net.scale(relu, f"{out}#n", -slope, None, None)]
    net.add("sum", parts, out, net.shapes[x])


def clip(net: Network, node: Node, x: str, out: str) -> None:
    """l + relu(x − l) − relu(x − u)."""
    given = [node.take("min", None), node.take("max", None)]
    ends = [number(net, node, place) if node.opset > 10 else given[place - 1] for place in (1, 2)]
    need(all(end is not None and np.size(end) == 1 for end in ends), "Clip is read with two ends")
    low, high = (np.array(end, dtype=np.float64).reshape(()) for end in ends)
    need(low <= high, "Clip's ends are the wrong way round")
    above = net.relu(net.scale(x, f"{out}#u", None, None, -high), f"{out}#a")
    below = net.relu(net.scale(x, f"{out}#l", None, None, -low), f"{out}#b")
    minus = net.scale(above, f"{out}#n", np.array(-1.0), None, None)
    net.scale(net.add("sum", [below, minus], f"{out}#s", net.shapes[x]), out, None, None, low)


def moved(net: Network, node: Node, x: str, out: str) -> None:
    """What only re-shapes or permutes entries: the same done to their numbers."""
    shape = net.shapes[x]
    index = np.arange(math.prod(shape)).reshape(shape)
    if node.op == "Flatten":
        axis = node.take("axis", 1)
        axis += len(shape) if axis < 0 else 0
        need(0 <= axis <= len(shape), "Flatten's axis")
        index = index.reshape(math.prod(shape[:axis]), -1)
    elif node.op == "Transpose":
        index = index.transpose(node.take("perm", [*range(len(shape))[::-1]]))
    elif node.op == "Reshape":
        given = net.constants.get(node.inputs[1])
        need(given is not None and given.dtype == np.int64 and not node.take("allowzero", 0), "Reshape by no constant")
        wanted = [] if given is None else given.reshape(-1).tolist()
        index = index.reshape([shape[place] if n == 0 else n for place, n in enumerate(wanted)])
    net.move(x, out, index)


Rule = Callable[[Network, Node, str, str], Any]
OPERATORS: dict[str, Rule] = {
    "Add": add,
    "AveragePool": average,
    "BatchNormalization": normalise,
    "Clip": clip,
    "Conv": conv,
    "Div": times,
    "Flatten": moved,
    "Gemm": gemm,
    "GlobalAveragePool": average,
    "Identity": moved,
    "LeakyRelu": leaky,
    "MatMul": matmul,
    "Max": maximum,
    "MaxPool": max_pool,
    "Mul": times,
    "Neg": lambda net, _, x, out: net.scale(x, out, np.array(-1.0), None, None),
    "Relu": lambda net, _, x, out: net.relu(x, out),
    "Reshape": moved,
    "Sub": add,
    "Transpose": moved,
}
"""What is read of nodes that depend on the input; everything else is refused by name."""
SYMMETRIC = ("Add", "MatMul", "Max", "Mul", "Sub")
"""Operators whose variable may be another input than the first."""


def read_network(content: bytes) -> Network:
    """The network in an ONNX file."""
    model = Message(memoryview(content))
    graph = model.child(7)
    versions = [entry.one(2, 0) for entry in model.messages(8) if entry.text(1) in ("", "ai.onnx")]
    need(len(versions) == 1 and 7 <= versions[0] <= 30, "the model names no opset that is read here")
    need(not graph.fields.get(15), "sparse weights are not read here")
    net = Network()
    for message in graph.messages(5):
        need(message.text(8) not in net.constants, f"tensor '{message.text(8)}' is given twice")
        net.constants[message.text(8)] = tensor(message)
    inputs = [entry for entry in graph.messages(11) if entry.text(1) not in net.constants]
    outputs = graph.messages(12)
    need(len(inputs) == len(outputs) == 1, "a model with one input and one output is read")
    kind = inputs[0].child(2).child(1)
    need(kind.one(1) in TENSOR_TYPES and kind.one(1) != 7, "the model's input is no float tensor")
    net.dtype = TENSOR_TYPES[kind.one(1)][0]
    sizes = [signed(entry.one(1, 0)) for entry in kind.child(2).messages(1)]
    shape = tuple(1 if place == 0 and n <= 0 and len(sizes) > 1 else n for place, n in enumerate(sizes))
    need(shape and all(n > 0 for n in shape) and math.prod(shape) <= MOST_ENTRIES, "the input's shape is not fixed")
    net.input = inputs[0].text(1)
    need(net.input, "the model's input has no name")
    net.shapes[net.input] = shape
    nodes = [Node(message, versions[0]) for message in graph.messages(1)]
    last = scores(nodes, outputs[0].text(1))
    for node in needed(nodes, last):
        translate(net, node)
    need(last in net.shapes, "the model's output does not depend on its input")
    need(net.shapes[last][-1] == net.size(last), "the model's output is not one vector of scores")
    net.output = last
    return net


def scores(nodes: Sequence[Node], output: str) -> str:
    """The scores: the output, or what stands before a Softmax at the very end."""
    givers = {node.outputs[0]: node for node in nodes if node.outputs}
    name = output
    for _ in nodes:
        if name not in givers or givers[name].op != "Identity":
            break
        name = givers[name].inputs[0]
    if name not in givers or givers[name].op not in ("Softmax", "LogSoftmax"):
        return output
    need(givers[name].take("axis", -1) in (-1, 1), "Softmax along another axis is not read here")
    return givers[name].inputs[0]


def needed(nodes: Sequence[Node], output: str) -> list[Node]:
    """The nodes on which the output depends, in the order of the file."""
    wanted, found = {output}, []
    for node in reversed(nodes):
        if wanted.intersection(node.outputs):
            found.append(node)
            wanted.update(node.inputs)
    return found[::-1]


def translate(net: Network, node: Node) -> None:
    """Add one operator's steps; constants are kept as they are."""
    variables = [name for name in node.inputs if name in net.shapes]
    out = node.outputs[0]
    if variables:
        need(node.op in OPERATORS, f"operator {node.op} is not read here")
        need(node.op in SYMMETRIC or variables == [node.inputs[0]], f"operator {node.op} has a variable as parameter")
        need(not any(node.outputs[1:]), f"operator {node.op} has several outputs")
        OPERATORS[node.op](net, node, variables[0], out)
        node.done()
        return
    need(out not in net.constants and out not in net.shapes, f"tensor '{out}' is given twice")
    known = net.constants.get(node.inputs[0]) if node.op == "Identity" else None
    value: Any = node.take("value", None) if node.op == "Constant" else known
    need(isinstance(value, np.ndarray), f"operator {node.op} on constants is not read here")
    net.constants[out] = value


# -------------------------------------------------------------------------------------------------------- certificate


@dataclass(frozen=True)
class Query:
    """What is asked: the box and the ball around `centre`, in floats; target None: any class but the label."""

    norm: str
    label: int | None
    target: int | None
    margin: float
    centre: Array
    lo: Array
    hi: Array

    def targets(self, classes: int) -> list[int]:
        wanted = [self.target] if self.target is not None else [k for k in range(classes) if k != self.label]
        need(wanted and all(k is not None and 0 <= k < classes for k in wanted), "the target is no class of the model")
        need(self.target is not None or (self.label is not None and 0 <= self.label < classes), "the label is no class")
        return [k for k in wanted if k is not None]

    def digest(self, model: str) -> str:
        numbers = [
            np.broadcast_to(v, self.centre.shape).astype("<f8").tobytes() for v in (self.centre, self.lo, self.hi)
        ]
        words = json.dumps([model, self.norm, self.label, self.target, self.margin.hex()])
        return hashlib.sha256(b"".join([words.encode(), *numbers])).hexdigest()


class Region:
    """{x : lo ≤ x ≤ hi, ‖x − centre‖ ≤ radius}, a radius of None for the whole box; all in integers over `unit`."""

    def __init__(self, query: Query, radius: float | None) -> None:
        n = query.centre.size
        need(radius is not None or np.all(np.isfinite([query.lo, query.hi])), "the whole of an unbounded box")
        finite = [np.where(np.isfinite(end), end, query.centre) for end in (query.lo, query.hi)]
        numbers, self.unit = exact(np.concatenate([query.centre, *finite, [radius or 0.0]]).tolist())
        centre, lo, hi, self.radius = numbers[:n], numbers[n : 2 * n], numbers[2 * n : 3 * n], int(numbers[-1])
        self.knapsack = radius is not None and query.norm == "l1"
        down, up = centre - lo, hi - centre
        if radius is not None:
            down = np.where(np.isfinite(query.lo), np.minimum(down, self.radius), self.radius)
            up = np.where(np.isfinite(query.hi), np.minimum(up, self.radius), self.radius)
        self.centre, self.down, self.up = centre, down, up
        self._rooms = [(room.astype(object) / self.unit).astype(np.float64) for room in (down, up)]

    def least(self, rows: Array, den: int) -> Term:
        """A lower bound of rows · x over the region, (B,); exact but for the choice of τ, any of which is valid.

        min g·x ≥ g·centre − τ·radius − Σ_i max(0, |g_i| − τ)·room_i, with τ = 0 but for balls in L1.
        """
        result, size, negative = rows @ self.centre, abs(rows), np.asarray(rows < 0, dtype=bool)
        if self.knapsack:
            slope = self._threshold(size, negative)
            result, size = result - slope * self.radius, np.maximum(size - slope[:, np.newaxis], 0)
        return result - (size * np.where(negative, self.up, self.down)).sum(axis=1), den * self.unit

    def _threshold(self, size: Array, negative: Array) -> Array:
        """For each row about the |g_i| at which the radius is used up when the steepest entries move first."""
        shift = max(0, int(size.max(initial=0)).bit_length() - EXACT_BITS)
        steep = (size >> shift).astype(np.int64)
        room = np.where(negative, self._rooms[1], self._rooms[0])
        order = np.argsort(-steep, axis=1)
        used = np.cumsum(np.take_along_axis(room, order, axis=1), axis=1) >= self.radius / self.unit
        place = np.take_along_axis(order, used.argmax(axis=1)[:, np.newaxis], axis=1)
        found = np.where(used.any(axis=1), np.take_along_axis(steep, place, axis=1)[:, 0], 0)
        return found.astype(object) << shift


@dataclass(frozen=True)
class Layer:
    """What is known of the arguments of one ReLU layer: those that are `kept` are ≥ low, and ≥ 0 where they are
    `active`, else ≤ high (integers over 2^step, low < 0 < high); all others are ≤ 0."""

    kept: Array
    active: Array
    low: Array
    high: Array
    step: int

    def argument(self, mu: Array, den: int, given: Array, q: int, low: Array, high: Array) -> tuple[Array, int, Term]:
        """`Relu` with ν = given/2^q at open ReLUs, ⌊μ·2^q⌋/2^q − given/2^q at active ones, given ≥ 0, and 0 elsewhere.

        The least of μ relu(t) − ν t is min(0, −ν·low, (μ − ν)·high) for low ≤ t ≤ high, (μ − ν)·low for t ≥ low ≥ 0
        and μ ≥ ν, and 0 for t ≤ 0 = ν.
        """
        own = mu[:, self.kept] << q
        chosen = np.where(self.active, own // den - given, given)
        nu = np.zeros(mu.shape, dtype=object)
        nu[:, self.kept] = chosen
        rest = own - chosen * den
        ends = np.minimum(np.minimum(-chosen * den * low, rest * high), 0)
        share = np.where(self.active, rest * low, ends).sum(axis=1)
        return nu, 1 << q, (share, den << (q + self.step))

    def lines(self, mu: Array, den: int, q: int) -> Array:
        """What is given for ν by the lines of CROWN: α·μ at open ReLUs with μ > 0, u/(u − l)·μ at other open ones."""
        alpha = np.where(self.high > -self.low, 1 << SLOPE_BITS, 0).astype(object)
        steep = (self.high << SLOPE_BITS) // np.maximum(self.high - self.low, 1)
        own = mu[:, self.kept]
        found: Array = (np.where(own > 0, own * alpha, own * steep) << q) // (den << SLOPE_BITS)
        return np.where(self.active, 0, found)


@dataclass(frozen=True)
class Tree:
    """A split tree over one target's goal: `leaves` (L, 1 + rows + kept) has q, λ·2^q and what is given for ν of each
    leaf; `off` and `on` (L, kept) say which ReLUs are ≤ 0 and ≥ 0 there."""

    target: int
    leaves: Array
    off: Array
    on: Array


class Proof:
    """The network over one region, with bounds of ReLU layers as far as they have been established."""

    def __init__(self, net: Network, query: Query, radius: float | None, fine: int) -> None:
        self.net, self.query, self.fine = net, query, fine
        self.region = Region(query, radius)
        self.layers: list[Layer] = []
        self.rows = max(1, min(ROWS, MOST_ENTRIES // max(net.size(name) for name in net.shapes)))

    def value(self, start: str, rows: Array, den: int, relu: Relu) -> Term:
        """A lower bound of rows · (value of `start`) over the region, (B,)."""
        found, below, terms = self.net.backward(start, rows, den, relu)
        if found is not None:
            terms.append(self.region.least(found, below))
        common = math.lcm(*(den for _, den in terms))
        return sum((value * (common // den) for value, den in terms), np.zeros(len(rows), dtype=object)), common

    def ends(self, layer: int, entries: Array, signs: Array) -> Term:
        """Lower bounds of sign · argument for entries of a layer, by the lines of CROWN in the layers before."""
        start = self.net.arguments[layer]
        above: list[Array] = []
        common = 1
        for first in range(0, len(entries), self.rows):
            chosen, sign = entries[first : first + self.rows], signs[first : first + self.rows]
            rows = np.zeros((len(chosen), self.net.size(start)), dtype=object)
            rows[np.arange(len(chosen)), chosen] = sign
            part, below = self.value(start, rows, 1, self._by_lines)
            new = math.lcm(common, below)
            above = [values * (new // common) for values in above] + [part * (new // below)]
            common = new
        return np.concatenate([np.zeros(0, dtype=object), *above]), common

    def _by_lines(self, layer: int, mu: Array, den: int) -> tuple[Array, int, Term]:
        known = self.layers[layer]
        return known.argument(mu, den, known.lines(mu, den, self.fine), self.fine, known.low, known.high)

    def establish(self, layer: Layer) -> None:
        """Take the bounds of the next layer; refuse them when they do not follow."""
        place = len(self.layers)
        name, size = self.net.layers[place]
        sound = np.where(layer.active, layer.low >= 0, (layer.low < 0) & (layer.high > 0))
        need(np.all(sound), f"layer '{name}': the sign of a bound is wrong")
        tops = np.zeros(size, dtype=object)
        tops[layer.kept] = -layer.high
        down = np.setdiff1d(np.arange(size), layer.kept[layer.active])
        entries, signs = np.concatenate([layer.kept, down]), np.repeat([1, -1], [layer.kept.size, down.size])
        value, den = self.ends(place, entries, signs)
        wrong = (value << layer.step) < np.concatenate([layer.low, tops[down]]) * den
        if wrong.any():
            entry = int(np.argmax(wrong))
            which = "lower" if signs[entry] > 0 else "upper"
            raise InvalidError(f"layer '{name}': the {which} bound of neuron {entries[entry]} does not follow")
        self.layers.append(layer)

    def leaf_values(self, tree: Tree, chosen: Array) -> Array:
        """Lower bounds of Σ_i λ_i (z_i − z_target + margin) in the leaves `chosen`, up to a positive factor: (len,)."""
        q = int(tree.leaves[chosen[0], 0])
        classes = self.net.size(self.net.output)
        numbers = tree.leaves[chosen].astype(object)
        weights, nu = numbers[:, 1:classes], numbers[:, classes:]
        (margin,), below = exact([self.query.margin])
        rows = np.insert(weights, tree.target, -weights.sum(axis=1), axis=1)
        starts = np.cumsum([0, *(layer.kept.size for layer in self.layers)])
        off, on = tree.off[chosen], tree.on[chosen]

        def relu(layer: int, mu: Array, den: int) -> tuple[Array, int, Term]:
            known, part = self.layers[layer], slice(starts[layer], starts[layer + 1])
            low, high = np.where(on[:, part], 0, known.low), np.where(off[:, part], 0, known.high)
            return known.argument(mu, den, nu[:, part], q, low, high)

        value, den = self.value(self.net.output, rows, 1 << q, relu)
        found: Array = value * (below << q) + weights.sum(axis=1) * margin * den
        return found

    def closed(self, tree: Tree) -> Array:
        """Which leaves hold no adversarial point, (L,): those whose bound is > 0."""
        leaves, result = tree.leaves, np.zeros(len(tree.leaves), dtype=bool)
        need(
            np.all((leaves[:, 0] >= 0) & (leaves[:, 0] <= FINEST)), f"target {tree.target}: a leaf's step is malformed"
        )
        classes = self.net.size(self.net.output)
        active = np.concatenate([np.zeros(0, dtype=bool), *(layer.active for layer in self.layers)])
        sound = np.all(leaves[:, 1:classes] >= 0, axis=1) & np.all(leaves[:, classes:][:, active] >= 0, axis=1)
        for q in np.unique(leaves[:, 0]):
            group = np.flatnonzero(leaves[:, 0] == q)
            for first in range(0, group.size, self.rows):
                chosen = group[first : first + self.rows]
                result[chosen] = self.leaf_values(tree, chosen) > 0
        result &= sound
        return result


@dataclass(frozen=True)
class Certificate:
    """A certificate as read: nothing of it is believed. `radius` is 0 where no lower end is claimed."""

    model: str
    query: Query
    radius: float
    dtype: str
    witness: Array | None
    names: list[tuple[str, int]]
    layers: list[Layer]
    trees: list[Tree]
    fine: int


def unpacked(content: bytes) -> bytes:
    need(content[: len(MAGIC)] == MAGIC, "this is no certificate")
    machine = zlib.decompressobj()
    try:
        data = machine.decompress(content[len(MAGIC) :], MOST_BYTES)
    except zlib.error as error:
        raise InvalidError(f"the certificate is damaged: {error}") from None
    need(machine.eof and not machine.unused_data, "the certificate is cut off, too large, or has something behind it")
    return data


def refuse_constant(text: str) -> Any:
    raise InvalidError(f"the certificate's header holds {text}")


def only_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    need(len({name for name, _ in pairs}) == len(pairs), "the certificate's header gives a field twice")
    return dict(pairs)


def natural(value: Any, most: int) -> int:
    need(type(value) is int and 0 <= value <= most, "a number of the certificate's header is out of range")
    return int(value)


def real(value: Any) -> float:
    need(isinstance(value, str) and len(value) < 64, "a number of the certificate's header is malformed")
    found = float.fromhex(value)
    need(not math.isnan(found) and found >= 0, "a number of the certificate's header is not ≥ 0")
    return found


FIELDS = [
    *("schema", "model", "norm", "label", "target", "margin", "radius", "dtype", "inputs", "box", "witness"),
    *("layers", "trees", "step", "fine"),
]


def parse(content: bytes) -> Certificate:
    """The certificate in a file's bytes."""
    data = unpacked(content)
    need(len(data) >= 4, "the certificate is cut off")
    length = int.from_bytes(data[:4], "little")
    need(length <= len(data) - 4, "the certificate is cut off")
    header = json.loads(data[4 : 4 + length], parse_constant=refuse_constant, object_pairs_hook=only_once)
    need(isinstance(header, dict) and sorted(header) == sorted(FIELDS), "the certificate's header has other fields")
    need(header["schema"] == SCHEMA, f"the certificate has another schema than {SCHEMA}")
    n, at = natural(header["inputs"], MOST_ENTRIES), 4 + length

    def floats(count: int, dtype: str) -> Array:
        nonlocal at
        size = count * int(dtype[-1])
        need(size <= len(data) - at, "the certificate is cut off")
        at += size
        values = np.frombuffer(data[at - size : at], dtype=dtype).astype(np.float64)
        need(not np.any(np.isnan(values)), "the certificate holds a NaN")
        return values

    dtype, norm, box = header["dtype"], header["norm"], natural(header["box"], MOST_ENTRIES)
    need(dtype in ("<f2", "<f4", "<f8") and norm in ("l1", "linf") and box in (1, n), "the certificate's header")
    centre, lo, hi = floats(n, dtype), floats(box, "<f8"), floats(box, "<f8")
    need(isinstance(header["witness"], bool), "the certificate's header")
    witness = floats(n, dtype) if header["witness"] else None
    need(n and np.all(np.isfinite(centre)) and np.all(lo <= centre) and np.all(centre <= hi), "the input or the box")
    label, asked = (None if header[k] is None else natural(header[k], MOST_ENTRIES) for k in ("label", "target"))
    margin, radius = real(header["margin"]), real(header["radius"])
    need(math.isfinite(margin), "the margin is not finite")
    query = Query(norm, label, asked, margin, centre, np.broadcast_to(lo, n), np.broadcast_to(hi, n))
    step, fine = natural(header["step"], FINEST), natural(header["fine"], FINEST)
    numbers = Numbers(data[at:])
    names = [(str(name), natural(size, MOST_ENTRIES)) for name, size in header["layers"]]
    layers = [numbers.layer(size, step) for _, size in names]
    opened = np.concatenate([np.zeros(0, dtype=bool), *(~layer.active for layer in layers)])
    wanted = [(natural(t, MOST_ENTRIES), natural(rows, MOST_ENTRIES)) for t, rows in header["trees"]]
    trees = [numbers.tree(t, rows, opened) for t, rows in wanted]
    need(numbers.left == 0, "the certificate has numbers that belong to nothing")
    return Certificate(str(header["model"]), query, radius, dtype, witness, names, layers, trees, fine)


class Numbers:
    """The integers at the certificate's end, one after the other."""

    def __init__(self, data: bytes) -> None:
        raw = np.frombuffer(data, dtype=np.uint8)
        ends = np.flatnonzero(raw < 128).astype(np.int32)
        need(not raw.size or (ends.size and ends[-1] == raw.size - 1), "the certificate is cut off")
        starts = np.zeros_like(ends)
        starts[1:] = ends[:-1] + 1
        lengths = ends - starts + 1
        need(lengths.max(initial=0) <= 9, "the certificate holds a number that is too long")
        values = np.zeros(ends.size, dtype=np.int64)
        for place in range(int(lengths.max(initial=0))):
            has = lengths > place
            values[has] |= (raw[starts[has] + place] & 127).astype(np.int64) << (7 * place)
        self._values = (values >> 1) ^ -(values & 1)
        self._at = 0

    @property
    def left(self) -> int:
        return int(self._values.size) - self._at

    def take(self, count: int) -> Array:
        need(0 <= count <= self.left, "the certificate is cut off")
        self._at += count
        return self._values[self._at - count : self._at]

    def layer(self, size: int, step: int) -> Layer:
        state = self.take(size)
        need(np.all((state >= 0) & (state <= 2)), "a neuron's state is malformed")
        kept = np.flatnonzero(state)
        active = state[kept] == 1
        low, high = self.take(kept.size).astype(object), np.zeros(kept.size, dtype=object)
        high[~active] = self.take(int(np.count_nonzero(~active)))
        return Layer(kept, active, low, high, step)

    def tree(self, target: int, rows: int, opened: Array) -> Tree:
        """Splits in preorder, 0 for a leaf and 1 + j for a split of the kept ReLU j, ≤ 0 first; then the leaves."""
        columns = opened.size
        tokens = self.take(int(self.take(1)[0]))
        open_paths: list[Any] = [None]
        found: list[Any] = []
        for token in tokens.tolist():
            need(open_paths, f"target {target}: the tree has a node too many")
            path = open_paths.pop()
            if token == 0:
                found.append(path)
                continue
            need(0 < token <= columns and opened[token - 1], f"target {target}: a split of a neuron that is not open")
            step, depth = path, 0
            while step is not None:
                need(step[1] != token - 1, f"target {target}: neuron {token - 1} is split twice on one path")
                step, depth = step[0], depth + 1
            open_paths += [(path, token - 1, True), (path, token - 1, False)]
        need(not open_paths, f"target {target}: a leaf is missing")
        off, on = (np.zeros((len(found), columns), dtype=bool) for _ in range(2))
        for leaf, end in enumerate(found):
            step = end
            while step is not None:
                (on if step[2] else off)[leaf, step[1]] = True
                step = step[0]
        # Column by column: entries of one kind lie side by side.
        leaves = self.take(len(found) * (1 + rows + columns)).reshape(1 + rows + columns, len(found)).T
        return Tree(target, leaves, off, on)


# -------------------------------------------------------------------------------------------------------------- check


@dataclass(frozen=True)
class Result:
    """What a valid certificate proves: no adversarial point is closer than `lower` (inf: none is in the box), and
    there is one at `distance` (None: none is given)."""

    lower: float
    distance: Fraction | None
    query: Query
    digest: str

    def __str__(self) -> str:
        if self.distance is not None:
            given = f"one at {decimal(self.distance, up=True)}"
        elif math.isinf(self.lower):
            return "no adversarial example in the box"
        else:
            given = "none given"
        return f"no adversarial example closer than {decimal(Fraction(self.lower), up=False)}; {given}"


def decimal(value: Fraction, *, up: bool, places: int = 10) -> str:
    exactly = value * 10**places
    units = math.ceil(exactly) if up else math.floor(exactly)
    return f"{units // 10**places}.{units % 10**places:0{places}d}"


def checked(certificate: bytes, model: bytes) -> Result:
    """What a certificate proves about a model; raises InvalidError with the first reason why it proves nothing."""
    try:
        with np.errstate(all="ignore"):
            return _checked(parse(certificate), model)
    except InvalidError:
        raise
    except Exception as error:  # noqa: BLE001, whatever else a damaged file causes is a reason to refuse it
        raise InvalidError(f"malformed: {type(error).__name__}: {error}"[:300]) from None


def _checked(claim: Certificate, model: bytes) -> Result:
    found = hashlib.sha256(model).hexdigest()
    need(claim.model == found, "the certificate is for another model")
    need(len(model) <= 2 * MOST_BYTES, "the model is too large")
    net, query = read_network(model), claim.query
    need(query.centre.size == net.size(net.input), "the input does not have the model's size")
    need(claim.dtype == net.dtype, "the input does not have the model's type")
    targets = query.targets(net.size(net.output))
    distance = None if claim.witness is None else witnessed(net, query, claim.witness, targets)
    need(distance is not None or claim.radius > 0, "the certificate claims nothing")
    if claim.radius > 0:
        need(distance is None or math.isfinite(claim.radius), "a witness in a box that holds none")
        need(distance is None or distance >= Fraction(claim.radius), "the witness is closer than the radius")
        proved(net, claim, targets)
    else:
        need(not claim.layers and not claim.trees, "the certificate has a proof of nothing")
    return Result(claim.radius, distance, query, query.digest(found))


def witnessed(net: Network, query: Query, point: Array, targets: Sequence[int]) -> Fraction:
    """The exact distance of the witness, which is adversarial."""
    need(np.all(np.isfinite(point)) and np.all((query.lo <= point) & (point <= query.hi)), "the witness leaves the box")
    values, den = net.forward(*exact(point.tolist()))
    logits = [Fraction(int(value), den) for value in values]
    margin = Fraction(query.margin)
    others = [[z + margin for k, z in enumerate(logits) if k != target] for target in targets]
    reached = any(logits[t] >= max(rest) for t, rest in zip(targets, others, strict=True) if rest)
    need(reached, "the witness is not adversarial")
    gaps = [abs(Fraction(a) - Fraction(b)) for a, b in zip(point.tolist(), query.centre.tolist(), strict=True)]
    return max(gaps) if query.norm == "linf" else sum(gaps, Fraction(0))


def proved(net: Network, claim: Certificate, targets: Sequence[int]) -> None:
    """Refuse unless every target is excluded within the radius."""
    need(claim.names == net.layers, "the certificate's layers are not those of the model")
    need(sorted(tree.target for tree in claim.trees) == sorted(targets), "a target has no tree, or has two")
    proof = Proof(net, claim.query, claim.radius if math.isfinite(claim.radius) else None, claim.fine)
    for layer in claim.layers:
        proof.establish(layer)
    columns = sum(layer.kept.size for layer in claim.layers) + net.size(net.output)
    for tree in claim.trees:
        need(tree.leaves.shape[1] == columns and len(tree.leaves), f"target {tree.target}: leaves of a wrong width")
        closed = proof.closed(tree)
        need(closed.all(), f"target {tree.target}: leaf {int(np.argmin(closed))} does not close")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="checker.py", description="Check a certificate against an ONNX model.")
    parser.add_argument("certificate", metavar="FILE", type=Path)
    parser.add_argument("model", metavar="MODEL", type=Path)
    parser.add_argument("--input", metavar="X.npy", type=Path, help="refuse a certificate about another input")
    parser.add_argument("--norm", choices=("linf", "l1"), help="refuse one about another norm")
    parser.add_argument("--label", type=int, help="refuse one about another label")
    parser.add_argument("--target", type=int, help="refuse one about another target")
    asked = parser.parse_args(arguments)
    try:
        certificate, model = asked.certificate.read_bytes(), asked.model.read_bytes()
        x = None if asked.input is None else np.load(asked.input, allow_pickle=False)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    wanted = {name: getattr(asked, name) for name in ("norm", "label", "target")}
    valid, text = judged(certificate, model, x, wanted)
    print(text)
    return 0 if valid else 1


def judged(certificate: bytes, model: bytes, x: Array | None, wanted: Mapping[str, Any]) -> tuple[bool, str]:
    """(valid, what is to be said) of a certificate that has to be about the input x and what is `wanted`, if given."""
    try:
        result = checked(certificate, model)
        query = result.query
        need(x is None or np.array_equal(np.ravel(x), query.centre), "the certificate is for another input")
        for name, value in wanted.items():
            need(value is None or value == getattr(query, name), f"the certificate is for another {name}")
    except InvalidError as error:
        return False, f"INVALID: {error}"
    goal = f"target {query.target}" if query.target is not None else f"any class but {query.label}"
    return True, f"VALID: {result}\nquery {result.digest}: {query.norm}, {goal}, margin {query.margin:g}"


if __name__ == "__main__":
    sys.exit(main())
