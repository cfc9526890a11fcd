"""Exact work inside one linear region: the nearest, or the deepest, adversarial point with the witness's own activation
pattern is a linear program, or, where balls are round, the nearest point of a polyhedron."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from encoders.formulations.highs import run, simplex
from encoders.lazy import Lazy
from encoders.network.graph import Affine, Array, Graph, Relu, evaluate, forward
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.norms.nearest_point import nearest_point
from verifier.problem.query import Ball, Halfspaces

if TYPE_CHECKING:
    import highspy
    import scipy.sparse as sp
else:
    highspy = Lazy("highspy")
    sp = Lazy("scipy.sparse")

LARGEST_LP = 4_000_000
"""Entries of a region's constraint matrix above which polishing is left out: the LP would cost more than it brings."""

DEPTH_SETTLED = 1e-6
"""Of what a row may change over a round ball: so closely is the depth of its deepest point found, by halving."""

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
    """The point of the region nearest to the centre that reaches the goal: min ‖x − x0‖.

    Raises InputError for a norm in which that is neither an LP nor least squares.
    """
    matrix, offset = region.goal
    rows, limits = np.vstack([region.rows, -matrix]), np.concatenate([region.limits, offset])
    if ball.geometry.is_euclidean:
        return _projected(rows, limits, ball, math.inf, budget)
    return _solve(rows, limits, ball, None, budget)


def deepest(region: LinearRegion, ball: Ball, budget: Budget) -> Array | None:
    """The point of the region within the ball's radius where the goal's smallest row is largest."""
    matrix, offset = region.goal
    depth = np.concatenate([np.zeros(len(region.rows)), np.ones(len(matrix))])
    rows, limits = np.vstack([region.rows, -matrix]), np.concatenate([region.limits, offset])
    if ball.geometry.is_euclidean:
        return _deepest_of_round(rows, limits, ball, depth, budget)
    return _solve(rows, limits, ball, depth, budget)


def _projected(rows: Array, limits: Array, ball: Ball, most: float, budget: Budget) -> Array | None:
    """The point of {x : rows·x ≤ limits} and the box nearest to the centre, None where it is farther than `most`."""
    box = ball.lo - ball.centre, ball.hi - ball.centre
    try:
        step = nearest_point(rows, limits - rows @ ball.centre, box, budget, most).step
    except OutOfTimeError:
        return None
    return None if step is None else np.asarray(np.clip(ball.centre + step, ball.lo, ball.hi))


def _deepest_of_round(rows: Array, limits: Array, ball: Ball, depth: Array, budget: Budget) -> Array | None:
    """The deepest point of a round ball, by halving the depth: what the nearest point so deep tells, is it within?

    Over the ball no row changes by more than twice the radius times its length.
    """
    wanted = depth > 0
    best = _projected(rows[~wanted], limits[~wanted], ball, ball.radius, budget)
    if best is None:
        return None
    widest = 2.0 * ball.radius * float(np.linalg.norm(rows[wanted], axis=1).max())
    shallow = float((limits - rows @ best)[wanted].min())
    deep = shallow + widest
    while deep - shallow > DEPTH_SETTLED * widest and not budget.ended:
        middle = 0.5 * (shallow + deep)
        found = _projected(rows, limits - middle * depth, ball, ball.radius, budget)
        if found is None:
            deep = middle
        else:
            best, shallow = found, max(middle, float((limits - rows @ found)[wanted].min()))
    return best


def _solve(rows: Array, limits: Array, ball: Ball, depth: Array | None, budget: Budget) -> Array | None:
    """x = x0 + t; minimise the norm of t or, given `depth`, maximise s with rows·x + depth·s ≤ limits.

    The last column is s, or the radius of a box; the others are entries of t, or its rises and falls apart.
    """
    split = ball.geometry.split_moves
    entries, low, high = _moves(ball, ball.radius if depth is not None else math.inf)
    count, rising = entries.size, np.where(high > 0, 1.0, -1.0)
    last = depth if depth is not None else np.zeros(len(rows))
    parts: list[Any] = [sp.csr_array(np.hstack([rows[:, entries], last[:, np.newaxis]]))]
    ends = [limits - rows @ ball.centre]
    cost = np.append(np.zeros(count), 1.0 if depth is None else -1.0)
    if split and depth is None:
        cost = np.append(rising, 0.0)
    elif split:
        parts.append(sp.csr_array(np.append(rising, 0.0)[np.newaxis]))
        ends.append(np.array([ball.radius]))
    elif depth is None:
        eye, radius = sp.eye_array(count), -np.ones((count, 1))
        parts += [sp.hstack([eye, radius]), sp.hstack([-eye, radius])]
        ends.append(np.zeros(2 * count))
    matrix, most = sp.vstack(parts, format="csr"), np.concatenate(ends)
    highs = simplex()
    highs.setOptionValue("time_limit", max(0.01, budget.remaining))
    columns = np.arange(count + 1, dtype=np.int32)
    highs.addVars(count + 1, np.append(low, 0.0 if depth is None else -math.inf), np.append(high, math.inf))
    highs.changeColsCost(count + 1, columns, cost)
    starts, places = matrix.indptr[:-1].astype(np.int32), matrix.indices.astype(np.int32)
    added = highs.addRows(most.size, np.full(most.size, -math.inf), most, matrix.nnz, starts, places, matrix.data)
    if added == highspy.HighsStatus.kError:
        return None
    if run(highs) != highspy.HighsModelStatus.kOptimal:
        return None
    moves = np.array(highs.getSolution().col_value)[:count]
    point: Array = ball.centre + np.bincount(entries, moves, ball.centre.size)
    return point


def _moves(ball: Ball, most: float) -> tuple[npt.NDArray[np.intp], Array, Array]:
    """(entries, low, high) of the moves that the box allows, none farther than `most`; on one side each where split."""
    up, down = np.minimum(ball.hi - ball.centre, most), np.minimum(ball.centre - ball.lo, most)
    if not ball.geometry.split_moves:
        entries = np.flatnonzero((up > 0) | (down > 0))
        return entries, -down[entries], up[entries]
    rises, falls = np.flatnonzero(up > 0), np.flatnonzero(down > 0)
    low = np.concatenate([np.zeros(rises.size), -down[falls]])
    return np.concatenate([rises, falls]), low, np.concatenate([up[rises], np.zeros(falls.size)])
