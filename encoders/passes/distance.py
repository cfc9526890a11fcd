"""‖x − x0‖₁ and ‖x − x0‖∞ as graphs of Abs and Max atoms, appended to a network's graph and lowered with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from encoders.network.graph import Graph, GraphBuilder, renumbered
from encoders.network.linear_maps import Dense, identity, readonly, select
from encoders.network.norm import Norm
from encoders.passes.lower import lower


def with_distance(graph: Graph, norm: Norm, centre: npt.ArrayLike) -> Graph:
    """The lowered graph whose output is (network output, ‖x − centre‖): one entry more than `graph` has.

    Σ|x_i − x0_i| is an affine sum of Abs entries; max|x_i − x0_i| is a Max over them (Carlini et al. 2018). Raises
    InputError for a norm that is not piecewise linear.
    """
    if norm not in DISTANCES:
        raise InputError(f"distances in the norm '{norm}' are not piecewise linear: {', '.join(DISTANCES)} are")
    builder = GraphBuilder(graph.input_size)
    place = [0]
    for node in graph.nodes[1:]:
        place.append(builder.add(renumbered(node, dict(enumerate(place)))))
    logits, size = place[graph.output], graph.output_size
    shift = builder.affine([(identity(graph.input_size), 0)], -np.asarray(centre, dtype=np.float64))
    distance = DISTANCES[norm](builder, builder.abs(shift))
    first = select([*range(size), -1], size)
    last = select([*(-1 for _ in range(size)), 0], 1)
    return lower(builder.graph(builder.affine([(first, logits), (last, distance)])))


def with_split_l1(graph: Graph, centre: npt.ArrayLike) -> Graph:
    """The graph over (p, m) ∈ R²ⁿ with x = centre + p − m and output (network output at x, Σ(p + m)).

    For p, m ≥ 0 it says of balls what `with_distance` says: |a| = relu(a) + relu(−a), and where nothing pulls these two
    upwards, what polarity leaves of them is p ≥ a, m ≥ −a, p, m ≥ 0, whose tight form is a = p − m. No ReLU is needed.
    """
    size = graph.input_size
    builder = GraphBuilder(2 * size)
    plus, minus = select(range(size), 2 * size), select(range(size, 2 * size), 2 * size)
    down = builder.affine([(minus, 0)])
    place = [builder.affine([(plus, 0), (identity(size, -1.0), down)], centre)]
    for node in graph.nodes[1:]:
        place.append(builder.add(renumbered(node, dict(enumerate(place)))))
    total = builder.affine([(Dense(readonly(np.ones((1, 2 * size)))), 0)])
    outputs = graph.output_size
    ends = select([*range(outputs), -1], outputs), select([*(-1 for _ in range(outputs)), 0], 1)
    return builder.graph(builder.affine([(ends[0], place[graph.output]), (ends[1], total)]))


def _sum(builder: GraphBuilder, deviations: int) -> int:
    return builder.affine([(Dense(readonly(np.ones((1, builder.size(deviations))))), deviations)])


def _maximum(builder: GraphBuilder, deviations: int) -> int:
    """A tournament over halves of the vector, so that each round is one node: log₂ n rounds in all."""
    current = deviations
    while (size := builder.size(current)) > 1:
        half = (size + 1) // 2
        first = builder.affine([(select(range(half), size), current)])
        second = builder.affine([(select(range(size - half, size), size), current)])
        current = builder.max([first, second])
    return current


DISTANCES: Mapping[Norm, Callable[[GraphBuilder, int], int]] = {Norm.L1: _sum, Norm.LINF: _maximum}
