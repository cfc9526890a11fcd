"""The steps of the dense simplex: the row that leaves, the breakpoints that are passed, the variable that enters."""

from __future__ import annotations

import numpy as np

from verifier.bounds.kernels.heap import pop, push
from verifier.bounds.kernels.jit import inner
from verifier.solvers.kernels.simplex_basis import refresh, settle
from verifier.solvers.kernels.simplex_program import (
    ACTIVE,
    INACTIVE,
    INFEASIBLE,
    KEY,
    LOWER,
    UPPER,
    Program,
    SimplexState,
    add_raw,
    fill_column,
    fill_prices,
    of_key,
)

SMALL_PIVOT = 1e-7
"""A smaller pivot is not taken, as a share of the column's largest entry where that is below 1 (a triangle's slack next
to an end near 0): the inverse is formed anew first, then the run stops."""


@inner
def leaving(program: Program, state: SimplexState) -> tuple[int, int]:
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
        value, first, second = of_key(relus, base, j, where, key, reach, x, hi)
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


@inner
def swap(program: Program, state: SimplexState, j: int, row: int) -> None:
    """The key takes the row of another member of its triangle, which becomes the key."""
    relus, base = program.relus, program.room.size
    basic, reach, where, inverse, key = state.basic, state.reach, state.where, state.inverse, state.key
    old, taken = key[j], basic[row]
    value, first, second = of_key(relus, base, j, where, key, reach, state.x, state.hi)
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


@inner
def aim(program: Program, state: SimplexState, row: int) -> tuple[float, bool]:
    """(infeasibility of a row, whether it lies below), with the direction of y that raises the dual, and its rates."""
    c, value = state.basic[row], state.x[row]
    below = value < state.lo[c]
    amount = state.lo[c] - value if below else value - state.hi[c]
    direction, source = state.direction, state.inverse[row]
    sign = -1.0 if below else 1.0
    for k in range(source.size):
        direction[k] = sign * source[k]
    fill_prices(program, direction, state.move_rate, state.rate)
    return amount, below


@inner
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


@inner
def breakpoints(program: Program, state: SimplexState, row: int) -> int:
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
                        size = push(ratios, candidates, size, ratio, c)
            continue
        reach_a, reach_p = reach[ACTIVE, j], reach[INACTIVE, j]
        if where[base + j] < 0 and where[base + relus + j] < 0 and where[base + 2 * relus + j] < 0:
            rates = (0.0, rate[ACTIVE, j] * reach_a, rate[INACTIVE, j] * reach_p)
            ratio, kind = _crossing(key[j], 0.0, cost[ACTIVE, j] * reach_a, cost[INACTIVE, j] * reach_p, rates, 0.0)
            if kind >= 0:
                size = push(ratios, candidates, size, ratio, base + kind * relus + j)
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
                    size = push(ratios, candidates, size, ratio, c)
                    end = min(end, ratio)
    for g in range(goals):
        c = top + g
        if where[c] < 0:
            turn = -1.0 if where[c] == LOWER else 1.0
            speed = turn * direction[relus + g]
            if speed > INFEASIBLE:
                ratio = max(-turn * y[relus + g], 0.0) / speed
                size = push(ratios, candidates, size, ratio, c)
                end = min(end, ratio)
    if program.split and where[top + goals + 1] < 0:
        turn = -1.0 if where[top + goals + 1] == LOWER else 1.0
        speed = -turn * direction[relus + goals]
        if speed > INFEASIBLE:
            ratio = max(turn * y[relus + goals], 0.0) / speed
            size = push(ratios, candidates, size, ratio, top + goals + 1)
    move_cost, move_rate = state.move_cost, state.move_rate
    for c in range(base if program.split else base // 2):
        speed, own_cost = -move_rate[c], move_cost[c]
        if where[c] == UPPER:
            speed, own_cost = -speed, -own_cost
        if speed > INFEASIBLE and where[c] < 0 and own_cost <= end * speed and hi[c] > 0.0:
            size = push(ratios, candidates, size, max(own_cost, 0.0) / speed, c)
    return size


@inner
def walk(
    program: Program, state: SimplexState, size: int, slope: float, value: float, cutoff: float
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
        size = pop(state.ratios, state.candidates, size)
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
                size = push(state.ratios, state.candidates, size, ratio, base + kind * relus + j)
    if slope > INFEASIBLE:
        # Nothing stops the dual: go as far as the cutoff asks.
        return -1, step + max(0.0, cutoff + 1.0 - value) / slope, np.inf, gained
    return -1, step, value, gained


@inner
def flip(program: Program, state: SimplexState, gained: int) -> None:
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
            add_raw(program, c, state.reach[place // relus, j], change)
            add_raw(program, before, -state.reach[(before - base) // relus, j], change)
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
            add_raw(program, c, by, change)
        where[c] = UPPER if far else LOWER
        k += 1
    for r in range(of_rows.size):
        change[rows[r]] += of_rows[r]
    if program.split:
        change[relus + program.goals] += length


@inner
def enter(program: Program, state: SimplexState, row: int, chosen: int, below: bool, step: float) -> bool:
    """Exchange the row's variable for `chosen`; False when the pivot is too small, with nothing but values changed."""
    relus, base = program.relus, program.room.size
    basic, where, inverse, x, y = state.basic, state.where, state.inverse, state.x, state.y
    entering, column, change, weights = state.entering, state.column, state.change, state.weights
    size = basic.size
    fill_column(program, state, chosen, column)
    largest = 0.0
    for i in range(size):
        total, turned, source = 0.0, 0.0, inverse[i]
        for k in range(size):
            total += source[k] * column[k]
            turned += source[k] * change[k]
        entering[i] = total
        largest = max(largest, abs(total))
        x[i] -= turned
    pivot, gone = entering[row], basic[row]
    if abs(pivot) < SMALL_PIVOT * min(1.0, largest):
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
            settled = not settle(relus, base, j, state.reach, cost, state.key, where)
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
        refresh(program, state)
    return True
