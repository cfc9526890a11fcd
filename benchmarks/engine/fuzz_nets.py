"""Random small networks for `benchmarks.engine.fuzz`: as ONNX files, and as the layers of `exact_minimum`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.engine.exact_minimum import Kinked, Layer, Linear, Question, evaluated

Whole = npt.NDArray[np.int64]

GRIDS = (0, 3, 3, 20)
"""Weights are multiples of 2^-grid: integers and eighths, where ties are met exactly, or as good as any float32."""

SLOPE_BITS = 3
"""LeakyRelu's slopes are in eighths."""


@dataclass(frozen=True)
class Fuzzed:
    """A question and its model; the label is the class that ONNX Runtime predicts, to be filled in.

    step: how many classes beyond the label the target is, 0 for none.
    """

    model: onnx.ModelProto
    question: Question
    classes: int
    step: int

    @property
    def centre(self) -> npt.NDArray[np.float32]:
        return self._real(self.question.centre)

    @property
    def box(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        lo, hi = self.question.lo, self.question.hi
        unit = 2.0**-self.question.bits
        return (
            np.array([-np.inf if end is None else end * unit for end in lo]),
            np.array([np.inf if end is None else end * unit for end in hi]),
        )

    def labelled(self, label: int) -> Question:
        """The question from this label."""
        target = (label + self.step) % self.classes if self.step else None
        return replace(self.question, label=label, target=target)

    def _real(self, values: Sequence[int]) -> npt.NDArray[np.float32]:
        return np.array(values, dtype=np.float64).astype(np.float32) * np.float32(2.0**-self.question.bits)


@dataclass
class _Maker:
    """Builds both forms of a network side by side; `size` entries of the value `last` so far."""

    rng: np.random.Generator
    bits: int
    size: int
    last: str = "x"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)

    def node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def real(self, whole: Whole, bits: int) -> npt.NDArray[np.float32]:
        found = (whole * 2.0**-bits).astype(np.float32)
        if not np.array_equal(found * 2.0**bits, whole):
            raise ValueError("a weight of the truth is no float32")
        return found

    def drawn(self, *shape: int, spread: float = 1.5) -> Whole:
        """Random weights on the grid."""
        scale = 2**self.bits
        if self.bits <= 3:
            most = max(1, round(spread * scale)) + (self.bits == 0)
            return self.rng.integers(-most, most + 1, shape)
        found: Whole = np.rint(self.rng.normal(0.0, spread / 2, shape) * scale).astype(np.int64)
        return found

    def linear(self, weight: Whole, bias: Whole, bits: int) -> None:
        rows = tuple(tuple(map(int, row)) for row in weight)
        self.layers.append(Linear(rows, tuple(map(int, bias)), bits))
        self.size = len(rows)

    def dense(self, size: int) -> tuple[Whole, Whole]:
        """Weights of a dense layer; now and then a neuron is dead, constant, or the same as the one before."""
        weight, bias = self.drawn(size, self.size), self.drawn(size, spread=1.0)
        for row in range(size):
            match int(self.rng.integers(12)):
                case 0:
                    weight[row] = 0
                case 1:
                    bias[row] = -64 * 2**self.bits
                case 2 if row:
                    weight[row], bias[row] = weight[row - 1], bias[row - 1]
        return weight, bias

    def gemm(self, weight: Whole, bias: Whole) -> str:
        names = self.constant(self.real(weight, self.bits)), self.constant(self.real(bias, self.bits))
        return self.node("Gemm", [self.last, *names], transB=1)

    def hidden(self, size: int, kind: str) -> None:
        """A dense layer with kinks behind it."""
        if kind == "Max":
            first, second = self.dense(size), self.dense(size)
            self.last = self.node("Max", [self.gemm(*first), self.gemm(*second)])
            self.linear(np.vstack([first[0], second[0]]), np.concatenate([first[1], second[1]]), self.bits)
            self.layers.append(Kinked("Max", tuple((i, size + i) for i in range(size))))
            self.size = size
            return
        weight, bias = self.dense(size)
        self.last = self.gemm(weight, bias)
        self.linear(weight, bias, self.bits)
        self.kinks(kind)

    def kinks(self, kind: str) -> None:
        """A kink for every entry of the last value."""
        groups = tuple((i,) for i in range(self.size))
        if kind == "LeakyRelu":
            slope = int(self.rng.integers(1, 8))
            self.last = self.node(kind, [self.last], alpha=slope / 2**SLOPE_BITS)
            self.layers.append(Kinked(kind, groups, (slope,), SLOPE_BITS))
        elif kind == "Clip":
            low = int(self.rng.integers(-1, 1))
            ends = low, low + int(self.rng.integers(1, 3))
            self.last = self.node(kind, [self.last, *(self.constant(np.float32(end)) for end in ends)])
            self.layers.append(Kinked(kind, groups, ends))
        else:
            self.last = self.node(kind, [self.last])
            self.layers.append(Kinked(kind, groups))

    def output(self, classes: int, middle: Sequence[Fraction]) -> None:
        """The logits; mostly no class is hopeless: at the point `middle` of the input they are about even."""
        weight, bias = self.drawn(classes, self.size), self.drawn(classes, spread=1.0)
        if self.rng.integers(4):
            hidden, unit = evaluated(self.layers, middle), 2**self.bits
            for row, weights in enumerate(weight.tolist()):
                bias[row] = -round(sum(w * h for w, h in zip(weights, hidden, strict=True)))
            bias += self.rng.integers(-unit // 2, unit // 2 + 1, classes)
            bias = bias.astype(np.float32).astype(np.int64)
        if self.rng.integers(6) == 0:
            weight[-1], bias[-1] = weight[0], bias[0]
        self.last = self.gemm(weight, bias)
        self.linear(weight, bias, self.bits)

    def conv(self, kind: str, pool: str) -> None:
        """A convolution over 1 × 2 × 2 entries, padded at the end, kinks, a pool over 2 × 2 or 1 × 2, flattened."""
        channels = int(self.rng.integers(1, 3))
        kernel, bias = self.drawn(channels, 1, 2, 2), self.drawn(channels, spread=1.0)
        names = self.constant(self.real(kernel, self.bits)), self.constant(self.real(bias, self.bits))
        self.last = self.node("Conv", [self.last, *names], pads=[0, 0, 1, 1])
        weight = np.zeros((channels, 2, 2, 2, 2), dtype=np.int64)
        for row, column, i, j in np.ndindex(2, 2, 2, 2):
            if row + i < 2 and column + j < 2:
                weight[:, row, column, row + i, column + j] = kernel[:, 0, i, j]
        self.linear(weight.reshape(4 * channels, 4), np.repeat(bias, 4), self.bits)
        self.kinks(kind)
        wide = pool != "none" and bool(self.rng.integers(2))
        if pool != "none":
            self.last = self.node(pool, [self.last], kernel_shape=[1 + wide, 2], strides=[1 + wide, 2])
            grid = np.arange(4 * channels).reshape(channels, 2, 2)
            windows = grid.reshape(channels, 4) if wide else grid.reshape(2 * channels, 2)
            groups = tuple(tuple(map(int, window)) for window in windows)
            if pool == "MaxPool":
                self.layers.append(Kinked("Max", groups))
                self.size = len(groups)
            else:
                mean = np.zeros((len(groups), self.size), dtype=np.int64)
                for row, window in enumerate(groups):
                    mean[row, list(window)] = 1
                self.linear(mean, np.zeros(len(groups), dtype=np.int64), 1 + wide)
        self.last = self.node("Flatten", [self.last])


DENSE_KINKS = ("Relu", "Relu", "Relu", "LeakyRelu", "Abs", "Clip", "Max")
CONV_KINKS = ("Relu", "Relu", "LeakyRelu", "Clip")
POOLS = ("none", "MaxPool", "AveragePool")


def random_question(seed: int) -> Fuzzed:
    """The network, input and box of this seed."""
    rng = np.random.default_rng(seed)
    conv = rng.integers(5) == 0
    size = 4 if conv else int(rng.integers(1, 5))
    bits = int(rng.choice(GRIDS))
    maker, classes = _Maker(rng, bits, size), int(rng.integers(2, 4))
    if conv:
        maker.conv(str(rng.choice(CONV_KINKS)), str(rng.choice(POOLS)))
    else:
        for _ in range(int(rng.integers(1, 3))):
            maker.hidden(int(rng.integers(1, 4 if size > 2 else 6)), str(rng.choice(DENSE_KINKS)))
    placed = _placed(rng, size, bits)
    reach = 2 ** (placed.bits - 1)
    ends = [(c - reach if low is None else low, c + reach if high is None else high)
            for c, low, high in zip(placed.centre, placed.lo, placed.hi, strict=True)]  # fmt: skip
    maker.output(classes, [Fraction(low + high, 2 ** (placed.bits + 1)) for low, high in ends])
    shape = [1, 1, 2, 2] if conv else [1, size]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        for name, dims in (("x", shape), (maker.last, [1, classes]))
    ]
    graph = helper.make_graph(maker.nodes, f"fuzzed {seed}", values[:1], values[1:], maker.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    question = replace(placed, layers=tuple(maker.layers))
    return Fuzzed(model, question, classes, int(rng.integers(1, classes)) if rng.integers(3) == 0 else 0)


def _placed(rng: np.random.Generator, size: int, bits: int) -> Question:
    """A box and an input in it, at its border now and then; a fifth of the boxes lack ends."""
    grid = max(bits, 3)
    unit = 2**grid
    lo = (rng.integers(-16, 1, size) * (unit // 8)).tolist()
    hi = [low + int(rng.integers(1, 17)) * (unit // 8) for low in lo]
    if rng.integers(2):
        lo, hi = [0] * size, [unit] * size
    centre = [int(rng.integers(low, high + 1)) for low, high in zip(lo, hi, strict=True)]
    if bits <= 3:
        centre = [min(max(c - c % (unit // 8), low), high) for c, low, high in zip(centre, lo, hi, strict=True)]
    least: list[int | None] = list(lo)
    most: list[int | None] = list(hi)
    if rng.integers(5) == 0:
        least = [None if rng.integers(2) else end for end in least]
        most = [None if rng.integers(2) else end for end in most]
    return Question((), tuple(centre), tuple(least), tuple(most), grid, 0)
