"""How many rounded operations an evaluation of a graph spends on each affine node, however a runtime fuses them."""

from __future__ import annotations

from collections.abc import Collection

from encoders.graph import Affine, Graph

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
