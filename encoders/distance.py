"""‖x − x0‖₁ and ‖x − x0‖∞ as graphs of Abs and Max atoms, appended to a network's graph and lowered with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from encoders.graph import Graph, GraphBuilder, renumbered
from encoders.linear_maps import Dense, identity, readonly, select
from encoders.lower import lower


class Norm(StrEnum):
    """The norms in which distances are measured."""

    LINF = "linf"
    L1 = "l1"


def with_distance(graph: Graph, norm: Norm, centre: npt.ArrayLike) -> Graph:
    """The lowered graph whose output is (network output, ‖x − centre‖): one entry more than `graph` has.

    Σ|x_i − x0_i| is an affine sum of Abs entries; max|x_i − x0_i| is a Max over them (Carlini et al. 2018).
    """
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
