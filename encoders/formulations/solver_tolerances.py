"""How far a solver's tolerances can move a value of the network in a model of it.

A solver takes rows, bounds and integrality as met when they are missed by no more than its tolerance ε, and what it
calls infeasible is so for it within ε only. An input can be off by ε, a sum by ε more than its terms, and a ReLU with
bounds l < 0 < u, whose big-M rows multiply an error of its binary by l or u, by ε·(1 + max(−l, u)) more than its
argument; all in the units of the entry, which are 1 where its values are of ordinary size. An error moves what is
computed from it by at most the derivative: the product of the layers behind it, in which an open ReLU's slope is
anything from 0 to 1.
"""

from __future__ import annotations

import math

import numpy as np

from encoders.network.graph import Affine, Array, Graph, Relu, reverse
from encoders.network.node_bounds import NodeBounds

ORDINARY = 2.0**8
"""Entries whose largest value lies between this and its inverse are modelled as they are; others in units of a power of
2 near to it. HiGHS was seen to lose points of models with entries of 2^-16 or 2^16, whatever the goal might miss."""


def scale(low: float, high: float) -> float:
    """The unit in which an entry with these bounds is modelled."""
    reach = max(abs(low), abs(high))
    if not math.isfinite(reach) or reach == 0.0 or 1.0 / ORDINARY <= reach <= ORDINARY:
        return 1.0
    return float(math.ldexp(1.0, max(math.frexp(reach)[1], LEAST)))


LEAST = -1000
"""The least exponent of a unit: dividing by it may not overflow."""


def scales(bounds: NodeBounds, index: int) -> Array:
    """The units of the entries of a node."""
    ends = zip(bounds.lower[index].tolist(), bounds.upper[index].tolist(), strict=True)
    return np.array([scale(low, high) for low, high in ends])


Derivative = tuple[Array, Array]
"""Centre and radius of an interval for each of some rows and each entry of a node: (rows, size) each."""


def row_errors(graph: Graph, bounds: NodeBounds, index: int, rows: Array, tolerance: float) -> Array:
    """How far rows · v can be off, v the value of node `index` of a lowered graph: (R,) for rows (R, size).

    `bounds` hold for what is modelled. An infinite bound counts as one that no big-M row reads.
    """
    total = np.zeros(len(rows))

    def count(derivative: Derivative, errors: Array | float) -> None:
        nonlocal total
        centre, radius = derivative
        total = total + np.sum((np.abs(centre) + radius) * errors, axis=1)

    def affine(index: int, node: Affine, derivative: Derivative) -> list[tuple[int, Derivative]]:
        count(derivative, tolerance)
        centre, radius = derivative
        return [(term.source, (term.map.adjoint(centre), term.map.magnitude().adjoint(radius))) for term in node.terms]

    def relu(index: int, node: Relu, derivative: Derivative) -> list[tuple[int, Derivative]]:
        lower, upper = bounds.lower[node.source], bounds.upper[node.source]
        open_, dead = (lower < 0) & (upper > 0), upper <= 0
        reach = np.maximum(-lower, upper)
        count(
            derivative,
            np.where(open_, tolerance * (scales(bounds, node.source) + np.where(np.isfinite(reach), reach, 0.0)), 0.0),
        )
        low, high = derivative[0] - derivative[1], derivative[0] + derivative[1]
        low = np.where(dead, 0.0, np.where(open_, np.minimum(low, 0.0), low))
        high = np.where(dead, 0.0, np.where(open_, np.maximum(high, 0.0), high))
        return [(node.source, (0.5 * (low + high), 0.5 * (high - low)))]

    def add(one: Derivative, other: Derivative) -> Derivative:
        return one[0] + other[0], one[1] + other[1]

    with np.errstate(over="ignore", invalid="ignore"):
        seed = rows, np.zeros_like(rows)
        reached = reverse(graph, {Affine: affine, Relu: relu}, index, seed, add)
        if 0 in reached:
            count(reached[0], tolerance)
    return np.where(np.isfinite(total), total, np.inf)


def margin_error(graph: Graph, bounds: NodeBounds, rows: Array, tolerance: float) -> float:
    """How far the smallest of rows · z + … can be off, the rows' own tolerance included; 0 for a tolerance of 0."""
    if tolerance == 0.0 or not len(rows):
        return 0.0
    return float(row_errors(graph, bounds, graph.output, rows, tolerance).max()) + tolerance
