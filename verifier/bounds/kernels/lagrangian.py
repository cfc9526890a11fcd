"""The Lagrangian bound of `lagrangian` and the descents of `primal_heuristics` as kernels for small networks.

The same formulas with the same charges for rounding; tests compare both. Sums may be formed in any order, which the
charges allow.
"""

from __future__ import annotations

import math

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.kernels.jit import compiled, inner
from verifier.bounds.kernels.network import CompiledNetwork
from verifier.bounds.kernels.norms import ascend
from verifier.bounds.lagrangian import CUT_SLACK, SNAP
from verifier.problem.plateau import LEAK
from verifier.problem.rounding import UNDERFLOW


@compiled
def evaluate(
    net: CompiledNetwork, weights: Array, nu: Array, lower: Array, upper: Array, mu: Array, row: Array, shares: Array
) -> tuple[float, float]:
    """`Lagrangian.evaluate`: the constant, and that over the reals.

    ν (changed where it is snapped), μ, the row and the shares are filled in.
    """
    relus = lower.size
    hidden, spans, constants, charge, plain = net.hidden, net.spans, net.constant, net.charge, net.real_charge
    mu[:] = 0.0
    total, size, real_size = 0.0, 0.0, 0.0
    for number in range(relus + weights.size - 1, -1, -1):
        # A row of the goal sends −λ, a ReLU's argument ν.
        if number >= relus:
            value = -weights[number - relus]
            size -= value * net.goal_size[number - relus]
            real_size -= value * net.real_goal_size[number - relus]
        else:
            low, high = lower[number], upper[number]
            value, weight = nu[number], mu[number]
            if low >= 0.0 and abs(weight - value) <= SNAP * abs(weight):
                nu[number] = value = weight
            size += abs(value) * charge[number]
            real_size += abs(value) * plain[number]
            least = min(weight * max(low, 0.0) - value * low, weight * max(high, 0.0) - value * high)
            if low < 0.0 < high:
                least = min(least, 0.0)
            shares[number] = least
            total += least
        if value != 0.0:
            total += value * constants[number]
            coefficients = hidden[number]
            for k in range(spans[number, 0], spans[number, 1]):
                mu[k] += value * coefficients[k]
    _input_row(net, weights, nu, row)
    centre = net.around.centre
    for i in range(row.size):
        total += row[i] * centre[i]
    return total - net.rate * size - net.slack, total - net.rate * real_size - net.slack


@inner
def _input_row(net: CompiledNetwork, weights: Array, nu: Array, row: Array) -> None:
    """What the multipliers send back to the input."""
    inputs, reads, relus = net.inputs, net.reads, nu.size
    row[:] = 0.0
    for number in range(reads.size):
        if reads[number]:
            value = nu[number] if number < relus else -weights[number - relus]
            coefficients = inputs[number]
            for i in range(row.size):
                row[i] += value * coefficients[i]


@compiled
def tighten_by_costs(mu: Array, nu: Array, shares: Array, value: float, lower: Array, upper: Array) -> bool:
    """`lagrangian.tightened` in place; False when an argument's bounds cross."""
    for j in range(lower.size):
        spare = (shares[j] - value) * (1.0 + CUT_SLACK) + CUT_SLACK * abs(shares[j]) + UNDERFLOW
        spare = max(spare, 0.0)
        rising = mu[j] - nu[j]
        if rising > 0.0:
            upper[j] = min(upper[j], spare / rising * (1.0 + CUT_SLACK))
        if nu[j] > 0.0:
            lower[j] = max(lower[j], -spare / nu[j] * (1.0 + CUT_SLACK))
        if lower[j] > upper[j]:
            return False
    return True


@compiled
def forward(net: CompiledNetwork, x: Array, arguments: Array) -> float:
    """Fill the ReLU arguments at x; the goal's smallest row."""
    margin, _ = _margin(net, x, arguments)
    return margin


@inner
def _margin(net: CompiledNetwork, x: Array, arguments: Array) -> tuple[float, int]:
    """`forward` with the number of the smallest row."""
    constants, all_hidden, spans, reads, all_inputs = net.constant, net.hidden, net.spans, net.reads, net.inputs
    relus = arguments.size
    margin, worst = math.inf, relus
    for number in range(constants.size):
        total = constants[number]
        hidden = all_hidden[number]
        for k in range(spans[number, 0], spans[number, 1]):
            total += hidden[k] * max(arguments[k], 0.0)
        if reads[number]:
            inputs = all_inputs[number]
            for i in range(x.size):
                total += inputs[i] * x[i]
        if number < relus:
            arguments[number] = total
        elif total < margin:
            margin, worst = total, number
    return margin, worst


@compiled
def _sent_back(net: CompiledNetwork, row: int, arguments: Array, leak: float, sent: Array, gradient: Array) -> None:
    """Fill in the gradient (n,) of a goal's row where ReLUs have these arguments; `leak`: what inactive ones pass."""
    hidden, spans, reads, inputs = net.hidden, net.spans, net.reads, net.inputs
    sent[:] = hidden[row]
    gradient[:] = inputs[row]
    for number in range(sent.size - 1, -1, -1):
        value = sent[number]
        if not arguments[number] > 0.0:
            value = leak * value if leak > 0.0 else 0.0
        if value != 0.0:
            coefficients = hidden[number]
            for k in range(spans[number, 0], spans[number, 1]):
                sent[k] += value * coefficients[k]
            if reads[number]:
                coefficients = inputs[number]
                for i in range(gradient.size):
                    gradient[i] += value * coefficients[i]


@compiled
def descend(net: CompiledNetwork, ends: Array, x: Array, radius: float, steps: int, best: Array) -> float:
    """`GradientDescent.search` from x (n,), which is moved, in the box `ends` (2, n): the margin at `best` (n,), filled
    in."""
    size, relus = x.size, net.charge.size
    arguments, sent, gradient = np.empty(relus), np.empty(relus), np.empty(size)
    found = -math.inf
    best[:] = x
    for step in range(steps):
        margin, worst = _margin(net, x, arguments)
        if margin > found:
            found = margin
            best[:] = x
        if margin >= 0.0:
            break
        _sent_back(net, worst, arguments, 0.0, sent, gradient)
        if not gradient.any():
            _sent_back(net, worst, arguments, LEAK, sent, gradient)
        ascend(net.around, ends, gradient, radius, step, steps, x)
    return found
