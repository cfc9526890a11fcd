"""α-CROWN of ReLU arguments as kernels: the formulas of `crown` and `alpha_crown`, on sparse stages.

Several rows are bounded at once, one a lane: lanes lie side by side, so that each entry of the network is read once for
all of them. What no row of a block reads is left out. Slopes are optimised in float32; what is proved is one pass more
in float64, for the best slopes met, its rounding charged as in `stage_crown`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from verifier.bounds.alpha_crown import (
    ADAM_EPSILON,
    MOMENTUM,
    SECOND_MOMENTUM,
)
from verifier.bounds.kernels.alike_rows import SPAN, TOGETHER, send, sent_later
from verifier.bounds.kernels.jit import Integers, compiled, inner
from verifier.bounds.kernels.lanes import gather
from verifier.bounds.kernels.sparse_stages import SparseNetwork
from verifier.problem.norms.geometry import Floats

LANES = 16
"""Rows of a block: of float32 two registers of AVX2, or a line of the cache."""


@compiled
def reached(net: SparseNetwork, chosen: Integers, inputs: int) -> tuple[Integers, Integers]:
    """The ReLUs that the chosen arguments depend on, in the network's order, and the entries of the input in theirs."""
    last, count = chosen.max(), 0
    marked, seen = np.zeros(last + 1, dtype=np.bool_), np.zeros(inputs, dtype=np.bool_)
    told, places = np.zeros(last + 1, dtype=np.bool_), np.empty(last + 1, dtype=np.int64)
    for j in chosen:
        _mark(net, j, told, marked, seen)
    for j in range(last, -1, -1):
        if marked[j]:
            _mark(net, j, told, marked, seen)
    for at in range(net.order.size):
        j = net.order[at]
        if j <= last and marked[j]:
            places[count] = j
            count += 1
    return places[:count], _places(seen)


@inner
def _mark(
    net: SparseNetwork,
    j: int,
    told: npt.NDArray[np.bool_],
    marked: npt.NDArray[np.bool_],
    seen: npt.NDArray[np.bool_],
) -> None:
    """Mark what row j reads, unless a row that is like it has told."""
    hidden, inputs = net.hidden, net.inputs
    if told[net.alike[j]]:
        return
    told[net.alike[j]] = True
    for k in range(hidden.begin[j], hidden.end[j]):
        marked[hidden.columns[k]] = True
    for k in range(inputs.begin[j], inputs.end[j]):
        seen[inputs.columns[k]] = True


@inner
def _places(marked: npt.NDArray[np.bool_]) -> Integers:
    places, count = np.empty(marked.size, dtype=np.int64), 0
    for j in range(marked.size):
        if marked[j]:
            places[count] = j
            count += 1
    return places[:count]


@compiled
def backward(
    net: SparseNetwork,
    chosen: Integers,
    signs: npt.NDArray[Any],
    places: Integers,
    inputs: Integers,
    alpha: Floats,
    mu: npt.NDArray[Any],
    row: npt.NDArray[Any],
    value: npt.NDArray[Any],
    size: npt.NDArray[Any],
) -> None:
    """One pass back for the rows signs · (arguments `chosen`), one a lane, with lower slopes alpha (ReLUs, lanes).

    Filled in, within what is `reached`: the coefficients mu (ReLUs, lanes) that arrive, and those at the input, row
    (n, lanes); the constants, value (lanes,), and the sizes that rounding is relative to.
    """
    lanes = value.size
    hidden, first = net.hidden, net.inputs
    for j in places:
        for lane in range(lanes):
            mu[j, lane] = 0.0
    for i in inputs:
        for lane in range(lanes):
            row[i, lane] = 0.0
    for lane in range(lanes):
        j, sign = chosen[lane], signs[lane]
        value[lane], size[lane] = sign * net.constant[j], net.sizes[j]
        for k in range(hidden.begin[j], hidden.end[j]):
            mu[hidden.columns[k], lane] += sign * hidden.values[k]
        for k in range(first.begin[j], first.end[j]):
            row[first.columns[k], lane] += sign * first.values[k]
    among, waiting = sent_later(mu)
    count = 0
    zero = value[0] * 0
    for at in range(places.size - 1, -1, -1):
        j = places[at]
        if count == TOGETHER or (count > 0 and net.alike[j] != net.alike[among[0]]):
            send(hidden, first, among, count, waiting, mu, row)
            count = 0
        nu = waiting[count * SPAN : count * SPAN + lanes]
        slope, intercept, constant, charge = net.slope[j], net.intercept[j], net.constant[j], net.charge[j]
        message, lower = mu[j], alpha[j]
        total = zero
        for lane in range(lanes):
            above = max(message[lane], zero)
            below = message[lane] - above
            lost = below * intercept
            sent = above * lower[lane] + below * slope
            value[lane] += lost + sent * constant
            size[lane] += abs(sent) * charge - lost
            nu[lane] = sent
            total += abs(sent)
        if total != 0.0:
            among[count] = j
            count += 1
    send(hidden, first, among, count, waiting, mu, row)


@compiled
def box_least(
    inputs: Integers, row: npt.NDArray[Any], ends: npt.NDArray[Any], points: npt.NDArray[Any], value: npt.NDArray[Any]
) -> None:
    """Add the least value of each row over the box `ends` (2, n); the points (n, lanes) where it is taken."""
    for i in inputs:
        low, high = ends[0, i], ends[1, i]
        coefficients, point = row[i], points[i]
        for lane in range(value.size):
            end = low if coefficients[lane] > 0.0 else high
            point[lane] = end
            value[lane] += coefficients[lane] * end


@compiled
def climb(
    net: SparseNetwork,
    places: Integers,
    points: Floats,
    mu: Floats,
    heights: Floats,
    step: float,
    first_scale: float,
    second_scale: float,
    alpha: Floats,
    first: Floats,
    second: Floats,
) -> None:
    """One step of Adam for alpha (ReLUs, lanes): ∂/∂α_j = max(μ_j, 0) · z_j, z the arguments along the chosen lines.

    heights (ReLUs, lanes) are the ReLUs along them; the scales undo that the moments begin at 0.
    """
    lanes = points.shape[1]
    hidden, inputs = net.hidden, net.inputs
    total = np.empty(lanes, dtype=points.dtype)
    keep, keep_second = np.float32(MOMENTUM), np.float32(SECOND_MOMENTUM)
    new, new_second = np.float32(1.0 - MOMENTUM), np.float32(1.0 - SECOND_MOMENTUM)
    tiny, zero, one = np.float32(ADAM_EPSILON), np.float32(0.0), np.float32(1.0)
    by, scale, square_scale = np.float32(step), np.float32(first_scale), np.float32(second_scale)
    for j in places:
        for lane in range(lanes):
            total[lane] = net.constant[j]
        gather(hidden.begin[j], hidden.end[j], hidden.columns, hidden.values, heights, total, lanes)
        gather(inputs.begin[j], inputs.end[j], inputs.columns, inputs.values, points, total, lanes)
        height, message = heights[j], mu[j]
        if not net.open[j]:
            for lane in range(lanes):
                height[lane] = total[lane]
            continue
        slope, intercept, slopes = net.slope[j], net.intercept[j], alpha[j]
        mean, square = first[j], second[j]
        for lane in range(lanes):
            above = max(message[lane], zero)
            height[lane] = slopes[lane] * total[lane] if above > zero else slope * total[lane] + intercept
            gradient = above * total[lane]
            mean[lane] = keep * mean[lane] + new * gradient
            square[lane] = keep_second * square[lane] + new_second * gradient * gradient
            moved = slopes[lane] + by * scale * mean[lane] / (np.sqrt(square[lane] * square_scale) + tiny)
            slopes[lane] = min(max(moved, zero), one)


@compiled
def keep_better(places: Integers, value: Floats, alpha: Floats, known: Floats, best: Floats) -> None:
    """The slopes of the lanes whose value is above the known one become the best; the values too."""
    for j in places:
        for lane in range(value.size):
            best[j, lane] = alpha[j, lane] if value[lane] > known[lane] else best[j, lane]
    for lane in range(value.size):
        known[lane] = max(known[lane], value[lane])
