"""How far a linear form can fall inside a ball: S(r) = max {g·(x0 − x) : x ∈ box, ‖x − x0‖ ≤ r}, as a function of r.

S is concave and piecewise linear in r. L∞: Σ |g_i| min(r, room_i). L1: a fractional knapsack, whose dual form
τ·r + Σ max(0, |g_i| − τ)·room_i is an upper bound for every τ ≥ 0. room_i is what the box leaves on the side to which
g_i pulls. Because S is concave, a tangent lies above it: the radius at which a tangent uses up an amount is never too
large.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from encoders.network.graph import Array
from verifier.problem.query import Ball, Norm
from verifier.problem.rounding import UNDERFLOW

TANGENTS = 30
"""Tangent steps towards the radius at which S uses up an amount; each gives a valid radius, few are ever needed."""

SETTLED = 1e-12
"""A tangent step that moves the radius by less than this, relative, ends the search for it."""


class Room:
    """How far the box lets each entry move `down` and `up` from the centre: a little too far rather than too little."""

    def __init__(self, ball: Ball) -> None:
        self.centre = ball.centre
        self.lo, self.hi = ball.lo, ball.hi
        self.down, self.up = _widened(ball.centre - ball.lo), _widened(ball.hi - ball.centre)

    def at(self, rows: Array) -> Array:
        """The room on the side to which each entry pulls: x falls where the coefficient is positive."""
        return np.where(rows > 0, self.down, self.up)


def _widened(room: Array) -> Array:
    """The next float above what subtraction has rounded; 0 is exact, and products with 5e-324 take 20 times as long."""
    return np.where(room > 0, np.nextafter(room, np.inf), 0.0)


class Support(Protocol):
    """S for one centre and one box."""

    @property
    def room(self) -> Room:
        """What the box leaves on both sides."""

    def largest(self, rows: Array, radius: float) -> Array:
        """S(radius) for each row (R, n), up to rounding, or slightly more: (R,)."""

    def steps(self, rows: Array, radius: float) -> Array:
        """The steps from the centre at which each row (R, n) falls by S(radius), up to rounding: (R, n)."""

    def dual_norm(self, rows: Array) -> Array:
        """The most that each row (R, n) can fall over a ball of radius 1 without a box: (R,)."""

    def exactly(self, row: Array, radius: float) -> float:
        """S(radius) for one row (n,), up to rounding."""

    def gains(self, row: Array, radius: float, present: Array) -> Array:
        """What each entry's own move adds to S(radius) above the price among the `present` ones: (n,)."""

    def radius(self, row: Array, amount: float, most: float) -> float:
        """A radius r ≤ most with S(r) ≤ amount for one row (n,), as large as it can be; 0 when amount < 0."""

    def farthest(self, row: Array, radius: float) -> Array:
        """The x (n,) of the ball at which row·x is least."""


class LinfSupport:
    """S(r) = Σ |g_i| min(r, room_i)."""

    def __init__(self, ball: Ball) -> None:
        self.room = Room(ball)

    def largest(self, rows: Array, radius: float) -> Array:
        down, up = np.minimum(self.room.down, radius), np.minimum(self.room.up, radius)
        result: Array = np.maximum(rows, 0.0) @ down - np.minimum(rows, 0.0) @ up
        return result

    def steps(self, rows: Array, radius: float) -> Array:
        room = self.room
        return np.where(rows > 0, -np.minimum(room.down, radius), np.where(rows < 0, np.minimum(room.up, radius), 0.0))

    def dual_norm(self, rows: Array) -> Array:
        norm: Array = np.abs(rows).sum(axis=1)
        return norm

    def exactly(self, row: Array, radius: float) -> float:
        return float(self.largest(row[np.newaxis], radius)[0])

    def gains(self, row: Array, radius: float, present: Array) -> Array:
        result: Array = np.abs(row) * np.minimum(self.room.at(row), radius)
        return result

    def radius(self, row: Array, amount: float, most: float) -> float:
        if not amount >= 0:  # nor is it when it is not a number
            return 0.0
        steep, room = np.abs(row), self.room.at(row)
        radius = 0.0
        for _ in range(TANGENTS):
            open_ = room > radius
            slope = float(steep[open_].sum())
            if slope <= 0.0:
                return most
            used = float(steep[~open_] @ room[~open_])
            step = (amount - used) / slope
            if step >= most:
                # Beyond `most` the tangent says nothing new.
                radius = most
                break
            if step <= radius * (1.0 + SETTLED):
                break
            radius = step
        return radius

    def farthest(self, row: Array, radius: float) -> Array:
        room = self.room
        low = np.maximum(room.lo, room.centre - radius)
        high = np.minimum(room.hi, room.centre + radius)
        return np.where(row > 0, low, np.where(row < 0, high, room.centre))


class L1Support:
    """S(r) by filling the steepest coordinates first."""

    def __init__(self, ball: Ball) -> None:
        self.room = Room(ball)

    def largest(self, rows: Array, radius: float) -> Array:
        steep = np.abs(rows)
        room = np.minimum(self.room.at(rows), radius)
        threshold = knapsack_threshold(steep, room, radius)
        excess = np.maximum(steep - threshold[:, np.newaxis], 0.0)
        with np.errstate(invalid="ignore"):
            lost = np.where(excess > 0, excess * room, 0.0)
        result: Array = lost.sum(axis=1) + threshold * radius
        return result

    def steps(self, rows: Array, radius: float) -> Array:
        steep, room = np.abs(rows), np.minimum(self.room.at(rows), radius)
        threshold = knapsack_threshold(steep, room, radius)[:, np.newaxis]
        used = np.where(steep > threshold, room, 0.0)
        at_last = np.where(steep == threshold, room, 0.0)
        spare, wanted = np.maximum(radius - used.sum(axis=1), 0.0), at_last.sum(axis=1)
        share = np.minimum(1.0, spare / np.maximum(wanted, UNDERFLOW))
        steps: Array = -np.sign(rows) * (used + share[:, np.newaxis] * at_last)
        return steps

    def dual_norm(self, rows: Array) -> Array:
        norm: Array = np.abs(rows).max(axis=1, initial=0.0)
        return norm

    def exactly(self, row: Array, radius: float) -> float:
        room = np.minimum(self.room.at(row), radius)
        excess, threshold = self._excess(row, room, radius)
        return float(excess @ room) + threshold * radius

    def gains(self, row: Array, radius: float, present: Array) -> Array:
        room = np.minimum(self.room.at(row), radius)
        _, price = self._excess(np.where(present, row, 0.0), room, radius)
        gains: Array = np.maximum(np.abs(row) - price, 0.0) * room
        return gains

    def _excess(self, row: Array, room: Array, radius: float) -> tuple[Array, float]:
        """max(|g| − τ, 0) for the threshold τ at which the budget is used up, and τ."""
        steep = np.abs(row)
        order = np.argsort(-steep)
        full = np.cumsum(room[order]) >= radius
        threshold = float(steep[order[np.argmax(full)]]) if full[-1] else 0.0
        return np.maximum(steep - threshold, 0.0), threshold

    def radius(self, row: Array, amount: float, most: float) -> float:
        if not amount >= 0:  # nor is it when it is not a number
            return 0.0
        steep, room = np.abs(row), np.minimum(self.room.at(row), most)
        order = np.argsort(-steep)
        steep, room = steep[order], room[order]
        gains = np.cumsum(steep * room)
        place = int(np.searchsorted(gains, amount, side="right"))
        if place >= steep.size or steep[place] <= 0.0:
            return most
        before = float(gains[place - 1]) if place else 0.0
        spent = float(room[:place].sum())
        return min(most, spent + (amount - before) / float(steep[place]))

    def farthest(self, row: Array, radius: float) -> Array:
        room = self.room
        steep, side = np.abs(row), np.where(row > 0, room.centre - room.lo, room.hi - room.centre)
        side = np.minimum(side, radius)
        order = np.argsort(-steep)
        before = np.cumsum(side[order]) - side[order]
        move = np.zeros_like(row)
        move[order] = np.clip(radius - before, 0.0, side[order])
        return np.where(steep > 0, np.clip(room.centre - np.sign(row) * move, room.lo, room.hi), room.centre)


def knapsack_threshold(steep: Array, room: Array, budget: float) -> Array:
    """For each row the slope at which the budget is used up, or slightly less: any value gives a valid bound.

    Only the steepest entries are sorted: about as many as a budget spent on full pixels needs, and a few more.
    """
    count = steep.shape[1]
    kept = min(count, int(2 * budget) + KNAPSACK_SPARE)
    if kept < count:
        columns = np.argpartition(-steep, kept - 1, axis=1)[:, :kept]
        steep, room = np.take_along_axis(steep, columns, axis=1), np.take_along_axis(room, columns, axis=1)
    order = np.argsort(-steep, axis=1)
    ordered = np.take_along_axis(steep, order, axis=1)
    used = np.cumsum(np.take_along_axis(room, order, axis=1), axis=1)
    full = used >= budget
    first = np.where(full.any(axis=1), np.argmax(full, axis=1), kept - 1)
    slopes: Array = ordered[np.arange(len(steep)), first]
    # When every entry of the row is within reach, the whole room is used and the budget costs nothing.
    return np.where(full.any(axis=1) | (kept < count), slopes, 0.0)


KNAPSACK_SPARE = 12
"""Entries sorted beyond 2·budget; more of them tightened no bound in measurements."""

SUPPORTS: Mapping[Norm, type[LinfSupport] | type[L1Support]] = {Norm.LINF: LinfSupport, Norm.L1: L1Support}


def support(ball: Ball) -> Support:
    """S for the ball's norm, centre and box; an infinite radius is for callers who give their own."""
    kind = SUPPORTS[ball.norm]
    found: Support = kind(ball)
    return found
