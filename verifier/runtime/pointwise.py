"""A graph at single points: its values, and how far whatever evaluates it in a floating-point format may be off.

Where a runtime's h̃ is within e of h, its z̃ = W h̃ + b is within |W| e + γ_n (|W|(|h| + e) + |b|) of z = W h + b, and an
underflow term (Higham, Accuracy and Stability, 2002, ch. 3). ReLU, |·|, max and clip move nothing apart; a slope is one
more product. A Sigmoid leaves two arguments a quarter of their distance or less; what a runtime computes for it is a
polynomial's value. The values themselves are float64 sums, whose own γ is charged as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from encoders.network.graph import (
    Abs,
    Affine,
    Array,
    Clip,
    ForwardTable,
    Graph,
    LeakyRelu,
    Max,
    Relu,
    Sigmoid,
    forward,
    sigmoid,
)
from encoders.network.rounded_operations import Fused, fused_constants, rounded_operations
from verifier.problem.budget import Budget
from verifier.problem.rounding import FLOAT32, SIGMOID_UNITS, SUBNORMAL, UNIT, evaluation_error, gamma


@dataclass(frozen=True)
class Format:
    """How a runtime rounds: `unit`, the relative error of one operation; `sums`, that of each of a long sum's; `floor`,
    added to a sum's size so that γ covers underflow; `lost`, what a product of two constants may lose to underflow;
    `largest`, beyond which a value may overflow."""

    unit: float
    sums: float
    floor: float
    lost: float
    largest: float

    def error(self, operations: int) -> float:
        """γ_n; infinite where n is too large for it."""
        if self.unit == self.sums:
            return evaluation_error(operations, self.unit)
        return evaluation_error(operations, self.sums) + HALF_ROUNDINGS * self.unit


HALF_ROUNDINGS = 64
"""Results that one float16 sum rounds to float16: ONNX Runtime adds in float32, and rounds each operator's result."""

OWN_SIGMOID = 2.0**-50
"""What our own float64 σ may be off by: NumPy's exponential is right to 4 units, then a sum and a quotient."""

FORMATS: Mapping[str, Format] = {
    "float16": Format(2.0**-11 + 2.0 * UNIT, FLOAT32.unit, 2.0**-12, 2.0**-24, float(np.finfo(np.float16).max)),
    "float32": Format(FLOAT32.unit, FLOAT32.unit, FLOAT32.floor, SUBNORMAL, float(np.finfo(np.float32).max)),
    # Subnormal results may be flushed to zero: 2⁻¹⁰²² each, covered as γ_n ≥ n·2⁻⁵³.
    "float64": Format(3.0 * UNIT, 3.0 * UNIT, 2.0**-968, 2.0**-1022, float(np.finfo(np.float64).max)),
}
"""The formats of tensors, by the name of their dtype."""

REAL_NUMBERS = Format(0.0, 0.0, FORMATS["float64"].floor, 0.0, np.inf)
"""No rounding but that of our own float64 sums."""


@dataclass(frozen=True, eq=False)
class Spread:
    """A node's value at each point, (points, size), and how far an evaluation may be off: inf where it may overflow."""

    value: Array
    error: Array

    @property
    def reach(self) -> Array:
        """The largest size that an evaluation may take."""
        return np.abs(self.value) + self.error


Settle = Callable[[int, Spread], Spread]


def spreads(
    graph: Graph,
    first: Spread,
    formats: Collection[Format],
    budget: Budget,
    known: Collection[int] = (),
    settle: Settle | None = None,
) -> list[Spread]:
    """Every node's spread, for a runtime that computes in these formats. Raises OutOfTimeError.

    With several formats each node may be cast to the coarsest. `settle` may replace the spread of a node, for what a
    runtime gave itself; `known` are the nodes where it does.
    """
    coarsest = max(formats, key=lambda entry: entry.unit)
    smallest = min(entry.largest for entry in formats)
    fused = fused_constants(graph, known) if coarsest.lost else {}
    walk = _Walk(graph, coarsest, smallest, rounded_operations(graph, known), fused)
    cast = len(formats) > 1

    def finished(index: int, spread: Spread) -> Spread:
        budget.check()
        if cast:
            spread = Spread(spread.value, walk.overflown(spread.reach, spread.error + coarsest.unit * spread.reach))
            spread = Spread(spread.value, spread.error + coarsest.unit * coarsest.floor)
        finite = np.isfinite(spread.value) & np.isfinite(spread.error)
        if not finite.all():
            spread = Spread(np.where(finite, spread.value, 0.0), np.where(finite, spread.error, np.inf))
        return settle(index, spread) if settle is not None else spread

    def rule(kind: type) -> Callable[[int, object, list[Spread]], Spread]:
        return lambda index, node, values: finished(index, RULES[kind](walk, index, node, values))

    table: ForwardTable[Spread] = {kind: rule(kind) for kind in RULES}
    with np.errstate(over="ignore", invalid="ignore"):
        return forward(graph, table, finished(0, first))


@dataclass(frozen=True, eq=False)
class _Walk:
    graph: Graph
    format: Format
    largest: float
    operations: Mapping[int, int]
    fused: Mapping[int, Fused]

    def lost(self, index: int, values: list[Spread]) -> Array | float:
        """What products of constants that underflow before they meet a value may cost this node, (points, 1)."""
        constants = self.fused.get(index)
        if constants is None:
            return 0.0
        if not constants.growth * (1.0 + constants.biases) < self.largest:
            return np.inf
        met = constants.biases + sum(
            count * values[source].reach.sum(axis=1, keepdims=True) for source, count in constants.inputs.items()
        )
        return np.asarray(2.0 * self.operations[index] * self.format.lost * constants.growth * met)

    def overflown(self, reach: Array, error: Array) -> Array:
        """The error, infinite where a value of this reach may overflow."""
        return np.where(reach < self.largest, error, np.inf)


def _affine(walk: _Walk, index: int, node: Affine, values: list[Spread]) -> Spread:
    points = len(values[0].value)
    value: Array = np.broadcast_to(node.bias, (points, node.size))
    reach: Array = np.broadcast_to(np.abs(node.bias) + walk.format.floor, value.shape)
    error: Array = np.zeros((1, 1))
    for term in node.terms:
        source, magnitude = values[term.source], term.map.magnitude()
        value = term.map.apply(source.value) + value
        reach = magnitude.apply(source.reach) + reach
        if source.error.any():
            error = magnitude.apply(source.error) + error
    own = gamma(sum(term.map.fan_in + 1 for term in node.terms))
    rounding = (walk.format.error(walk.operations[index]) + own) * reach
    rounding = rounding + walk.lost(index, values)
    return Spread(value, walk.overflown(reach + rounding, error + rounding))


def _leaky(walk: _Walk, _: int, node: LeakyRelu, values: list[Spread]) -> Spread:
    source, slope = values[node.source], np.abs(node.slope)
    value = np.where(source.value >= 0, source.value, node.slope * source.value)
    product = (2.0 * walk.format.unit + gamma(1)) * (slope * source.reach + walk.format.floor)
    error = np.maximum(1.0, slope) * source.error + np.where(source.value - source.error >= 0, 0.0, product)
    return Spread(value, walk.overflown(slope * source.reach + product, error))


def _max(_walk: _Walk, _: int, node: Max, values: list[Spread]) -> Spread:
    sources = [values[source] for source in node.sources]
    return Spread(
        np.maximum.reduce([source.value for source in sources]), np.maximum.reduce([source.error for source in sources])
    )


def _sigmoid(walk: _Walk, _: int, node: Sigmoid, values: list[Spread]) -> Spread:
    source = values[node.source]
    apart = np.minimum(0.25 * source.error, 1.0) + SIGMOID_UNITS * walk.format.unit + OWN_SIGMOID
    return Spread(sigmoid(source.value), np.where(np.isfinite(source.error), apart, np.inf))


RULES: Mapping[type, Callable[..., Spread]] = {
    Affine: _affine,
    Relu: lambda _w, _, node, values: Spread(np.maximum(values[node.source].value, 0.0), values[node.source].error),
    Abs: lambda _w, _, node, values: Spread(np.abs(values[node.source].value), values[node.source].error),
    Max: _max,
    LeakyRelu: _leaky,
    Clip: lambda _w, _, node, values: Spread(
        np.clip(values[node.source].value, node.low, node.high), values[node.source].error
    ),
    Sigmoid: _sigmoid,
}
