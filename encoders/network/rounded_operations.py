"""How many rounded operations an evaluation of a graph spends on each affine node, however a runtime fuses them, and
what the constants that it fuses may grow to: a product of constants that underflows is lost before it meets a value."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from encoders.network.graph import Affine, Graph
from encoders.network.linear_maps import LinearMap, Scale, Select

FUSED = 8
"""Operations added for each affine node: forming a BatchNormalization's factor, folding it and a bias into weights."""


def rounded_operations(graph: Graph, known: Collection[int] = ()) -> dict[int, int]:
    """n of γ_n for each affine node of a graph: Σ (fan_in + 1 + FUSED) over all that hang together with it.

    Affine nodes between ReLUs, and on skips around them, may be evaluated as one map in any order of summation. A
    constant of the first may then be rounded as often as the last has summands, so that all of them share one count.
    What the runtime itself gave for the nodes `known` was not fused with what reads it.
    """
    leader: dict[int, int] = {}

    def found(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    own: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        if isinstance(node, Affine):
            leader[index] = index
            own[index] = FUSED + sum(term.map.fan_in + 1 for term in node.terms)
            for source in node.sources:
                if source in leader and source not in known:
                    leader[found(source)] = found(index)
    total: dict[int, int] = {}
    for index, count in own.items():
        total[found(index)] = total.get(found(index), 0) + count
    return {index: total[found(index)] for index in own}


@dataclass(frozen=True)
class Fused:
    """What constants of an affine node may grow to where a runtime multiplies those on the way to it beforehand.

    growth: no product of them, nor an entry of such a product times what the others can make of it, exceeds this.
    inputs: how often each node that is no affine one enters; biases: the size of the constants added before this node.
    """

    growth: float
    inputs: Mapping[int, float]
    biases: float


def fused_constants(graph: Graph, known: Collection[int] = ()) -> dict[int, Fused]:
    """Over all paths of affine nodes to an affine node: Π of max(1, largest row sum, column sum); only where there are
    constants to multiply: behind another affine node, or where a factor is a quotient."""
    every: dict[int, Fused] = {}
    found: dict[int, Fused] = {}
    for index, node in enumerate(graph.nodes):
        if not isinstance(node, Affine):
            continue
        growth, biases, inputs = 0.0, 0.0, dict[int, float]()
        for term in node.terms:
            before = every.get(term.source) if term.source not in known else None
            growth += _growth(term.map) * (1.0 if before is None else before.growth)
            if before is None:
                inputs[term.source] = inputs.get(term.source, 0.0) + 1.0
                continue
            earlier = graph.nodes[term.source]
            assert isinstance(earlier, Affine)
            biases += before.biases + float(np.abs(earlier.bias).sum()) + earlier.size
            for source, count in before.inputs.items():
                inputs[source] = inputs.get(source, 0.0) + count
        every[index] = Fused(growth, inputs, biases)
        behind = any(term.source in every and term.source not in known for term in node.terms)
        if behind or any(isinstance(term.map, Scale) for term in node.terms):
            found[index] = every[index]
    return found


def _growth(linear: LinearMap) -> float:
    """max(1, the largest sum of a row's or of a column's sizes, 1 / the smallest divisor)."""
    if isinstance(linear, Select):
        return float(max(1, linear.fan_out))
    sizes = linear.magnitude()
    rows = sizes.apply(np.ones((1, linear.in_size)))
    columns = sizes.adjoint(np.ones((1, linear.out_size)))
    found = max(1.0, float(rows.max(initial=0.0)), float(columns.max(initial=0.0)))
    if isinstance(linear, Scale) and linear.divisor is not None:
        found = max(found, float((1.0 / np.abs(linear.divisor)).max(initial=0.0)))
    return np.inf if np.isnan(found) else found
