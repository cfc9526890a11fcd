"""Interval bounds: the cheapest sound bounds on every node, and the start of the dearer ones."""

from __future__ import annotations

import numpy as np

from encoders.network.graph import Affine, Array, ForwardTable, Graph, Relu, Sigmoid, forward
from encoders.network.node_bounds import NodeBounds
from verifier.bounds.sigmoid_lines import sigmoid_range
from verifier.problem.query import Ball
from verifier.problem.rounding import REAL, Arithmetic, down, evaluation_errors, graph_gamma, up

Pair = tuple[Array, Array]


def interval_bounds(graph: Graph, region: Ball, arithmetic: Arithmetic = REAL) -> NodeBounds:
    """Bounds on every node of a lowered graph over `region`, by interval arithmetic.

    Affine: M·m + b ± (|M|·r + error) for the sources' midpoints m and radii r. Relu: both ends cut at 0.
    Sigmoid: σ of both ends.
    """
    pairs = interval_pairs(graph, region.interval, arithmetic)
    return NodeBounds(tuple(lower for lower, _ in pairs), tuple(upper for _, upper in pairs), proved=True)


def interval_pairs(graph: Graph, first: Pair, arithmetic: Arithmetic = REAL) -> list[Pair]:
    """(lower, upper) of every node of a lowered graph for inputs within `first`, in the evaluations of `arithmetic`."""
    return forward(graph, _interval_table(graph, arithmetic), first)


def _interval_table(graph: Graph, arithmetic: Arithmetic) -> ForwardTable[Pair]:
    """The rules of interval arithmetic."""
    gamma, errors, floors = graph_gamma(graph), evaluation_errors(graph, arithmetic.unit), arithmetic.floors(graph)
    apart = arithmetic.sigmoid

    def affine(index: int, node: Affine, values: list[Pair]) -> Pair:
        return affine_interval(node, values, gamma + errors[index], floors[index])

    def relu(_: int, node: Relu, values: list[Pair]) -> Pair:
        lower, upper = values[node.source]
        return np.maximum(lower, 0.0), np.maximum(upper, 0.0)

    def sigmoid(_: int, node: Sigmoid, values: list[Pair]) -> Pair:
        lower, upper = sigmoid_range(*values[node.source])
        return (np.nextafter(lower - apart, -1.0), np.nextafter(upper + apart, 2.0)) if apart else (lower, upper)

    return {Affine: affine, Relu: relu, Sigmoid: sigmoid}


def affine_interval(node: Affine, values: list[Pair], gamma: float, floor: float = 0.0) -> Pair:
    """The interval of one affine node from those of its sources; unbounded sources give unbounded entries.

    Rounding is charged as gamma times the sizes of what is added up, plus `floor`.
    """
    centre, spread, size = np.array(node.bias), np.zeros(node.size), np.abs(node.bias) + floor
    for term in node.terms:
        lower, upper = values[term.source]
        if not (np.all(np.isfinite(lower)) and np.all(np.isfinite(upper))):
            return _unbounded(node, values, gamma, floor)
        middle = 0.5 * lower + 0.5 * upper
        radius = np.nextafter(np.maximum(upper - middle, middle - lower), np.inf)
        magnitude = term.map.magnitude()
        centre = centre + term.map.apply(middle[np.newaxis])[0]
        spread = spread + magnitude.apply(radius[np.newaxis])[0]
        size = size + magnitude.apply((np.abs(middle) + radius)[np.newaxis])[0]
    return down(centre - spread, gamma * size), up(centre + spread, gamma * size)


def _unbounded(node: Affine, values: list[Pair], gamma: float, floor: float) -> Pair:
    """Entries that read an unbounded source entry are unbounded; the others are bounded by finite sources."""
    touched = np.zeros(node.size, dtype=bool)
    finite = list(values)
    for term in node.terms:
        lower, upper = values[term.source]
        open_entries = ~(np.isfinite(lower) & np.isfinite(upper))
        touched |= term.map.magnitude().apply(open_entries.astype(np.float64)[np.newaxis])[0] > 0
        finite[term.source] = np.where(open_entries, 0.0, lower), np.where(open_entries, 0.0, upper)
    lower, upper = affine_interval(node, finite, gamma, floor)
    return np.where(touched, -np.inf, lower), np.where(touched, np.inf, upper)
