"""`Lagrangian.on_lines` as a kernel: the safe evaluation of a batch of nodes, float64, over the kept ReLUs alone.

A ReLU that the root fixes at 0 has the multiplier 0 and sends nothing on: nothing is lost by leaving it out. One that
is active there sends on what it is sent, whatever is proposed for it: its share is 0 and not rounded. Each stage has
sums of its own, so that none is of more terms than those that `Lagrangian` charges for.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.alpha_beta_crown import BatchedBound, Start
from verifier.bounds.kernels.compiled_bound import CompiledBound
from verifier.bounds.kernels.jit import Integers, compiled, inner
from verifier.bounds.kernels.lanes import LANES, CompressedRows, compressed, product, rounded
from verifier.bounds.kernels.network import surroundings
from verifier.bounds.kernels.norms import measure
from verifier.bounds.lagrangian import Duals, Lagrangian, measured, ranks
from verifier.problem.norms.geometry import Floats


class EvaluatedNetwork(NamedTuple):
    """back: leads from (kept ReLUs, outputs) to (input, kept ReLUs). starts: where each stage begins among these;
    columns: where each is among those that are told, −1: nowhere; rows: where it is among those whose sign the root
    leaves open, −1: active. constant, charge, real_charge: of each, as in `Lagrangian`; centre: the ball's."""

    back: CompressedRows
    starts: Integers
    columns: Integers
    rows: Integers
    constant: Array
    charge: Array
    real_charge: Array
    centre: Array


class Sums(NamedTuple):
    """Of each node (nodes,): the bound without the ball's fall, and what is charged, also over the reals."""

    total: Array
    size: Array
    real_size: Array


@compiled
def evaluate_lines(
    net: EvaluatedNetwork,
    outputs: Array,
    alpha: Floats,
    beta: Floats,
    lower: Array,
    upper: Array,
    sums: Sums,
    row: Array,
    shares: Array,
    mu: Array,
    nu: Array,
) -> None:
    """Add to the sums, and fill in row (nodes, n), shares, mu and nu (nodes, told ReLUs), which are 0.

    outputs (K, nodes): what the goal sends back; alpha, beta (open, nodes); lower, upper (nodes, told ReLUs).
    """
    kept, size, count = net.rows.size, net.centre.size, lower.shape[0]
    messages, sent = np.zeros((kept + outputs.shape[0], LANES)), np.zeros(LANES)
    part = np.zeros((4, LANES))
    for first in range(0, count, LANES):
        width = min(LANES, count - first)
        wide = rounded(width)
        for i in range(outputs.shape[0]):
            for j in range(width):
                messages[kept + i, j] = outputs[i, first + j]
        for number in range(net.starts.size - 2, -1, -1):
            for i in range(net.starts[number + 1] - 1, net.starts[number] - 1, -1):
                at, open_, message = net.columns[i], net.rows[i], messages[i]
                sent[:] = 0.0
                product(net.back, size + i, messages, sent, wide)
                for j in range(width):
                    b = first + j
                    weight = value = sent[j]
                    if open_ >= 0:
                        low, high = lower[b, at], upper[b, at]
                        slope = alpha[open_, b] if weight > 0.0 else _upper_slope(low, high)
                        value = slope * weight + beta[open_, b]
                        share = _share(weight, value, low, high)
                        shares[b, at] = share
                        part[0, j] += share
                    message[j] = value
                    if at >= 0:
                        mu[b, at], nu[b, at] = weight, value
                for j in range(wide):
                    part[1, j] += message[j] * net.constant[i]
                    part[2, j] += abs(message[j]) * net.charge[i]
                    part[3, j] += abs(message[j]) * net.real_charge[i]
            for j in range(width):
                sums.total[first + j] += part[0, j] + part[1, j]
                sums.size[first + j] += part[2, j]
                sums.real_size[first + j] += part[3, j]
            part[:] = 0.0
        for i in range(size):
            sent[:] = 0.0
            product(net.back, i, messages, sent, wide)
            for j in range(width):
                row[first + j, i] = sent[j]
                part[0, j] += sent[j] * net.centre[i]
        for j in range(width):
            sums.total[first + j] += part[0, j]
        part[:] = 0.0


@inner
def _upper_slope(low: float, high: float) -> float:
    """`relu_lines.upper_slope`; any slope gives a valid bound."""
    if low >= 0.0 or high == math.inf:
        return 1.0
    return high / (high - low) if high > 0.0 else 0.0


@inner
def _share(mu: float, nu: float, low: float, high: float) -> float:
    """`lagrangian.relu_shares`; what is no number stays none."""
    at_low = mu * max(low, 0.0) - nu * low
    at_high = mu * max(high, 0.0) - nu * high
    least = math.nan
    if at_low <= at_high:
        least = at_low
    elif at_high < at_low:
        least = at_high
    return 0.0 if low < 0.0 < high and least > 0.0 else least


class CompiledLines:
    """`Lagrangian.on_lines` for the lines that a bound below the same root proposes, which tells of these
    ReLUs: at least of those that the root leaves open."""

    def __init__(
        self, steps: CompiledBound, bound: BatchedBound, lagrangian: Lagrangian, relus: npt.NDArray[np.integer]
    ) -> None:
        stages, kept = lagrangian.stages, bound.kept
        self.margins, self.relus = steps.margins, relus
        self._around = surroundings(lagrangian.geometry)
        self._lagrangian, size = lagrangian, stages.input_size
        rows = [kept[begin:end] for begin, end in zip(bound.starts[:-1], bound.starts[1:], strict=True)]
        blocks = []
        for number, stage in enumerate(stages.stages):
            last = number == len(rows)
            own = np.arange(stage.size) if last else rows[number] - stages.starts[number]
            for source, block in stage.blocks.items():
                matrix, begin = block.adjoint[:, own], 0
                if source:
                    matrix = matrix[rows[source - 1] - stages.starts[source - 1]]
                    begin = size + int(bound.starts[source - 1])
                blocks.append((matrix, begin, int(bound.starts[number])))
        self._net = EvaluatedNetwork(
            compressed(blocks, size + kept.size, np.float64),
            bound.starts.astype(np.int64),
            ranks(relus, stages.relu_count)[kept],
            ranks(bound.open, kept.size),
            lagrangian.constants[kept],
            lagrangian.charge[kept],
            lagrangian.real_charge[kept],
            np.array(lagrangian.ball.centre),
        )

    def on_lines(self, best: Start, lower: Array, upper: Array) -> Duals:
        """The bounds of nodes with bounds lower, upper (nodes, told ReLUs), within the root's."""
        safe, net, count = self._lagrangian, self._net, len(lower)
        weights = best.weights.astype(np.float64)
        outputs = -(safe.goal.matrix.T @ weights)
        constant = -(safe.goal.offset @ weights) + safe.stages.output.constant @ outputs
        sums = Sums(constant, safe.goal_size @ weights, safe.real_goal_size @ weights)
        row = np.zeros((count, safe.stages.input_size))
        shares, mu, nu = (np.zeros(lower.shape) for _ in range(3))
        evaluate_lines(
            net,
            np.ascontiguousarray(outputs),
            np.ascontiguousarray(best.alpha),
            np.ascontiguousarray(best.beta),
            np.ascontiguousarray(lower),
            np.ascontiguousarray(upper),
            sums,
            row,
            shares,
            mu,
            nu,
        )
        real = sums.total - safe.rate * sums.real_size - safe.slack
        return Duals(safe.geometry, sums.total - safe.rate * sums.size - safe.slack, real, row, shares, mu, nu)

    def measured(self, duals: Duals, radius: float) -> tuple[Array, Array, Array]:
        """As `Evaluating.measured`."""
        if not self._lagrangian.geometry.has_kernels:
            return measured(duals, radius)
        values, reals, radii = (np.empty(len(duals)) for _ in range(3))
        measure(self._around, duals.row, duals.constant, duals.real, radius, values, reals, radii)
        return values, reals, radii
