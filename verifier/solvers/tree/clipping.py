"""The box of the input that a node of an LP tree holds of, where inputs are few.

Bounds of the first stage's arguments, splits among them, are linear forms of the input, and so is what a node's
multipliers leave to points that reach the goal: each cuts a box down, coordinate by coordinate (`BoxPart.clipped`).
Where the box has shrunk, CROWN over it tightens every open argument before the node's LP. With many inputs a single
form hardly cuts, since the others of its entries may make up for any one.
"""

from __future__ import annotations

import math

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.box_part import BoxPart
from verifier.bounds.half_space import HalfSpace
from verifier.bounds.lagrangian import Dual, Lagrangian
from verifier.bounds.stage_crown import StageBounds
from verifier.problem.query import Ball
from verifier.problem.rounding import SPARE_OPERATIONS, SUMMED, UNIT
from verifier.solvers.node_constants import SHRUNK

FEW_INPUTS = 16
"""Entries of the input that may move, up to which nodes have boxes: with 30 of them (safenlp) nothing was gained."""


class Clipping:
    """Cuts down boxes (2, n) of nodes below a root."""

    def __init__(self, lagrangian: Lagrangian) -> None:
        self._lagrangian, stages = lagrangian, lagrangian.stages
        first = stages.stages[0]
        block = first.blocks.get(0) if stages.hidden else None
        rows = np.zeros((0, stages.input_size)) if block is None else block.matrix
        rows = rows if isinstance(rows, np.ndarray) else rows.toarray()
        self._rows, self._count = np.vstack([rows, -rows])[np.newaxis], len(rows)
        constant = first.constant[: self._count]
        self._constant = np.concatenate([constant, -constant])
        charge = lagrangian.rate * lagrangian.sizes[0][: self._count] + lagrangian.slack
        self._charge = np.tile(charge, 2)

    def contracted(self, box: Array, lower: Array, upper: Array) -> tuple[Array, Array, Array] | None:
        """The box, cut down by the bounds of the first stage, and the node's bounds, tightened over it; None: nothing
        of the node is left. Where the box hardly shrinks all are as they were."""
        part = _part(box)
        ends = np.concatenate([upper[: self._count], -lower[: self._count]])
        values = self._constant + self._rows[0] @ part.base[0]
        constants = values - ends - self._charge - 2.0 * UNIT * (np.abs(values) + np.abs(ends))
        cut = np.concatenate(part.clipped(constants[np.newaxis], self._rows, 1))
        if np.any(cut[0] > cut[1]):
            return None
        if not shrunk(cut, box):
            return box, lower, upper
        own = self.within(cut)
        everywhere, anywhere = np.ones(lower.size, dtype=bool), HalfSpace(np.zeros(cut.shape[1]), math.inf)
        lower, upper = StageBounds(own.stages, own, own.ball.radius).tighten(lower, upper, everywhere, anywhere)
        return None if np.any(lower > upper) else (cut, lower, upper)

    def cut(self, box: Array, dual: Dual) -> Array | None:
        """The box cut down to where this evaluation lets points reach the goal; None: nowhere."""
        part = _part(box)
        summed = SUMMED * (dual.row.size + SPARE_OPERATIONS)
        shift = dual.row * (part.base[0] - self._lagrangian.ball.centre)
        constant = dual.constant + shift.sum() - summed * (np.abs(shift).sum() + abs(dual.constant))
        cut = np.concatenate(part.clipped(np.array([[constant]]), dual.row[np.newaxis, np.newaxis], 1))
        return None if np.any(cut[0] > cut[1]) else cut

    def within(self, box: Array) -> Lagrangian:
        """The Lagrangian over a box in place of its ball, with the same charges."""
        return self._lagrangian.within(_part(box).ball(0))


def shrunk(cut: Array, box: Array) -> bool:
    """Has a box (2, n), of which `cut` is what is left, shrunk enough for CROWN over it?"""
    wide = box[1] > box[0]
    return bool(np.prod((cut[1] - cut[0])[wide] / (box[1] - box[0])[wide]) <= SHRUNK)


def has_boxes(ball: Ball) -> bool:
    """Do nodes of a tree about this ball have boxes?"""
    low, high = ball.interval
    return ball.geometry.is_box and int(np.count_nonzero(low < high)) <= FEW_INPUTS


def box_of(ball: Ball, radius: float, box: Array | None) -> Array:
    """A node's box (2, n) at this radius of the ball, from what its parent left it, if anything; they may cross."""
    low, high = ball.geometry.interval_at(radius)
    return np.stack([low, high] if box is None else [np.maximum(low, box[0]), np.minimum(high, box[1])])


def _part(box: Array) -> BoxPart:
    ball = Ball.of_box(box[0], box[1])
    return BoxPart(ball, ball.reach, box[:1], box[1:])
