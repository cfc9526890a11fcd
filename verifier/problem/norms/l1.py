"""The sum norm: ‖δ‖₁ = Σ |δ_i|. A ball is a budget that the steepest entries spend first.

S is a fractional knapsack, whose dual form τ·r + Σ max(0, |g_i| − τ)·room_i is an upper bound for every τ ≥ 0, so that
τ may come from floats.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from encoders.network.norm import Norm
from verifier.problem.norms.geometry import Floats, Geometry, exact_gaps, largest_entries
from verifier.problem.rounding import UNDERFLOW, gamma

KNAPSACK_SPARE = 12
"""Entries sorted beyond 2·budget; more of them tightened no bound in measurements."""


class L1(Geometry):
    """S(r) by filling the steepest entries first."""

    norm = Norm.L1
    has_flat_sides = True
    has_kernels = True

    @property
    def split_moves(self) -> bool:
        return True

    @staticmethod
    def length(steps: Array) -> Array:
        return np.asarray(np.linalg.norm(steps, 1, axis=-1))

    @staticmethod
    def longest(room: Array) -> float:
        return math.fsum(room)

    @staticmethod
    def distance_exact(x: npt.ArrayLike, centre: npt.ArrayLike) -> Fraction:
        ends, starts = np.asarray(x, dtype=np.float64), np.asarray(centre, dtype=np.float64)
        return sum(exact_gaps(zip(ends.tolist(), starts.tolist(), strict=True)), Fraction(0))

    def left(self, radius: float, step: Array) -> float:
        """Every entry of a box moves on from its nearest point: lengths add up."""
        spent = float(self.length(step)) * (1.0 - gamma(step.size))
        return max(0.0, math.nextafter(radius - spent, math.inf))

    @staticmethod
    def directions(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
        """Exponential shares of the length: uniform on the face of random signs."""
        signs = rng.choice([-1.0, 1.0], size=shape)
        share = rng.standard_exponential(shape)
        return np.asarray(signs * (share / share.sum(axis=1, keepdims=True)))

    @staticmethod
    def dual_norm(rows: Array) -> Array:
        norm: Array = np.abs(rows).max(axis=1, initial=0.0)
        return norm

    def minimum(self, rows: Array) -> Array:
        if math.isinf(self.radius):
            return self.box_minimum(rows)
        return self._minimum(rows, self._spent(rows, self.radius, rows.shape[1]))

    def minimiser(self, rows: Array) -> Array:
        corner = self.box_minimiser(rows)
        if math.isinf(self.radius):
            return corner
        moves = np.abs(corner - self.centre)
        order = np.argsort(-np.abs(rows), axis=1)
        ordered = np.take_along_axis(moves, order, axis=1)
        before = np.cumsum(ordered, axis=1) - ordered
        allowed = np.clip(self.radius - before, 0.0, ordered)
        spent = np.zeros_like(moves)
        np.put_along_axis(spent, order, allowed, axis=1)
        moved: Array = self.centre + np.sign(corner - self.centre) * spent
        return moved

    def sizes(self, magnitudes: Any) -> Array:
        """No row rises by more than radius · (its largest entry) above its value at |x0|."""
        if math.isinf(self.radius):
            return self.box_sizes(magnitudes)
        return self._sizes(magnitudes, largest_entries(magnitudes))

    def falls(self, rows: Array, radius: float) -> Array:
        """The steepest entries are sorted, about as many as a budget spent on full pixels needs and some more: all only
        where these do not spend it."""
        return self._spent(rows, radius, int(2 * radius) + KNAPSACK_SPARE)

    def _spent(self, rows: Array, radius: float, kept: int) -> Array:
        """τ·r + Σ max(0, |g_i| − τ)·room_i for each row, τ sought among `kept` entries: (R,)."""
        steep, room = np.abs(rows), np.minimum(self.room.at(rows), radius)
        threshold = knapsack_threshold(steep, room, radius, kept)
        excess = np.maximum(steep - threshold[:, np.newaxis], 0.0)
        with np.errstate(invalid="ignore"):
            lost = np.where(excess > 0, excess * room, 0.0)
        result: Array = lost.sum(axis=1) + threshold * radius
        return result

    def fall(self, row: Array, radius: float) -> float:
        room = np.minimum(self.room.at(row), radius)
        excess, threshold = _excess(row, room, radius)
        return float(excess @ room) + threshold * radius

    def excluded_each(self, rows: Array, amounts: Array, most: float) -> Array:
        order = np.argsort(-np.abs(rows), axis=1)
        room = np.take_along_axis(np.minimum(self.room.at(rows), most), order, axis=1)
        steep = np.take_along_axis(np.abs(rows), order, axis=1)
        gains, spent = (np.pad(np.cumsum(part, axis=1), ((0, 0), (1, 0))) for part in (steep * room, room))
        place = np.count_nonzero(gains[:, 1:] <= amounts[:, np.newaxis], axis=1)
        each = np.arange(len(rows))
        slope = np.pad(steep, ((0, 0), (0, 1)))[each, place]
        rest = (amounts - gains[each, place]) / np.where(slope > 0.0, slope, 1.0)
        reached = np.where(slope > 0.0, np.minimum(most, spent[each, place] + rest), most)
        return np.where((amounts >= 0.0) & np.isfinite(amounts), reached, 0.0)

    def gains(self, row: Array, radius: float, present: Array) -> Array:
        room = np.minimum(self.room.at(row), radius)
        _, price = _excess(np.where(present, row, 0.0), room, radius)
        gains: Array = np.maximum(np.abs(row) - price, 0.0) * room
        return gains

    def steps(self, rows: Array, radius: float) -> Array:
        steep, room = np.abs(rows), np.minimum(self.room.at(rows), radius)
        threshold = knapsack_threshold(steep, room, radius, int(2 * radius) + KNAPSACK_SPARE)[:, np.newaxis]
        used = np.where(steep > threshold, room, 0.0)
        at_last = np.where(steep == threshold, room, 0.0)
        spare, wanted = np.maximum(radius - used.sum(axis=1), 0.0), at_last.sum(axis=1)
        share = np.minimum(1.0, spare / np.maximum(wanted, UNDERFLOW))
        steps: Array = -np.sign(rows) * (used + share[:, np.newaxis] * at_last)
        return steps

    def farthest(self, row: Array, radius: float) -> Array:
        steep, side = np.abs(row), np.where(row > 0, self.centre - self.lo, self.hi - self.centre)
        side = np.minimum(side, radius)
        order = np.argsort(-steep)
        before = np.cumsum(side[order]) - side[order]
        move = np.zeros_like(row)
        move[order] = np.clip(radius - before, 0.0, side[order])
        return np.where(steep > 0, np.clip(self.centre - np.sign(row) * move, self.lo, self.hi), self.centre)

    @staticmethod
    def ascent_share(step: int, steps: int) -> float:
        """That of Frank and Wolfe, the first point being no vertex of the ball."""
        del steps
        return 2.0 / (step + 3.0)

    def ascended(self, x: Array, gradient: Array, radius: float, share: float) -> Array:
        """A share of the way to the vertex where the gradient rises most (Frank & Wolfe 1956)."""
        return np.asarray(x + share * (self.farthest(-gradient, radius) - x))

    def least_of_batch(self, rows: Floats) -> tuple[Floats, Floats]:
        radius, (down_, up, centre) = self.radius, self._singles
        across = np.ascontiguousarray(rows.T)
        room = np.where(across > 0, down_, up)
        steep = np.abs(across) * (room > 0)
        kept = int(2 * min(radius, steep.shape[1])) + KNAPSACK_SPARE
        while True:
            kept = min(kept, steep.shape[1])
            columns = np.argsort(-steep, axis=1) if kept == steep.shape[1] else _steepest(steep, kept)
            width = np.take_along_axis(room, columns, axis=1)
            used = np.cumsum(width, axis=1)
            if kept == steep.shape[1] or np.all(used[:, -1] >= radius):
                break
            kept *= 4
        moved = np.clip(radius - (used - width), 0.0, width) * -np.sign(np.take_along_axis(across, columns, axis=1))
        points = np.tile(centre, (len(across), 1))
        np.put_along_axis(points, columns, np.take_along_axis(points, columns, axis=1) + moved, axis=1)
        fall = np.einsum("ij,ij->i", np.take_along_axis(across, columns, axis=1), moved)
        # Not a product of BLAS: some of its kernels raise the flag of an invalid operation where there is none.
        begin = np.einsum("ij,j->i", across, centre)
        return np.ascontiguousarray(points.T), (begin + fall).astype(np.float32)

    @cached_property
    def _singles(self) -> tuple[Floats, Floats, Floats]:
        """The room down and up within the radius, and the centre, in float32."""
        down_, up = (np.minimum(side, self.radius).astype(np.float32) for side in (self.room.down, self.room.up))
        return down_, up, self.centre.astype(np.float32)


def _excess(row: Array, room: Array, radius: float) -> tuple[Array, float]:
    """max(|g| − τ, 0) for the threshold τ at which the budget is used up, and τ."""
    steep = np.abs(row)
    order = np.argsort(-steep)
    full = np.cumsum(room[order]) >= radius
    threshold = float(steep[order[np.argmax(full)]]) if full[-1] else 0.0
    return np.maximum(steep - threshold, 0.0), threshold


def knapsack_threshold(steep: Array, room: Array, budget: float, kept: int) -> Array:
    """For each row the slope at which the budget is used up, or slightly less: any value gives a valid bound.

    steep, room (R, n); the `kept` steepest entries are looked at first: (R,).
    """
    every, count = (steep, room), steep.shape[1]
    kept = min(count, kept)
    if kept < count:
        columns = np.argpartition(-steep, kept - 1, axis=1)[:, :kept]
        steep, room = np.take_along_axis(steep, columns, axis=1), np.take_along_axis(room, columns, axis=1)
    order = np.argsort(-steep, axis=1)
    ordered = np.take_along_axis(steep, order, axis=1)
    used = np.cumsum(np.take_along_axis(room, order, axis=1), axis=1)
    full = used >= budget
    first = np.where(full.any(axis=1), np.argmax(full, axis=1), kept - 1)
    slopes: Array = ordered[np.arange(len(steep)), first]
    short = ~full.any(axis=1) & (slopes > 0.0)
    if kept < count and np.any(short):
        slopes[short] = knapsack_threshold(every[0][short], every[1][short], budget, 4 * kept)
    # When every entry of the row is within reach, the whole room is used and the budget costs nothing.
    return np.where(full.any(axis=1) | (kept < count), slopes, 0.0)


def _steepest(steep: Floats, kept: int) -> npt.NDArray[Any]:
    """The columns of the `kept` largest entries of each row, largest first."""
    columns = np.argpartition(-steep, kept - 1, axis=1)[:, :kept]
    order = np.argsort(-np.take_along_axis(steep, columns, axis=1), axis=1)
    return np.take_along_axis(columns, order, axis=1)
