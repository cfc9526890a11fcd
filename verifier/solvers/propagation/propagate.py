"""Bounds of variables from rows and nogoods, in waves, with numpy.

In a row Σ T_j(v_j) + c ≥ 0 each T_j is at least −(Σ_{i≠j} max T_i + c), which bounds v_j. A wave reads the bounds as
they are when it begins; the best new one of each end is kept. Rounding is charged: bounds hold in real arithmetic.
"""

from __future__ import annotations

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.box_part import Places
from verifier.problem.rounding import UNDERFLOW, UNIT
from verifier.solvers.propagation.rows import RowSystem
from verifier.solvers.propagation.trail import FIRST_NOGOOD, NONE, NOTHING, Nogoods, Trail

LEAST_GAIN = 0.05
"""Of a variable's width, what a new bound must gain to be kept, unless it settles a phase: chains of ever smaller steps
have no end."""

NARROWEST = 2.0**-30
"""Of the width at the beginning: a variable that is narrower is not tightened further."""

RATE = 4.0 * UNIT
"""What each term of a sum is charged, relative: forming it, adding it, and the error term itself."""

FIXED, CROSSED, MORE = 0, 1, 2
"""What `propagate` returns: nothing more follows; the contradiction is in `clash`; it is to be called again."""

WAVES = 64
"""Of one call: the budget is looked at between two."""


NO_BOUNDS = np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0, dtype=np.int64)


def peak(above: Array, below: Array, lower: Array, upper: Array) -> Array:
    """max {T(v) : lower ≤ v ≤ upper}, T of slope `above` over positive v and `below` over negative ones."""
    at_lower = np.where(lower > 0, above, below) * lower
    at_upper = np.where(upper > 0, above, below) * upper
    most = np.maximum(at_lower, at_upper)
    return np.where((lower < 0) & (upper > 0), np.maximum(most, 0.0), most)


def falls_to(above: Array, below: Array, upper: Array, least: Array) -> Array:
    """The largest v ≤ upper with T(v) ≥ least, rounded up; `upper` where that says nothing new."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        over, under = least / above, least / below
        positive = np.where(
            above * upper >= least,
            upper,
            np.where(least <= 0, over, np.where(below < 0, under, upper)),
        )
        negative = np.where((below * upper >= least) | (below >= 0), upper, under)
        found = np.where(upper > 0, positive, negative)
        found = found + np.abs(found) * (4.0 * UNIT) + UNDERFLOW
    return np.where(found < upper, found, upper)


def propagate(rows: RowSystem, nogoods: Nogoods, trail: Trail, heads: Places, clash: Places) -> int:
    """Raise bounds until nothing follows, for at most WAVES; CROSSED: what was found contradicts itself.

    Then `clash` is (reason, end).

    heads (2,): the entries of the trail that narrow and wide rows have seen; −1: all rows are to be looked at. A clash
    (reason, NONE) is a row or nogood that nothing satisfies; (reason, end) an end whose new bound, which is not on the
    trail, passes the other end's.
    """
    variables = trail.bound.size // 2
    seen = -1
    clash[0] = NOTHING
    for _ in range(WAVES):
        if seen < trail.length[0] and (seen < 0 or _settled(trail, seen)):
            seen = int(trail.length[0])
            found = _nogoods(nogoods, trail, clash)
        else:
            touched = _touched(rows, trail, heads, variables)
            if touched is None:
                return FIXED
            found = implied(rows, touched, trail, clash) if touched.size else None
        if found is not None:
            ends, values, reasons = found
            if clash[0] != NOTHING or not _kept(trail, ends, values, reasons, clash):
                return CROSSED
    return MORE


def _settled(trail: Trail, seen: int) -> bool:
    """Has any phase been settled since? Literals are phases, so that nogoods say nothing new otherwise."""
    part = slice(seen, int(trail.length[0]))
    return bool(np.any((trail.old[part] < 0) & (trail.bound[trail.end[part]] >= 0)))


def _touched(rows: RowSystem, trail: Trail, heads: Places, variables: int) -> Places | None:
    """The rows of the next wave: narrow ones first; None when there is nothing to do."""
    length = int(trail.length[0])
    for place, kind in ((0, True), (1, False)):
        if heads[place] < length or heads[place] < 0:
            if heads[place] < 0:
                touched = np.arange(rows.constant.size)
            else:
                changed = np.unique(trail.end[heads[place] : length] % variables)
                parts = [rows.readers[rows.reads[v] : rows.reads[v + 1]] for v in changed]
                touched = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *parts]))
            heads[place] = length
            wanted: Places = touched[rows.narrow[touched] == kind]
            return wanted
    return None


def implied(rows: RowSystem, touched: Places, trail: Trail, clash: Places) -> tuple[Places, Array, Places]:
    """The new bounds (ends, values, reasons) that these rows imply, none of which is empty; without any where nothing
    satisfies a row: then the most contradicted one is the clash."""
    lengths = rows.start[touched + 1] - rows.start[touched]
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    at = np.repeat(rows.start[touched] - first, lengths) + np.arange(int(lengths.sum()))
    variable, above, below = rows.variable[at], rows.above[at], rows.below[at]
    variables = trail.bound.size // 2
    lower, upper = trail.bound[variable], -trail.bound[variable + variables]
    most = peak(above, below, lower, upper)
    constant = rows.constant[touched]
    total = np.add.reduceat(most, first) + constant
    size = np.add.reduceat(np.abs(most), first) + np.abs(constant)
    slack = total + RATE * (lengths + 4) * size + UNDERFLOW
    if np.any(slack < 0):
        clash[0], clash[1] = touched[int(np.argmin(slack))], NONE
        return NO_BOUNDS
    spare = np.repeat(slack, lengths)
    rest = spare - most
    least = -(rest + RATE * (np.abs(spare) + np.abs(most)))
    new_upper = falls_to(above, below, upper, least)
    new_lower = -falls_to(-below, -above, -lower, least)
    ends = np.concatenate([variable, variable + variables])
    values = np.concatenate([new_lower, -new_upper])
    better = values > trail.bound[ends]
    return ends[better], values[better], np.tile(np.repeat(touched, lengths), 2)[better]


def _nogoods(nogoods: Nogoods, trail: Trail, clash: Places) -> tuple[Places, Array, Places] | None:
    count = int(nogoods.used[0])
    if not count:
        return None
    start = nogoods.start[: count + 1]
    end, value = nogoods.end[: start[-1]], nogoods.value[: start[-1]]
    open_ = trail.bound[end] < value
    missing = np.add.reduceat(open_.astype(np.int64), start[:-1])
    if np.any(missing == 0):
        clash[0], clash[1] = FIRST_NOGOOD - int(np.argmin(missing)), NONE
        return NO_BOUNDS
    owner = np.repeat(np.arange(count), np.diff(start))
    at = np.flatnonzero(open_ & (missing[owner] == 1))
    if not at.size:
        return None
    variables = trail.bound.size // 2
    return (end[at] + variables) % (2 * variables), -value[at], FIRST_NOGOOD - owner[at]


def _kept(trail: Trail, ends: Places, values: Array, reasons: Places, clash: Places) -> bool:
    """Put the best new bound of each end on the trail; False where one passes the other end's."""
    bound, known = trail.bound, trail.known
    variables = bound.size // 2
    order = np.lexsort((reasons, -values, ends))
    ends, values, reasons = ends[order], values[order], reasons[order]
    first = np.flatnonzero(np.concatenate([[True], ends[1:] != ends[:-1]])) if ends.size else np.zeros(0, dtype=int)
    for place in first:
        end, value = int(ends[place]), float(values[place])
        old, opposite = float(bound[end]), (end + variables) % (2 * variables)
        if value > -bound[opposite]:
            clash[0], clash[1] = reasons[place], end
            return False
        width = -bound[opposite] - old
        settles = old < 0 <= value
        tight = value - old >= LEAST_GAIN * width and width > NARROWEST * -(known[end] + known[opposite])
        at = int(trail.length[0])
        if not (value > old and (settles or tight)) or at >= trail.end.size - bound.size:
            continue
        trail.end[at], trail.old[at], trail.reason[at] = end, old, reasons[place]
        trail.length[0] = at + 1
        bound[end] = value
    return True
