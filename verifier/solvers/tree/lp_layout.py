"""Where each variable and row of the triangle relaxation stands, and the coefficients: shared by both LP solvers.

Columns: a of each ReLU that the root does not prove inactive, p of each whose sign is open, s, then moves of input
entries. Rows: a − p = B·h + c, then a/u + p/|l| ≤ 1, then s + C·z + d ≥ 0, then Σ t ≤ r where moves are split.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.lazy import Lazy
from encoders.network.graph import Array
from verifier.problem.query import Ball, Halfspaces

if TYPE_CHECKING:
    import highspy
    import scipy.sparse as sp
else:
    highspy = Lazy("highspy")
    sp = Lazy("scipy.sparse")

TINY_END = 1e-9
"""Ends of a triangle nearer to 0 than this are written as this: their reciprocals are coefficients."""


class Layout:
    """The relaxation of one goal over the root's bounds `lower`, `upper` (relu_count,)."""

    def __init__(self, stages: Stages, ball: Ball, goal: Halfspaces, lower: Array, upper: Array) -> None:
        self.stages, self.ball, self.goal = stages, ball, goal
        self.lower, self.upper = lower, upper
        self.round = ball.geometry.is_euclidean
        """Is the ball that of a few steps' hull, which moves are shares of? It lies within the true one."""
        self.split = self.round or ball.geometry.split_moves
        """Do entries move up and down apart, from the centre? Else upwards from the ball's lower corner."""
        self.kept = np.flatnonzero(upper > 0)
        self.opened = np.flatnonzero((lower < 0) & (upper > 0))
        kept, opened, count = self.kept.size, self.opened.size, stages.relu_count
        self.a_columns = _numbered(self.kept, count, 0)
        self.p_columns = _numbered(self.opened, count, kept)
        self.s_column = kept + opened
        self.first_move = self.s_column + 1
        self.triangle_rows = _numbered(self.opened, count, kept)
        self.goal_rows = kept + opened + np.arange(len(goal.offset))
        self.inputs, self.hidden, self.offsets = self._forms()
        self.set_radius(ball.radius)

    def set_radius(self, radius: float) -> None:
        """Where inputs rest, how far each may move up, and the constants that follow."""
        self.ball = self.ball.with_radius(radius)
        low, high = self.ball.interval
        self.base = self.ball.centre if self.split else low
        self.widths = np.maximum(high - low, 0.0)
        self.constants = self.offsets + self.inputs @ self.base

    def every_move(self) -> list[tuple[int, int]]:
        """All entries that a row reads and that can move, upwards."""
        return [(int(entry), 1) for entry in np.flatnonzero((self.widths > 0) & np.any(self.inputs != 0, axis=0))]

    def multipliers(self, duals: Array) -> tuple[Array, Array]:
        """(λ, ν) from row duals: L = s + Σ y·(end − row), so that ν_j is the dual of a − p − B·h = c."""
        nu = np.zeros(self.stages.relu_count)
        nu[self.kept] = duals[: self.kept.size]
        return np.maximum(duals[self.goal_rows], 0.0), nu

    def move(self, entry: int, sign: int) -> tuple[float, Array, Array]:
        """(width, rows, values) of the column that moves one input entry."""
        column = self.inputs[:, entry]
        rows = np.flatnonzero(column)
        values = -sign * column[rows]
        rows = np.where(rows < self.kept.size, rows, rows + self.opened.size)
        if not self.split:
            return float(self.widths[entry]), rows.astype(np.int32), values
        end = self.ball.hi[entry] if sign > 0 else self.ball.lo[entry]
        width = sign * (end - self.base[entry])
        return float(max(0.0, width)), np.append(rows, self.goal_rows[-1] + 1).astype(np.int32), np.append(values, 1.0)

    def first_steps(self) -> Array:
        """Where a round ball reaches farthest along each row that reads the input, and against it: (count, n), of a
        ball of radius 1."""
        rows = self.inputs[np.any(self.inputs != 0, axis=1)]
        return self.unit_steps(np.vstack([rows, -rows]))

    def unit_steps(self, rows: Array) -> Array:
        """The steps at which rows (R, n) are least in the ball, as shares of its radius: (R, n)."""
        radius = self.ball.radius
        return self.ball.geometry.steps(rows, radius) / radius if radius > 0 else np.zeros_like(rows)

    def share(self, step: Array) -> tuple[npt.NDArray[Any], Array]:
        """(rows, values) of the column that moves the input along a step (n,) of a round ball of radius 1."""
        column = self.inputs @ step
        rows = np.flatnonzero(column)
        values = -column[rows]
        rows = np.where(rows < self.kept.size, rows, rows + self.opened.size)
        return np.append(rows, self.goal_rows[-1] + 1).astype(np.int32), np.append(values, 1.0)

    def row_ends(self) -> tuple[npt.NDArray[Any], Array, Array]:
        """(rows, lower, upper) of the equations and of the goal."""
        kept, infinite = self.kept.size, highspy.kHighsInf
        rows = np.concatenate([np.arange(kept), self.goal_rows]).astype(np.int32)
        low = self.constants
        return rows, low, np.concatenate([low[:kept], np.full(low.size - kept, infinite)])

    def lp(self) -> highspy.HighsLp:
        """The LP without moves."""
        model = highspy.HighsLp()
        kept, opened, infinite = self.kept, self.opened, highspy.kHighsInf
        low, high = self.lower, self.upper
        ball = [self.ball.radius] if self.split else []
        matrix, rows = self.matrix(), self.row_ends()
        model.num_col_, model.num_row_ = matrix.shape[1], matrix.shape[0]
        model.col_cost_ = np.append(np.zeros(self.s_column), 1.0)
        model.col_lower_ = np.concatenate([np.maximum(low[kept], 0.0), np.zeros(opened.size), [-infinite]])
        model.col_upper_ = np.concatenate([high[kept], -low[opened], [infinite]])
        ends = [np.full(matrix.shape[0], -infinite), np.concatenate([np.ones(matrix.shape[0] - len(ball)), ball])]
        for end, values in zip(ends, rows[1:], strict=True):
            end[rows[0]] = values
        model.row_lower_, model.row_upper_ = ends
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = matrix.indptr
        model.a_matrix_.index_ = matrix.indices
        model.a_matrix_.value_ = matrix.data
        return model

    def _forms(self) -> tuple[Array, Any, Array]:
        """Coefficients of the input (dense) and of the kept a (sparse), and constants, of the right sides of the kept
        equations; then the same of the goal's rows, negated: −(C·z + d)."""
        stages, kept = self.stages, self.kept
        starts, matrix = stages.starts, self.goal.matrix
        place = sp.csr_array((np.ones(kept.size), (kept, np.arange(kept.size))), shape=(stages.relu_count, kept.size))
        inputs, hidden, constants = [], [], []
        for number, stage in enumerate(stages.stages, start=1):
            from_input = np.zeros((stage.size, stages.input_size))
            from_hidden = sp.csr_array((stage.size, kept.size))
            for source, block in stage.blocks.items():
                if source == 0:
                    from_input = block.matrix if isinstance(block.matrix, np.ndarray) else block.matrix.toarray()
                else:
                    from_hidden = from_hidden + sp.csr_array(block.matrix) @ place[starts[source - 1] : starts[source]]
            if number == len(stages.stages):
                inputs.append(-(matrix @ from_input))
                hidden.append(-(sp.csr_array(matrix) @ from_hidden))
                constants.append(-(matrix @ stage.constant + self.goal.offset))
            else:
                chosen = kept[(kept >= starts[number - 1]) & (kept < starts[number])] - starts[number - 1]
                inputs.append(from_input[chosen])
                hidden.append(sp.csr_array(from_hidden)[chosen])
                constants.append(stage.constant[chosen])
        return np.vstack(inputs), sp.vstack(hidden, format="csr"), np.concatenate(constants)

    def matrix(self) -> Any:
        kept, opened, goal = self.kept.size, self.opened.size, len(self.goal.offset)
        hidden, order = self.hidden, np.arange(opened)
        places = self.a_columns[self.opened]
        minus = sp.csr_array((-np.ones(opened), (places, order)), shape=(kept, opened))
        equations = [sp.eye_array(kept) - hidden[:kept], minus, sp.csr_array((kept, 1))]
        above = sp.csr_array(
            (1.0 / np.maximum(self.upper[self.opened], TINY_END), (order, places)), shape=(opened, kept)
        )
        below = sp.csr_array(
            (-1.0 / np.minimum(self.lower[self.opened], -TINY_END), (order, order)), shape=(opened, opened)
        )
        triangles = [above, below, sp.csr_array((opened, 1))]
        # Hidden rows of the goal are negated already: s − (−C·z) = s + C·z ≥ −d.
        goals = [-hidden[kept:], sp.csr_array((goal, opened)), sp.csr_array(np.ones((goal, 1)))]
        rows = [sp.hstack(parts, format="csr") for parts in (equations, triangles, goals)]
        if self.split:
            rows.append(sp.csr_array((1, self.first_move)))
        return sp.vstack(rows, format="csr")


def _numbered(places: npt.NDArray[Any], size: int, start: int) -> npt.NDArray[Any]:
    """start, start + 1, … at `places` of an integer vector; −1 elsewhere."""
    result = np.full(size, -1)
    result[places] = start + np.arange(places.size)
    return result
