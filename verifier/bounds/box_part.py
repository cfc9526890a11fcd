"""Boxes as parts of a ball: how low linear forms get in each, and the smaller box that a goal's forms leave of it.

In a norm whose balls are boxes, a part is the box alone. Else it is a smaller ball of the norm: its centre is the
nearest point of the box to the centre, its radius `Geometry.left`.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.lagrangian import CUT_SLACK
from verifier.problem.query import Ball
from verifier.problem.rounding import SPARE_OPERATIONS, SUMMED, down

WEIGHINGS = 15
"""Steps of the exponentiated gradient for the weights of a box's forms: small sums, little beside a box's bounds."""

WEIGHT_STEP = 4.0
"""Of it, at first; divided by the root of the step's number, and relative to how far the forms are apart."""

Places = npt.NDArray[np.intp]
"""Numbers of boxes, rows or entries."""


class BoxPart:
    """The boxes low, high (batch, n), cut with a ball of this radius around `ball.centre`; the radius is finite.

    low, high: after that; where they cross, nothing is left. base (batch, n): the point of each that forms are about.
    """

    def __init__(self, ball: Ball, radius: float, low: Array, high: Array) -> None:
        inner, outer = ball.geometry.interval_at(radius)
        self.low, self.high = np.maximum(low, inner), np.minimum(high, outer)
        self._ball, self._radius = ball, radius
        self._is_box = ball.geometry.is_box
        nearest = np.clip(ball.centre, self.low, self.high)
        self.base = 0.5 * (self.low + self.high) if self._is_box else nearest
        self.crossed = np.any(self.low > self.high, axis=1)
        steps = nearest - ball.centre
        # Rounded towards the centre: a box is no farther away than that.
        self.distance = ball.geometry.length(steps) * (1.0 - SUMMED * (steps.shape[1] + SPARE_OPERATIONS))
        if not self._is_box:
            left = np.array([ball.geometry.left(radius, step) for step in steps])[:, np.newaxis]
            self.low = np.maximum(self.low, np.nextafter(self.base - left, -np.inf))
            self.high = np.minimum(self.high, np.nextafter(self.base + left, np.inf))

    @classmethod
    def of_boxes(cls, low: Array, high: Array) -> BoxPart:
        """Boxes that are parts of no ball."""
        around = Ball.of_box(low.min(axis=0), high.max(axis=0))
        return cls(around, float(np.nextafter(around.reach, np.inf)), low, high)

    def ball(self, place: int) -> Ball:
        """One part as a ball around its base, a little larger rather than smaller."""
        low, high, base = self.low[place], self.high[place], self.base[place]
        around = Ball(self._ball.norm, base, np.inf, low, high)
        radius = around.reach
        if not self._is_box:
            radius = min(radius, self._ball.geometry.left(self._radius, base - self._ball.centre))
        return around.with_radius(radius)

    @cached_property
    def _balls(self) -> list[Ball]:
        return [self.ball(place) for place in range(len(self.low))]

    @cached_property
    def sizes(self) -> Array:
        """At least |x| for each entry of every point of a box, but for rounding: (batch, n)."""
        return np.asarray(np.abs(self.base) + self._half)

    @cached_property
    def _half(self) -> Array:
        half = np.maximum(self.high - self.base, self.base - self.low)
        return np.where(half > 0, np.nextafter(half, np.inf), 0.0)

    def at_base(self, rows: Array, box: Places) -> Array:
        """row·base for each row (R, n) in its `box` (R,), up to rounding."""
        return np.asarray(np.einsum("rn,rn->r", rows, self.base[box]))

    def falls(self, rows: Array, box: Places) -> Array:
        """How far each row (R, n) falls below its value at the base within its part, or slightly more: (R,)."""
        summed = SUMMED * (rows.shape[1] + SPARE_OPERATIONS)
        if self._is_box:
            return np.asarray(np.einsum("rn,rn->r", np.abs(rows), self._half[box]) * (1.0 + summed))
        fallen = np.zeros(len(rows))
        for place in np.unique(box):
            on, ball = box == place, self._balls[place]
            fallen[on] = ball.geometry.falls(rows[on], ball.radius)
            fallen[on] += summed * ball.radius * ball.geometry.dual_norm(rows[on])
        return fallen

    def falls_of_all(self, rows: Array) -> Array:
        """`falls` of the same number of rows in each box, (batch, R, n), or of rows that all share, (1, R, n): (batch,
        R). In boxes without the charge for rounding, which is the caller's there."""
        if self._is_box:
            return np.asarray((np.abs(rows) @ self._half[:, :, np.newaxis])[:, :, 0])
        count, shape = len(self.low), (len(self.low), *rows.shape[1:])
        flat = np.broadcast_to(rows, shape).reshape(-1, shape[2])
        return self.falls(flat, np.repeat(np.arange(count), shape[1])).reshape(shape[:2])

    def deepest(self, rows: Array) -> Array:
        """Where one row (batch, n) of each box is least in its part, up to rounding: (batch, n)."""
        if self._is_box:
            return np.where(rows > 0, self.low, np.where(rows < 0, self.high, self.base))
        return np.stack([ball.geometry.farthest(row, ball.radius) for row, ball in zip(rows, self._balls, strict=True)])

    def weighted(self, constants: Array, rows: Array) -> tuple[Array, Array]:
        """One more form of each box, from constants (batch, m) and rows (batch, m, n): (constants (batch,), rows
        (batch, n)) of Σ λ_k·form_k, with weights λ in the simplex for which its least value in the box is large.

        Where every form is ≤ 0 this one is, whatever the weights: they are sought by an exponentiated gradient, and the
        rounding of the sums is charged. Forms that are no numbers have no weight; the constant is −inf without others.
        """
        usable = np.isfinite(constants) & np.all(np.isfinite(rows), axis=2)
        constants, rows = np.where(usable, constants, 0.0), np.where(usable[..., np.newaxis], rows, 0.0)
        half, barred = self._half, np.where(usable, 0.0, -np.inf)
        barred[~usable.any(axis=1)] = 0.0
        best, found = np.full(len(rows), -np.inf), np.zeros_like(constants)
        logits = np.zeros_like(constants)
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(WEIGHINGS):
                weights = np.exp(logits + barred - (logits + barred).max(axis=1, keepdims=True))
                weights /= weights.sum(axis=1, keepdims=True)
                row = np.einsum("bm,bmn->bn", weights, rows)
                value = (weights * constants).sum(axis=1) - (np.abs(row) * half).sum(axis=1)
                better = value > best
                best, found = np.where(better, value, best), np.where(better[:, np.newaxis], weights, found)
                # What each form is where the weighted one is least.
                forms = constants - np.einsum("bmn,bn->bm", rows, np.sign(row) * half)
                spread = np.ptp(forms, axis=1, keepdims=True)
                logits += WEIGHT_STEP / np.sqrt(1.0 + step) * forms / np.where(spread > 0, spread, 1.0)
            row = np.einsum("bm,bmn->bn", found, rows)
            size = (found * (np.abs(constants) + np.einsum("bmn,bn->bm", np.abs(rows), half))).sum(axis=1)
            summed = SUMMED * (constants.shape[1] + SPARE_OPERATIONS)
            constant = down((found * constants).sum(axis=1), summed * size)
        return np.where(usable.any(axis=1), constant, -np.inf), row

    def clipped(self, constants: Array, rows: Array, rounds: int) -> tuple[Array, Array]:
        """low, high (batch, n) cut down to where every form constants + row·(x − base) may still be ≤ 0: constants
        (batch, m), rows (batch, m, n). Where they cross, nothing is left.

        In a box the form is at least its least value v, and at least v + |g_i|·|x_i − e_i|, e_i the end at which x_i
        makes it least: |x_i − e_i| ≤ −v / |g_i| (domain clipping, Zhou et al. 2025). All rounding is charged.
        """
        low, high = self.low, self.high
        summed = SUMMED * (low.shape[1] + SPARE_OPERATIONS)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for _ in range(rounds):
                for constant, row in zip(constants.T, np.swapaxes(rows, 0, 1), strict=True):
                    terms = row * np.where(row > 0, low - self.base, high - self.base)
                    size = np.abs(terms).sum(axis=1) + np.abs(constant)
                    spare = (summed * size - (constant + terms.sum(axis=1)))[:, np.newaxis]
                    width = spare / np.abs(row) * (1.0 + CUT_SLACK)
                    top, bottom = np.nextafter(low + width, np.inf), np.nextafter(high - width, -np.inf)
                    # What is not a number cuts nothing off.
                    low, high = (
                        np.where(row < 0, np.fmax(low, bottom), low),
                        np.where(row > 0, np.fmin(high, top), high),
                    )
        return low, high
