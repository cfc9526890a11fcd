"""A dual simplex for the triangle relaxation of small networks, compiled: dense inverse, triangles kept implicit.

The LP of `lp_layout`: minimise s subject to F·t + H·a − p + … = b and, for every open ReLU j, the triangle
w_j + a_j/u_j + p_j/|l_j| = 1 with w_j ≥ 0. One of w_j, a_j, p_j is the triangle's *key*: it is basic and eliminated, so
that only a square of the other rows is inverted (generalised upper bounding; Dantzig & Van Slyke 1967). Every variable
but s has two finite bounds, so that any basis is dual feasible, and a node may start from any other's. Steps pass all
breakpoints that still raise the dual value (bound flipping; Fourer 1994); rows are chosen by dual steepest edge with
exact weights. The result is a proposal: multipliers that are evaluated safely elsewhere.

Variables are numbered: n moves up, n moves down, then w, a, p of each ReLU, the goal rows' slacks, s, the ball's slack.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from encoders.graph import Array
from verifier.bounds.jit import compiled

Integers = npt.NDArray[np.int64]

OPTIMAL, EXCLUDED, STOPPED = 0, 1, 2
"""How a run ends: at the LP's optimum; above the cutoff; with neither (pivots used up, or numbers too bad)."""

LOWER, UPPER, KEY = -1, -2, -3
"""Where a variable that has no row of the inverse stands: at a bound, or eliminated."""

SLACK, ACTIVE, INACTIVE = 0, 1, 2
"""The members of a triangle: w, a, p."""

INFEASIBLE = 1e-9
"""A basic variable this far outside its bounds still counts as inside; reduced costs and rates this small as 0."""

SMALL_PIVOT = 1e-7
"""A smaller pivot is not taken: the inverse is formed anew first, then the run stops."""

FLAT_END = 1e-9
"""A triangle with an end nearer to 0 is written as the box around it: its coefficients would be too large."""

SLACK_ROOM = 1e6
"""Stands for no bound at all on the slack of a goal row."""

REFRESH = 64
"""Pivots after which the inverse is formed anew."""

SINGULAR = 1e-11
"""A pivot of the inversion below this means that the basis is singular."""

THRESHOLD = 0.05
"""Share of its column's largest entry that a pivot of the inversion must have to be preferred for sparsity."""


class Program(NamedTuple):
    """The LP's coefficients: `moves` (f, n) with its transpose `entries` and the `rows` that they stand in, `hidden`
    (rows, relus) with its transpose, the `constants` (rows,), the `room` (2n,) of moves up and down. `l1`: 1 for an L1
    ball, whose row is the last. `kept`, `used`, `base`: which ReLUs and input entries these are, and where the moves
    start."""

    relus: int
    goals: int
    l1: int
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


class State(NamedTuple):
    """A run: bounds and places of all variables; for the triangles (3, relus) `reach` = 1/coefficient, `cost` = reduced
    costs before the triangle's own multiplier, `rate` = how fast they fall; the rows' inverse and what goes with it."""

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
    ratios: Array
    candidates: Integers
    passed: Integers
    change: Array
    column: Array
    entering: Array


@compiled
def crash(program: Program, low: Array, high: Array, basic: Integers, key: Integers) -> None:
    """The basis that every node may start from: the likelier phase of each ReLU, s, and slacks."""
    relus, goals = program.relus, program.goals
    base = 2 * program.moves.shape[1]
    for j in range(relus):
        basic[j] = base + j + (ACTIVE if low[j] + high[j] > 0.0 else INACTIVE) * relus
        key[j] = SLACK
    basic[relus] = base + 3 * relus + goals
    for g in range(1, goals):
        basic[relus + g] = base + 3 * relus + g
    if program.l1:
        basic[relus + goals] = base + 3 * relus + goals + 1


@compiled
def solve(
    program: Program,
    low: Array,
    high: Array,
    basic: Integers,
    key: Integers,
    limit: int,
    cutoff: float,
    y: Array,
    point: Array,
    off: Array,
) -> tuple[int, float, int]:
    """Solve at a node's bounds low, high (relus,) from a basis (basic (rows,), key (relus,)), replaced by the last one.

    Ends after `limit` pivots or when the dual value exceeds `cutoff`. y (rows,) receives the multipliers; where the
    optimum was reached, point (n,) the moves and off (relus,) the distances min(a, p) from the ReLUs' graphs.
    Returns (how it ended, dual value, pivots).
    """
    state = _begin(program, low, high, basic, key, y)
    matrix = np.empty_like(state.inverse)
    _place(program, low, high, state)
    if not _factor(program, state, matrix):
        crash(program, low, high, basic, key)
        _place(program, low, high, state)
        if not _factor(program, state, matrix):
            return STOPPED, -np.inf, 0
    _refresh(program, state)
    end, pivots, age = STOPPED, 0, 0
    free = state.where[2 * program.moves.shape[1] + 3 * program.relus + program.goals]
    while pivots < limit:
        if state.x[free] > cutoff:
            end = EXCLUDED
            break
        if age >= REFRESH:
            if not _factor(program, state, matrix):
                break
            _refresh(program, state)
            age = 0
        row, triangle = _leaving(program, state)
        if row < 0:
            end = OPTIMAL
            break
        if triangle >= 0:
            _swap(program, state, triangle, row)
        amount, below = _aim(program, state, row)
        size = _breakpoints(program, state, row)
        chosen, step, value, gained = _walk(program, state, size, amount, state.x[free], cutoff)
        if value > cutoff:
            for k in range(y.size):
                y[k] += step * state.direction[k]
            end = EXCLUDED
            break
        if chosen < 0:
            break
        _flip(program, state, gained)
        if _enter(program, state, row, chosen, below, step):
            age += 1
        elif age == 0:
            break
        else:
            age = REFRESH
        pivots += 1
    if end == OPTIMAL:
        _solution(program, state, point, off)
    return end, state.x[free], pivots


@compiled
def _begin(program: Program, low: Array, high: Array, basic: Integers, key: Integers, y: Array) -> State:
    """The arrays of a run."""
    relus, goals, l1, room, constants = program.relus, program.goals, program.l1, program.room, program.constants
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
    if l1:
        hi[top + goals + 1] = constants[relus + goals]
    return State(
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
        np.empty(count),
        np.empty(count, dtype=np.int64),
        np.empty(2 * count, dtype=np.int64),
        np.empty(rows),
        np.empty(rows),
        np.empty(rows),
    )


@compiled
def _place(program: Program, low: Array, high: Array, state: State) -> None:
    """Fill `where`; triangles that the node has turned into boxes give up their keys."""
    relus, base = program.relus, program.room.size
    where, basic, key, paired = state.where, state.basic, state.key, state.paired
    where[:] = LOWER
    for k in range(basic.size):
        where[basic[k]] = k
    for j in range(relus):
        own = base + key[j] * relus + j
        if paired[j]:
            where[own] = KEY
        elif key[j] != SLACK:
            slack, wanted = base + j, base + (ACTIVE if low[j] + high[j] > 0.0 else INACTIVE) * relus + j
            other = base + (ACTIVE + INACTIVE - key[j]) * relus + j
            row = where[slack]
            if row < 0 and where[other] >= 0 and wanted == own:
                row = where[other]
                where[other] = LOWER
            if row >= 0:
                basic[row], where[own] = own, row
            where[slack] = LOWER
            key[j] = SLACK


@compiled
def _raw(program: Program, c: int, scale: float, out: Array) -> None:
    """out += scale · (the column of variable c, triangles aside)."""
    relus, goals, rows = program.relus, program.goals, program.rows
    n = program.moves.shape[1]
    place = c - 2 * n
    if place < 0:
        entry, sign = (program.entries[c], scale) if c < n else (program.entries[c - n], -scale)
        for r in range(rows.size):
            out[rows[r]] += sign * entry[r]
        if program.l1:
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


@compiled
def _column(program: Program, state: State, c: int, out: Array) -> None:
    """The column of c with its triangle's key eliminated."""
    relus = program.relus
    out[:] = 0.0
    _raw(program, c, 1.0, out)
    place = c - program.room.size
    if 0 <= place < 3 * relus:
        kind, j = place // relus, place % relus
        own = state.key[j]
        if state.paired[j] and own != SLACK:
            ratio = state.reach[own, j] / state.reach[kind, j]
            _raw(program, program.room.size + own * relus + j, -ratio, out)


@compiled
def _factor(program: Program, state: State, matrix: Array) -> bool:
    """The inverse of the basis by Gauss–Jordan elimination in place; False when it is singular.

    It works on the transpose, whose rows are columns of the LP: slacks first, then ReLUs from the last backwards, each
    in its own equation where that can be, moves last. So most multipliers are 0, and are skipped.
    """
    basic, where, inverse, relus, base = state.basic, state.where, state.inverse, program.relus, program.room.size
    size = basic.size
    needed, done = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.bool_)
    order, pivot_of = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
    count = 0
    for c in range(base + 3 * relus, where.size):
        if where[c] >= 0:
            order[count] = where[c]
            count += 1
    for j in range(relus - 1, -1, -1):
        for kind in range(3):
            if where[base + kind * relus + j] >= 0:
                order[count] = where[base + kind * relus + j]
                needed[j] += 1
                count += 1
    for k in range(size):
        if basic[k] < base:
            order[count] = k
            count += 1
    _columns(program, state, matrix)
    for turn in range(size):
        k = int(order[turn])
        mine, place = matrix[k], basic[k] - base
        own = place % relus if 0 <= place < 3 * relus else -1
        most = 0.0
        for i in range(size):
            if not done[i]:
                most = max(most, abs(mine[i]))
        if most < SINGULAR:
            return False
        if own >= 0:
            needed[own] -= 1
        chosen: Any = -1
        best = -1.0
        if own >= 0 and not done[own] and abs(mine[own]) >= THRESHOLD * most:
            chosen = own
        else:
            for i in range(size):
                value = abs(mine[i])
                if not done[i] and value >= THRESHOLD * most:
                    value += 2.0 * most if needed[i] == 0 else 0.0
                    if value > best:
                        chosen, best = i, value
        done[chosen] = True
        pivot_of[k] = chosen
        scale = 1.0 / mine[chosen]
        mine[chosen] = 1.0
        for i in range(size):
            mine[i] *= scale
        for q in range(size):
            factor = matrix[q, chosen]
            if q != k and factor != 0.0:
                other = matrix[q]
                other[chosen] = 0.0
                for i in range(size):
                    other[i] -= factor * mine[i]
    for q in range(size):
        target, column = inverse[q], pivot_of[q]
        for k in range(size):
            target[pivot_of[k]] = matrix[k, column]
    return True


@compiled
def _columns(program: Program, state: State, matrix: Array) -> None:
    """The columns of the basis as rows of `matrix`."""
    relus, goals, entries, rows = program.relus, program.goals, program.entries, program.rows
    hidden = program.transposed
    basic, paired, key, reach, n = state.basic, state.paired, state.key, state.reach, program.moves.shape[1]
    matrix[:] = 0.0
    for k in range(basic.size):
        place = basic[k] - 2 * n
        out = matrix[k]
        if place < 0:
            entry, sign = (entries[place + 2 * n], 1.0) if place < -n else (entries[place + n], -1.0)
            for r in range(rows.size):
                out[rows[r]] = sign * entry[r]
            if program.l1:
                out[relus + goals] = 1.0
        elif place < 3 * relus:
            kind, j = place // relus, place % relus
            own = key[j] if paired[j] else SLACK
            ratio = reach[own, j] / reach[kind, j] if own != SLACK else 0.0
            scale = 1.0 if kind == ACTIVE else -ratio if own == ACTIVE else 0.0
            if scale != 0.0:
                column = hidden[j]
                for i in range(column.size):
                    out[i] = scale * column[i]
            out[j] -= 1.0 if kind == INACTIVE else -ratio if own == INACTIVE else 0.0
        elif place < 3 * relus + goals:
            out[relus + place - 3 * relus] = -1.0
        elif place == 3 * relus + goals:
            out[relus : relus + goals] = 1.0
        else:
            out[relus + goals] = 1.0


@compiled
def _price(program: Program, y: Array, of_moves: Array, of_members: Array) -> None:
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
    if program.l1:
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


@compiled
def _refresh(program: Program, state: State) -> None:
    """Multipliers, reduced costs, resting places, basic values and weights of a basis whose inverse is at hand."""
    relus, goals, l1, moves, rows = program.relus, program.goals, program.l1, program.moves, program.rows
    lo, hi, where, paired, reach, key = state.lo, state.hi, state.where, state.paired, state.reach, state.key
    inverse, y, cost, move_cost, column = state.inverse, state.y, state.cost, state.move_cost, state.column
    n, size = moves.shape[1], y.size
    base = 2 * n
    top = base + 3 * relus
    y[:] = inverse[where[top + goals]]
    _price(program, y, move_cost, cost)
    rest = program.constants.copy()
    moved, spent = np.zeros(n), 0.0
    for c in range(base if l1 else n):
        if where[c] < 0:
            where[c] = UPPER if move_cost[c] < 0.0 else LOWER
            if where[c] == UPPER:
                moved[c % n] += hi[c] if c < n else -hi[c]
                spent += hi[c]
    for r in range(rows.size):
        total, row = 0.0, moves[r]
        for i in range(n):
            total += row[i] * moved[i]
        rest[rows[r]] -= total
    for g in range(goals):
        if where[top + g] < 0:
            where[top + g] = UPPER if y[relus + g] < 0.0 else LOWER
            if where[top + g] == UPPER:
                rest[relus + g] += hi[top + g]
    if l1:
        ball = top + goals + 1
        if where[ball] < 0:
            where[ball] = UPPER if y[relus + goals] > 0.0 else LOWER
            spent += hi[ball] if where[ball] == UPPER else 0.0
        rest[relus + goals] -= spent
    for j in range(relus):
        if not paired[j]:
            for kind in range(ACTIVE, INACTIVE + 1):
                c = base + kind * relus + j
                if where[c] < 0:
                    where[c] = UPPER if cost[kind, j] < 0.0 else LOWER
                    value = hi[c] if where[c] == UPPER else lo[c]
                    if value != 0.0:
                        _raw(program, c, -value, rest)
            continue
        if where[base + j] < 0 and where[base + relus + j] < 0 and where[base + 2 * relus + j] < 0:
            _settle(relus, base, j, reach, cost, key, where)
        else:
            price = cost[key[j], j] * reach[key[j], j]
            for kind in range(3):
                c = base + kind * relus + j
                if where[c] == LOWER or where[c] == UPPER:
                    where[c] = UPPER if cost[kind, j] - price / reach[kind, j] < -INFEASIBLE else LOWER
                    if where[c] == UPPER:
                        _column(program, state, c, column)
                        for i in range(size):
                            rest[i] -= hi[c] * column[i]
        if key[j] != SLACK:
            _raw(program, base + key[j] * relus + j, -reach[key[j], j], rest)
    x, weights = state.x, state.weights
    for i in range(size):
        total, length, row = 0.0, 0.0, inverse[i]
        for k in range(size):
            total += row[k] * rest[k]
            length += row[k] * row[k]
        x[i], weights[i] = total, length


@compiled
def _settle(relus: int, base: int, j: int, reach: Array, cost: Array, key: Integers, where: Integers) -> bool:
    """Make the cheapest corner the key of a triangle without rows; True when that is not the corner where it stood."""
    stood, uppers, best = key[j], 0, SLACK
    for kind in range(3):
        c = base + kind * relus + j
        if cost[kind, j] * reach[kind, j] < cost[best, j] * reach[best, j]:
            best = kind
        if where[c] == UPPER:
            stood = kind
            uppers += 1
        where[c] = LOWER
    key[j] = best
    where[base + best * relus + j] = KEY
    return uppers > 1 or stood != best


@compiled
def _of_key(
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


@compiled
def _leaving(program: Program, state: State) -> tuple[int, int]:
    """(row, −1), or (row, triangle) for a key that shares the row's triangle; row −1 when all is feasible.

    The variable with the largest infeasibility² over the squared length of its row of the inverse (Forrest & Goldfarb).
    """
    relus, base = program.relus, program.room.size
    lo, hi, where, paired, reach = state.lo, state.hi, state.where, state.paired, state.reach
    basic, inverse, weights, x, key = state.basic, state.inverse, state.weights, state.x, state.key
    found, triangle, best = -1, -1, 0.0
    for i in range(basic.size):
        c = basic[i]
        place = c - base
        amount = lo[c] - x[i]
        if place < 0 or place >= 3 * relus or not paired[place % relus]:
            amount = max(amount, x[i] - hi[c])
        if amount > INFEASIBLE and amount * amount > best * weights[i]:
            found, best = i, amount * amount / weights[i]
    for j in range(relus):
        if not paired[j]:
            continue
        if where[base + j] < 0 and where[base + relus + j] < 0 and where[base + 2 * relus + j] < 0:
            continue
        value, first, second = _of_key(relus, base, j, where, key, reach, x, hi)
        if value >= -INFEASIBLE:
            continue
        own = reach[key[j], j]
        share = own / reach[(basic[first] - base) // relus, j]
        weight = share * share * weights[first]
        if second >= 0:
            other = own / reach[(basic[second] - base) // relus, j]
            product, one, two = 0.0, inverse[first], inverse[second]
            for k in range(one.size):
                product += one[k] * two[k]
            weight += other * other * weights[second] + 2.0 * share * other * product
        weight = max(weight, INFEASIBLE)
        if value * value > best * weight:
            found, triangle, best = first, j, value * value / weight
    return found, triangle


@compiled
def _swap(program: Program, state: State, j: int, row: int) -> None:
    """The key takes the row of another member of its triangle, which becomes the key."""
    relus, base = program.relus, program.room.size
    basic, reach, where, inverse, key = state.basic, state.reach, state.where, state.inverse, state.key
    old, taken = key[j], basic[row]
    value, first, second = _of_key(relus, base, j, where, key, reach, state.x, state.hi)
    kind = (taken - base) // relus
    third = second if row == first else first
    mine = inverse[row]
    if third >= 0:
        factor = reach[kind, j] / reach[(basic[third] - base) // relus, j]
        other = inverse[third]
        for k in range(mine.size):
            mine[k] += factor * other[k]
    scale, total = -reach[old, j] / reach[kind, j], 0.0
    for k in range(mine.size):
        mine[k] *= scale
        total += mine[k] * mine[k]
    state.weights[row] = total
    own = base + old * relus + j
    basic[row], key[j], state.x[row] = own, kind, value
    where[own], where[taken] = row, KEY


@compiled
def _aim(program: Program, state: State, row: int) -> tuple[float, bool]:
    """(infeasibility of a row, whether it lies below), with the direction of y that raises the dual, and its rates."""
    c, value = state.basic[row], state.x[row]
    below = value < state.lo[c]
    amount = state.lo[c] - value if below else value - state.hi[c]
    direction, source = state.direction, state.inverse[row]
    sign = -1.0 if below else 1.0
    for k in range(source.size):
        direction[k] = sign * source[k]
    _price(program, direction, state.move_rate, state.rate)
    return amount, below


@compiled
def _crossing(
    kind: int, slack: float, active: float, inactive: float, rates: tuple[float, float, float], step: float
) -> tuple[float, int]:
    """(step, corner) at which another corner of a triangle becomes cheaper than `kind`; corner −1 for never."""
    costs = (slack, active, inactive)
    best, found = np.inf, -1
    for other in range(3):
        faster = rates[kind] - rates[other]
        if other != kind and faster > INFEASIBLE:
            ratio = (costs[other] - costs[kind]) / faster
            if ratio < best:
                best, found = ratio, other
    return max(best, step), found


@compiled
def _breakpoints(program: Program, state: State, row: int) -> int:
    """Fill the heap of steps at which a reduced cost reaches 0; its size. Moves behind the step's end are left out."""
    relus, goals, base = program.relus, program.goals, program.room.size
    lo, hi, where, paired, reach, key = state.lo, state.hi, state.where, state.paired, state.reach, state.key
    cost, rate, y, direction = state.cost, state.rate, state.y, state.direction
    ratios, candidates = state.ratios, state.candidates
    gone, size, end = state.basic[row], 0, np.inf
    top = base + 3 * relus
    for j in range(relus):
        if not paired[j]:
            for kind in range(ACTIVE, INACTIVE + 1):
                c = base + kind * relus + j
                if where[c] < 0 and hi[c] > lo[c]:
                    turn = -1.0 if where[c] == LOWER else 1.0
                    if turn * rate[kind, j] > INFEASIBLE:
                        ratio = max(-turn * cost[kind, j], 0.0) / (turn * rate[kind, j])
                        size = _push(ratios, candidates, size, ratio, c)
            continue
        reach_a, reach_p = reach[ACTIVE, j], reach[INACTIVE, j]
        if where[base + j] < 0 and where[base + relus + j] < 0 and where[base + 2 * relus + j] < 0:
            rates = (0.0, rate[ACTIVE, j] * reach_a, rate[INACTIVE, j] * reach_p)
            ratio, kind = _crossing(key[j], 0.0, cost[ACTIVE, j] * reach_a, cost[INACTIVE, j] * reach_p, rates, 0.0)
            if kind >= 0:
                size = _push(ratios, candidates, size, ratio, base + kind * relus + j)
            continue
        own = key[j]
        price, fall = cost[own, j] * reach[own, j], rate[own, j] * reach[own, j]
        for kind in range(3):
            c = base + kind * relus + j
            if c != gone and (where[c] == LOWER or where[c] == UPPER):
                turn = -1.0 if where[c] == LOWER else 1.0
                speed = turn * (rate[kind, j] - fall / reach[kind, j])
                if speed > INFEASIBLE:
                    ratio = max(-turn * (cost[kind, j] - price / reach[kind, j]), 0.0) / speed
                    size = _push(ratios, candidates, size, ratio, c)
                    end = min(end, ratio)
    for g in range(goals):
        c = top + g
        if where[c] < 0:
            turn = -1.0 if where[c] == LOWER else 1.0
            speed = turn * direction[relus + g]
            if speed > INFEASIBLE:
                ratio = max(-turn * y[relus + g], 0.0) / speed
                size = _push(ratios, candidates, size, ratio, c)
                end = min(end, ratio)
    if program.l1 and where[top + goals + 1] < 0:
        turn = -1.0 if where[top + goals + 1] == LOWER else 1.0
        speed = -turn * direction[relus + goals]
        if speed > INFEASIBLE:
            ratio = max(turn * y[relus + goals], 0.0) / speed
            size = _push(ratios, candidates, size, ratio, top + goals + 1)
    move_cost, move_rate = state.move_cost, state.move_rate
    for c in range(base if program.l1 else base // 2):
        speed, own_cost = -move_rate[c], move_cost[c]
        if where[c] == UPPER:
            speed, own_cost = -speed, -own_cost
        if speed > INFEASIBLE and where[c] < 0 and own_cost <= end * speed and hi[c] > 0.0:
            size = _push(ratios, candidates, size, max(own_cost, 0.0) / speed, c)
    return size


@compiled
def _walk(
    program: Program, state: State, size: int, slope: float, value: float, cutoff: float
) -> tuple[int, float, float, int]:
    """Pass breakpoints while the dual value rises: (variable that ends the step or −1, step, value, entries passed).

    A value above the cutoff means that the step alone proves it.
    """
    relus, goals, base = program.relus, program.goals, program.room.size
    lo, hi, where, paired, reach, key = state.lo, state.hi, state.where, state.paired, state.reach, state.key
    cost, rate, passed, direction = state.cost, state.rate, state.passed, state.direction
    top = base + 3 * relus
    step, gained = 0.0, 0
    while size > 0:
        size = _pop(state.ratios, state.candidates, size)
        ratio, c = state.ratios[size], state.candidates[size]
        value += slope * (ratio - step)
        step = ratio
        place = c - base
        kind, j = place // relus, place % relus
        triangle = 0 <= place < 3 * relus and paired[j]
        if place < 0:
            loss = abs(state.move_rate[c]) * hi[c]
        elif place < 3 * relus and not triangle:
            loss = abs(rate[kind, j]) * (hi[c] - lo[c])
        elif triangle:
            loss = rate[key[j], j] * reach[key[j], j] - rate[kind, j] * reach[kind, j]
            if where[base + j] >= 0 or where[base + relus + j] >= 0 or where[base + 2 * relus + j] >= 0:
                loss = np.inf
        elif c < top + goals:
            loss = np.inf
        else:
            loss = abs(direction[relus + goals]) * hi[c]
        if value > cutoff or slope - loss < 0.0:
            return c, step, value, gained
        slope -= loss
        passed[gained] = c
        gained += 1
        if triangle:
            passed[gained] = base + key[j] * relus + j
            gained += 1
            key[j] = kind
            reach_a, reach_p = reach[ACTIVE, j], reach[INACTIVE, j]
            rates = (0.0, rate[ACTIVE, j] * reach_a, rate[INACTIVE, j] * reach_p)
            ratio, kind = _crossing(kind, 0.0, cost[ACTIVE, j] * reach_a, cost[INACTIVE, j] * reach_p, rates, step)
            if kind >= 0:
                size = _push(state.ratios, state.candidates, size, ratio, base + kind * relus + j)
    if slope > INFEASIBLE:
        # Nothing stops the dual: go as far as the cutoff asks.
        return -1, step + max(0.0, cutoff + 1.0 - value) / slope, np.inf, gained
    return -1, step, value, gained


@compiled
def _flip(program: Program, state: State, gained: int) -> None:
    """Carry out the passed breakpoints: variables go to their other bounds, triangles to other corners."""
    relus, base, rows, entries = program.relus, program.room.size, program.rows, program.entries
    lo, hi, where, change, passed, column = state.lo, state.hi, state.where, state.change, state.passed, state.column
    change[:] = 0.0
    of_rows, length = column[: rows.size], 0.0
    of_rows[:] = 0.0
    n = entries.shape[0]
    k = 0
    while k < gained:
        c = passed[k]
        place = c - base
        if 0 <= place < 3 * relus and state.paired[place % relus]:
            before, j = passed[k + 1], place % relus
            _raw(program, c, state.reach[place // relus, j], change)
            _raw(program, before, -state.reach[(before - base) // relus, j], change)
            where[before], where[c] = LOWER, KEY
            k += 2
            continue
        far = where[c] == LOWER
        by = hi[c] - lo[c] if far else lo[c] - hi[c]
        if place < 0:
            entry, sign = (entries[c], by) if c < n else (entries[c - n], -by)
            for r in range(of_rows.size):
                of_rows[r] += sign * entry[r]
            length += by
        else:
            _raw(program, c, by, change)
        where[c] = UPPER if far else LOWER
        k += 1
    for r in range(of_rows.size):
        change[rows[r]] += of_rows[r]
    if program.l1:
        change[relus + program.goals] += length


@compiled
def _enter(program: Program, state: State, row: int, chosen: int, below: bool, step: float) -> bool:
    """Exchange the row's variable for `chosen`; False when the pivot is too small, with nothing but values changed."""
    relus, base = program.relus, program.room.size
    basic, where, inverse, x, y = state.basic, state.where, state.inverse, state.x, state.y
    entering, column, change, weights = state.entering, state.column, state.change, state.weights
    size = basic.size
    _column(program, state, chosen, column)
    for i in range(size):
        total, turned, source = 0.0, 0.0, inverse[i]
        for k in range(size):
            total += source[k] * column[k]
            turned += source[k] * change[k]
        entering[i] = total
        x[i] -= turned
    pivot, gone = entering[row], basic[row]
    if abs(pivot) < SMALL_PIVOT:
        return False
    move = (x[row] - (state.lo[gone] if below else state.hi[gone])) / pivot
    for i in range(size):
        x[i] -= move * entering[i]
    x[row] = move + (state.hi[chosen] if where[chosen] == UPPER else state.lo[chosen])
    for k in range(size):
        y[k] += step * state.direction[k]
    move_cost, move_rate, cost, rate = state.move_cost, state.move_rate, state.cost, state.rate
    for c in range(move_cost.size):
        move_cost[c] += step * move_rate[c]
    for kind in range(ACTIVE, INACTIVE + 1):
        for j in range(relus):
            cost[kind, j] += step * rate[kind, j]
    basic[row] = chosen
    where[chosen], where[gone] = row, LOWER if below else UPPER
    settled = True
    place = gone - base
    if 0 <= place < 3 * relus and state.paired[place % relus]:
        j = place % relus
        if where[base + j] < 0 and where[base + relus + j] < 0 and where[base + 2 * relus + j] < 0:
            settled = not _settle(relus, base, j, state.reach, cost, state.key, where)
    mine, scale, total = inverse[row], 1.0 / pivot, 0.0
    for k in range(size):
        mine[k] *= scale
        total += mine[k] * mine[k]
    weights[row] = total
    for i in range(size):
        factor = entering[i]
        if i != row and factor != 0.0:
            other, total = inverse[i], 0.0
            for k in range(size):
                other[k] -= factor * mine[k]
                total += other[k] * other[k]
            weights[i] = total
    if not settled:
        _refresh(program, state)
    return True


@compiled
def _solution(program: Program, state: State, point: Array, off: Array) -> None:
    """The moves of the input, and how far the ReLUs are off their graphs."""
    n, relus, base, room = program.moves.shape[1], program.relus, program.room.size, program.room
    where, key, reach, x, lo, hi = state.where, state.key, state.reach, state.x, state.lo, state.hi
    for c in range(2 * n if program.l1 else n):
        place = where[c]
        value = x[place] if place >= 0 else room[c] if place == UPPER else 0.0
        if c < n:
            point[c] = value
        else:
            point[c - n] -= value
    for j in range(relus):
        off[j] = 0.0
        if state.paired[j]:
            of_key, _, _ = _of_key(relus, base, j, where, key, reach, x, hi)
            nearest = np.inf
            for kind in range(ACTIVE, INACTIVE + 1):
                c = base + kind * relus + j
                place = where[c]
                value = x[place] if place >= 0 else of_key if place == KEY else hi[c] if place == UPPER else lo[c]
                nearest = min(nearest, value)
            off[j] = max(0.0, nearest)


@compiled
def _push(ratios: Array, candidates: Integers, size: int, ratio: float, candidate: Any) -> int:
    place = size
    while place > 0:
        parent = (place - 1) >> 1
        if ratios[parent] <= ratio:
            break
        ratios[place], candidates[place] = ratios[parent], candidates[parent]
        place = parent
    ratios[place], candidates[place] = ratio, candidate
    return size + 1


@compiled
def _pop(ratios: Array, candidates: Integers, size: int) -> int:
    """Move the least entry of a heap behind its new end."""
    size -= 1
    ratio, candidate = ratios[size], candidates[size]
    ratios[size], candidates[size] = ratios[0], candidates[0]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and ratios[child + 1] < ratios[child]:
            child += 1
        if ratios[child] >= ratio:
            break
        ratios[place], candidates[place] = ratios[child], candidates[child]
        place = child
    if size > 0:
        ratios[place], candidates[place] = ratio, candidate
    return size
