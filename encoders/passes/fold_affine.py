"""Chains of affine nodes multiplied out, in floats: for attacks, which propose and prove nothing."""

from __future__ import annotations

import numpy as np

from encoders.network.graph import Affine, Graph, GraphBuilder, Term, frozen, renumbered
from encoders.network.linear_maps import Dense, Sparse, readonly

GROWTH = 4.0
"""A product may have this many times the entries of both its factors: a convolution behind a map stays two nodes."""


def folded(graph: Graph) -> Graph:
    """Nearly the same function: an affine node that only reads a sparse map of one node absorbs it into a matrix.

    The products are rounded. Nodes that nothing reads any more are left out.
    """
    builder = GraphBuilder(graph.input_size)
    place: list[int] = [0]
    for node in graph.nodes[1:]:
        merged = _merged(graph, node) if isinstance(node, Affine) else None
        place.append(builder.add(renumbered(merged or node, dict(enumerate(place)))))
    return builder.graph(place[graph.output])


def _merged(graph: Graph, node: Affine) -> Affine | None:
    """The node as one matrix of its source's source, where that pays."""
    if len(node.terms) != 1:
        return None
    outer, middle = node.terms[0].map, graph.nodes[node.terms[0].source]
    if not isinstance(middle, Affine) or len(middle.terms) != 1 or not isinstance(middle.terms[0].map, Sparse):
        return None
    inner, source = middle.terms[0].map, middle.terms[0].source
    rows = outer.rows()
    product = rows @ inner.rows()
    if product.shape[0] * product.shape[1] > GROWTH * (rows.nnz + inner.data.size):
        return None
    bias = outer.apply(middle.bias[np.newaxis])[0] + node.bias
    return Affine((Term(Dense(readonly(product.toarray())), source),), frozen(bias))
