"""How far a linear form falls in a ball, as kernels: the formulas of `problem.norms`."""

from __future__ import annotations

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.kernels.heap import pop, push
from verifier.bounds.kernels.jit import Integers, compiled, inner
from verifier.bounds.kernels.network import Surroundings
from verifier.bounds.kernels.round_ball import ascend_round, excluded_of, fall_of
from verifier.bounds.lagrangian import RADIUS_SLACK
from verifier.problem.norms.geometry import FIRST_STEP
from verifier.problem.norms.linf import SETTLED, TANGENTS
from verifier.problem.rounding import UNIT

TOP = 32
"""Entries among which an L1 ball's are sought first: most balls are spent on fewer."""

FILL_SLACK = 4.0 * UNIT
"""For each entry, relative: filling an L1 ball subtracts as it goes; this covers the rounding of what is left."""


@compiled
def fall(around: Surroundings, row: Array, radius: float) -> float:
    """`Geometry.fall`."""
    if around.l1:
        filled = _fill_from_top(around, row, radius)
        return filled if filled >= 0.0 else _fill(around, row, radius)
    if around.l2:
        return fall_of(row, around.down, around.up, radius)
    down, up, total = around.down, around.up, 0.0
    for i in range(row.size):
        value = row[i]
        room = down[i] if value > 0.0 else up[i]
        total += abs(value) * (room if room < radius else radius)
    return total


@inner
def _fill_from_top(around: Surroundings, row: Array, radius: float) -> float:
    """S(radius) in L1 where the `TOP` steepest entries use up the ball, else −1."""
    down, up = around.down, around.up
    steep, places, count = np.empty(TOP), np.empty(TOP, dtype=np.int64), 0
    for i in range(row.size):
        size = abs(row[i])
        if size == 0.0 or (count == TOP and size <= steep[TOP - 1]):
            continue
        if (down[i] if row[i] > 0.0 else up[i]) > 0.0:
            count = insert(steep, places, count, size, i)
    total, left = 0.0, radius
    for k in range(count):
        i = places[k]
        used = min(down[i] if row[i] > 0.0 else up[i], left)
        total += steep[k] * used
        left -= used
    if left > 0.0 and count == TOP:
        return -1.0
    return total * (1.0 + FILL_SLACK * (row.size + 16))


@inner
def insert(steep: Array, places: Integers, count: int, size: float, place: int) -> int:
    """Insert an entry into a list in falling order, which loses its last one where it is full; its length."""
    at = min(count, steep.size - 1)
    while at > 0 and steep[at - 1] < size:
        steep[at], places[at] = steep[at - 1], places[at - 1]
        at -= 1
    steep[at], places[at] = size, place
    return min(count + 1, steep.size)


@inner
def _fill(around: Surroundings, row: Array, radius: float) -> float:
    steep, rooms, count = _steepest(around, row, radius)
    total, left = 0.0, radius
    while count > 0 and left > 0.0:
        count = pop(steep, rooms, count)
        used = min(rooms[count], left)
        total -= steep[count] * used
        left -= used
    return total * (1.0 + FILL_SLACK * (row.size + 16))


@compiled
def excluded(around: Surroundings, row: Array, amount: float, most: float) -> float:
    """`Dual.radius`: a radius r ≤ most with S(r) ≤ amount, as large as it can be, rounding left out of it."""
    if not 0.0 <= amount < np.inf:
        return 0.0
    shrink = 1.0 - RADIUS_SLACK - 2.0 * row.size * UNIT
    if around.l1:
        steep, rooms, count = _steepest(around, row, most)
        spent, gained = 0.0, 0.0
        while count > 0:
            count = pop(steep, rooms, count)
            gain = -steep[count] * rooms[count]
            if gained + gain > amount:
                reached: float = min(most, spent + (amount - gained) / -steep[count])
                return reached * shrink
            gained += gain
            spent += rooms[count]
        return most * shrink
    if around.l2:
        return excluded_of(row, around.down, around.up, amount, most) * shrink
    down, up, radius = around.down, around.up, 0.0
    for _ in range(TANGENTS):
        slope, used = 0.0, 0.0
        for i in range(row.size):
            value = row[i]
            size, room = abs(value), down[i] if value > 0.0 else up[i]
            slope += size if room > radius else 0.0
            used += 0.0 if room > radius else size * room
        if slope <= 0.0 or (amount - used) >= most * slope:
            radius = most
            break
        step = (amount - used) / slope
        if step <= radius * (1.0 + SETTLED):
            break
        radius = step
    return radius * shrink


@compiled
def measure(
    around: Surroundings,
    row: Array,
    constant: Array,
    real: Array,
    radius: float,
    values: Array,
    reals: Array,
    radii: Array,
) -> None:
    """`Duals.values` and `Duals.radii` of rows (nodes, n), filled in."""
    for b in range(constant.size):
        fallen = fall(around, row[b], radius)
        values[b], reals[b] = constant[b] - fallen, real[b] - fallen
        radii[b] = excluded(around, row[b], constant[b], radius)


@inner
def _steepest(around: Surroundings, row: Array, most: float) -> tuple[Array, Array, int]:
    """A heap of −|g_i|, least first, with the rooms."""
    down, up = around.down, around.up
    steep, rooms, count = np.empty(row.size), np.empty(row.size), 0
    for i in range(row.size):
        value = row[i]
        room = min(down[i] if value > 0.0 else up[i], most)
        if value != 0.0 and room > 0.0:
            count = push(steep, rooms, count, -abs(value), room)
    return steep, rooms, count


@compiled
def ascend(around: Surroundings, ends: Array, gradient: Array, radius: float, step: int, steps: int, x: Array) -> None:
    """`Geometry.ascended` in place, with the share of that step, in the box `ends` (2, n)."""
    centre = around.centre
    if around.l1:
        share = 2.0 / (step + 3.0)
        for i in range(x.size):
            x[i] -= share * (x[i] - centre[i])
        _to_vertex(around, gradient, radius, share, x)
        return
    if around.l2:
        ascend_round(centre, around.down, around.up, ends, gradient, radius, FIRST_STEP * (1.0 - step / steps), x)
        return
    length = FIRST_STEP * radius * (1.0 - step / steps)
    for i in range(x.size):
        moved = x[i] + length * np.sign(gradient[i])
        moved = min(max(moved, centre[i] - radius), centre[i] + radius)
        x[i] = min(max(moved, ends[0, i]), ends[1, i])


@inner
def _to_vertex(around: Surroundings, gradient: Array, radius: float, share: float, x: Array) -> None:
    """x += share · (the step from the centre within the L1 ball that the gradient prefers)."""
    down, up = around.down, around.up
    steep, places, count, left = np.empty(x.size), np.empty(x.size), 0, radius
    for i in range(x.size):
        value = gradient[i]
        if value != 0.0:
            count = push(steep, places, count, -abs(value), float(i))
    while count > 0 and left > 0.0:
        count = pop(steep, places, count)
        i = int(places[count])
        used = min(up[i] if gradient[i] > 0.0 else down[i], left)
        x[i] += share * used if gradient[i] > 0.0 else -share * used
        left -= used
