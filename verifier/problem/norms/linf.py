"""The maximum norm: ‖δ‖∞ = max |δ_i|. A ball is a box, and each entry moves for itself."""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from encoders.network.norm import Norm
from verifier.problem.norms.geometry import Floats, Geometry, exact_gaps

TANGENTS = 30
"""Tangent steps towards the radius at which S uses up an amount; each gives a valid radius, few are ever needed."""

SETTLED = 1e-12
"""A tangent step that moves the radius by less than this, relative, ends the search for it."""


class LInf(Geometry):
    """S(r) = Σ |g_i| min(r, room_i), room_i what the box leaves on the side to which g_i pulls."""

    norm = Norm.LINF
    has_flat_sides = True
    has_kernels = True

    @property
    def is_box(self) -> bool:
        return True

    @property
    def split_moves(self) -> bool:
        return False

    @staticmethod
    def length(steps: Array) -> Array:
        return np.asarray(np.linalg.norm(steps, np.inf, axis=-1))

    @staticmethod
    def longest(room: Array) -> float:
        return float(room.max())

    @staticmethod
    def distance_exact(x: npt.ArrayLike, centre: npt.ArrayLike) -> Fraction:
        ends, starts = np.asarray(x, dtype=np.float64), np.asarray(centre, dtype=np.float64)
        # Rounding is monotone: the largest difference is among those that are largest when rounded.
        with np.errstate(over="ignore"):
            rounded = np.abs(ends - starts)
        widest = ~(rounded < rounded.max(initial=0.0))
        pairs = zip(ends[widest].tolist(), starts[widest].tolist(), strict=True)
        return max(exact_gaps(set(pairs)), default=Fraction(0))

    @staticmethod
    def directions(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
        """Corners of the cube."""
        return rng.choice([-1.0, 1.0], size=shape)

    @staticmethod
    def dual_norm(rows: Array) -> Array:
        norm: Array = np.abs(rows).sum(axis=1)
        return norm

    def minimum(self, rows: Array) -> Array:
        return self.box_minimum(rows)

    def minimiser(self, rows: Array) -> Array:
        return self.box_minimiser(rows)

    def sizes(self, magnitudes: Any) -> Array:
        return self.box_sizes(magnitudes)

    def falls(self, rows: Array, radius: float) -> Array:
        down, up = np.minimum(self.room.down, radius), np.minimum(self.room.up, radius)
        result: Array = np.maximum(rows, 0.0) @ down - np.minimum(rows, 0.0) @ up
        return result

    def excluded_each(self, rows: Array, amounts: Array, most: float) -> Array:
        steep, room = np.abs(rows), self.room.at(rows)
        radius = np.zeros(len(rows))
        for _ in range(TANGENTS):
            open_ = room > radius[:, np.newaxis]
            slope = np.where(open_, steep, 0.0).sum(axis=1)
            left = amounts - (steep * np.where(open_, 0.0, room)).sum(axis=1)
            # Beyond `most` the tangent says nothing new.
            step = np.where(left < most * slope, left / np.where(slope > 0.0, slope, 1.0), most)
            moves = step > radius * (1.0 + SETTLED)
            if not np.any(moves):
                break
            radius = np.where(moves, step, radius)
        return np.where((amounts >= 0.0) & np.isfinite(amounts), radius, 0.0)

    def gains(self, row: Array, radius: float, present: Array) -> Array:
        del present  # the price is 0: an entry's move costs the others nothing
        result: Array = np.abs(row) * np.minimum(self.room.at(row), radius)
        return result

    def steps(self, rows: Array, radius: float) -> Array:
        room = self.room
        return np.where(rows > 0, -np.minimum(room.down, radius), np.where(rows < 0, np.minimum(room.up, radius), 0.0))

    def farthest(self, row: Array, radius: float) -> Array:
        low = np.maximum(self.lo, self.centre - radius)
        high = np.minimum(self.hi, self.centre + radius)
        return np.where(row > 0, low, np.where(row < 0, high, self.centre))

    def ascended(self, x: Array, gradient: Array, radius: float, share: float) -> Array:
        """Projected gradient: every entry moves alike, and is clipped (Madry et al. 2018)."""
        return np.clip(x + share * radius * np.sign(gradient), *self.interval_at(radius))

    def least_of_batch(self, rows: Floats) -> tuple[Floats, Floats]:
        points = np.where(rows > 0, *self._columns)
        return points, np.einsum("ij,ij->j", rows, points)

    @cached_property
    def _columns(self) -> tuple[Floats, Floats]:
        low, high = self.interval
        return low.astype(np.float32)[:, np.newaxis], high.astype(np.float32)[:, np.newaxis]
