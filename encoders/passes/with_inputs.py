"""The graph of (f(x), x): so that half-spaces over outputs can speak of inputs as well."""

from __future__ import annotations

import numpy as np

from encoders.network.graph import Graph, GraphBuilder, renumbered
from encoders.network.linear_maps import select


def with_inputs(graph: Graph) -> Graph:
    """The graph with its input behind its output: (outputs + inputs,). Both are selected, so nothing is rounded."""
    builder = GraphBuilder(graph.input_size)
    place = [0]
    for node in graph.nodes[1:]:
        place.append(builder.add(renumbered(node, place)))
    outputs, inputs = graph.output_size, graph.input_size
    nothing = -1
    of_output = np.append(np.arange(outputs), np.full(inputs, nothing))
    of_input = np.append(np.full(outputs, nothing), np.arange(inputs))
    first, second = select(of_output, outputs), select(of_input, inputs)
    return builder.graph(builder.affine([(first, place[graph.output]), (second, 0)]))
