"""The nearest point of a ball's box under a few linear rows, which may become more, as region walks ask for it.

    min {‖x − x0‖ : rows·x ≤ limits, lo ≤ x ≤ hi}

In L1 that is one LP and in L2 one least-squares problem. In L∞ an LP gives by how much the rows are missed within a
radius, v(r) = min {max_i (rows_i·x − limits_i) / ‖rows_i‖_dual : ‖x − x0‖ ≤ r}. v falls and is convex, and the radius
at which the LP's multipliers alone would let it fall to 0 is never too large: from 0 on, the radii rise to the least
one. Nothing is proved here: points are judged by others.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.formulations.highs import run, simplex
from encoders.lazy import Lazy
from encoders.network.graph import Array
from verifier.problem.budget import Budget
from verifier.problem.norms.nearest_point import nearest_point
from verifier.problem.query import Ball

if TYPE_CHECKING:
    import highspy
else:
    highspy = Lazy("highspy")

TOLERANCE = 1e-9
"""Of the LPs. Rows are scaled so that they are missed by a distance, which is to be far below any precision."""

MET = 1e-8
"""A row that is missed by less than this distance is met."""

TANGENTS = 50
"""Radii that are tried: a handful is usual."""

SLICE = 0.2
"""Seconds after which an LP is interrupted to look at the budget."""


@dataclass(frozen=True, eq=False)
class NearestByRows:
    """point: (n,); pull: the rows' multipliers (m,) ≥ 0, in the order in which they were added."""

    point: Array
    pull: Array


class RowSolver(ABC):
    """Rows that are added one after the other, and the nearest point under all of them."""

    def __init__(self, ball: Ball) -> None:
        self.ball = ball
        self._impossible = False
        self._scales: list[Array] = []

    def add(self, rows: Array, limits: Array) -> None:
        """More rows (k, n)·x ≤ limits (k,); a row of zeros is met everywhere, or nowhere."""
        ends = limits - rows @ self.ball.centre
        sizes = self.ball.geometry.dual_norm(rows)
        usable = np.isfinite(sizes) & (sizes > 0)
        self._impossible = self._impossible or not np.all(usable | ((sizes == 0) & (ends >= 0)))
        scales = np.where(usable, sizes, 1.0)
        self._scales.append(scales)
        self._add(rows / scales[:, np.newaxis], ends / scales)

    def nearest(self, most: float, budget: Budget) -> NearestByRows | None:
        """None where rows and box hold nothing within `most`, as floats see it. Raises OutOfTimeError."""
        budget.check()
        found = None if self._impossible else self._nearest(most, budget)
        if found is None:
            return None
        step, pull = found
        ball = self.ball
        return NearestByRows(np.clip(ball.centre + step, ball.lo, ball.hi), pull / np.concatenate(self._scales))

    @abstractmethod
    def _add(self, rows: Array, ends: Array) -> None:
        """rows·δ ≤ ends for steps δ from the centre; rows have the dual length 1."""

    @abstractmethod
    def _nearest(self, most: float, budget: Budget) -> tuple[Array, Array] | None:
        """(δ, multipliers), None for none within `most`."""


def row_solver(ball: Ball) -> RowSolver | None:
    """For the ball's norm; None for one whose balls neither LPs nor least squares know."""
    geometry = ball.geometry
    if geometry.is_euclidean:
        return _OfRound(ball)
    if not geometry.has_flat_sides:
        return None
    return _OfMoves(ball) if geometry.split_moves else _OfBoxes(ball)


class _OfRound(RowSolver):
    """By least squares."""

    def __init__(self, ball: Ball) -> None:
        super().__init__(ball)
        self._rows, self._ends = [np.zeros((0, ball.centre.size))], [np.zeros(0)]

    def _add(self, rows: Array, ends: Array) -> None:
        self._rows.append(rows)
        self._ends.append(ends)

    def _nearest(self, most: float, budget: Budget) -> tuple[Array, Array] | None:
        ball = self.ball
        rows, ends = np.vstack(self._rows), np.concatenate(self._ends)
        found = nearest_point(rows, ends, (ball.lo - ball.centre, ball.hi - ball.centre), budget, most)
        return None if found.step is None else (found.step, found.multipliers)


class _OfLps(RowSolver):
    """By an LP in HiGHS: columns are moves of single entries, with a sign each, and perhaps one more."""

    def __init__(self, ball: Ball) -> None:
        super().__init__(ball)
        self._highs = simplex(TOLERANCE)
        self._count = 0
        self._up, self._down = ball.hi - ball.centre, ball.centre - ball.lo

    def _run(self, budget: Budget) -> Any:
        highs = self._highs
        while True:
            budget.check()
            # HiGHS counts its time limit over all runs of one object.
            highs.setOptionValue("time_limit", highs.getRunTime() + max(min(SLICE, budget.remaining), 1e-3))
            status = run(highs)
            if status != highspy.HighsModelStatus.kTimeLimit:
                return status

    def _enter(self, matrix: Array, ends: Array) -> None:
        """Rows (k, columns)·y ≤ ends."""
        count, columns = matrix.shape
        starts = np.arange(count, dtype=np.int32) * columns
        places = np.tile(np.arange(columns, dtype=np.int32), count)
        least = np.full(count, -math.inf)
        added = self._highs.addRows(count, least, ends, matrix.size, starts, places, np.ravel(matrix))
        self._impossible |= added == highspy.HighsStatus.kError
        self._count += count

    def _solution(self) -> tuple[Array, Array]:
        """(columns, multipliers ≥ 0 of the rows)."""
        solution = self._highs.getSolution()
        return np.array(solution.col_value), np.maximum(-np.array(solution.row_dual), 0.0)


class _OfMoves(_OfLps):
    """Where the length of a step is the sum of its moves: they rise and fall apart, and their sum is least."""

    def __init__(self, ball: Ball) -> None:
        super().__init__(ball)
        self._rises, self._falls = np.flatnonzero(self._up > 0), np.flatnonzero(self._down > 0)
        widths = np.concatenate([self._up[self._rises], self._down[self._falls]])
        self._highs.addVars(widths.size, np.zeros(widths.size), widths)
        self._highs.changeColsCost(widths.size, np.arange(widths.size, dtype=np.int32), np.ones(widths.size))

    def _add(self, rows: Array, ends: Array) -> None:
        self._enter(np.hstack([rows[:, self._rises], -rows[:, self._falls]]), ends)

    def _nearest(self, most: float, budget: Budget) -> tuple[Array, Array] | None:
        if self._run(budget) != highspy.HighsModelStatus.kOptimal:
            return None
        columns, pull = self._solution()
        step = np.zeros(self.ball.centre.size)
        step[self._rises] += columns[: self._rises.size]
        step[self._falls] -= columns[self._rises.size :]
        return (step, pull) if columns.sum() <= most else None


class _OfBoxes(_OfLps):
    """Where a ball is a box: the least that rows are missed by within a radius, which rises to the first one for 0."""

    def __init__(self, ball: Ball) -> None:
        super().__init__(ball)
        self._entries = np.flatnonzero((self._up > 0) | (self._down > 0))
        self._rows, self._ends = [np.zeros((0, ball.centre.size))], [np.zeros(0)]
        self._radius = 0.0
        count = self._entries.size
        self._highs.addVars(count + 1, np.append(np.zeros(count), -math.inf), np.append(np.zeros(count), math.inf))
        self._highs.changeColsCost(1, np.array([count], dtype=np.int32), np.ones(1))

    def _add(self, rows: Array, ends: Array) -> None:
        self._rows.append(rows)
        self._ends.append(ends)
        self._enter(np.hstack([rows[:, self._entries], -np.ones((len(rows), 1))]), ends)

    def _nearest(self, most: float, budget: Budget) -> tuple[Array, Array] | None:
        geometry, count, step = self.ball.geometry, self._entries.size, np.zeros(self.ball.centre.size)
        columns = np.arange(count, dtype=np.int32)
        up, down = self._up[self._entries], self._down[self._entries]
        rows, ends = np.vstack(self._rows), np.concatenate(self._ends)
        for _ in range(TANGENTS):
            self._highs.changeColsBounds(count, columns, -np.minimum(down, self._radius), np.minimum(up, self._radius))
            if self._run(budget) != highspy.HighsModelStatus.kOptimal:
                return None
            values, pull = self._solution()
            if values[count] <= MET:
                step[self._entries] = values[:count]
                return step, pull
            radius = geometry.excluded(pull @ rows, -float(pull @ ends), most)
            if not self._radius < radius < most:
                return None
            self._radius = radius
        return None
