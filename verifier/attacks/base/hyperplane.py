"""The nearest hyperplane of a linearised network, and the shortest step to it within the box: DeepFool's and FAB's.

min ‖δ‖ subject to slope · δ = −gap and −down ≤ δ ≤ up, row by row. Every pixel moves against its slope, by
min(t · w_i, room_i) for a common t; w_i is 1 in L∞ and |slope_i| in L2. In L1 the steepest pixels move first, each as
far as it has room: a fractional knapsack. All three are piecewise linear in one number, so that sorting its breakpoints
solves them exactly (Croce and Hein 2020, appendix A). Where the box does not reach the hyperplane, every pixel moves as
far as it can.
"""

from __future__ import annotations

import numpy as np

from encoders.network.graph import Array
from verifier.attacks.base.problem import DUAL, LENGTH, Float32, Indices, Metric
from verifier.attacks.base.search import AttackSearch


def nearest_plane(search: AttackSearch, cases: Indices, points: Float32) -> tuple[Array, Array, Array]:
    """f at each point, and the linearised goal: (f (rows,), gap (rows,), slope (rows, n)), goal: gap + slope · δ ≤ 0.

    A targeted row takes the rival that leads, an untargeted one the class whose hyperplane is nearest in the metric:
    gap / ‖slope‖ in the dual norm (Moosavi-Dezfooli et al. 2016, equation 8). Row j belongs to case cases[j].
    """
    problem = search.problem
    logits = search.surrogate.logits(points).astype(np.float64)
    own = problem.own[cases].argmax(axis=1)
    each = np.arange(len(cases))
    rivals = logits.copy()
    rivals[each, own] = -np.inf
    leaders = rivals.argmax(axis=1)
    targeted = problem.sign[cases, 0] > 0
    # One pair (winner to be, class to be beaten) for a targeted row, one for each other class of an untargeted row.
    wanted = np.where(targeted[:, None], np.arange(problem.classes) == leaders[:, None], np.isfinite(rivals))
    row, rival = np.nonzero(wanted)
    sign = np.where(targeted, 1.0, -1.0)[row]
    cotangents = np.zeros((len(row), problem.classes), dtype=np.float32)
    cotangents[np.arange(len(row)), rival] = sign
    cotangents[np.arange(len(row)), own[row]] = -sign
    slopes = search.surrogate.vjp(points[row], cotangents).astype(np.float64)
    search.evaluations += len(row)
    gaps = sign * (logits[row, rival] - logits[row, own[row]]) + problem.margin
    dual = LENGTH[DUAL[search.metric]](slopes)
    distance = np.divide(np.abs(gaps), dual, out=np.full_like(gaps, np.inf), where=dual > 0)
    order = np.lexsort((distance, row))
    nearest = order[np.searchsorted(row[order], each)]
    return problem.gap(cases, logits), gaps[nearest], slopes[nearest]


def shortest_step(metric: Metric, slope: Array, gap: Array, down: Array, up: Array) -> Array:
    """δ for rows of slope (batch, n), gap (batch,), and room down, up ≥ 0 (batch, n), infinite where unbounded."""
    slope = np.where(gap < 0, -1.0, 1.0)[:, None] * slope
    steep, gap = np.abs(slope), np.abs(gap)
    room = np.where(slope > 0, down, np.where(slope < 0, up, 0.0))
    move = _steepest_first(steep, gap, room) if metric is Metric.L1 else _together(metric, steep, gap, room)
    return np.asarray(-np.sign(slope) * move)


def _steepest_first(steep: Array, gap: Array, room: Array) -> Array:
    order = np.argsort(-steep, axis=1, kind="stable")
    steep, room = np.take_along_axis(steep, order, axis=1), np.take_along_axis(room, order, axis=1)
    gain = np.cumsum(steep * room, axis=1)
    before = np.concatenate([np.zeros((len(gap), 1)), gain[:, :-1]], axis=1)
    left = np.maximum(gap[:, None] - before, 0.0)
    move = np.minimum(room, np.divide(left, steep, out=np.zeros_like(left), where=steep > 0))
    back: Array = np.empty_like(move)
    np.put_along_axis(back, order, move, axis=1)
    return back


def _together(metric: Metric, steep: Array, gap: Array, room: Array) -> Array:
    """move_i = min(t · w_i, room_i), with the least t at which Σ steep_i · move_i = gap."""
    weight = np.ones_like(steep) if metric is Metric.LINF else steep
    stop = np.divide(room, weight, out=np.full_like(room, np.inf), where=weight > 0)  # the t at which pixel i is full
    order = np.argsort(stop, axis=1)
    ends = np.take_along_axis(stop, order, axis=1)
    full = np.take_along_axis(np.where(np.isfinite(room), steep * room, 0.0), order, axis=1)
    rate = np.take_along_axis(steep * weight, order, axis=1)
    # Between breakpoints k − 1 and k: Σ steep · move = spent[k] + t · rates[k].
    spent = np.cumsum(full, axis=1) - full
    rates = np.cumsum(rate[:, ::-1], axis=1)[:, ::-1]
    with np.errstate(invalid="ignore"):
        reached = np.where(rates > 0, spent + ends * rates, spent)
    enough = reached >= gap[:, None]
    first = np.where(enough.any(axis=1), enough.argmax(axis=1), ends.shape[1] - 1)
    rows = np.arange(len(gap))
    left, speed = gap - spent[rows, first], rates[rows, first]
    time = np.divide(left, speed, out=np.zeros_like(left), where=speed > 0)
    time = np.where(enough.any(axis=1), time, np.inf)
    with np.errstate(invalid="ignore"):  # ∞ · 0
        return np.asarray(np.minimum(np.where(weight > 0, time[:, None] * weight, 0.0), room))
