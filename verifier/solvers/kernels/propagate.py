"""Waves of bounds from rows and nogoods, compiled: `propagation.propagate` says how."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.box_part import Places
from verifier.bounds.kernels.jit import compiled, inner
from verifier.problem.rounding import UNDERFLOW, UNIT
from verifier.solvers.propagation.propagate import CROSSED, FIXED, LEAST_GAIN, MORE, NARROWEST, RATE, WAVES
from verifier.solvers.propagation.rows import RowSystem
from verifier.solvers.propagation.trail import FIRST_NOGOOD, NONE, NOTHING, Nogoods, Trail

WIDENED = 4.0 * UNIT
"""What a quotient is widened by, relative."""


class Wave(NamedTuple):
    """Room for one wave: the best new bound of each end (ends,) and its reason, NOTHING where there is none; which
    variables have changed (variables,), which rows are to be looked at (rows,)."""

    best: Array
    why: Places
    changed: Places
    touched: Places


def wave_of(rows: RowSystem, trail: Trail) -> Wave:
    """Room for a query's waves."""
    ends = trail.bound.size
    return Wave(
        np.zeros(ends),
        np.full(ends, NOTHING, dtype=np.int64),
        np.zeros(ends // 2, dtype=np.int64),
        np.zeros(rows.constant.size, dtype=np.int64),
    )


@inner
def peak(above: float, below: float, lower: float, upper: float) -> float:
    """max {T(v) : lower ≤ v ≤ upper}, T of slope `above` over positive v and `below` over negative ones."""
    at_lower = (above if lower > 0.0 else below) * lower
    at_upper = (above if upper > 0.0 else below) * upper
    most = max(at_lower, at_upper)
    return max(most, 0.0) if lower < 0.0 < upper else most


@inner
def falls_to(above: float, below: float, upper: float, least: float) -> float:
    """The largest v ≤ upper with T(v) ≥ least, rounded up; `upper` where that says nothing new."""
    if (above if upper > 0.0 else below) * upper >= least:
        return upper
    if upper > 0.0 and least <= 0.0:
        found = least / above
    elif below < 0.0:
        found = least / below
    else:
        return upper
    found = found + abs(found) * WIDENED + UNDERFLOW
    return found if found < upper else upper


@compiled
def propagate(rows: RowSystem, nogoods: Nogoods, trail: Trail, heads: Places, clash: Places, wave: Wave) -> int:
    """Raise bounds until nothing follows, for at most WAVES; CROSSED: what was found contradicts itself."""
    seen = -1
    clash[0] = NOTHING
    wave.why[:] = NOTHING  # a wave that clashed has left its offers
    for _ in range(WAVES):
        if seen < trail.length[0] and (seen < 0 or settled(trail, seen)):
            seen = trail.length[0]
            if of_nogoods(nogoods, trail, clash, wave):
                return CROSSED
        else:
            narrow = heads[0] < trail.length[0]
            if not narrow and heads[1] >= trail.length[0]:
                return FIXED
            mark(rows, trail, heads, wave, narrow)
            if of_rows(rows, trail, clash, wave):
                return CROSSED
        if not kept(trail, clash, wave):
            return CROSSED
    return MORE


@inner
def settled(trail: Trail, seen: int) -> bool:
    """Has any phase been settled since?"""
    for t in range(seen, trail.length[0]):  # noqa: SIM110, numba compiles no generators
        if trail.old[t] < 0.0 <= trail.bound[trail.end[t]]:
            return True
    return False


@inner
def mark(rows: RowSystem, trail: Trail, heads: Places, wave: Wave, narrow: bool) -> None:
    """Mark the rows of the next wave: those of one kind that read what has changed."""
    place = 0 if narrow else 1
    wave.touched[:] = 0
    if heads[place] < 0:
        for row in range(rows.constant.size):
            wave.touched[row] = rows.narrow[row] == narrow
    else:
        wave.changed[:] = 0
        for t in range(heads[place], trail.length[0]):
            wave.changed[trail.end[t] % wave.changed.size] = 1
        for variable in range(wave.changed.size):
            if wave.changed[variable]:
                for at in range(rows.reads[variable], rows.reads[variable + 1]):
                    row = rows.readers[at]
                    wave.touched[row] = rows.narrow[row] == narrow
    heads[place] = trail.length[0]


@inner
def of_rows(rows: RowSystem, trail: Trail, clash: Places, wave: Wave) -> bool:
    """The new bounds that marked rows imply; True where nothing satisfies one, the most contradicted one."""
    bound, variables = trail.bound, wave.changed.size
    worst, clashes = 0.0, False
    for row in range(rows.constant.size):
        if not wave.touched[row]:
            continue
        first, last = rows.start[row], rows.start[row + 1]
        total, size = rows.constant[row], abs(rows.constant[row])
        for at in range(first, last):
            v = rows.variable[at]
            most = peak(rows.above[at], rows.below[at], bound[v], -bound[v + variables])
            total += most
            size += abs(most)
        slack = total + RATE * (last - first + 4) * size + UNDERFLOW
        if slack < worst:
            worst, clashes = slack, True
            clash[0], clash[1] = row, NONE
        if clashes:
            continue
        for at in range(first, last):
            v = rows.variable[at]
            above, below = rows.above[at], rows.below[at]
            lower, upper = bound[v], -bound[v + variables]
            most = peak(above, below, lower, upper)
            least = -(slack - most + RATE * (abs(slack) + abs(most)))
            offer(wave, v, -falls_to(-below, -above, -lower, least), bound, row)
            offer(wave, v + variables, -falls_to(above, below, upper, least), bound, row)
    return clashes


@inner
def offer(wave: Wave, end: int, value: float, bound: Array, reason: int) -> None:
    """Note a new bound where it is the best one so far."""
    if value > bound[end] and (
        wave.why[end] == NOTHING or value > wave.best[end] or (value == wave.best[end] and reason < wave.why[end])
    ):
        wave.best[end], wave.why[end] = value, reason


@inner
def of_nogoods(nogoods: Nogoods, trail: Trail, clash: Places, wave: Wave) -> bool:
    """The negation of each nogood's only literal that does not hold; True where all of one hold."""
    bound, ends = trail.bound, trail.bound.size
    for number in range(nogoods.used[0]):
        missing, place = 0, -1
        for at in range(nogoods.start[number], nogoods.start[number + 1]):
            if bound[nogoods.end[at]] < nogoods.value[at]:
                missing += 1
                place = at
                if missing > 1:
                    break
        if missing == 0:
            clash[0], clash[1] = FIRST_NOGOOD - number, NONE
            return True
        if missing == 1:
            offer(wave, (nogoods.end[place] + ends // 2) % ends, -nogoods.value[place], bound, FIRST_NOGOOD - number)
    return False


@inner
def kept(trail: Trail, clash: Places, wave: Wave) -> bool:
    """Put the best new bound of each end on the trail; False where one passes the other end's."""
    bound, known, ends = trail.bound, trail.known, trail.bound.size
    crossed = False
    for end in range(ends):
        if wave.why[end] == NOTHING:
            continue
        value, reason = wave.best[end], wave.why[end]
        wave.why[end] = NOTHING
        if crossed:
            continue
        opposite = (end + ends // 2) % ends
        if value > -bound[opposite]:
            clash[0], clash[1] = reason, end
            crossed = True
            continue
        old, at = bound[end], trail.length[0]
        width = -bound[opposite] - old
        tight = value - old >= LEAST_GAIN * width and width > NARROWEST * -(known[end] + known[opposite])
        if value > old and (tight or old < 0.0 <= value) and at < trail.end.size - ends:
            trail.end[at], trail.old[at], trail.reason[at] = end, old, reason
            trail.length[0] = at + 1
            bound[end] = value
    return not crossed
