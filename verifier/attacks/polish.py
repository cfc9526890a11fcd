"""Exact work inside one linear region: the nearest, or the deepest, adversarial point with the witness's own activation
pattern is a linear program."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from encoders.graph import Affine, Array, Graph, Relu, evaluate, forward
from verifier.query import Ball, Halfspaces, Norm
from verifier.verdict import Budget

LARGEST_LP = 4_000_000
"""Entries of a region's constraint matrix above which polishing is left out: the LP would cost more than it brings."""

Form = tuple[Array, Array]
"""An affine function of x: matrix (size, n) and offset (size,)."""


@dataclass(frozen=True, eq=False)
class LinearRegion:
    """{x : rows · x ≤ limits} where the network is affine; `goal` is the goal's rows there, as a function of x."""

    rows: Array
    limits: Array
    goal: Form


def region_of(graph: Graph, point: Array, goal: Halfspaces) -> LinearRegion | None:
    """The activation region of `point` (n,) in a lowered graph; None when it would be too large."""
    if graph.relu_count * graph.input_size > LARGEST_LP:
        return None
    values = evaluate(graph, point)
    rows: list[Array] = []
    limits: list[Array] = []

    def affine(_: int, node: Affine, forms: list[Form]) -> Form:
        matrix, offset = np.zeros((node.size, graph.input_size)), np.array(node.bias)
        for term in node.terms:
            source_matrix, source_offset = forms[term.source]
            matrix = matrix + term.map.apply(np.ascontiguousarray(source_matrix.T)).T
            offset = offset + term.map.apply(source_offset[np.newaxis])[0]
        return matrix, offset

    def relu(_: int, node: Relu, forms: list[Form]) -> Form:
        matrix, offset = forms[node.source]
        active = values[node.source][0] > 0
        sign = np.where(active, -1.0, 1.0)
        rows.append(sign[:, np.newaxis] * matrix)
        limits.append(-sign * offset)
        return matrix * active[:, np.newaxis], offset * active

    identity = np.eye(graph.input_size), np.zeros(graph.input_size)
    forms = forward(graph, {Affine: affine, Relu: relu}, identity)
    matrix, offset = forms[graph.output]
    empty = np.zeros((0, graph.input_size))
    return LinearRegion(
        np.vstack([empty, *rows]),
        np.concatenate([np.zeros(0), *limits]),
        (goal.matrix @ matrix, goal.matrix @ offset + goal.offset),
    )


def nearest(region: LinearRegion, ball: Ball, budget: Budget) -> Array | None:
    """The point of the region nearest to the centre that reaches the goal: min ‖x − x0‖ (an LP in both norms)."""
    matrix, offset = region.goal
    rows, limits = np.vstack([region.rows, -matrix]), np.concatenate([region.limits, offset])
    return _solve(rows, limits, ball, None, budget)


def deepest(region: LinearRegion, ball: Ball, budget: Budget) -> Array | None:
    """The point of the region within the ball's radius where the goal's smallest row is largest."""
    matrix, offset = region.goal
    depth = np.concatenate([np.zeros(len(region.rows)), np.ones(len(matrix))])
    rows, limits = np.vstack([region.rows, -matrix]), np.concatenate([region.limits, offset])
    return _solve(rows, limits, ball, depth, budget)


def _solve(rows: Array, limits: Array, ball: Ball, depth: Array | None, budget: Budget) -> Array | None:
    """x = x0 + p − m; minimise the norm of p + m, or, given `depth`, maximise s with rows·x + depth·s ≤ limits."""
    size = ball.centre.size
    up, down = ball.hi - ball.centre, ball.centre - ball.lo
    limit = limits - rows @ ball.centre
    # Columns: p (n), m (n), then one more: the L∞ radius or the depth.
    blocks = [
        sp.csr_array(np.hstack([rows, -rows])),
        sp.csr_array((depth if depth is not None else np.zeros(len(rows)))[:, np.newaxis]),
    ]
    matrix = sp.hstack(blocks, format="csr")
    cost = np.zeros(2 * size + 1)
    last: tuple[float | None, float | None] = (0.0, None)
    if depth is not None:
        cost[-1], last = -1.0, (None, None)
        if ball.norm is Norm.LINF:
            up, down = np.minimum(up, ball.radius), np.minimum(down, ball.radius)
        else:
            total = sp.csr_array(np.append(np.ones(2 * size), 0.0)[np.newaxis])
            matrix, limit = sp.vstack([matrix, total], format="csr"), np.append(limit, ball.radius)
    elif ball.norm is Norm.L1:
        cost[: 2 * size] = 1.0
    else:
        cost[-1] = 1.0
        eye = sp.eye_array(size)
        beyond = sp.hstack([eye, eye, -np.ones((size, 1))], format="csr")
        matrix, limit = sp.vstack([matrix, beyond], format="csr"), np.concatenate([limit, np.zeros(size)])
    bounds = [(0.0, end if math.isfinite(end) else None) for end in (*up.tolist(), *down.tolist())]
    options: dict[str, Any] = {"presolve": False}  # it takes as long as the simplex, and removes nothing here
    if math.isfinite(budget.remaining):
        options["time_limit"] = max(0.01, budget.remaining)
    result = linprog(cost, A_ub=matrix, b_ub=limit, bounds=[*bounds, last], method="highs", options=options)
    if result.status != 0:
        return None
    moved: Array = ball.centre + result.x[:size] - result.x[size : 2 * size]
    return moved
