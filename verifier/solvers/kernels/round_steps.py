"""A round ball in the dense simplex: the hull of a few steps, to which those are added at which rows are least.

The hull lies within the ball, so that the LP's optimum may be too high; what its multipliers say is evaluated over the
whole ball. Where that is much less, the step at which the whole ball falls farther joins the hull (column generation;
Dantzig & Wolfe 1960). Steps are shares of the radius: they stay in the ball when it shrinks.
"""

from __future__ import annotations

import math

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.kernels.jit import Integers, compiled, inner
from verifier.bounds.kernels.network import CompiledNetwork
from verifier.bounds.kernels.round_ball import step_of
from verifier.solvers.kernels.simplex_program import Program
from verifier.solvers.node_constants import FARTHER


@inner
def add_step(
    net: CompiledNetwork, program: Program, weights: Array, nu: Array, row: Array, radius: float, basic: Integers
) -> bool:
    """Add the step at which these multipliers' row (n,) is least in the ball, unless the hull falls as far: False.

    Where there is no place left, it takes that of the oldest one that was added and is not basic.
    """
    capacity, relus, kept, rows = program.steps.shape[0], program.relus, program.kept, program.rows
    step, fallen = np.empty(row.size), 0.0
    step_of(row, net.around.down, net.around.up, radius, math.inf, step)
    for i in range(row.size):
        step[i] /= radius
        fallen -= row[i] * step[i]
    falls = np.zeros(capacity)
    for r in range(rows.size):
        value = nu[kept[rows[r]]] if rows[r] < relus else weights[rows[r] - relus]
        for k in range(capacity):
            falls[k] += value * program.moves[r, k]
    if not fallen > max(0.0, falls.max()) + FARTHER * abs(fallen):
        return False
    first = program.filled[1]
    for _ in range(capacity - first):
        place = first + (program.filled[0] - first) % (capacity - first)
        program.filled[0] += 1
        taken = False
        for variable in basic:
            taken = taken or variable == place
        if not taken:
            _put(net, program, place, step, radius)
            return True
    return False


@inner
def _put(net: CompiledNetwork, program: Program, place: int, step: Array, radius: float) -> None:
    """Fill in the column of a step."""
    relus, rows, kept = program.relus, program.rows, program.kept
    program.steps[place] = step
    program.room[place] = radius
    for r in range(rows.size):
        number = kept[rows[r]] if rows[r] < relus else net.charge.size + rows[r] - relus
        total, sign = 0.0, -1.0 if rows[r] < relus else 1.0
        for i in range(step.size):
            total += net.inputs[number, i] * step[i]
        program.moves[r, place] = sign * total
        program.entries[place, r] = sign * total


@compiled
def relaxed_point(program: Program, ends: Array, moved: Array, point: Array) -> None:
    """Fill in the x (n,) of a solution's moves, in the box `ends` (2, n)."""
    point[:] = program.base
    if program.steps.shape[0] > 0:
        for k in range(moved.size):
            if moved[k] != 0.0:
                for i in range(point.size):
                    point[i] += moved[k] * program.steps[k, i]
        for i in range(point.size):
            point[i] = min(max(point[i], ends[0, i]), ends[1, i])
        return
    for k in range(program.used.size):
        i = program.used[k]
        point[i] = min(max(point[i] + moved[k], ends[0, i]), ends[1, i])
