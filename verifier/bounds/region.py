"""The exact minimum of linear forms over ball ∩ box, for both norms: what closes every linear bound at the input.

L∞: each coordinate goes to its end. L1: a fractional knapsack with budget r over the rooms of the coordinates; in its
dual form min ν·x ≥ ν·x0 − τ·r − Σ max(0, |ν_i| − τ)·room_i holds for *any* τ ≥ 0, so τ may come from floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from encoders.network.graph import Array
from verifier.problem.query import Ball, Norm
from verifier.problem.rounding import down, gamma


def minimum(region: Ball, rows: Array) -> Array:
    """A lower bound, rounding included, of min {ν·x : x ∈ region} for each row ν of `rows` (R, n): shape (R,)."""
    return _MINIMUM[region.norm if math.isfinite(region.radius) else Norm.LINF](region, rows)


def sizes(region: Ball, magnitudes: Any) -> Array:
    """At least Σ_j magnitudes_ij |x_j|, but for rounding, for every x of the region; magnitudes (m, n) ≥ 0: (m,).

    In L1, ‖x − x0‖₁ ≤ radius lets the row rise by radius · (its largest entry) above its value at |x0|.
    """
    lower, upper = region.interval
    with np.errstate(invalid="ignore"):
        whole: Array = magnitudes @ np.maximum(np.abs(lower), np.abs(upper))
    if region.norm is not Norm.L1 or not math.isfinite(region.radius):
        return whole
    largest = magnitudes.max(axis=1)
    steepest = largest if isinstance(largest, np.ndarray) else largest.toarray().reshape(-1)
    near = magnitudes @ np.abs(region.centre) + region.radius * steepest
    least: Array = np.fmin(whole, near)
    return least


def minimiser(region: Ball, rows: Array) -> Array:
    """A point of the region where each row is least, up to rounding: (R, n) for rows (R, n)."""
    lower, upper = region.interval
    corner = np.where(rows > 0, lower, np.where(rows < 0, upper, region.centre))
    if region.norm is Norm.LINF or math.isinf(region.radius):
        return corner
    moves = np.abs(corner - region.centre)
    order = np.argsort(-np.abs(rows), axis=1)
    ordered = np.take_along_axis(moves, order, axis=1)
    before = np.cumsum(ordered, axis=1) - ordered
    allowed = np.clip(region.radius - before, 0.0, ordered)
    spent = np.zeros_like(moves)
    np.put_along_axis(spent, order, allowed, axis=1)
    moved: Array = region.centre + np.sign(corner - region.centre) * spent
    return moved


def _corner_minimum(region: Ball, rows: Array) -> Array:
    lower, upper = region.interval
    low_part = np.where(rows > 0, rows, 0.0)
    high_part = np.where(rows < 0, rows, 0.0)
    value = _product(low_part, lower) + _product(high_part, upper)
    size = _product(low_part, np.abs(lower)) - _product(high_part, np.abs(upper))
    return down(value, gamma(2 * rows.shape[1]) * size)


def _knapsack_minimum(region: Ball, rows: Array) -> Array:
    room = np.where(rows > 0, region.centre - region.lo, region.hi - region.centre)
    # The ends of the box are exact floats, their difference to the centre is not: take the room a little too large.
    room = np.nextafter(np.maximum(room, 0.0), np.inf)
    steep = np.abs(rows)
    threshold = _threshold(steep, np.minimum(room, region.radius), region.radius)[:, np.newaxis]
    excess = np.maximum(steep - threshold, 0.0)
    lost = np.multiply(excess, room, out=np.zeros_like(excess), where=excess > 0)  # 0 · ∞ counts as 0
    loss = lost.sum(axis=1) + threshold[:, 0] * region.radius
    value = rows @ region.centre - loss
    size = steep @ np.abs(region.centre) + loss
    return down(value, gamma(3 * rows.shape[1]) * size)


def _threshold(steep: Array, room: Array, budget: float) -> Array:
    """The slope at which the budget is used up when the steepest coordinates move first: (R,)."""
    order = np.argsort(-steep, axis=1)
    used = np.cumsum(np.take_along_axis(room, order, axis=1), axis=1)
    full = used >= budget
    first = np.argmax(full, axis=1)
    slopes = np.take_along_axis(steep, np.take_along_axis(order, first[:, np.newaxis], axis=1), axis=1)[:, 0]
    return np.where(full.any(axis=1), slopes, 0.0)


def _product(rows: Array, vector: Array) -> Array:
    """rows @ vector where 0 · ∞ counts as 0: a coordinate that a row does not read may be unbounded."""
    if np.all(np.isfinite(vector)):
        return rows @ vector
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(rows == 0, 0.0, rows * vector).sum(axis=1))


_MINIMUM: Mapping[Norm, Callable[[Ball, Array], Array]] = {
    Norm.LINF: _corner_minimum,
    Norm.L1: _knapsack_minimum,
}
