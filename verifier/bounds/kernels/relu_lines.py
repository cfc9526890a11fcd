"""The lines of ReLUs as a kernel: the formulas of `relu_lines`, the same slack."""

from __future__ import annotations

import math

from encoders.network.graph import Array
from verifier.bounds.kernels.jit import compiled
from verifier.bounds.relu_lines import LINE_SLACK
from verifier.problem.rounding import UNDERFLOW


@compiled
def relu_lines(lower: Array, upper: Array, count: int, slope: Array, intercept: Array, alpha: Array) -> None:
    """The lines of the first `count` arguments: s and t of the upper one, α of the lower one, filled in."""
    for j in range(count):
        low, high = lower[j], upper[j]
        if low < 0.0 < high:
            if high - low < math.inf:
                slope[j] = high / (high - low)
                intercept[j] = max(-slope[j] * low, high * (1.0 - slope[j])) * (1.0 + LINE_SLACK) + UNDERFLOW
            elif high < math.inf:
                slope[j], intercept[j] = 0.0, high
            else:
                slope[j], intercept[j] = 1.0, -low
            alpha[j] = 1.0 if high > -low else 0.0
        else:
            slope[j] = alpha[j] = 1.0 if low >= 0.0 else 0.0
            intercept[j] = 0.0
