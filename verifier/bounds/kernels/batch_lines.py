"""The lines of a batch's open ReLUs as the kernel of steps reads them, from `lines_of`, and the best of them."""

from __future__ import annotations

import math

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.kernels.alpha_beta_crown import BEST, INTERCEPT, LAST, OPEN, ROLE, SLOPE, SPLITS, SQUARES, THETA
from verifier.bounds.kernels.jit import compiled
from verifier.bounds.kernels.lanes import rounded
from verifier.problem.norms.geometry import Floats

NOTHING, WHOLE = np.float32(0.0), np.float32(1.0)


@compiled
def begin_lines(lower: Array, upper: Array, alpha: Floats, beta: Floats, state: Floats, by_node: Floats) -> None:
    """Fill in `Nodes.state` and the number of split ReLUs, of nodes with bounds lower, upper (nodes, open) that begin
    with alpha, beta (open, nodes)."""
    count, width = lower.shape
    splits = by_node[SPLITS]
    splits[:] = NOTHING
    for i in range(width):
        own = state[i]
        for j in range(rounded(count)):
            own[LAST + j], own[SQUARES + j] = NOTHING, NOTHING
            if j >= count:
                own[ROLE + j], own[THETA + j], own[SLOPE + j], own[INTERCEPT + j] = NOTHING, NOTHING, NOTHING, NOTHING
                continue
            low, high = lower[j, i], upper[j, i]
            if low < 0.0 < high:
                slope = high / (high - low)
                slope = 1.0 if math.isnan(slope) else slope
                theta = alpha[i, j]
                if math.isnan(theta):
                    theta = WHOLE if high > -low else NOTHING
                own[ROLE + j], own[THETA + j] = OPEN, theta
                own[SLOPE + j], own[INTERCEPT + j] = np.float32(slope), np.float32(-slope * low)
            else:
                side = -WHOLE if low >= 0.0 else WHOLE
                own[ROLE + j], own[THETA + j] = side, max(beta[i, j] * side, NOTHING)
                own[SLOPE + j], own[INTERCEPT + j] = WHOLE if low >= 0.0 else NOTHING, NOTHING
                splits[j] += WHOLE
    for j in range(splits.size):
        splits[j] = max(splits[j], WHOLE)


@compiled
def end_lines(lower: Array, upper: Array, state: Floats, alpha: Floats, beta: Floats) -> None:
    """Fill in alpha, beta (open, nodes), the best that were met, of nodes with bounds lower, upper (nodes, open)."""
    count, width = lower.shape
    for i in range(width):
        own = state[i]
        for j in range(count):
            low, high, theta = lower[j, i], upper[j, i], own[BEST + j]
            if low < 0.0 < high:
                alpha[i, j], beta[i, j] = theta, NOTHING
            elif low >= 0.0:
                alpha[i, j], beta[i, j] = WHOLE, -theta
            else:
                alpha[i, j], beta[i, j] = NOTHING, theta
