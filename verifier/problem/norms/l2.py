"""The Euclidean norm: ‖δ‖₂ = √Σ δ_i². A ball is round: entries move in proportion to their slopes, as far as they may.

S is attained at δ_i = −sign(g_i)·min(τ|g_i|, room_i) with the scale τ at which ‖δ‖₂ = r. For any split g = b + c,

    S(r) ≤ r·‖b‖₂ + Σ |c_i|·room_i,

which is equal at |b_i| = min(|g_i|, room_i/τ): τ may come from floats.
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
from verifier.problem.rounding import SPARE_OPERATIONS, SUMMED, UNIT

ROUNDS = 50
"""Times that entries which a scale would move too far are held at their room and the scale is formed anew: three or
four usually, and never more than there are entries. Any scale gives a valid bound."""

ROOT_BITS = 128
"""Bits of √d² that are right where it is irrational."""


class L2(Geometry):
    """S(r) by the scale at which the step is as long as the radius."""

    norm = Norm.L2
    is_euclidean = True
    has_kernels = True

    @staticmethod
    def length(steps: Array) -> Array:
        return euclidean(steps)

    @staticmethod
    def longest(room: Array) -> float:
        return math.hypot(*room.tolist())

    @staticmethod
    def distance_exact(x: npt.ArrayLike, centre: npt.ArrayLike) -> Fraction:
        ends, starts = np.asarray(x, dtype=np.float64), np.asarray(centre, dtype=np.float64)
        gaps = exact_gaps(zip(ends.tolist(), starts.tolist(), strict=True))
        return root_above(sum((gap * gap for gap in gaps), Fraction(0)))

    def left(self, radius: float, step: Array) -> float:
        """The angle at a box's nearest point is no less than a right one: squares add up."""
        spent = float(self.length(step)) * (1.0 - SUMMED * (step.size + SPARE_OPERATIONS))
        # Of each factor its own root: their product may vanish.
        most = math.sqrt(max(0.0, radius - spent)) * math.sqrt(radius + spent) * (1.0 + 8.0 * UNIT)
        return math.nextafter(most, math.inf)

    @staticmethod
    def directions(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
        """Uniform on the sphere."""
        steps = rng.standard_normal(shape)
        return np.asarray(steps / euclidean(steps)[:, np.newaxis])

    @staticmethod
    def dual_norm(rows: Array) -> Array:
        return euclidean(rows)

    def minimum(self, rows: Array) -> Array:
        if math.isinf(self.radius):
            return self.box_minimum(rows)
        return self._minimum(rows, self.falls(rows, self.radius))

    def minimiser(self, rows: Array) -> Array:
        if math.isinf(self.radius):
            return self.box_minimiser(rows)
        return np.asarray(np.clip(self.centre + self.steps(rows, self.radius), self.lo, self.hi))

    def sizes(self, magnitudes: Any) -> Array:
        """No row rises by more than radius · ‖row‖₂ ≤ radius · √(‖row‖₁ ‖row‖∞) above its value at |x0|."""
        if math.isinf(self.radius):
            return self.box_sizes(magnitudes)
        total = np.asarray(magnitudes.sum(axis=1)).reshape(-1)
        return self._sizes(magnitudes, np.sqrt(largest_entries(magnitudes)) * np.sqrt(total))

    def falls(self, rows: Array, radius: float) -> Array:
        """Rounded up: r·‖b‖₂ + Σ |c_i|·room_i, charged in full."""
        if radius <= 0.0:
            return np.zeros(len(rows))
        steep, room = np.abs(rows), self.room.at(rows)
        scale = scales(steep, room, radius)[:, np.newaxis]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            round_part = np.fmin(steep, np.where(steep > 0, room / scale, 0.0))
            flat = steep - round_part
            beyond = np.where(flat > 0, flat * room, 0.0).sum(axis=1)
        found = radius * euclidean(round_part) + beyond
        return np.asarray(found * (1.0 + SUMMED * (rows.shape[1] + SPARE_OPERATIONS)))

    def excluded_each(self, rows: Array, amounts: Array, most: float) -> Array:
        """Along the scales at which entries reach their room, S and r² are known in closed form."""
        usable = (amounts >= 0.0) & np.isfinite(amounts)
        # In units of the steepest entry, squares neither overflow nor vanish.
        largest = np.abs(rows).max(axis=1, initial=0.0)
        unit = np.where(largest > 0.0, largest, 1.0)
        steep, room, amounts = np.abs(rows) / unit[:, np.newaxis], self.room.at(rows), amounts / unit
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            order = np.argsort(np.where(steep > 0.0, room / steep, np.inf), axis=1)
            steep, room = (np.take_along_axis(part, order, axis=1) for part in (steep, room))
            moving = steep > 0.0
            held = np.pad(np.cumsum(np.where(moving, steep * room, 0.0), axis=1), ((0, 0), (1, 0)))
            free = np.pad(np.cumsum((steep * steep)[:, ::-1], axis=1)[:, ::-1], ((0, 0), (0, 1)))
            reached = held[:, 1:] + (room / steep) * free[:, 1:]
        place = np.count_nonzero(moving & (reached <= amounts[:, np.newaxis]), axis=1)
        before = np.arange(steep.shape[1]) < place[:, np.newaxis]
        left = np.maximum(0.0, amounts - held[np.arange(len(rows)), place])
        slope = euclidean(np.where(before, 0.0, steep))
        spent = euclidean(np.where(before, room, 0.0))
        radius = np.minimum(most, np.hypot(spent, left / np.where(slope > 0.0, slope, 1.0)))
        radius = np.where(place < np.count_nonzero(moving, axis=1), radius, most)
        return np.where(usable, radius, 0.0)

    def gains(self, row: Array, radius: float, present: Array) -> Array:
        """g·δ − δ²/(2τ) at the present ones' τ: no entry that joins them adds more."""
        steep, room = np.abs(row), np.minimum(self.room.at(row), radius)
        if radius <= 0.0:
            return np.zeros_like(row)
        scale = float(scales(np.where(present, steep, 0.0)[np.newaxis], room[np.newaxis], radius)[0])
        with np.errstate(invalid="ignore"):
            move = np.where(steep > 0, np.fmin(scale * steep, room), 0.0)
        gained: Array = move * (steep - 0.5 * move / scale)
        return gained

    def steps(self, rows: Array, radius: float) -> Array:
        if radius <= 0.0:
            return np.zeros_like(rows)
        return self._scaled(rows, scales(np.abs(rows), self.room.at(rows), radius)[:, np.newaxis])

    def farthest(self, row: Array, radius: float) -> Array:
        moved = self.centre + self.steps(row[np.newaxis], radius)[0]
        return np.asarray(np.clip(moved, self.lo, self.hi))

    def ascended(self, x: Array, gradient: Array, radius: float, share: float) -> Array:
        """Projected gradient: a step along the gradient, and the nearest point of the ball and the box (Madry et al.
        2018)."""
        size = float(euclidean(gradient))
        if size == 0.0 or radius <= 0.0:
            return x
        wanted = (self.centre - (x + (share * radius / size) * gradient))[np.newaxis]
        # The nearest point to centre − g is centre − min(τ, 1)·g, cut with the box.
        scale = np.minimum(1.0, scales(np.abs(wanted), self.room.at(wanted), radius))
        moved = self.centre + self._scaled(wanted, scale[:, np.newaxis])[0]
        return np.asarray(np.clip(moved, self.lo, self.hi))

    def _scaled(self, rows: Array, scale: Array) -> Array:
        """−scale·row, no entry farther than its room: (R, n)."""
        with np.errstate(invalid="ignore", over="ignore"):
            moves = np.where(rows == 0, 0.0, np.fmin(scale * np.abs(rows), self.room.at(rows)))
        return np.asarray(-np.sign(rows) * moves)

    def least_of_batch(self, rows: Floats) -> tuple[Floats, Floats]:
        down_, up, centre = self._singles
        across = np.ascontiguousarray(rows.T)
        room = np.where(across > 0, down_, up)
        steep = np.abs(across)
        scale = scales(steep, room, np.float32(self.radius))[:, np.newaxis]
        with np.errstate(invalid="ignore", over="ignore"):
            moves = np.where(steep > 0, np.fmin(scale * steep, room), np.float32(0.0))
        moved = -np.sign(across) * moves
        # Not a product of BLAS: some of its kernels raise the flag of an invalid operation where there is none.
        begin = np.einsum("ij,j->i", across, centre)
        fall = np.einsum("ij,ij->i", across, moved)
        return np.ascontiguousarray((centre + moved).T), (begin + fall).astype(np.float32)

    @cached_property
    def _singles(self) -> tuple[Floats, Floats, Floats]:
        """The room down and up within the radius, and the centre, in float32."""
        down_, up = (np.minimum(side, self.radius).astype(np.float32) for side in (self.room.down, self.room.up))
        return down_, up, self.centre.astype(np.float32)


def euclidean(steps: Array) -> Array:
    """‖step‖₂ to within rounding, whatever its size: steps (…, n) → (…)."""
    largest = np.abs(steps).max(axis=-1, initial=0.0)
    unit = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    parts = steps / unit[..., np.newaxis]
    lengths: Array = unit * np.sqrt((parts * parts).sum(axis=-1))
    return lengths


def root_above(square: Fraction) -> Fraction:
    """√square where that is rational, else a rational above it by less than 2^−ROOT_BITS of it."""
    top, bottom = square.numerator, square.denominator
    if math.isqrt(top) ** 2 == top and math.isqrt(bottom) ** 2 == bottom:
        return Fraction(math.isqrt(top), math.isqrt(bottom))
    # √(top/bottom) = √(top·bottom)/bottom; shifted so that the root's integer part has bits enough.
    shift = max(0, ROOT_BITS + 1 - (top * bottom).bit_length() // 2)
    return Fraction(math.isqrt((top * bottom) << (2 * shift)) + 1, bottom << shift)


def scales(steep: Any, room: Any, radius: Any) -> Any:
    """The τ > 0 of each row at which ‖min(τ·steep, room)‖₂ is the radius > 0, or a little less; infinite where no move
    is as long. steep, room (R, n) ≥ 0: (R,)."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # In units of the steepest entry and of the radius, squares neither overflow nor vanish.
        largest = steep.max(axis=1, initial=0.0)
        unit = np.where(largest > 0, largest, 1)[:, np.newaxis]
        slopes, rooms = steep / unit, np.minimum(room / radius, 2)
        squares = slopes * slopes
        held = np.zeros(steep.shape, dtype=bool)
        scale = 1 / np.sqrt(squares.sum(axis=1))
        for _ in range(ROUNDS):
            now = held | (rooms < scale[:, np.newaxis] * slopes)
            if np.array_equal(now, held):
                break
            held = now
            spent = np.where(held, rooms * rooms, 0).sum(axis=1)
            free = np.where(held, 0, squares).sum(axis=1)
            scale = np.where(free > 0, np.sqrt(np.maximum(1 - spent, 0) / free), np.inf)
        return scale * (radius / unit[:, 0])
