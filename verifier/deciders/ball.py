"""A query with its ball in linear form, as the encoders need it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from encoders.distance import with_distance
from encoders.graph import Graph
from encoders.node_bounds import NodeBounds
from verifier.bounds.linear import linear_bounds
from verifier.query import Ball, Halfspaces, Norm, Query
from verifier.verdict import Budget


@dataclass(frozen=True, eq=False)
class LinearQuery:
    """{x : goal over the outputs of `graph`} over the region of `bounds`; equal to the query that it was made from."""

    graph: Graph
    bounds: NodeBounds
    goal: Halfspaces


def linear_query(query: Query, bounds: NodeBounds, budget: Budget) -> LinearQuery:
    """L∞ balls are boxes, which the bounds carry; an L1 ball becomes one more output ‖x − x0‖₁ with a row ≤ r."""
    region = query.region
    if region.norm is Norm.LINF or math.isinf(region.radius):
        return LinearQuery(query.graph, bounds, query.goal)
    graph, rows = distance_query(query)
    last = np.append(np.zeros(query.graph.output_size), -1.0)
    goal = Halfspaces(np.vstack([rows.matrix, last]), np.append(rows.offset, region.radius))
    return LinearQuery(graph, extended_bounds(graph, query.graph, region, bounds, budget), goal)


def distance_query(query: Query) -> tuple[Graph, Halfspaces]:
    """The graph with ‖x − x0‖ as its last output, and the goal that does not read it."""
    graph = with_distance(query.graph, query.region.norm, query.region.centre)
    rows = np.hstack([query.goal.matrix, np.zeros((len(query.goal.matrix), 1))])
    return graph, Halfspaces(rows, query.goal.offset)


def extended_bounds(graph: Graph, network: Graph, region: Ball, bounds: NodeBounds, budget: Budget) -> NodeBounds:
    """Bounds of the graph with distance: those of the network's nodes, which come first, are taken over."""
    wide = linear_bounds(graph, region, budget)
    shared = network.output + 1
    lower = [np.maximum(a, b) for a, b in zip(wide.lower[:shared], bounds.lower[:shared], strict=True)]
    upper = [np.minimum(a, b) for a, b in zip(wide.upper[:shared], bounds.upper[:shared], strict=True)]
    return NodeBounds(
        (*lower, *wide.lower[shared:]), (*upper, *wide.upper[shared:]), proved=wide.proved and bounds.proved
    )
