"""Where linear forms are least in a ball, for a batch in float32, as kernels: `Geometry.least_of_batch`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from encoders.network.norm import Norm
from verifier.bounds.kernels.heap import pop, push
from verifier.bounds.kernels.jit import inner
from verifier.problem.norms.geometry import Floats
from verifier.problem.norms.l2 import ROUNDS
from verifier.problem.query import Ball

BOX, SUM, ROUND = 0, 1, 2
KINDS = {Norm.LINF: BOX, Norm.L1: SUM, Norm.L2: ROUND}
"""The balls that the kernel knows."""

NOTHING = np.float32(0.0)


class SingleBall(NamedTuple):
    """A ball in float32; low, high: its box; down, up: the room around its centre, at most its radius."""

    kind: int
    low: Floats
    high: Floats
    down: Floats
    up: Floats
    centre: Floats


def single(ball: Ball) -> SingleBall:
    """The ball of a query."""
    room = ball.geometry.room
    sides = *ball.interval, np.minimum(room.down, ball.radius), np.minimum(room.up, ball.radius), ball.centre
    return SingleBall(KINDS[ball.norm], *(np.array(side, dtype=np.float32) for side in sides))


@inner
def least_points(ball: SingleBall, radius: float, rows: Floats, points: Floats, width: int, value: Floats) -> None:
    """The points (n, batch) where the rows (n, batch) are least, and `value` (batch,) plus what they are there.

    Arrays may have more rows, which are left alone; of columns only the first ones are looked at.
    """
    if ball.kind == SUM:
        _fill(ball, radius, rows, points, width, value)
    elif ball.kind == ROUND:
        _stretch(ball, radius, rows, points, width, value)
    else:
        for i in range(ball.centre.size):
            row, point, low, high = rows[i], points[i], ball.low[i], ball.high[i]
            for j in range(width):
                point[j] = low if row[j] > NOTHING else high
            for j in range(width):
                value[j] += row[j] * point[j]


@inner
def _fill(ball: SingleBall, radius: float, rows: Floats, points: Floats, width: int, value: Floats) -> None:
    """`L1.least_of_batch`: the steepest entries first."""
    size = ball.centre.size
    steep, places = np.empty(size, dtype=np.float32), np.empty(size, dtype=np.int64)
    for j in range(width):
        count, total, left = 0, 0.0, radius
        for i in range(size):
            entry = rows[i, j]
            points[i, j] = ball.centre[i]
            total += entry * ball.centre[i]
            if entry != NOTHING and (ball.down[i] if entry > NOTHING else ball.up[i]) > NOTHING:
                count = push(steep, places, count, -abs(entry), i)
        while count > 0 and left > 0.0:
            count = pop(steep, places, count)
            i = places[count]
            entry = rows[i, j]
            used = min(left, np.float64(ball.down[i] if entry > NOTHING else ball.up[i]))
            points[i, j] += np.float32(-used if entry > NOTHING else used)
            total -= abs(entry) * used
            left -= used
        value[j] += np.float32(total)


@inner
def _stretch(ball: SingleBall, radius: float, rows: Floats, points: Floats, width: int, value: Floats) -> None:
    """`L2.least_of_batch`: each entry in proportion to its slope, as far as its room."""
    size = ball.centre.size
    held = np.empty(size, dtype=np.bool_)
    for j in range(width):
        largest, total = 0.0, 0.0
        for i in range(size):
            entry = rows[i, j]
            held[i] = False
            largest = max(largest, np.float64(abs(entry)))
            total += entry * ball.centre[i]
        scale = 0.0
        if largest > 0.0 and radius > 0.0:
            for _ in range(ROUNDS):
                spent, free, changed = 0.0, 0.0, False
                for i in range(size):
                    entry = rows[i, j]
                    slope = np.float64(abs(entry)) / largest
                    room = min(np.float64(ball.down[i] if entry > NOTHING else ball.up[i]) / radius, 2.0)
                    if not held[i] and room < scale * slope:
                        held[i], changed = True, True
                    spent += room * room if held[i] else 0.0
                    free += 0.0 if held[i] else slope * slope
                if scale > 0.0 and not changed:
                    break
                scale = np.sqrt(max(1.0 - spent, 0.0) / free) if free > 0.0 else np.inf
        for i in range(size):
            entry, moved = rows[i, j], 0.0
            if largest > 0.0 and entry != NOTHING:
                room = np.float64(ball.down[i] if entry > NOTHING else ball.up[i])
                moved = min(scale * radius * np.float64(abs(entry)) / largest, room)
            points[i, j] = np.float32(ball.centre[i] - moved if entry > NOTHING else ball.centre[i] + moved)
            total -= abs(entry) * moved
        value[j] += np.float32(total)
