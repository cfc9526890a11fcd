"""Passes that turn max, abs, leaky and clip into ReLUs: the same function, fewer node kinds.

max(a, b) = relu(a − b) + b and |a| = relu(a) + relu(−a) (Carlini, Katz, Barrett, Dill 2018); a maximum of several is a
tournament of pairs. leaky(v) = s·v + relu(v) − s·relu(v). clip(v) = l + relu(v − l) − relu(v − u).
Every new weight is an input weight or ±1, so each pass is exact in real arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from encoders.network.graph import (
    NODE_KINDS,
    Abs,
    Clip,
    Graph,
    GraphBuilder,
    LeakyRelu,
    Max,
    forward,
    renumbered,
)
from encoders.network.linear_maps import Scale, identity

Pass = Callable[[GraphBuilder, Any, list[int]], int]


def max_to_relu(builder: GraphBuilder, node: Max, place: list[int]) -> int:
    """A tournament: while two are left, max(a, b) = relu(a − b) + b."""
    players = [place[source] for source in node.sources]
    plus, minus = identity(node.size), identity(node.size, -1.0)
    while len(players) > 1:
        winners = []
        for a, b in zip(players[0::2], players[1::2], strict=False):
            ahead = builder.relu(builder.affine([(plus, a), (minus, b)]))
            winners.append(builder.affine([(plus, ahead), (plus, b)]))
        players = winners + players[len(winners) * 2 :]
    return players[0]


def abs_to_relu(builder: GraphBuilder, node: Abs, place: list[int]) -> int:
    """|a| = relu(a) + relu(−a)."""
    plus, minus = identity(node.size), identity(node.size, -1.0)
    source = place[node.source]
    positive = builder.relu(source)
    negative = builder.relu(builder.affine([(minus, source)]))
    return builder.affine([(plus, positive), (plus, negative)])


def leaky_to_relu(builder: GraphBuilder, node: LeakyRelu, place: list[int]) -> int:
    """s·v + relu(v) − s·relu(v): no weight 1 − s is formed, which a float could round."""
    source = place[node.source]
    relu = builder.relu(source)
    slope, against = Scale(node.slope), Scale(-node.slope)
    return builder.affine([(slope, source), (identity(node.size), relu), (against, relu)])


def clip_to_relu(builder: GraphBuilder, node: Clip, place: list[int]) -> int:
    """l + relu(v − l) − relu(v − u); an infinite end drops its ReLU."""
    source = place[node.source]
    plus, minus = identity(node.size), identity(node.size, -1.0)
    if node.low == -np.inf and node.high == np.inf:
        return source
    above = [(minus, _excess(builder, source, node.high))] if node.high < np.inf else []
    if node.low == -np.inf:
        return builder.affine([(plus, source), *above])
    return builder.affine([(plus, _excess(builder, source, node.low)), *above], np.full(node.size, node.low))


def _excess(builder: GraphBuilder, source: int, level: float) -> int:
    size = builder.size(source)
    return builder.relu(builder.affine([(identity(size), source)], np.full(size, -level)))


PASSES: Mapping[type, Pass] = {Max: max_to_relu, Abs: abs_to_relu, LeakyRelu: leaky_to_relu, Clip: clip_to_relu}


def apply_passes(graph: Graph, passes: Mapping[type, Pass]) -> Graph:
    """Rebuild `graph`, each node of a kind in `passes` replaced by what its pass builds, every other node kept."""
    builder = GraphBuilder(graph.input_size)

    def keep(_: int, node: Any, place: list[int]) -> int:
        return builder.add(renumbered(node, place))

    def rewrite(kind: type) -> Callable[[int, Any, list[int]], int]:
        return lambda _, node, place: passes[kind](builder, node, place)

    table = {kind: rewrite(kind) if kind in passes else keep for kind in NODE_KINDS}
    place = forward(graph, table, 0)
    return builder.graph(place[graph.output])


def lower(graph: Graph) -> Graph:
    """The same function with Input, Affine, Relu and Sigmoid nodes only."""
    return graph if graph.lowered else apply_passes(graph, PASSES)
