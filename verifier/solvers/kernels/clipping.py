"""The box of the input that a node holds of, as kernels: the formulas of `tree.clipping`."""

from __future__ import annotations

import math

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.kernels.half_space import cut_of
from verifier.bounds.kernels.jit import inner
from verifier.bounds.kernels.network import CompiledNetwork, Surroundings
from verifier.bounds.kernels.stage_crown import tighten_stages
from verifier.bounds.lagrangian import CUT_SLACK
from verifier.problem.rounding import SPARE_OPERATIONS, SUMMED, UNIT
from verifier.solvers.node_constants import SHRUNK


@inner
def cut_down(box: Array, sign: float, row: Array, constant: float, centre: Array) -> bool:
    """Cut a box (2, n) down to where constant + sign · row·(x − centre) may still be ≤ 0; False: nowhere.

    As `BoxPart.clipped`.
    """
    low, high, value, size = box[0], box[1], constant, abs(constant)
    for i in range(row.size):
        slope = sign * row[i]
        term = slope * ((low[i] if slope > 0.0 else high[i]) - centre[i])
        value += term
        size += abs(term)
    spare = (SUMMED * (row.size + SPARE_OPERATIONS) * size - value) * (1.0 + CUT_SLACK)
    if spare < 0.0:
        return False
    for i in range(row.size):
        slope = sign * row[i]
        # What is not a number cuts nothing off.
        if slope > 0.0:
            high[i] = min(high[i], np.nextafter(low[i] + spare / slope, math.inf))
        elif slope < 0.0:
            low[i] = max(low[i], np.nextafter(high[i] + spare / slope, -math.inf))
        if low[i] > high[i]:
            return False
    return True


@inner
def shrunk(cut: Array, box: Array) -> bool:
    """`tree.clipping.shrunk`."""
    share = 1.0
    for i in range(box.shape[1]):
        if box[1, i] > box[0, i]:
            share *= max(cut[1, i] - cut[0, i], 0.0) / (box[1, i] - box[0, i])
    return share <= SHRUNK


@inner
def contract(net: CompiledNetwork, box: Array, lower: Array, upper: Array) -> bool:
    """`Clipping.contracted` in place; False: nothing of the node is left."""
    cut, about = box.copy(), net.around.centre
    first = net.starts[1] if net.starts.size > 1 else 0
    for sign in (1.0, -1.0):
        for j in range(first):
            row, end = net.inputs[j], upper[j] if sign > 0.0 else -lower[j]
            value = net.constant[j]
            for i in range(row.size):
                value += row[i] * about[i]
            charge = net.rate * net.sizes[j] + net.slack + 2.0 * UNIT * (abs(value) + abs(end))
            if not cut_down(cut, sign, row, sign * value - end - charge, about):
                return False
    if not shrunk(cut, box):
        return True
    box[:] = cut
    part, radius = within(net, box)
    free = cut_of(part.around, np.zeros(about.size), math.inf, radius)
    return tighten_stages(part, free, lower, upper, np.full(lower.size, True))


@inner
def within(net: CompiledNetwork, box: Array) -> tuple[CompiledNetwork, float]:
    """The network around the middle of a box in place of its ball, and the radius of that box."""
    n = box.shape[1]
    centre, down, up, radius = np.empty(n), np.zeros(n), np.zeros(n), 0.0
    for i in range(n):
        low, high = box[0, i], box[1, i]
        centre[i] = min(max(0.5 * (low + high), low), high)
        if centre[i] > low:
            down[i] = np.nextafter(centre[i] - low, math.inf)
        if high > centre[i]:
            up[i] = np.nextafter(high - centre[i], math.inf)
        radius = max(radius, down[i], up[i])
    part = CompiledNetwork(
        net.starts,
        net.inputs,
        net.hidden,
        net.spans,
        net.reads,
        net.constant,
        net.charge,
        net.sizes,
        net.goal_size,
        net.real_charge,
        net.real_goal_size,
        Surroundings(centre, down, up, False, False),
        net.rate,
        net.slack,
    )
    return part, radius
