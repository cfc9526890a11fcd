"""How far a linear form falls in a ball of L2 cut with a box, as kernels: the formulas of `l2`, all rounding charged.

For any scale τ a row g is the sum of b, |b_i| = min(|g_i|, room_i/τ), and c, and S(r) ≤ r·‖b‖₂ + Σ |c_i|·room_i: as a
function of r the tangent of S where the scale is right. Rows are given as slopes |g_i| and the rooms on the side to
which they pull.
"""

from __future__ import annotations

import math

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.kernels.jit import inner
from verifier.problem.norms.l2 import ROUNDS
from verifier.problem.norms.linf import SETTLED, TANGENTS
from verifier.problem.rounding import SPARE_OPERATIONS, SUMMED

LOST = 2.0**-1020
"""For each entry: more than a square or a product loses to underflow."""

TINY = 2.0**-1000
"""A scale at which only entries without room are held."""


@inner
def slopes_of(row: Array, down: Array, up: Array) -> tuple[Array, Array]:
    """(slopes, rooms) of a row (n,)."""
    steep, rooms = np.empty(row.size), np.empty(row.size)
    for i in range(row.size):
        value = row[i]
        steep[i] = abs(value)
        rooms[i] = down[i] if value > 0.0 else up[i]
    return steep, rooms


@inner
def scale_of(steep: Array, rooms: Array, radius: float, rounds: int) -> float:
    """`l2.scales` of one row, after so many rounds at most."""
    free = 0.0
    for i in range(steep.size):
        free += steep[i] * steep[i] if rooms[i] > 0.0 else 0.0
    if not free > 0.0:
        return math.inf
    scale = radius / math.sqrt(free)
    for _ in range(rounds):
        spent, free = 0.0, 0.0
        for i in range(steep.size):
            value, room = steep[i], rooms[i]
            held = room < scale * value
            spent += room * room if held else 0.0
            free += 0.0 if held else value * value
        if not free > 0.0:
            return math.inf
        left = radius * radius - spent
        if not left > free * scale * scale:
            break
        scale = math.sqrt(left / free)
    return scale


@inner
def tangent(steep: Array, rooms: Array, scale: float) -> tuple[float, float]:
    """(‖b‖₂, Σ |c|·room) of the sum that a row is at this scale, rounded up."""
    inverse, squares, flat = 1.0 / scale, 0.0, 0.0
    for i in range(steep.size):
        value, room = steep[i], rooms[i]
        reach = room * inverse
        part = reach if reach < value else value
        squares += part * part
        flat += (value - part) * room if part < value else 0.0
    grown = 1.0 + SUMMED * (steep.size + SPARE_OPERATIONS)
    return math.sqrt(squares + steep.size * LOST) * grown, (flat + steep.size * LOST) * grown


@inner
def fall_of(row: Array, down: Array, up: Array, radius: float) -> float:
    """`L2.falls` of one row (n,); infinite where numbers are too large."""
    if not radius > 0.0:
        return 0.0
    steep, rooms = slopes_of(row, down, up)
    if not np.any(steep > 0.0):
        return 0.0
    slope, flat = tangent(steep, rooms, scale_of(steep, rooms, radius, ROUNDS))
    fallen = (radius * slope + flat) * (1.0 + SUMMED)
    return fallen if fallen < math.inf else math.inf


@inner
def excluded_of(row: Array, down: Array, up: Array, amount: float, most: float) -> float:
    """`L2.excluded` of one row (n,) and an amount ≥ 0: where tangents of S use it up, at radii that rise to that."""
    best, at = 0.0, most
    steep, rooms = slopes_of(row, down, up)
    if not np.any(steep > 0.0):
        return most
    for number in range(TANGENTS):
        slope, flat = tangent(steep, rooms, scale_of(steep, rooms, at, ROUNDS))
        reached = (amount - flat) / slope
        if reached >= most:
            return most
        if number == 0:
            # At the ball's own radius entries may be held for more than the amount.
            slope, flat = tangent(steep, rooms, TINY)
            reached = max(reached, (amount - flat) / slope)
        if not reached > best * (1.0 + SETTLED):
            break
        best = at = reached
    return best


@inner
def step_of(row: Array, down: Array, up: Array, radius: float, most: float, step: Array) -> None:
    """Fill in the step (n,) at which a row is least in the ball, its scale at most so much; row and step may be one."""
    steep, rooms = slopes_of(row, down, up)
    scale = min(most, scale_of(steep, rooms, radius, ROUNDS))
    for i in range(row.size):
        move = min(scale * steep[i], rooms[i]) if steep[i] > 0.0 else 0.0
        step[i] = -move if row[i] > 0.0 else move


@inner
def mixed_fall(
    own: Array, other: Array, down: Array, up: Array, weight: float, radius: float, rounds: int
) -> tuple[float, float]:
    """(how far v = own + weight · other falls, rounded up, other·δ for the step δ where it does)."""
    mixed = np.empty(own.size)
    for i in range(own.size):
        mixed[i] = own[i] + weight * other[i]
    steep, rooms = slopes_of(mixed, down, up)
    scale = scale_of(steep, rooms, radius, rounds)
    slope, flat = tangent(steep, rooms, scale)
    turned = 0.0
    for i in range(own.size):
        move = scale * steep[i]
        move = rooms[i] if rooms[i] < move else move
        pulled = other[i] if mixed[i] > 0.0 else -other[i]
        turned -= pulled * move if steep[i] > 0.0 else 0.0
    fallen = radius * slope + flat
    return fallen if fallen < math.inf else math.inf, turned


@inner
def ascend_round(
    centre: Array, down: Array, up: Array, ends: Array, gradient: Array, radius: float, share: float, x: Array
) -> None:
    """`L2.ascended` in place, in the box `ends` (2, n)."""
    squares = 0.0
    for i in range(x.size):
        squares += gradient[i] * gradient[i]
    size = math.sqrt(squares)
    if not size > 0.0 or not radius > 0.0:
        return
    length, wanted = share * radius / size, np.empty(x.size)
    for i in range(x.size):
        wanted[i] = centre[i] - (x[i] + length * gradient[i])
    # The nearest point to centre − g is centre − min(τ, 1)·g, cut with the box.
    step_of(wanted, down, up, radius, 1.0, wanted)
    for i in range(x.size):
        x[i] = min(max(centre[i] + wanted[i], ends[0, i]), ends[1, i])
