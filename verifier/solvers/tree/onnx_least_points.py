"""Where linear forms are least in a ball, for a batch, as ONNX nodes: `Geometry.least_of_batch`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoders.network.norm import Norm
from verifier.bounds.alpha_beta_crown import SMALL, TINY
from verifier.problem.norms.l2 import ROUNDS
from verifier.problem.query import Ball
from verifier.runtime.step_model import StepBuilder

WHOLE = np.float32(1e30)
"""The scale of a move that no room stops: infinity times a slope of 0 would be no number."""


@dataclass(frozen=True)
class BallInputs:
    """The inputs of a step that say what the ball is: rows (1, n) by name, and in L1 and L2 its `radius` (1, 1)."""

    norm: Norm
    rows: dict[str, str]


def of_ball(ball: Ball) -> dict[str, npt.ArrayLike]:
    """The values of `BallInputs`'s inputs."""
    if ball.norm is Norm.LINF:
        return {name: end[np.newaxis] for name, end in zip(("low", "high"), ball.interval, strict=True)}
    down, up = (np.minimum(side, ball.radius)[np.newaxis] for side in (ball.geometry.room.down, ball.geometry.room.up))
    return {"down": down, "up": up, "centre": ball.centre[np.newaxis], "radius": [[ball.radius]]}


def given_region(builder: StepBuilder, norm: Norm) -> BallInputs:
    """Make these inputs the builder's."""
    sides = ("low", "high") if norm is Norm.LINF else ("down", "up", "centre")
    rows = {name: builder.given(name, 1, builder.graph.input_size) for name in sides}
    return BallInputs(norm, rows if norm is Norm.LINF else {**rows, "radius": builder.given("radius", 1, 1)})


def least_points(builder: StepBuilder, region: BallInputs, row: str) -> str:
    """The points (batch, n) where forms (batch, n) are least."""
    op, rows = builder.op, region.rows
    falls = op("Greater", row, builder.constant(0.0))
    if region.norm is Norm.LINF:
        return op("Where", falls, rows["low"], rows["high"])
    steep, room = op("Abs", row), op("Where", falls, rows["down"], rows["up"])
    move = _steepest_first if region.norm is Norm.L1 else _in_proportion
    moves = move(builder, rows["radius"], steep, room)
    return op("Sub", rows["centre"], op("Mul", op("Sign", row), moves))


def _steepest_first(builder: StepBuilder, radius: str, steep: str, room: str) -> str:
    """In L1: each as far as it has room, until the radius is used up."""
    op = builder.op
    _, places = builder.largest(steep, builder.graph.input_size)
    width = op("GatherElements", room, places, axis=1)
    before = op("CumSum", width, builder.integers(1), exclusive=1)
    left = op("Max", op("Sub", radius, before), builder.constant(0.0))
    nothing = op("Mul", room, builder.constant(0.0))
    return op("ScatterElements", nothing, places, op("Min", left, width), axis=1)


def _in_proportion(builder: StepBuilder, radius: str, steep: str, room: str) -> str:
    """In L2: `norms.l2.scales`, in units of the steepest entry and of the radius."""
    op, one, nothing, small = builder.op, *(builder.constant(value) for value in (1.0, 0.0, SMALL))
    slopes = op("Div", steep, op("Max", builder.row_max(steep), small))
    rooms = op("Min", op("Div", room, radius), builder.constant(2.0))
    squares, filled = op("Mul", slopes, slopes), op("Mul", rooms, rooms)
    scale = op("Div", one, op("Max", op("Sqrt", builder.row_sum(squares)), builder.constant(TINY)))
    held = builder.mask(op("Less", rooms, op("Mul", scale, slopes)))
    for _ in range(ROUNDS):
        spent = builder.row_sum(op("Mul", held, filled))
        free = builder.row_sum(op("Mul", op("Sub", one, held), squares))
        quotient = op("Div", op("Max", op("Sub", one, spent), nothing), op("Max", free, small))
        scale = op("Where", op("Greater", free, nothing), op("Sqrt", quotient), builder.constant(WHOLE))
        held = op("Max", held, builder.mask(op("Less", rooms, op("Mul", scale, slopes))))
    return op("Min", op("Mul", op("Mul", scale, slopes), radius), room)
