"""CROWN of later stages as a kernel: the formulas of `stage_crown`, with the same charges for rounding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.kernels.half_space import Cut, least
from verifier.bounds.kernels.jit import compiled, inner
from verifier.bounds.kernels.network import CompiledNetwork
from verifier.bounds.kernels.relu_lines import relu_lines
from verifier.problem.rounding import UNIT


@compiled
def tighten_stages(net: CompiledNetwork, cut: Cut, lower: Array, upper: Array, wanted: npt.NDArray[np.bool_]) -> bool:
    """`StageBounds.tighten` in place; False when an argument's bounds cross."""
    relus = lower.size
    starts, hidden, inputs, biases, charge = net.starts, net.hidden, net.inputs, net.constant, net.charge
    slope, intercept, alpha = np.empty(relus), np.empty(relus), np.empty(relus)
    for number in range(1, starts.size):
        start, end = starts[number - 1], starts[number]
        chosen = np.empty(end - start, dtype=np.int64)
        count = 0
        for j in range(start, end):
            if wanted[j] and lower[j] < 0.0 < upper[j]:
                chosen[count] = j
                count += 1
        if count == 0:
            continue
        relu_lines(lower, upper, start, slope, intercept, alpha)
        messages, constants, sizes = np.zeros((2 * count, start)), np.empty(2 * count), np.empty(2 * count)
        for k in range(count):
            j = chosen[k]
            messages[k] = hidden[j, :start]
            messages[count + k] = -messages[k]
            constants[k], constants[count + k] = biases[j], -biases[j]
            sizes[k] = sizes[count + k] = net.sizes[j]
        for source in range(number - 1, 0, -1):
            low, high = starts[source - 1], starts[source]
            for k in range(2 * count):
                message, constant, size = messages[k], constants[k], sizes[k]
                for j in range(low, high):
                    value = message[j]
                    if value < 0.0:
                        lost = value * intercept[j]
                        constant += lost
                        size -= lost
                        value *= slope[j]
                    else:
                        value *= alpha[j]
                    message[j] = value
                    constant += value * biases[j]
                    size += abs(value) * charge[j]
                constants[k], sizes[k] = constant, size
            if source > 1:
                columns = net.spans[low:high]
                _add_product(messages, low, high, hidden, columns[:, 0].min(), columns[:, 1].max(), messages)
        rows = np.zeros((2 * count, inputs.shape[1]))
        _add_product(messages, 0, start, inputs, 0, inputs.shape[1], rows)
        for k in range(count):
            if net.reads[chosen[k]]:
                rows[k] += inputs[chosen[k]]
                rows[count + k] -= inputs[chosen[k]]
        for k in range(count):
            j = chosen[k]
            lower[j] = max(lower[j], _end(net, cut, rows[k], constants[k], sizes[k], lower[j]))
            other = count + k
            upper[j] = min(upper[j], -_end(net, cut, rows[other], constants[other], sizes[other], -upper[j]))
            if lower[j] > upper[j]:
                return False
    return True


@inner
def _add_product(left: Array, low: int, high: int, right: Array, begin: int, end: int, out: Array) -> None:
    """out[:, begin:end] += left[:, low:high] · right[low:high, begin:end]; BLAS would start threads of its own."""
    places = np.empty(high - low, dtype=np.int64)
    for i in range(left.shape[0]):
        source, target, count = left[i], out[i], 0
        for k in range(low, high):
            if source[k] != 0.0:
                places[count] = k
                count += 1
        for first in range(0, count - 3, 4):
            p, q, r, s = places[first], places[first + 1], places[first + 2], places[first + 3]
            a, b, c, d = source[p], source[q], source[r], source[s]
            row_p, row_q, row_r, row_s = right[p], right[q], right[r], right[s]
            for j in range(begin, end):
                target[j] += a * row_p[j] + b * row_q[j] + c * row_r[j] + d * row_s[j]
        for k in range(count - count % 4, count):
            a, row_p = source[places[k]], right[places[k]]
            for j in range(begin, end):
                target[j] += a * row_p[j]


@inner
def _end(net: CompiledNetwork, cut: Cut, row: Array, constant: float, size: float, known: float) -> float:
    """A safe lower bound of row·x + constant over the cut ball; tight only where it is above the `known` one."""
    centre = net.around.centre
    for i in range(row.size):
        constant += row[i] * centre[i]
    charge = net.rate * size + net.slack
    constant += least(net.around, cut, row, known - constant + charge) - charge
    end: float = constant - 2.0 * abs(constant) * UNIT
    return end
