"""A basis of the dense simplex: where its variables stand, its inverse, and the values that follow from both."""

from __future__ import annotations

from typing import Any

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.kernels.jit import Integers, inner
from verifier.solvers.kernels.simplex_program import (
    ACTIVE,
    INACTIVE,
    INFEASIBLE,
    KEY,
    LOWER,
    SLACK,
    UPPER,
    Program,
    SimplexState,
    add_raw,
    fill_column,
    fill_prices,
)

SINGULAR = 1e-11
"""A pivot of the inversion below this means that the basis is singular."""

THRESHOLD = 0.05
"""Share of its column's largest entry that a pivot of the inversion must have to be preferred for sparsity."""


@inner
def place(program: Program, low: Array, high: Array, state: SimplexState) -> None:
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


@inner
def factor(program: Program, state: SimplexState, matrix: Array) -> bool:
    """The inverse of the basis by Gauss–Jordan elimination in place; False when it is singular.

    It works on the transpose, whose rows are columns of the LP: slacks first, then ReLUs from the last backwards, each
    in its own equation where that can be, moves last. So most multipliers are 0, and are skipped, and so is what lies
    before a row's `first` entry: a ReLU's column has none before its own equation.
    """
    basic, inverse, relus, base = state.basic, state.inverse, program.relus, program.room.size
    size = basic.size
    done, pivot_of = np.zeros(size, dtype=np.bool_), np.empty(size, dtype=np.int64)
    order, first, needed = (
        np.empty(size, dtype=np.int64),
        np.zeros(size, dtype=np.int64),
        np.zeros(size, dtype=np.int64),
    )
    _order(program, state, order, first, needed)
    _columns(program, state, matrix)
    for turn in range(size):
        k = int(order[turn])
        mine, place = matrix[k], basic[k] - base
        own = place % relus if 0 <= place < 3 * relus else -1
        start = first[k]
        most = 0.0
        for i in range(start, size):
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
            for i in range(start, size):
                value = abs(mine[i])
                if not done[i] and value >= THRESHOLD * most:
                    value += 2.0 * most if needed[i] == 0 else 0.0
                    if value > best:
                        chosen, best = i, value
        done[chosen] = True
        pivot_of[k] = chosen
        scale = 1.0 / mine[chosen]
        mine[chosen] = 1.0
        for i in range(start, size):
            mine[i] *= scale
        for q in range(size):
            factor = matrix[q, chosen]
            if q != k and factor != 0.0:
                other = matrix[q]
                other[chosen] = 0.0
                for i in range(start, size):
                    other[i] -= factor * mine[i]
                first[q] = min(first[q], start)
    for q in range(size):
        target, column = inverse[q], pivot_of[q]
        for k in range(size):
            target[pivot_of[k]] = matrix[k, column]
    return True


@inner
def _order(program: Program, state: SimplexState, order: Integers, first: Integers, needed: Integers) -> None:
    """The order of `factor`, each column's first entry, how many columns have each ReLU's equation as their own."""
    basic, where, relus, base = state.basic, state.where, program.relus, program.room.size
    count = 0
    for c in range(base + 3 * relus, where.size):
        if where[c] >= 0:
            order[count] = where[c]
            first[where[c]] = relus
            count += 1
    for j in range(relus - 1, -1, -1):
        for kind in range(3):
            if where[base + kind * relus + j] >= 0:
                order[count] = where[base + kind * relus + j]
                first[order[count]] = j
                needed[j] += 1
                count += 1
    for k in range(basic.size):
        if basic[k] < base:
            order[count] = k
            count += 1


@inner
def _columns(program: Program, state: SimplexState, matrix: Array) -> None:
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
            if program.split:
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


@inner
def refresh(program: Program, state: SimplexState) -> None:
    """Multipliers, reduced costs, resting places, basic values and weights of a basis whose inverse is at hand."""
    relus, goals, split, moves, rows = program.relus, program.goals, program.split, program.moves, program.rows
    lo, hi, where, paired, reach, key = state.lo, state.hi, state.where, state.paired, state.reach, state.key
    inverse, y, cost, move_cost, column = state.inverse, state.y, state.cost, state.move_cost, state.column
    n, size = moves.shape[1], y.size
    base = 2 * n
    top = base + 3 * relus
    y[:] = inverse[where[top + goals]]
    extra = state.extra
    for k in range(size):
        place = state.basic[k] - base
        if 0 <= place < 3 * relus:
            kind, j = place // relus, place % relus
            own = key[j] if paired[j] else SLACK
            value = extra[kind, j] - extra[own, j] * reach[own, j] / reach[kind, j]
            if value != 0.0:
                for i in range(size):
                    y[i] += value * inverse[k, i]
    fill_prices(program, y, move_cost, cost)
    for kind in range(ACTIVE, INACTIVE + 1):
        for j in range(relus):
            cost[kind, j] += extra[kind, j]
    rest = program.constants.copy()
    moved, spent = np.zeros(n), 0.0
    for c in range(base if split else n):
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
    if split:
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
                        add_raw(program, c, -value, rest)
            continue
        if where[base + j] < 0 and where[base + relus + j] < 0 and where[base + 2 * relus + j] < 0:
            settle(relus, base, j, reach, cost, key, where)
        else:
            price = cost[key[j], j] * reach[key[j], j]
            for kind in range(3):
                c = base + kind * relus + j
                if where[c] == LOWER or where[c] == UPPER:
                    where[c] = UPPER if cost[kind, j] - price / reach[kind, j] < -INFEASIBLE else LOWER
                    if where[c] == UPPER:
                        fill_column(program, state, c, column)
                        for i in range(size):
                            rest[i] -= hi[c] * column[i]
        if key[j] != SLACK:
            add_raw(program, base + key[j] * relus + j, -reach[key[j], j], rest)
    x, weights = state.x, state.weights
    for i in range(size):
        total, length, row = 0.0, 0.0, inverse[i]
        for k in range(size):
            total += row[k] * rest[k]
            length += row[k] * row[k]
        x[i], weights[i] = total, length


@inner
def settle(relus: int, base: int, j: int, reach: Array, cost: Array, key: Integers, where: Integers) -> bool:
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
