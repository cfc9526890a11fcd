"""What a contradiction teaches, compiled: `propagation.conflict` says how."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.box_part import Places
from verifier.bounds.kernels.jit import compiled, inner
from verifier.problem.rounding import UNDERFLOW
from verifier.solvers.kernels.propagate import peak
from verifier.solvers.propagation.propagate import RATE
from verifier.solvers.propagation.rows import RowSystem
from verifier.solvers.propagation.trail import DECIDED, FIRST_NOGOOD, NONE, Nogoods, Trail


class Walk(NamedTuple):
    """Room for the walk back, (ends,) each: bounds on the way, what is needed, bounds where the last level begins, the
    literals that a reason asks for, those that are learned and where they stand on the trail, and which ends took part
    (flags)."""

    bound: Array
    need: Array
    floor: Array
    end: Places
    value: Array
    literal: Places
    threshold: Array
    place: Places
    seen: Places


def walk_of(trail: Trail) -> Walk:
    """Room for a query's walks."""
    ends = trail.bound.size
    numbers, places = np.zeros((5, ends)), np.zeros((4, ends), dtype=np.int64)
    bound, need, floor, value, threshold = numbers
    end, literal, place, seen = places
    return Walk(bound, need, floor, end, value, literal, threshold, place, seen)


@inner
def needed(rows: RowSystem, row: int, known: Array, end: int, assumed: float, walk: Walk) -> int:
    """Write the literals by which a row is contradicted to the walk; their number."""
    bound, variables = walk.bound, walk.bound.size // 2
    first, last = rows.start[row], rows.start[row + 1]
    total, size = rows.constant[row], abs(rows.constant[row])
    for at in range(first, last):
        lower, upper, low, high = domain(bound, known, rows.variable[at], variables, end, assumed)
        most = peak(rows.above[at], rows.below[at], lower, upper)
        total += most
        size += max(abs(most), abs(peak(rows.above[at], rows.below[at], low, high)))
    room = max(0.0, -(total + 2.0 * (RATE * (last - first + 4) * size + UNDERFLOW)))
    count = 0
    for at in range(first, last):
        a, b, v = rows.above[at], rows.below[at], rows.variable[at]
        lower, upper, low, high = domain(bound, known, v, variables, end, assumed)
        now = peak(a, b, lower, upper)
        cost = peak(a, b, low, high) - now
        if not cost > 0.0:
            continue
        if cost <= room:
            room -= cost
            continue
        if peak(a, b, low, upper) - now <= room:
            room -= peak(a, b, low, upper) - now
            lower = low
        elif lower > 0.0 > low and peak(a, b, 0.0, upper) - now <= room:
            room -= peak(a, b, 0.0, upper) - now
            lower = 0.0
        now = peak(a, b, lower, upper)
        if peak(a, b, lower, high) - now <= room:
            room -= peak(a, b, lower, high) - now
            upper = high
        elif upper < 0.0 < high and peak(a, b, lower, 0.0) - now <= room:
            room -= peak(a, b, lower, 0.0) - now
            upper = 0.0
        if lower > low:
            walk.end[count], walk.value[count] = v, lower
            count += 1
        if upper < high:
            walk.end[count], walk.value[count] = v + variables, -upper
            count += 1
    return count


@inner
def domain(
    bound: Array, known: Array, v: int, variables: int, end: int, assumed: float
) -> tuple[float, float, float, float]:
    """A variable's ends on the way and without decisions, the opposite of `end` at what is assumed."""
    lower, upper, low, high = bound[v], -bound[v + variables], known[v], -known[v + variables]
    if end == v:
        return lower, assumed, low, assumed
    if end == v + variables:
        return -assumed, upper, -assumed, high
    return lower, upper, low, high


@inner
def reasons(rows: RowSystem, nogoods: Nogoods, trail: Trail, reason: int, end: int, value: float, walk: Walk) -> int:
    """Write what implied that the end's bound is at least the value to the walk; the number of literals."""
    if reason > FIRST_NOGOOD:
        return needed(rows, reason, trail.known, end, value, walk)
    ends, count = walk.bound.size, 0
    number = FIRST_NOGOOD - reason
    for at in range(nogoods.start[number], nogoods.start[number + 1]):
        if end == NONE or nogoods.end[at] != (end + ends // 2) % ends:
            walk.end[count], walk.value[count] = nogoods.end[at], nogoods.value[at]
            count += 1
    return count


@inner
def require(known: Array, count: int, walk: Walk) -> None:
    """Take over the literals that a reason asked for."""
    for place in range(count):
        end = walk.end[place]
        if walk.value[place] > known[end]:
            walk.need[end] = max(walk.need[end], walk.value[place])


@inner
def needs_level(walk: Walk) -> bool:
    """Is anything of the last level needed?"""
    for end in range(walk.need.size):  # noqa: SIM110, numba compiles no generators
        if walk.need[end] > walk.floor[end]:
            return True
    return False


@inner
def implied(known: Array, count: int, others: int, walk: Walk) -> bool:
    """Does what is needed anyway, with `others` of the literals behind the first, contain what a reason asked for?"""
    for place in range(count):
        end, value = walk.end[place], walk.value[place]
        if value <= known[end] or value <= walk.need[end]:
            continue
        found = False
        for other in range(1, others + 1):
            if walk.literal[other] == end and walk.threshold[other] >= value:
                found = True
                break
        if not found:
            return False
    return True


@compiled
def learn(
    rows: RowSystem, nogoods: Nogoods, trail: Trail, inputs: int, starts: Places, clash: Places, walk: Walk
) -> int:
    """Write the literals that never hold together to the walk, the last level's first; their number."""
    bound, need, known = walk.bound, walk.need, trail.known
    ends = bound.size
    bound[:] = trail.bound
    need[:] = -np.inf
    walk.seen[:] = 0
    reason, end = clash[0], clash[1]
    if end == NONE:
        require(known, reasons(rows, nogoods, trail, reason, NONE, 0.0, walk), walk)
    else:
        opposite = (end + ends // 2) % ends
        require(known, reasons(rows, nogoods, trail, reason, end, -bound[opposite], walk), walk)
        walk.end[0], walk.value[0] = opposite, bound[opposite]
        require(known, 1, walk)
    walk.floor[:] = bound
    at, level = trail.length[0], starts.size
    while level > 0 and not needs_level(walk):
        level -= 1
        while at > starts[level]:
            at -= 1
            walk.floor[trail.end[at]] = trail.old[at]
    first = starts[level] if starts.size else 0
    found, others = False, 0
    for back in range(trail.length[0]):
        t = trail.length[0] - 1 - back
        end, old, now, value = trail.end[t], trail.old[t], bound[trail.end[t]], need[trail.end[t]]
        bound[end] = old
        if not value > old:
            continue
        walk.seen[end] = 1
        need[end] = -np.inf
        decided, crosses = trail.reason[t] == DECIDED, value <= 0.0 <= now
        phase = decided or (end % (ends // 2) >= inputs and crosses)
        if t >= first and not found and phase and not needs_level(walk):
            found = True
            walk.literal[0], walk.threshold[0] = end, 0.0 if crosses else now
            continue
        keeps = decided
        if not decided:
            count = reasons(rows, nogoods, trail, trail.reason[t], end, value, walk)
            if t >= first or not phase or implied(known, count, others, walk):
                require(known, count, walk)
            else:
                keeps = True
        if keeps:
            others += 1
            walk.literal[others], walk.threshold[others], walk.place[others] = end, 0.0 if crosses else now, t
    if not found:
        for k in range(others):
            walk.literal[k], walk.threshold[k], walk.place[k] = (
                walk.literal[k + 1],
                walk.threshold[k + 1],
                walk.place[k + 1],
            )
        return others
    return others + 1
