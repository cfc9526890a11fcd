"""The LP of the dense simplex: its coefficients, the arrays of a run, columns and prices.

Variables are numbered: n moves up, n moves down, then w, a, p of each ReLU, the goal rows' slacks, s, the ball's slack.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.kernels.jit import Integers, inner

LOWER, UPPER, KEY = -1, -2, -3
"""Where a variable that has no row of the inverse stands: at a bound, or eliminated."""

SLACK, ACTIVE, INACTIVE = 0, 1, 2
"""The members of a triangle: w, a, p."""

INFEASIBLE = 1e-9
"""A basic variable this far outside its bounds still counts as inside; reduced costs and rates this small as 0."""

FLAT_END = 1e-9
"""A triangle with an end nearer to 0 is written as the box around it: its coefficients would be too large."""

SLACK_ROOM = 1e6
"""Stands for no bound at all on the slack of a goal row."""


class Program(NamedTuple):
    """The LP's coefficients: `moves` (f, n) with its transpose `entries` and the `rows` that they stand in, `hidden`
    (rows, relus) with its transpose, the `constants` (rows,), the `room` (2n,) of moves up and down. `split`: 1 where
    these are apart and the ball's row is the last. `kept`, `used`, `base`: which ReLUs and input entries these are, and
    where the moves start. Of a round ball moves are shares of `steps` (n, entries), else there are none; `filled` (2,):
    how many have been added so far, and at first."""

    relus: int
    goals: int
    split: int
    moves: Array
    entries: Array
    rows: Integers
    hidden: Array
    transposed: Array
    constants: Array
    room: Array
    kept: Integers
    used: Integers
    base: Array
    steps: Array
    filled: Integers


class SimplexState(NamedTuple):
    """A run: bounds and places of all variables; for the triangles (3, relus) `reach` = 1/coefficient, `cost` = reduced
    costs before the triangle's own multiplier, `rate` = how fast they fall, `extra` = costs of a and p themselves; the
    rows' inverse and what goes with it."""

    lo: Array
    hi: Array
    where: Integers
    paired: npt.NDArray[np.bool_]
    reach: Array
    basic: Integers
    key: Integers
    inverse: Array
    weights: Array
    x: Array
    y: Array
    move_cost: Array
    cost: Array
    direction: Array
    move_rate: Array
    rate: Array
    extra: Array
    ratios: Array
    candidates: Integers
    passed: Integers
    change: Array
    column: Array
    entering: Array


@inner
def begin(program: Program, low: Array, high: Array, basic: Integers, key: Integers, y: Array) -> SimplexState:
    """The arrays of a run."""
    relus, goals, split, room, constants = program.relus, program.goals, program.split, program.room, program.constants
    base, rows = room.size, constants.size
    top = base + 3 * relus
    count = top + goals + 2
    lo, hi, paired, reach = np.zeros(count), np.zeros(count), np.zeros(relus, dtype=np.bool_), np.ones((3, relus))
    hi[:base] = room
    for j in range(relus):
        lo[base + relus + j], hi[base + relus + j] = max(low[j], 0.0), max(high[j], 0.0)
        lo[base + 2 * relus + j], hi[base + 2 * relus + j] = max(-high[j], 0.0), max(-low[j], 0.0)
        hi[base + j] = 1.0
        if low[j] < -FLAT_END and high[j] > FLAT_END:
            paired[j] = True
            reach[ACTIVE, j], reach[INACTIVE, j] = high[j], -low[j]
    hi[top : top + goals] = SLACK_ROOM
    lo[top + goals], hi[top + goals] = -np.inf, np.inf
    if split:
        hi[top + goals + 1] = constants[relus + goals]
    return SimplexState(
        lo,
        hi,
        np.empty(count, dtype=np.int64),
        paired,
        reach,
        basic,
        key,
        np.empty((rows, rows)),
        np.empty(rows),
        np.empty(rows),
        y,
        np.zeros(base),
        np.zeros((3, relus)),
        np.empty(rows),
        np.zeros(base),
        np.zeros((3, relus)),
        np.zeros((3, relus)),
        np.empty(count),
        np.empty(count, dtype=np.int64),
        np.empty(2 * count, dtype=np.int64),
        np.empty(rows),
        np.empty(rows),
        np.empty(rows),
    )


@inner
def add_raw(program: Program, c: int, scale: float, out: Array) -> None:
    """out += scale · (the column of variable c, triangles aside)."""
    relus, goals, rows = program.relus, program.goals, program.rows
    n = program.moves.shape[1]
    place = c - 2 * n
    if place < 0:
        entry, sign = (program.entries[c], scale) if c < n else (program.entries[c - n], -scale)
        for r in range(rows.size):
            out[rows[r]] += sign * entry[r]
        if program.split:
            out[relus + goals] += scale
    elif place < relus:
        pass
    elif place < 2 * relus:
        column = program.transposed[place - relus]
        for i in range(column.size):
            out[i] += scale * column[i]
    elif place < 3 * relus:
        out[place - 2 * relus] -= scale
    elif place < 3 * relus + goals:
        out[relus + place - 3 * relus] -= scale
    elif place == 3 * relus + goals:
        for g in range(goals):
            out[relus + g] += scale
    else:
        out[relus + goals] += scale


@inner
def fill_column(program: Program, state: SimplexState, c: int, out: Array) -> None:
    """The column of c with its triangle's key eliminated."""
    relus = program.relus
    out[:] = 0.0
    add_raw(program, c, 1.0, out)
    place = c - program.room.size
    if 0 <= place < 3 * relus:
        kind, j = place // relus, place % relus
        own = state.key[j]
        if state.paired[j] and own != SLACK:
            ratio = state.reach[own, j] / state.reach[kind, j]
            add_raw(program, program.room.size + own * relus + j, -ratio, out)


@inner
def of_key(
    relus: int, base: int, j: int, where: Integers, key: Integers, reach: Array, x: Array, hi: Array
) -> tuple[float, int, int]:
    """(value of a triangle's key, rows of the first and the second other member that have one, −1 for none)."""
    own = key[j]
    left, first, second = 1.0, -1, -1
    for kind in range(3):
        c = base + kind * relus + j
        if kind != own and where[c] >= 0:
            left -= x[where[c]] / reach[kind, j]
            if first < 0:
                first = where[c]
            else:
                second = where[c]
        elif where[c] == UPPER:
            left -= hi[c] / reach[kind, j]
    return left * reach[own, j], first, second


@inner
def fill_prices(program: Program, y: Array, of_moves: Array, of_members: Array) -> None:
    """−y·A of moves and of the members of triangles: reduced costs, or their rates for a direction of y."""
    relus, goals, moves, rows, hidden = program.relus, program.goals, program.moves, program.rows, program.hidden
    n = moves.shape[1]
    ups, downs = of_moves[:n], of_moves[n:]
    ups[:] = 0.0
    for r in range(rows.size):
        value = y[rows[r]]
        if value != 0.0:
            row = moves[r]
            for i in range(n):
                ups[i] -= value * row[i]
    if program.split:
        price = y[relus + goals]
        for i in range(n):
            downs[i] = -ups[i] - price
            ups[i] -= price
    active, inactive = of_members[ACTIVE], of_members[INACTIVE]
    active[:] = 0.0
    for r in range(relus + goals):
        value = y[r]
        if value != 0.0:
            row = hidden[r]
            for j in range(relus):
                active[j] -= value * row[j]
    for j in range(relus):
        inactive[j] = y[j]
