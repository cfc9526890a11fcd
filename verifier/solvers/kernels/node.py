"""Node evaluation as one kernel: CROWN, the dense simplex, the safe evaluation, reduced costs, the choice of the split.

It runs without the interpreter's lock, so that threads evaluate nodes side by side.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.kernels.half_space import cut_of
from verifier.bounds.kernels.jit import Integers, compiled, inner
from verifier.bounds.kernels.lagrangian import evaluate, forward, tighten_by_costs
from verifier.bounds.kernels.network import CompiledNetwork
from verifier.bounds.kernels.norms import excluded, fall
from verifier.bounds.kernels.stage_crown import tighten_stages
from verifier.solvers.kernels.clipping import contract, cut_down, shrunk, within
from verifier.solvers.kernels.round_steps import add_step, relaxed_point
from verifier.solvers.kernels.simplex import EXCLUDED, OPTIMAL, STOPPED, TIED, solve
from verifier.solvers.kernels.simplex_program import Program
from verifier.solvers.node_constants import (
    ADDED,
    HIGHEST,
    NEAR,
    PIVOTS,
    PRICE_GAP,
    SPLIT_BY_DUAL,
    SPLIT_BY_VIOLATION,
    VIOLATED,
)

CUTOFF = 1e-7
"""The dual value at which the kernel's LP ends at first: enough to stay above 0 when float64 rounding is charged."""

ATTEMPTS = 4
"""Times that an LP which ended too low for what is charged is gone on with, to a higher value each time."""

RISE, FALL = 1.5, 0.98
"""How the value at which LPs end follows what float32 evaluations are charged: up after each LP that closes its node
only by going on, down after each that closes it at once, so that one in twenty has to. Following the largest charge of
a tree made all of its LPs twice as long."""

CLOSED, OPEN, FAILED = 0, 1, 2
"""How the kernel leaves a node."""


class Rules(NamedTuple):
    """What is done at nodes: the fields of `NodeSettings`, the branching rule by its code. costly, followed: the shares
    COSTLY and FOLLOWED of what a bound lacks. clips: have nodes boxes of their own?"""

    child_bounds: bool
    clips: bool
    half_space: bool
    reduced_costs: bool
    branching: int
    descend_every: int
    costly: float
    followed: float


class Shared(NamedTuple):
    """What all nodes of a tree share: the box `ends` (2, n); the value `cutoff` (1,) at which LPs end, which follows
    what float32 evaluations are charged, down to `lowest`; the pivots `spent` (1,) on them."""

    ends: Array
    cutoff: Array
    lowest: float
    spent: Integers


class NodeState(NamedTuple):
    """A node: bounds lower, upper (relu_count,), the basis (basic, key) that its LP starts from, and its box (2, n), or
    (2, 0) where it has none."""

    lower: Array
    upper: Array
    basic: Integers
    key: Integers
    box: Array


class Found(NamedTuple):
    """Room for what an evaluation finds: the relaxed point (n,), its arguments (relu_count,), and the multipliers
    weights (goals,), mu and nu (relu_count,), zeros before."""

    point: Array
    arguments: Array
    weights: Array
    mu: Array
    nu: Array


@compiled
def evaluate_node(
    net: CompiledNetwork, program: Program, radius: float, rules: Rules, shared: Shared, node: NodeState, found: Found
) -> tuple[int, float, float, int]:
    """(how the node is left, radius that it excludes, margin at the point or −inf, ReLU to split at or −1).

    The radius is that of all evaluations that are charged, also where the node is closed for the real network alone;
    where multipliers close it, the margin is their bound. All arrays of `node` are replaced by its own, those of
    `found` filled in.
    """
    lower, upper, basic, key = node.lower, node.upper, node.basic, node.key
    point, arguments, weights, mu, nu = found.point, found.arguments, found.weights, found.mu, found.nu
    ends, cutoff = shared.ends, shared.cutoff
    nothing = -math.inf
    relus, kept, goals = lower.size, program.kept, program.goals
    if rules.clips and not contract(net, node.box, lower, upper):
        return CLOSED, math.inf, nothing, -1
    count = kept.size
    low, high = np.empty(count), np.empty(count)
    for k in range(count):
        low[k], high[k] = lower[kept[k]], upper[kept[k]]
    size = program.constants.size
    duals, moved, off = np.zeros(size), np.zeros(program.moves.shape[1]), np.zeros(count)
    shares, row = np.empty(relus), np.empty(net.around.centre.size)
    level, attempt, added = cutoff[0], 0, 0
    while True:
        state, optimum, pivots = solve(program, low, high, basic, key, PIVOTS * size, level, duals, moved, off)
        shared.spent[0] += pivots
        if state == STOPPED:
            return FAILED, 0.0, nothing, -1
        for k in range(count):
            nu[kept[k]] = duals[k]
        weights[:] = np.maximum(duals[count : count + goals], 0.0)
        constant, real = evaluate(net, weights, nu, lower, upper, mu, row, shares)
        fallen = fall(net.around, row, radius)
        value = constant - fallen
        if value > 0.0:
            if state == EXCLUDED:
                cutoff[0] = min(RISE * cutoff[0], level) if attempt else max(FALL * cutoff[0], shared.lowest)
            return CLOSED, math.inf, value, -1
        if program.steps.shape[0] > 0 and added < ADDED:
            # Steps only lower the optimum: above 0 it may yet be that they decide.
            lacking = state == EXCLUDED or optimum > 0.0 or optimum - value > PRICE_GAP * abs(value)
            if lacking and add_step(net, program, weights, nu, row, radius, basic):
                added += 1
                continue
        attempt += 1
        if state != EXCLUDED or not value > -HIGHEST or attempt == ATTEMPTS:
            break
        level = min(2.0 * (level - value), HIGHEST)
    nearest = excluded(net.around, row, constant, radius)
    if nearest >= radius > 0.0:
        return CLOSED, math.inf, nothing, -1
    if real - fallen > 0.0:
        return CLOSED, nearest, real - fallen, -1
    margin = nothing
    if state == OPTIMAL:
        relaxed_point(program, ends, moved, point)
        margin = forward(net, point, arguments)
    if rules.clips:
        before = node.box.copy()
        if not cut_down(node.box, 1.0, row, constant, net.around.centre):
            return CLOSED, math.inf, nothing, -1
        part, reach = within(net, node.box)
        constant, _ = evaluate(part, weights, nu, lower, upper, mu, row, shares)
        value = constant - fall(part.around, row, reach)
        costly = 0.0 if shrunk(node.box, before) else rules.costly
        # What a box excludes is no radius about the input, unless it is everything.
        if value > 0.0 or math.inf == narrow(
            part, reach, rules, costly, weights, nu, mu, row, shares, constant, value, lower, upper
        ):
            return CLOSED, math.inf, nothing, -1
    else:
        end = narrow(net, radius, rules, rules.costly, weights, nu, mu, row, shares, constant, value, lower, upper)
        nearest = max(nearest, end)
    if nearest >= radius > 0.0 or nearest == math.inf:
        return CLOSED, math.inf, nothing, -1
    place = split_at(rules.branching, program.kept, shares, off, state == OPTIMAL, lower, upper)
    return FAILED if place < 0 and state == TIED else OPEN, nearest, margin, place


@inner
def evaluate_proposed(
    net: CompiledNetwork,
    radius: float,
    rules: Rules,
    weights: Array,
    nu: Array,
    lower: Array,
    upper: Array,
) -> tuple[int, float]:
    """(how the node is left, radius that it excludes) by given multipliers, without an LP; as in `evaluate_node`.

    The multipliers are replaced by those of the last evaluation.
    """
    mu, shares, row = np.zeros(lower.size), np.empty(lower.size), np.empty(net.around.centre.size)
    constant, real = evaluate(net, weights, nu, lower, upper, mu, row, shares)
    fallen = fall(net.around, row, radius)
    value = constant - fallen
    if value > 0.0:
        return CLOSED, math.inf
    within = excluded(net.around, row, constant, radius)
    if within >= radius > 0.0:
        return CLOSED, math.inf
    if real - fallen > 0.0:
        return CLOSED, within
    within = max(
        within, narrow(net, radius, rules, rules.followed, weights, nu, mu, row, shares, constant, value, lower, upper)
    )
    if within >= radius > 0.0 or within == math.inf:
        return CLOSED, math.inf
    return OPEN, within


@compiled
def narrow(
    net: CompiledNetwork,
    radius: float,
    rules: Rules,
    costly: float,
    weights: Array,
    nu: Array,
    mu: Array,
    row: Array,
    shares: Array,
    constant: float,
    value: float,
    lower: Array,
    upper: Array,
) -> float:
    """Tighten the bounds of a node that its multipliers leave open, with `value` < 0, as the rules say: the radius
    excluded then.

    CROWN within the half-space constant + row·δ ≤ 0, for the ReLUs that cost a `costly` share of what the bound lacks;
    the same multipliers again, with their reduced costs. Infinite: nothing of the node is left. All arrays are replaced
    by the last evaluation's.
    """
    if rules.reduced_costs and not tighten_by_costs(mu, nu, shares, value, lower, upper):
        return math.inf
    if not rules.child_bounds:
        return 0.0
    amount = -constant if rules.half_space else math.inf
    if not tighten_stages(net, cut_of(net.around, row, amount, radius), lower, upper, shares <= costly * value):
        return math.inf
    constant, _ = evaluate(net, weights, nu, lower, upper, mu, row, shares)
    value = constant - fall(net.around, row, radius)
    if value > 0.0 or not tighten_by_costs(mu, nu, shares, value, lower, upper):
        return math.inf
    return excluded(net.around, row, constant, radius)


@compiled
def split_at(
    branching: int, kept: Integers, shares: Array, off: Array, optimal: bool, lower: Array, upper: Array
) -> int:
    """`branching.split_at`; `off` is of the LP's ReLUs, which are `kept`, and says something where it is `optimal`."""
    best, place = 0.0, -1
    for k in range(kept.size):
        j = kept[k]
        if lower[j] < 0.0 < upper[j] and (not optimal or off[k] > VIOLATED):
            score, width = -shares[j], upper[j] - lower[j]
            if branching == SPLIT_BY_DUAL:
                score *= math.sqrt(width) / (min(max(off[k] / width, NEAR), 1.0) if optimal else 1.0)
            elif branching == SPLIT_BY_VIOLATION:
                score = min(off[k] if optimal else math.inf, -lower[j], upper[j])
            if score > best:
                best, place = score, j
    if place < 0:
        for j in range(lower.size):
            reach = min(-lower[j], upper[j])
            if reach > best:
                best, place = reach, j
    return place
