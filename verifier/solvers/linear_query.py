"""A query with its ball in linear form, as the encoders need it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from encoders.network.graph import Array, Graph
from encoders.network.node_bounds import NodeBounds
from encoders.passes.distance import with_distance, with_split_l1
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.interval import interval_pairs
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces, Query


@dataclass(frozen=True, eq=False)
class LinearQuery:
    """{v : goal over the outputs of `graph`} over the region of `bounds`; equal to the query that it was made from.

    v is x itself or, where `centre` is given, (p, m) with x = centre + p − m.
    """

    graph: Graph
    bounds: NodeBounds
    goal: Halfspaces
    centre: Array | None = None

    def point(self, values: Array) -> Array:
        """The x, shape (n,), of a solution v."""
        if self.centre is None:
            return values
        size = self.centre.size
        moved: Array = self.centre + values[:size] - values[size:]
        return moved


def linear_query(query: Query, bounds: NodeBounds) -> LinearQuery:
    """A ball that is a box is carried by the bounds; another becomes one more output Σ(p + m) with a row ≤ r.

    Raises InputError for a norm without a linear form.
    """
    region = query.region
    if region.geometry.is_box or not region.geometry.split_moves:
        return LinearQuery(query.graph, bounds, query.goal)
    split = split_query(query, bounds)
    last = np.append(np.zeros(query.graph.output_size), -1.0)
    goal = Halfspaces(np.vstack([split.goal.matrix, last]), np.append(split.goal.offset, region.radius))
    return replace(split, goal=goal)


def split_query(query: Query, bounds: NodeBounds) -> LinearQuery:
    """The query over (p, m), its distance an output that the goal does not read."""
    region, network = query.region, query.graph
    graph = with_split_l1(network, region.centre)
    rooms = np.concatenate([gap_up(region.hi, region.centre), gap_up(region.centre, region.lo)])
    room = np.clip(rooms, 0.0, region.radius)
    # Nodes: (p, m), m, x, the network's own from 1 on, Σ(p + m), the output.
    copied = len(network.nodes) - 1
    walked = interval_pairs(graph, (np.zeros_like(room), room))
    lower = [pair[0] for pair in walked]
    upper = [pair[1] for pair in walked]
    for node in range(copied + 1):
        place = node + 2
        lower[place] = np.maximum(lower[place], bounds.lower[node])
        upper[place] = np.minimum(upper[place], bounds.upper[node])
    tight = NodeBounds(tuple(lower), tuple(upper), proved=bounds.proved)
    rows = np.hstack([query.goal.matrix, np.zeros((len(query.goal.matrix), 1))])
    return LinearQuery(graph, tight, Halfspaces(rows, query.goal.offset), region.centre)


def gap_up(high: Array, low: Array) -> Array:
    """high − low, rounded up where it is no float: float32 inputs have exact gaps, which an exact decider needs."""
    with np.errstate(invalid="ignore"):
        gap = high - low
        part = gap - high
        error = (high - (gap - part)) - (low + part)  # exact (Knuth's TwoSum); not a number where an end is infinite
    return np.where(error > 0, np.nextafter(gap, np.inf), gap)


def distance_query(query: Query, bounds: NodeBounds, budget: Budget) -> LinearQuery:
    """The query with ‖x − x0‖ as the last output, which the goal does not read: for minimising the distance.

    Raises InputError for a norm without a linear form.
    """
    if query.region.geometry.split_moves:
        return split_query(query, bounds)
    graph = with_distance(query.graph, query.region.norm, query.region.centre)
    rows = np.hstack([query.goal.matrix, np.zeros((len(query.goal.matrix), 1))])
    ends = extended_bounds(graph, query.graph, query.region, bounds, budget)
    return LinearQuery(graph, ends, Halfspaces(rows, query.goal.offset))


def extended_bounds(graph: Graph, network: Graph, region: Ball, bounds: NodeBounds, budget: Budget) -> NodeBounds:
    """Bounds of the graph with distance: those of the network's nodes, which come first, are taken over."""
    wide = linear_bounds(graph, region, budget)
    shared = network.output + 1
    lower = [np.maximum(a, b) for a, b in zip(wide.lower[:shared], bounds.lower[:shared], strict=True)]
    upper = [np.minimum(a, b) for a, b in zip(wide.upper[:shared], bounds.upper[:shared], strict=True)]
    return NodeBounds(
        (*lower, *wide.lower[shared:]), (*upper, *wide.upper[shared:]), proved=wide.proved and bounds.proved
    )
