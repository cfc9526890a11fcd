"""Any half-spaces as a classifier: so that attacks, which know classes, reach conjunctions over several copies too."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Graph, GraphBuilder, renumbered
from encoders.network.linear_maps import Dense, readonly

REACHED, MISSED = 0, 1
"""The class that wins where the goal is reached, and one that wins elsewhere."""


def goal_graph(graph: Graph, matrix: npt.ArrayLike, offset: npt.ArrayLike) -> Graph:
    """The graph with the logits (0, −r₁, …, −r_m) for the rows r = matrix · z + offset of the output z.

    Class 0 wins (ties count) exactly where every row is ≥ 0; its margin over the best rival is the smallest row.
    """
    rows = -np.asarray(matrix, dtype=np.float64)
    builder = GraphBuilder(graph.input_size)
    place = [0]
    for node in graph.nodes[1:]:
        place.append(builder.add(renumbered(node, dict(enumerate(place)))))
    weight = readonly(np.vstack([np.zeros(rows.shape[1]), rows]))
    bias = np.append(0.0, -np.asarray(offset, dtype=np.float64))
    return builder.graph(builder.affine([(Dense(weight), place[graph.output])], bias))
