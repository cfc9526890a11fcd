"""The triangle relaxation of a query as one LP in HiGHS, kept warm from node to node of a search tree.

Variables: a, p ≥ 0 with z = a − p for each ReLU whose sign the root leaves open (a alone where it is active), s, and
moves t ≥ 0 of input entries. Minimise s subject to −(C·z_out + d) ≤ s, a − p = B·h + c, a/u + p/|l| ≤ 1. In a box x is
its lower corner plus t; where moves are split x = x0 ± t with Σ t ≤ r, and only some entries may move at first (`add`
lets more). A node changes bounds of a and p and coefficients of triangles, `set_radius` the ball. What the LP says is
taken as multipliers and as a point, never as an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.formulations.highs import run, simplex
from encoders.lazy import Lazy
from encoders.network.graph import Array
from verifier.bounds.lagrangian import Dual
from verifier.problem.budget import Budget
from verifier.solvers.node_constants import FARTHER
from verifier.solvers.tree.lp_layout import TINY_END, Layout
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.relaxation import Solved

if TYPE_CHECKING:
    import highspy
else:
    highspy = Lazy("highspy")

SLICE = 0.2
"""Seconds after which an LP is interrupted to look at the budget: Ctrl-C is noticed that fast."""

LOOSE = 0.98
"""A triangle is written anew when one of its ends has shrunk by more: smaller moves cost more than they bring."""

NEW_COLUMNS = 12
"""Input columns added to an LP at a time, where moves are split."""


class NodeLp:
    """One LP over the root's bounds (relu_count,); `solve` moves it to a node's bounds first.

    moves: (entry, sign) of each input column that the LP begins with, steepest first (where moves are split; else all).
    HiGHS's feasibility tolerances are the root's. Raises OutOfTimeError from `solve` when the budget ends.
    """

    def __init__(self, root: TreeRoot, moves: list[tuple[int, int]]) -> None:
        lower, upper = root.lower, root.upper
        self._layout = Layout(root.stages, root.ball, root.goal, lower, upper)
        self._open = self._layout.opened
        self._lower, self._upper = lower.copy(), upper.copy()
        self._root_lower, self._root_upper = lower, upper
        self._tri_lower, self._tri_upper = lower.copy(), upper.copy()
        self._highs = simplex(root.tolerance)
        self._refused = self._highs.passModel(self._layout.lp()) == highspy.HighsStatus.kError
        """True for coefficients that HiGHS does not take: nothing is solved then."""
        self.moves: list[tuple[int, int]] = []
        self.present = np.zeros((2, root.stages.input_size), dtype=bool)
        """present[0 or 1, i]: whether entry i may move up, down."""
        self._steps: list[Array] = []
        """Of round balls: the steps whose shares the input moves by."""
        if self._layout.round:
            for step in self._layout.first_steps():
                self._add_step(step)
        else:
            for entry, sign in moves if self._layout.split else self._layout.every_move():
                self.add(entry, sign)
        self.solved = self.pivots = 0

    def basis(self) -> Any:
        """The current basis, to be given back to `solve`."""
        return self._highs.getBasis()

    def _input(self, columns: Array) -> Array:
        """The x (n,) of a solution."""
        layout = self._layout
        if layout.round:
            shares = columns[layout.first_move : layout.first_move + len(self._steps)]
            return np.clip(layout.base + shares @ np.array(self._steps), layout.ball.lo, layout.ball.hi)
        entries, signs = np.array(self.moves, dtype=np.intp).reshape(-1, 2).T
        x = layout.base.copy()
        np.add.at(x, entries, signs * columns[layout.first_move : layout.first_move + entries.size])
        return np.clip(x, layout.ball.lo, layout.ball.hi)

    def set_radius(self, radius: float) -> None:
        """Move the ball's surface; the bounds of the ReLUs stay, so that it may only shrink below the root's."""
        layout, highs = self._layout, self._highs
        if radius == layout.ball.radius:
            return
        layout.set_radius(radius)
        if layout.split:
            highs.changeRowBounds(int(layout.goal_rows[-1]) + 1, -highspy.kHighsInf, radius)
            return
        count = len(self.moves)
        entries = [entry for entry, _ in self.moves]
        columns = np.arange(layout.first_move, layout.first_move + count, dtype=np.int32)
        highs.changeColsBounds(count, columns, np.zeros(count), layout.widths[entries])
        # Not all at once: before 1.13, highspy has no function for that.
        for row, low, high in zip(*(ends.tolist() for ends in layout.row_ends()), strict=True):
            highs.changeRowBounds(row, low, high)

    def _violation(self, columns: Array) -> Array:
        """How far the relaxed point lies off each ReLU's graph, min(a, p): (relu_count,)."""
        result = np.zeros(self._lower.size)
        layout = self._layout
        result[self._open] = np.minimum(columns[layout.a_columns[self._open]], columns[layout.p_columns[self._open]])
        return result

    def solve(self, lower: Array, upper: Array, budget: Budget, basis: Any = None) -> Solved:
        """Move to a node's bounds and solve from `basis`, or from where the last solve ended."""
        if self._refused:
            budget.check()
            return Solved(False, np.zeros(0), np.zeros(0), None, np.zeros(0), np.zeros(0))
        self._move(lower, upper)
        if basis is not None:
            self._highs.setBasis(basis)
        status = self._run(budget)
        self.solved += 1
        self.pivots += self._highs.getInfo().simplex_iteration_count
        return self._answer(status)

    def add(self, entry: int, sign: int) -> None:
        """Let an input entry move up (sign 1) or down (−1) from its base."""
        width, rows, values = self._layout.move(entry, sign)
        added = self._highs.addCol(0.0, 0.0, width, rows.size, rows, values)
        self._refused |= added == highspy.HighsStatus.kError
        self.moves.append((entry, sign))
        self.present[0 if sign > 0 else 1, entry] = True

    def price(self, dual: Dual, radius: float) -> bool:
        """Add the absent input columns that would lower the LP most at the dual's prices; False when there is none."""
        if self._layout.round:
            return self._price_step(dual, radius)
        if not self._layout.split:
            return False
        falling = dual.row > 0
        present = np.where(falling, self.present[1], self.present[0])
        gains = np.where(present, 0.0, dual.geometry.gains(dual.row, radius, present))
        chosen = [int(i) for i in np.argsort(-gains)[:NEW_COLUMNS] if gains[i] > 0]
        for entry in chosen:
            self.add(entry, -1 if falling[entry] else 1)
        return bool(chosen)

    def _add_step(self, step: Array) -> None:
        """Let the input move along a step (n,) of a round ball of radius 1."""
        rows, values = self._layout.share(step)
        added = self._highs.addCol(0.0, 0.0, highspy.kHighsInf, rows.size, rows, values)
        self._refused |= added == highspy.HighsStatus.kError
        self._steps.append(step)

    def _price_step(self, dual: Dual, radius: float) -> bool:
        """Add the step of a round ball at which the dual's row is least, where that falls farther than all others."""
        step = self._layout.unit_steps(dual.row[np.newaxis])[0]
        known = max((-float(other @ dual.row) for other in self._steps), default=0.0)
        fallen = -float(step @ dual.row)
        if not fallen > known + FARTHER * abs(fallen) or radius <= 0:
            return False
        self._add_step(step)
        return True

    def _move(self, lower: Array, upper: Array) -> None:
        layout, opened = self._layout, self._open
        changed = opened[(lower[opened] != self._lower[opened]) | (upper[opened] != self._upper[opened])]
        if changed.size == 0:
            return
        low, high = lower[changed], upper[changed]
        columns = np.concatenate([layout.a_columns[changed], layout.p_columns[changed]]).astype(np.int32)
        least = np.maximum(np.concatenate([low, -high]), 0.0)
        most = np.maximum(np.concatenate([high, -low]), least)
        self._highs.changeColsBounds(columns.size, columns, least, most)
        self._lower[changed], self._upper[changed] = low, high
        self._move_triangles(changed, low, high)

    def _move_triangles(self, changed: Array, low: Array, high: Array) -> None:
        """Write the triangles anew that cut off what the node allows, or that have become much too wide for it."""
        # A ReLU with a fixed sign needs its triangle only to be harmless.
        wide, deep = np.maximum(high, TINY_END), np.minimum(low, -TINY_END)
        top, bottom = self._tri_upper[changed], self._tri_lower[changed]
        cuts = (wide > top) | (deep < bottom)
        loose = (low < 0) & (high > 0) & ((wide < LOOSE * top) | (deep > LOOSE * bottom))
        for place in np.flatnonzero(cuts | loose).tolist():
            j, upper, lower = int(changed[place]), float(wide[place]), float(deep[place])
            if cuts[place] and not low[place] < 0 < high[place]:
                upper, lower = float(self._root_upper[j]), float(self._root_lower[j])
            row = int(self._layout.triangle_rows[j])
            self._highs.changeCoeff(row, int(self._layout.a_columns[j]), 1.0 / upper)
            self._highs.changeCoeff(row, int(self._layout.p_columns[j]), -1.0 / lower)
            self._tri_lower[j], self._tri_upper[j] = lower, upper

    def _run(self, budget: Budget) -> Any:
        highs = self._highs
        while True:
            budget.check()
            # HiGHS counts its time limit over all runs of one object.
            highs.setOptionValue("time_limit", highs.getRunTime() + max(min(SLICE, budget.remaining), 1e-3))
            status = run(highs)
            if status != highspy.HighsModelStatus.kTimeLimit:
                return status

    def _answer(self, status: Any) -> Solved:
        layout, highs = self._layout, self._highs
        nothing = np.zeros(0)
        if status == highspy.HighsModelStatus.kOptimal:
            solution = highs.getSolution()
            columns = np.array(solution.col_value)
            weights, nu = layout.multipliers(np.array(solution.row_dual))
            optimum = float(columns[layout.s_column])
            return Solved(True, weights, nu, optimum, self._input(columns), self._violation(columns))
        if status == highspy.HighsModelStatus.kInfeasible:
            _, exists, ray = highs.getDualRay()
            if exists:
                weights, nu = layout.multipliers(np.array(ray))
                return Solved(True, weights, nu, None, nothing, nothing)
        highs.clearSolver()
        return Solved(False, nothing, nothing, None, nothing, nothing)
