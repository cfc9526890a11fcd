"""Narrowing of nodes on sparse stages as a kernel: the formulas of `tree.tightening`, a batch of nodes at a time.

CROWN within the half-space that a node's multipliers leave, for the ReLUs that cost its bound most; the same
multipliers again, whose μ and ν stay what they are: only the ReLUs' shares are new. Rows are float32, one argument of
one node a lane: the same ReLU of several nodes side by side, so that each entry of the network is read once for all.
A multiplier that is passed on counts as given, whatever it was rounded to; what the message before it lacks is charged.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.kernels.alike_rows import SPAN, TOGETHER, send, sent_later
from verifier.bounds.kernels.alpha_crown import reached
from verifier.bounds.kernels.jit import Integers, compiled, inner
from verifier.bounds.kernels.lagrangian import tighten_by_costs
from verifier.bounds.kernels.network import Surroundings
from verifier.bounds.kernels.norms import excluded, fall
from verifier.bounds.kernels.sparse_stages import SparseNetwork
from verifier.bounds.relu_lines import LINE_SLACK
from verifier.problem.norms.geometry import Floats
from verifier.problem.rounding import SUMMED, UNDERFLOW, UNIT
from verifier.solvers.kernels.cut_ends import Cuts, Sides, cuts_of, lower_end, part_of, turned

LANES = SPAN
"""Rows of a block: a line of the cache is read for each entry of the network, whatever it is used for."""

HALF = LANES // 2
"""Arguments of a block: one lane for either end."""

SHARE_ROUNDING = 16.0 * UNIT
"""Relative to (|μ| + |ν|)·|t|: forming a ReLU's share before and after, and their difference."""

ZERO = np.float32(0.0)


class Charges(NamedTuple):
    """What rounding is charged with. asked, passed (ReLUs,): a unit of an argument that is bounded, and of one that is
    passed on; rate: float64 sums. magnitude (open ReLUs,): the largest |argument| at the root."""

    rate: float
    slack: float
    asked: Array
    passed: Array
    magnitude: Array


class OpenRelus(NamedTuple):
    """The ReLUs that the root leaves open, which a batch's arrays are of. relus: which they are; ranks (ReLUs,): the
    place of each among them; starts: where each stage begins among them."""

    relus: Integers
    ranks: Integers
    starts: Integers


class NarrowRules(NamedTuple):
    """A ReLU is bounded anew where it costs a `costly` share of what the bound lacks, the `most` dearest at most.
    reduced: are bounds tightened by the node's own multipliers first?"""

    costly: float
    most: int
    reduced: bool


class Workspace(NamedTuple):
    """mu (ReLUs, LANES) and row (n, LANES) are 0 between blocks."""

    mu: Floats
    row: Floats


class NodeLines(NamedTuple):
    """slope and intercept of the upper lines and alpha of the lower ones, each (open ReLUs, nodes)."""

    slope: Floats
    intercept: Array
    alpha: Floats


class Batch(NamedTuple):
    """One node a row: constant (nodes,), row (nodes, n) of its multipliers; μ, ν, shares, bounds (nodes, open ReLUs).
    Of one that is active at the root μ is ν: nothing follows from them for its bounds, and its share is 0.

    Bounds and shares are replaced; keys (nodes,): the radius that is excluded then, infinite where nothing is left.
    """

    constant: Array
    row: Array
    mu: Array
    nu: Array
    shares: Array
    lower: Array
    upper: Array
    keys: Array


@compiled
def narrow_nodes(
    net: SparseNetwork,
    open_: OpenRelus,
    around: Surroundings,
    charges: Charges,
    rules: NarrowRules,
    work: Workspace,
    radius: float,
    batch: Batch,
) -> None:
    """Tighten the bounds of nodes whose multipliers prove constant − S(radius) < 0."""
    (count, relus), starts = batch.lower.shape, open_.starts
    fallen, chosen, asked = np.empty(count), np.empty(count * rules.most, dtype=np.int64), 0
    for b in range(count):
        fallen[b] = fall(around, batch.row[b], radius)
        value, lower, upper, shares = batch.constant[b] - fallen[b], batch.lower[b], batch.upper[b], batch.shares[b]
        batch.keys[b] = 0.0
        if rules.reduced and not tighten_by_costs(batch.mu[b], batch.nu[b], shares, value, lower, upper):
            batch.keys[b] = math.inf
            continue
        for j in dearest(lower, upper, shares, rules.costly * value, rules.most):
            chosen[asked] = j * count + b
            asked += 1
    chosen = np.sort(chosen[:asked])
    cuts = cuts_of(around, batch.row, batch.constant, batch.keys, radius)
    lines = NodeLines(
        np.empty((relus, count), dtype=np.float32), np.empty((relus, count)), np.empty((relus, count), dtype=np.float32)
    )
    at, known = 0, 0
    while at < asked:
        number = 1
        while starts[number] <= chosen[at] // count:
            number += 1
        for b in range(count):
            _lines(batch.lower[b], batch.upper[b], known, starts[number - 1], lines, b)
        known = starts[number - 1]
        until = at
        while until < asked and chosen[until] // count < starts[number]:
            until += 1
        for begin in range(at, until, HALF):
            part = chosen[begin : min(begin + HALF, until)]
            _block(net, open_, around, charges, cuts, work, radius, part, lines, batch)
        at = until
    for b in range(count):
        mu, nu, shares, lower, upper = batch.mu[b], batch.nu[b], batch.shares[b], batch.lower[b], batch.upper[b]
        if batch.keys[b] == math.inf:
            continue
        constant = batch.constant[b] + _gained(charges, mu, nu, shares, lower, upper)
        value = constant - fallen[b]
        if value > 0.0 or not tighten_by_costs(mu, nu, shares, value, lower, upper):
            batch.keys[b] = math.inf
        else:
            batch.keys[b] = excluded(around, batch.row[b], constant, radius)


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
def _lines(lower: Array, upper: Array, begin: int, end: int, lines: NodeLines, b: int) -> None:
    """A node's lines, of slopes in float32: intercepts are those of what the slopes were rounded to."""
    for j in range(begin, end):
        low, high = lower[j], upper[j]
        slope, intercept, alpha = 1.0, 0.0, 1.0
        if low < 0.0 < high:
            if high - low < math.inf:
                slope = float(np.float32(high / (high - low)))
                intercept = max(-slope * low, high * (1.0 - slope)) * (1.0 + LINE_SLACK) + UNDERFLOW
            elif high < math.inf:
                slope, intercept = 0.0, high
            else:
                intercept = -low
            alpha = 1.0 if high > -low else 0.0
        elif low < 0.0:
            slope, alpha = 0.0, 0.0
        lines.slope[j, b], lines.intercept[j, b], lines.alpha[j, b] = slope, intercept, alpha


@inner
def _block(
    net: SparseNetwork,
    open_: OpenRelus,
    around: Surroundings,
    charges: Charges,
    cuts: Cuts,
    work: Workspace,
    radius: float,
    part: Integers,
    lines: NodeLines,
    batch: Batch,
) -> None:
    """Bound a few arguments of one stage anew, in place; a node whose bounds cross is at its end."""
    count, row = batch.keys.size, work.row
    asked, nodes, signs = np.empty(HALF, dtype=np.int64), np.empty(HALF, dtype=np.int64), np.zeros(LANES, np.float32)
    value, size = np.zeros(LANES), np.zeros(LANES)
    for k in range(HALF):
        one = part[min(k, part.size - 1)]
        asked[k], nodes[k] = open_.relus[one // count], one % count
    for k in range(part.size):
        signs[k], signs[HALF + k] = 1.0, -1.0
    places, inputs = reached(net, asked, row.shape[0])
    _backward(net, open_, charges, asked, nodes, signs, places, lines, work.mu, row, value, size)
    rows = turned(row, inputs)
    sides = Sides(part_of(around.centre, inputs), part_of(cuts.half, inputs), part_of(cuts.middle, inputs))
    for k in range(part.size):
        j, b, other = part[k] // count, nodes[k], HALF + k
        if batch.keys[b] == math.inf:
            continue
        low, high = batch.lower[b, j], batch.upper[b, j]
        low = lower_end(around, cuts, radius, b, rows[k], inputs, sides, value[k], size[k] + charges.slack, low)
        charge = size[other] + charges.slack
        high = -lower_end(around, cuts, radius, b, rows[other], inputs, sides, value[other], charge, -high)
        batch.lower[b, j], batch.upper[b, j] = low, high
        if low > high:
            batch.keys[b] = math.inf
    for i in inputs:
        for lane in range(LANES):
            row[i, lane] = ZERO


@inner
def _backward(
    net: SparseNetwork,
    open_: OpenRelus,
    charges: Charges,
    asked: Integers,
    nodes: Integers,
    signs: Floats,
    places: Integers,
    lines: NodeLines,
    mu: Floats,
    row: Floats,
    value: Array,
    size: Array,
) -> None:
    """The rows signs · (arguments `asked` of `nodes`) over the input; each value is row · x + value − size at least."""
    hidden, first, passed, rate = net.hidden, net.inputs, charges.passed, charges.rate
    lanes = value.size
    for lane in range(lanes):
        j, sign = asked[lane % HALF], signs[lane]
        value[lane], size[lane] = sign * net.constant[j], charges.asked[j]
        for k in range(hidden.begin[j], hidden.end[j]):
            mu[hidden.columns[k], lane] += sign * hidden.values[k]
        for k in range(first.begin[j], first.end[j]):
            row[first.columns[k], lane] += sign * first.values[k]
    among, waiting = sent_later(mu)
    count = 0
    slope, intercept, alpha = np.empty(lanes, np.float32), np.empty(lanes), np.empty(lanes, np.float32)
    for at in range(places.size - 1, -1, -1):
        j = places[at]
        if count == TOGETHER or (count > 0 and net.alike[j] != net.alike[among[0]]):
            send(hidden, first, among, count, waiting, mu, row)
            count = 0
        nu = waiting[count * SPAN : count * SPAN + lanes]
        message, constant, charge = mu[j], net.constant[j], passed[j]
        if net.open[j]:
            rank = open_.ranks[j]
            slopes, intercepts, alphas = lines.slope[rank], lines.intercept[rank], lines.alpha[rank]
            for k in range(HALF):
                b = nodes[k]
                slope[k] = slope[HALF + k] = slopes[b]
                intercept[k] = intercept[HALF + k] = intercepts[b]
                alpha[k] = alpha[HALF + k] = alphas[b]
            for lane in range(lanes):
                above = max(message[lane], ZERO)
                below = message[lane] - above
                lost = below * intercept[lane]
                nu[lane] = above * alpha[lane] + below * slope[lane]
                value[lane] += lost
                size[lane] -= rate * lost
        else:
            for lane in range(lanes):
                nu[lane] = message[lane]
        for lane in range(lanes):
            message[lane] = ZERO
        total = ZERO
        for lane in range(lanes):
            value[lane] += nu[lane] * constant
            size[lane] += abs(nu[lane]) * charge
        for lane in range(lanes):
            total += abs(nu[lane])
        if total != ZERO:
            among[count] = j
            count += 1
    send(hidden, first, among, count, waiting, mu, row)


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
    return gained - SUMMED * (charges.asked.size + 16) * moved - SHARE_ROUNDING * rounding
