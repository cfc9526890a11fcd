"""The nearest point that reaches the goal in one linear region, where balls are round: what closes a tree's last nodes.

With every ReLU fixed the network is affine. The multipliers of the nearest point are those of the Lagrangian bound: y_j
of an active ReLU's sign gives β_j = −y_j, of an inactive one's β_j = y_j, those of the goal's rows are its weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.lagrangian import Dual, Lagrangian
from verifier.problem.budget import Budget
from verifier.problem.norms.nearest_point import nearest_point
from verifier.solvers.tree.protocol import TreeRoot


@dataclass(frozen=True, eq=False)
class Projected:
    """point: the nearest one (n,) in floats, None for none; dual: the evaluation of its multipliers, weights (m,) those
    of the goal; pull (relu_count,): those of the phases, ≥ 0."""

    point: Array | None
    dual: Dual
    weights: Array
    pull: Array


def projected(
    root: TreeRoot, lagrangian: Lagrangian, lower: Array, upper: Array, radius: float, budget: Budget
) -> Projected:
    """The nearest point of the ball of this radius in the region where ReLU arguments lie within lower, upper.

    lower, upper (relu_count,) leave no sign open. Raises OutOfTimeError.
    """
    active = lower >= 0
    open_ = np.flatnonzero((root.lower < 0) & (root.upper > 0))
    arguments, starts, goal, offset = _forms(root, active, open_)
    side = np.where(active[open_], -1.0, 1.0)
    rows = np.vstack([side[:, np.newaxis] * arguments, -goal])
    ball = root.ball
    limits = np.concatenate([-side * starts, offset]) - rows @ ball.centre
    found = nearest_point(rows, limits, (ball.lo - ball.centre, ball.hi - ball.centre), budget, radius)
    weights = found.multipliers[open_.size :]
    scale = 1.0 / weights.sum() if weights.sum() > 0 else 1.0
    beta = np.zeros(active.size)
    beta[open_] = scale * side * found.multipliers[: open_.size]
    pull = np.zeros(active.size)
    pull[open_] = found.multipliers[: open_.size]
    columns = (part[:, np.newaxis] for part in (scale * weights, active.astype(np.float64), beta, lower, upper))
    (dual,) = lagrangian.on_lines(*columns)
    return Projected(None if found.step is None else ball.centre + found.step, dual, scale * weights, pull)


def _forms(
    root: TreeRoot, active: npt.NDArray[np.bool_], open_: npt.NDArray[np.intp]
) -> tuple[Array, Array, Array, Array]:
    """Arguments of the ReLUs `open_` as functions of x, matrix and constant, and the goal's rows likewise."""
    stages = root.stages
    matrices, constants = [np.eye(stages.input_size)], [np.zeros(stages.input_size)]
    rows, starts = [np.zeros((0, stages.input_size))], [np.zeros(0)]
    for number, stage in enumerate(stages.stages, 1):
        matrix, constant = np.zeros((stage.size, stages.input_size)), stage.constant
        for source, block in stage.blocks.items():
            matrix, constant = matrix + block.matrix @ matrices[source], constant + block.matrix @ constants[source]
        if number == len(stages.stages):
            goal = root.goal
            return np.vstack(rows), np.concatenate(starts), goal.matrix @ matrix, goal.matrix @ constant + goal.offset
        part = slice(stages.starts[number - 1], stages.starts[number])
        own = open_[(open_ >= part.start) & (open_ < part.stop)] - part.start
        rows.append(matrix[own])
        starts.append(constant[own])
        on = active[part]
        matrices.append(matrix * on[:, np.newaxis])
        constants.append(constant * on)
    raise ValueError("stages end with the output")
