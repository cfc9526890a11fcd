"""Narrowing of nodes on sparse stages as a kernel: the formulas of `tree.tightening`, a block of rows at a time.

CROWN within the half-space that a node's multipliers leave, for the ReLUs that cost its bound most; the same
multipliers again, whose μ and ν stay what they are: only the ReLUs' shares are new.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.kernels.alpha_crown import LANES, backward, reached
from verifier.bounds.kernels.half_space import Cut, cut_of, least
from verifier.bounds.kernels.jit import Integers, compiled, inner
from verifier.bounds.kernels.lagrangian import tighten_by_costs
from verifier.bounds.kernels.network import Surroundings
from verifier.bounds.kernels.norms import excluded, fall
from verifier.bounds.kernels.relu_lines import relu_lines
from verifier.bounds.kernels.sparse_stages import SparseNetwork
from verifier.problem.norms.geometry import Floats
from verifier.problem.rounding import SUMMED, UNIT

HALF = LANES // 2
"""Arguments of a block: one lane for either end."""

SHARE_ROUNDING = 16.0 * UNIT
"""Relative to (|μ| + |ν|)·|t|: forming a ReLU's share before and after, and their difference."""


class Charges(NamedTuple):
    """What rounding is charged with: see `SparseStages`. magnitude (ReLUs,): the largest |argument| at the root."""

    rate: float
    slack: float
    magnitude: Array


class NarrowRules(NamedTuple):
    """A ReLU is bounded anew where it costs a `costly` share of what the bound lacks, the `most` dearest at most."""

    costly: float
    most: int


class Workspace(NamedTuple):
    """What a block of rows fills in, and the lines of one node."""

    mu: Array
    row: Array
    value: Array
    size: Array
    lanes: Floats
    slope: Array
    intercept: Array
    alpha: Array


@compiled
def narrow_node(
    net: SparseNetwork,
    starts: Integers,
    around: Surroundings,
    charges: Charges,
    rules: NarrowRules,
    work: Workspace,
    radius: float,
    constant: float,
    row: Array,
    mu: Array,
    nu: Array,
    shares: Array,
    lower: Array,
    upper: Array,
) -> float:
    """Tighten the bounds of a node whose multipliers prove constant − S(radius) < 0: the radius excluded then.

    Infinite: nothing of the node is left. Bounds and shares are replaced.
    """
    fallen = fall(around, row, radius)
    cut = cut_of(around, row, -constant, radius)
    chosen = dearest(lower, upper, shares, rules.costly * (constant - fallen), rules.most)
    lines = SparseNetwork(
        net.hidden, net.inputs, net.constant, work.slope, work.intercept, net.open, net.sizes, net.charge
    )
    at, number = 0, 1
    while at < chosen.size:
        while starts[number] <= chosen[at]:
            number += 1
        until = at
        while until < chosen.size and chosen[until] < starts[number]:
            until += 1
        relu_lines(lower, upper, starts[number - 1], work.slope, work.intercept, work.alpha)
        for begin in range(at, until, HALF):
            part = chosen[begin : min(begin + HALF, until)]
            if not _block(lines, around, charges, cut, work, part, lower, upper):
                return math.inf
        at = until
    constant += _gained(charges, mu, nu, shares, lower, upper)
    value = constant - fallen
    if value > 0.0 or not tighten_by_costs(mu, nu, shares, value, lower, upper):
        return math.inf
    return excluded(around, row, constant, radius)


@compiled
def dearest(lower: Array, upper: Array, shares: Array, least_cost: float, most: int) -> Integers:
    """The open ReLUs whose shares are at most `least_cost`, the `most` dearest of them, in ascending order."""
    places, count = np.empty(lower.size, dtype=np.int64), 0
    for j in range(lower.size):
        if shares[j] <= least_cost and lower[j] < 0.0 < upper[j]:
            places[count] = j
            count += 1
    if count <= most:
        return places[:count]
    limit = np.sort(shares[places[:count]])[most - 1]
    kept = 0
    for k in range(count):
        if shares[places[k]] <= limit and kept < most:
            places[kept] = places[k]
            kept += 1
    return places[:kept]


@inner
def _block(
    lines: SparseNetwork,
    around: Surroundings,
    charges: Charges,
    cut: Cut,
    work: Workspace,
    part: Integers,
    lower: Array,
    upper: Array,
) -> bool:
    """Bound a few arguments of one stage anew, in place; False when an argument's bounds cross."""
    asked, signs = np.empty(LANES, dtype=np.int64), np.empty(LANES)
    for k in range(HALF):
        asked[k] = asked[HALF + k] = part[min(k, part.size - 1)]
        signs[k], signs[HALF + k] = 1.0, -1.0
    row = work.row
    places, inputs = reached(lines, asked, row.shape[0])
    for j in places:
        for lane in range(LANES):
            work.lanes[j, lane] = work.alpha[j]
    backward(lines, asked, signs, places, inputs, work.lanes, work.mu, row, work.value, work.size)
    one = np.zeros(row.shape[0])
    for k in range(part.size):
        j = part[k]
        for i in inputs:
            one[i] = row[i, k]
        lower[j] = max(lower[j], _end(around, charges, cut, one, work.value[k], work.size[k], lower[j]))
        for i in inputs:
            one[i] = row[i, HALF + k]
        upper[j] = min(upper[j], -_end(around, charges, cut, one, work.value[HALF + k], work.size[HALF + k], -upper[j]))
        if lower[j] > upper[j]:
            return False
    return True


@inner
def _end(
    around: Surroundings, charges: Charges, cut: Cut, row: Array, constant: float, size: float, known: float
) -> float:
    """A safe lower bound of row·x + constant over the cut ball; tight only where it is above the `known` one."""
    centre = around.centre
    for i in range(row.size):
        constant += row[i] * centre[i]
    charge = charges.rate * size + charges.slack
    constant += least(around, cut, row, known - constant + charge) - charge
    end: float = constant - 2.0 * abs(constant) * UNIT
    # What is no number bounds nothing.
    return end if end > known else known


@inner
def _gained(charges: Charges, mu: Array, nu: Array, shares: Array, lower: Array, upper: Array) -> float:
    """How much the bound rises by tighter bounds of arguments, rounding subtracted; the shares are replaced."""
    gained, moved, rounding = 0.0, 0.0, 0.0
    for j in range(shares.size):
        low, high, weight, value = lower[j], upper[j], mu[j], nu[j]
        share = min(weight * max(low, 0.0) - value * low, weight * max(high, 0.0) - value * high)
        if low < 0.0 < high:
            share = min(share, 0.0)
        if share != shares[j]:
            gained += share - shares[j]
            moved += abs(share - shares[j])
            rounding += (abs(weight) + abs(value)) * charges.magnitude[j]
            shares[j] = share
    return gained - SUMMED * (shares.size + 16) * moved - SHARE_ROUNDING * rounding
