"""Rows of a goal that hold everywhere in a ball decide nothing, and blind a search tree that keeps them.

A tree bounds the goal's smallest row, and splits where its multipliers say that the bound loses most. Where a row is 0
throughout (two classes with the same logit), the smallest row is never above 0, all weight may rest on that row, whose
bound loses nothing anywhere, and the tree splits at random: a net of 63 ReLUs, decided in 31 nodes by the row that
matters, was open after 20,000.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.lagrangian import Lagrangian
from verifier.problem.query import Ball, Halfspaces

ROUNDING = 2.0
"""A row that is proved to be at least −ROUNDING times what its bound was charged for rounding counts as one that holds:
duplicate logits differ by nothing, and are proved to differ by no more than their charge."""


def deciding_rows(stages: Stages, ball: Ball, goal: Halfspaces, lower: Array, upper: Array) -> npt.NDArray[np.intp]:
    """The places of the goal's rows that do not hold everywhere in the ball, by CROWN; one of them where all hold.

    lower, upper (relu_count,): bounds that hold in the ball. Whoever excludes the rows that are left has excluded the
    goal; a point that reaches these has yet to be judged by all of them.
    """
    count = len(goal.offset)
    if count == 1:
        return np.arange(1)
    against = Lagrangian(stages, ball, Halfspaces(-goal.matrix, -goal.offset), lower, upper)
    at_centre = goal.matrix @ stages.values(ball.centre)[1][0] + goal.offset
    holds = np.zeros(count, dtype=bool)
    for row in np.flatnonzero(at_centre >= -ROUNDING * against.rate * against.goal_size):
        dual = against.crown(np.eye(count)[row], lower, upper)
        charged = against.rate * (against.charge @ np.abs(dual.nu) + against.goal_size[row]) + against.slack
        holds[row] = dual.value(ball.radius) >= -ROUNDING * charged
    left = np.flatnonzero(~holds)
    return left if left.size else np.arange(1)


def only(goal: Halfspaces, rows: npt.NDArray[np.intp]) -> Halfspaces:
    """The goal with these of its rows."""
    return goal if rows.size == len(goal.offset) else Halfspaces(goal.matrix[rows], goal.offset[rows])
