"""What a contradiction teaches: literals about phases that never hold together, with numpy.

The walk back over the trail replaces bounds by what implied them until of the last level one phase is left (the first
unique implication point; Marques-Silva & Sakallah 1999) and of earlier levels only phases and decisions; phases that
the others imply are left out. Of what a row needs, each bound is weakened as far as the contradiction allows: to none,
to a phase, or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.box_part import Places
from verifier.problem.rounding import UNDERFLOW
from verifier.solvers.propagation.propagate import RATE, peak
from verifier.solvers.propagation.rows import RowSystem
from verifier.solvers.propagation.trail import DECIDED, FIRST_NOGOOD, NONE, Nogoods, Trail


@dataclass(frozen=True, eq=False)
class Learned:
    """Literals (end, value) that never hold together; the first is the last level's only one. level: the highest of the
    others', 0 without any. seen: ends that took part. Without literals nothing at all is possible."""

    end: Places
    value: Array
    level: int
    seen: Places


def needed(rows: RowSystem, row: int, bound: Array, known: Array, end: int, assumed: float) -> tuple[Places, Array]:
    """The literals by which a row is contradicted, with the opposite of `end` at `assumed`, or at its own where that
    is NONE: each as weak as the row allows."""
    part = slice(rows.start[row], rows.start[row + 1])
    variable, above, below = rows.variable[part], rows.above[part], rows.below[part]
    variables = bound.size // 2
    lower, upper = bound[variable], -bound[variable + variables]
    low, high = known[variable], -known[variable + variables]
    if end != NONE:
        own = variable == end % variables
        if end < variables:
            upper, high = np.where(own, assumed, upper), np.where(own, assumed, high)
        else:
            lower, low = np.where(own, -assumed, lower), np.where(own, -assumed, low)
    most, widest = peak(above, below, lower, upper), peak(above, below, low, high)
    total = float(most.sum()) + rows.constant[row]
    size = float(np.maximum(np.abs(most), np.abs(widest)).sum()) + abs(rows.constant[row])
    room = max(0.0, -(total + 2.0 * (RATE * (len(variable) + 4) * size + UNDERFLOW)))
    ends: list[int] = []
    values: list[float] = []
    costs = widest - most
    for place in np.flatnonzero(costs > 0).tolist():
        cost = float(costs[place])
        if cost <= room:
            room -= cost
            continue
        ends_of = int(variable[place]), int(variable[place]) + variables
        a, b = float(above[place]), float(below[place])
        lo, hi, far_lo, far_hi = (float(x[place]) for x in (lower, upper, low, high))
        for side in (0, 1):
            now = _peak(a, b, lo, hi)
            if side == 0:
                tries = ((far_lo, hi), (0.0, hi)) if lo > 0 > far_lo else ((far_lo, hi),)
            else:
                tries = ((lo, far_hi), (lo, 0.0)) if hi < 0 < far_hi else ((lo, far_hi),)
            for attempt in tries:
                cost = _peak(a, b, *attempt) - now
                if cost <= room:
                    room -= cost
                    lo, hi = attempt
                    break
            got, far = (lo, far_lo) if side == 0 else (-hi, -far_hi)
            if got > far:
                ends.append(ends_of[side])
                values.append(got)
    return np.array(ends, dtype=np.int64), np.array(values, dtype=np.float64)


def _peak(above: float, below: float, lower: float, upper: float) -> float:
    most = max((above if lower > 0 else below) * lower, (above if upper > 0 else below) * upper)
    return max(most, 0.0) if lower < 0 < upper else most


@dataclass(eq=False)
class _Walk:
    """The walk back over the trail."""

    rows: RowSystem
    nogoods: Nogoods
    trail: Trail
    inputs: int
    starts: Places
    bound: Array = field(init=False)
    need: Array = field(init=False)
    seen: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bound = self.trail.bound.copy()
        self.need = np.full(self.bound.size, -np.inf)

    def reasons(self, reason: int, end: int, value: float) -> tuple[Places, Array]:
        """What implied that the end's bound is at least the value."""
        if reason <= FIRST_NOGOOD:
            number = FIRST_NOGOOD - reason
            part = slice(self.nogoods.start[number], self.nogoods.start[number + 1])
            ends, values = self.nogoods.end[part], self.nogoods.value[part]
            if end != NONE:
                variables = self.bound.size // 2
                others = ends != (end + variables) % (2 * variables)
                ends, values = ends[others], values[others]
            return ends, values
        return needed(self.rows, reason, self.bound, self.trail.known, end, value)

    def require(self, ends: Places, values: Array) -> None:
        for end, value in zip(ends.tolist(), values.tolist(), strict=True):
            if value > self.trail.known[end]:
                self.need[end] = max(self.need[end], value)


def learned(rows: RowSystem, nogoods: Nogoods, trail: Trail, inputs: int, starts: Places, clash: Places) -> Learned:
    """What the clash of `propagate` teaches; starts: where each level begins on the trail; `inputs` of the variables
    have no phase."""
    walk = _Walk(rows, nogoods, trail, inputs, starts)
    variables = trail.bound.size // 2
    reason, end = int(clash[0]), int(clash[1])
    if end == NONE:
        walk.require(*walk.reasons(reason, NONE, 0.0))
    else:
        opposite = (end + variables) % (2 * variables)
        value = -float(trail.bound[opposite])
        walk.require(*walk.reasons(reason, end, value))
        walk.require(np.array([opposite]), np.array([-value]))
    return _walked(walk)


def _walked(walk: _Walk) -> Learned:
    trail, need, bound = walk.trail, walk.need, walk.bound
    variables = bound.size // 2
    starts, level = walk.starts, len(walk.starts)
    floor = bound.copy()
    at = int(trail.length[0])
    open_ = 0
    while level > 0 and open_ == 0:
        level -= 1
        while at > starts[level]:
            at -= 1
            floor[trail.end[at]] = trail.old[at]
        open_ = int(np.count_nonzero(need > floor))
    first = int(starts[level]) if len(starts) else 0
    found: tuple[int, float] | None = None
    others: list[tuple[int, float, int]] = []
    for t in range(int(trail.length[0]) - 1, -1, -1):
        end, old = int(trail.end[t]), float(trail.old[t])
        if need[end] > old:
            value, now, reason = float(need[end]), float(bound[end]), int(trail.reason[t])
            walk.seen.append(end)
            phase = reason == DECIDED or (end % variables >= walk.inputs and value <= 0 <= now)
            literal = (now if reason == DECIDED and not (value <= 0 <= now) else 0.0) if phase else value
            need[end] = -np.inf
            bound[end] = old
            if t >= first and found is None and phase and np.count_nonzero(need > floor) == 0:
                found = end, literal
            elif reason == DECIDED:
                others.append((end, literal, t))
            else:
                ends, values = walk.reasons(reason, end, value)
                if t >= first or not phase or _implied(walk, others, ends, values):
                    walk.require(ends, values)
                else:
                    others.append((end, literal, t))
        else:
            bound[end] = old
    if found is None and others:
        # What the last level's needs were implied by was left out of earlier levels, as it gained too little there.
        found = others.pop(0)[:2]
    if found is None:
        return Learned(np.zeros(0, dtype=np.int64), np.zeros(0), 0, np.array(walk.seen, dtype=np.int64))
    back = level_of(starts, np.array([t for *_, t in others], dtype=np.int64))
    literals = [found, *((end, value) for end, value, _ in others)]
    return Learned(
        np.array([end for end, _ in literals], dtype=np.int64),
        np.array([value for _, value in literals]),
        back,
        np.array(walk.seen, dtype=np.int64),
    )


def _implied(walk: _Walk, others: list[tuple[int, float, int]], ends: Places, values: Array) -> bool:
    """Does what is needed anyway contain all of these?"""
    have = walk.need.copy()
    for end, value, _ in others:
        have[end] = max(have[end], value)
    return bool(np.all((values <= walk.trail.known[ends]) | (values <= have[ends])))


def level_of(starts: Places, places: Places) -> int:
    """The highest level of these entries of a trail; 0 without any. starts: where each level begins."""
    return int(np.searchsorted(starts, places.max(initial=-1), side="right")) if places.size else 0
