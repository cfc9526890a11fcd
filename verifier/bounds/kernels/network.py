"""A query's network as the arrays that kernels read: one dense matrix over all stages."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from encoders.network.norm import Norm
from verifier.bounds.lagrangian import Lagrangian
from verifier.problem.norms.geometry import Geometry


class Surroundings(NamedTuple):
    """What norms and half-spaces read: `down`, `up`, the room that a box leaves around `centre`; L1, L2, or else L∞."""

    centre: Array
    down: Array
    up: Array
    l1: bool
    l2: bool


def surroundings(geometry: Geometry) -> Surroundings:
    """Those of a ball."""
    room, norm = geometry.room, geometry.norm
    centre, down, up = (np.array(part) for part in (geometry.centre, room.down, room.up))
    return Surroundings(centre, down, up, norm is Norm.L1, norm is Norm.L2)


class CompiledNetwork(NamedTuple):
    """Rows are all ReLU arguments, then the goal's rows C·z + d: value = inputs·x + hidden·h + constant.

    `spans` (rows, 2): the columns of `hidden` that a row reads; `reads`: whether it reads the input. `charge`,
    `sizes`, `goal_size`, `real_charge`, `real_goal_size`, `rate`, `slack`: what rounding is charged with, as in
    `Lagrangian`. `around`: the ball.
    """

    starts: Array
    inputs: Array
    hidden: Array
    spans: Array
    reads: Array
    constant: Array
    charge: Array
    sizes: Array
    goal_size: Array
    real_charge: Array
    real_goal_size: Array
    around: Surroundings
    rate: float
    slack: float


def network(stages: Stages, lagrangian: Lagrangian) -> CompiledNetwork:
    """The arrays of a query whose Lagrangian is at hand."""
    goal = lagrangian.goal
    relus, rows = stages.relu_count, stages.relu_count + len(goal.offset)
    inputs, hidden = np.zeros((rows, stages.input_size)), np.zeros((rows, relus))
    constant = np.zeros(rows)
    starts = stages.starts
    for number, stage in enumerate(stages.stages, start=1):
        last = number == len(stages.stages)
        part = slice(relus, rows) if last else slice(starts[number - 1], starts[number])
        constant[part] = goal.matrix @ stage.constant + goal.offset if last else stage.constant
        for source, block in stage.blocks.items():
            matrix = block.matrix if isinstance(block.matrix, np.ndarray) else block.matrix.toarray()
            matrix = goal.matrix @ matrix if last else matrix
            if source:
                hidden[part, starts[source - 1] : starts[source]] = matrix
            else:
                inputs[part] = matrix
    used = hidden != 0
    spans = np.where(
        used.any(axis=1)[:, np.newaxis],
        np.stack([used.argmax(axis=1), relus - used[:, ::-1].argmax(axis=1)], axis=1) if relus else 0,
        0,
    )
    return CompiledNetwork(
        starts=np.array(starts),
        inputs=inputs,
        hidden=hidden,
        spans=spans.reshape(rows, 2).astype(np.int64),
        reads=np.any(inputs != 0, axis=1),
        constant=constant,
        charge=np.array(lagrangian.charge),
        sizes=np.concatenate([*lagrangian.sizes[:-1], np.zeros(0)]),
        goal_size=np.array(lagrangian.goal_size),
        real_charge=np.array(lagrangian.real_charge),
        real_goal_size=np.array(lagrangian.real_goal_size),
        around=surroundings(lagrangian.geometry),
        rate=lagrangian.rate,
        slack=lagrangian.slack,
    )
