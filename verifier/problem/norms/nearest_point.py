"""The nearest point of a polyhedron and a box in L2, and the multipliers that say so: a convex program by its dual.

    min {½‖δ‖₂² : rows·δ ≤ limits, low ≤ δ ≤ high}  =  max {½‖δ(λ)‖₂² + λ·(rows·δ(λ) − limits) : λ ≥ 0},

δ(λ) = the step of the box nearest to −rowsᵀλ. The dual is smooth: L-BFGS-B climbs it (Byrd, Lu, Nocedal & Zhu 1995),
then Newton's method on the rows that hold with equality makes it sharp. Nothing is proved here: points are judged, and
multipliers evaluated, by others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from encoders.network.graph import Array
from verifier.problem.budget import Budget

ITERATIONS = 1_000
"""Steps of L-BFGS-B: tens are usual, hundreds where many rows meet in one point."""

MEMORY = 20
"""Pairs that it keeps: rows that meet have a dual with a few hundred curvatures."""

NEWTON_STEPS = 20
"""Rounds of Newton's method, each with the rows that the one before has left."""

HELD = 1_500
"""Rows beyond which Newton's method is left out: their least squares take longer than time is to be looked at."""

SHARP = 1e-11
"""Relative: a row missed by less than this holds."""

MISSED = 1e-6
"""Relative: a row missed by more than this after all steps is not met: the point is none of the polyhedron."""


class _TooFar(Exception):  # noqa: N818, it ends a search and is no error
    """The dual has said that the polyhedron holds nothing near enough."""


@dataclass(frozen=True, eq=False)
class NearestPoint:
    """step: δ (n,), None where every point is farther than was asked; multipliers: λ (m,) ≥ 0 of the rows, whose dual
    value says how far points are at least, as floats see it."""

    step: Array | None
    multipliers: Array


def nearest_point(
    rows: Array, limits: Array, box: tuple[Array, Array], budget: Budget, most: float = math.inf
) -> NearestPoint:
    """The step δ of least ‖δ‖₂ with rows·δ ≤ limits within the box (low, high), each (n,), low ≤ 0 ≤ high.

    rows (m, n). most: steps that are longer do not matter. Raises OutOfTimeError.
    """
    from scipy.optimize import minimize  # noqa: PLC0415, slow to import, and only L2 needs it

    sizes = np.sqrt(np.einsum("mn,mn->m", rows, rows))
    usable = sizes > 0
    unit = np.where(usable, sizes, 1.0)
    scaled, ends = rows / unit[:, np.newaxis], limits / unit
    if np.any(ends[~usable] < 0):
        return NearestPoint(None, np.where(~usable & (ends < 0), 1.0, 0.0))
    if len(rows) == 0:
        return NearestPoint(np.clip(np.zeros(rows.shape[1]), *box), np.zeros(0))
    dual = _Dual(scaled, ends, box, budget, 0.5 * most * most)
    start = np.zeros(len(rows))
    try:
        found: Any = minimize(
            dual.falling,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, None)] * len(rows),
            options={"maxiter": ITERATIONS, "maxfun": 2 * ITERATIONS, "maxcor": MEMORY, "ftol": 0.0, "gtol": SHARP},
        )
        multipliers = dual.sharpened(np.maximum(found.x, 0.0))
    except _TooFar:
        return NearestPoint(None, dual.last / unit)
    step = dual.step(multipliers)
    size = float(np.linalg.norm(step)) + float(np.abs(ends).max(initial=0.0))
    reached = float((scaled @ step - ends).max(initial=0.0)) <= MISSED * size
    return NearestPoint(step if reached else None, multipliers / unit)


class _Dual:
    """The dual for rows of length 1. far: its value beyond which steps do not matter."""

    def __init__(self, rows: Array, limits: Array, box: tuple[Array, Array], budget: Budget, far: float) -> None:
        self.rows, self.limits, self.box, self.budget, self.far = rows, limits, box, budget, far
        self.last = np.zeros(len(rows))

    def step(self, multipliers: Array) -> Array:
        return np.asarray(np.clip(-(multipliers @ self.rows), *self.box))

    def falling(self, multipliers: Array) -> tuple[float, Array]:
        """Minus the dual's value, and minus its gradient. Raises OutOfTimeError, _TooFar."""
        self.budget.check()
        self.last = np.maximum(multipliers, 0.0)
        step = self.step(multipliers)
        missed = self.rows @ step - self.limits
        value = 0.5 * float(step @ step) + float(multipliers @ missed)
        if value > self.far:
            raise _TooFar
        return -value, -missed

    def sharpened(self, multipliers: Array) -> Array:
        """Newton's method on the rows that hold with equality, as long as it brings them nearer to that."""
        best, least = multipliers, self._lack(multipliers)
        low, high = self.box
        for _ in range(NEWTON_STEPS):
            self.budget.check()
            step = self.step(best)
            active = best > 0
            active |= self.rows @ step > self.limits
            if np.count_nonzero(active) > HELD:
                break
            free = (step > low) & (step < high)
            held = self.rows[np.ix_(active, free)]
            change = np.linalg.lstsq(held @ held.T, (self.rows @ step - self.limits)[active], rcond=None)[0]
            moved = best.copy()
            moved[active] = np.maximum(moved[active] + change, 0.0)
            lack = self._lack(moved)
            if not lack < least:
                break
            best, least = moved, lack
        return best

    def _lack(self, multipliers: Array) -> float:
        """By how much the optimality conditions are missed: rows, and rows with multipliers that are slack."""
        missed = self.rows @ self.step(multipliers) - self.limits
        return float(np.where(multipliers > 0, np.abs(missed), np.maximum(missed, 0.0)).max(initial=0.0))
