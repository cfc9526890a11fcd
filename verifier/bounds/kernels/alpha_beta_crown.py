"""Steps of α, β and λ for a batch of nodes as one kernel: what `alpha_beta_crown` does, float32, kept ReLUs only.

The network is one sparse matrix and its transpose. Each layer is gone through once going back and once going forward,
four entries of a row at a time, the nodes of the batch side by side. A ReLU has one multiplier: α where it is open, β
where it is split, so one array holds both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from verifier.bounds.alpha_beta_crown import (
    BETA_SCALE,
    CROWDED,
    DEFLECTION,
    FAILED,
    FIRST_SHARE,
    FLOOR,
    GAINED,
    LEAST_SHARE,
    OVERSTEP,
    SMALL,
    TINY,
)
from verifier.bounds.kernels.jit import Integers, compiled, inner
from verifier.bounds.kernels.lanes import LANES, CompressedRows, product, rounded
from verifier.bounds.kernels.least_points import SingleBall, least_points
from verifier.bounds.kernels.row_weights import to_simplex, within_simplex
from verifier.problem.norms.geometry import Floats

OPEN = np.float32(2.0)
"""What marks an open ReLU among `Nodes.state`."""

ROLE, THETA, SLOPE, INTERCEPT, TURN, LAST, SQUARES, UNITS, BEST = range(0, 9 * LANES, LANES)
PLANES = 9 * LANES
"""Where a row of `Nodes.state` has what, and its length."""

NOTHING, WHOLE = np.float32(0.0), np.float32(1.0)
WIDE = np.float32(BETA_SCALE)
BENT, LONG = np.float32(DEFLECTION), np.float32(OVERSTEP)


class SteppedNetwork(NamedTuple):
    """The network: `forward` leads from (input, kept ReLUs) to (their arguments, the goal's rows), with `constant`;
    `back` is its transpose. rows (kept,): the row of `Nodes.state` of a ReLU that the root leaves open; −1: active."""

    forward: CompressedRows
    back: CompressedRows
    constant: Floats
    rows: Integers
    ball: SingleBall


class Nodes(NamedTuple):
    """The state of a batch, one node a lane; the first lanes are those still at work.

    state (open ReLUs, PLANES), LANES each. ROLE: OPEN, or the side of a split ReLU: −1 active, 1 inactive. THETA: α of
    open ReLUs, β of split ones; BEST: the best. SLOPE, INTERCEPT: of the upper lines. TURN, LAST: this step's direction
    and the one before; row_turn, row_last: the weights'. SQUARES: of all gradients so far, summed; UNITS: in what
    entries move.
    mu and values: input first, then kept ReLUs. by_node: see NUMBERS. at: which node a lane is; counts: lanes at work,
    and steps taken. The rest: what each node has seen best.
    """

    state: Floats
    weights: Floats
    mu: Floats
    values: Floats
    messages: Floats
    row_turn: Floats
    row_last: Floats
    by_node: Floats
    at: Integers
    counts: Integers
    best: Floats
    shares: Floats
    best_weights: Floats
    best_points: Floats


VALUE, SCALE, SPLITS, TURNED, LENGTH, STEP, TOP, SPLIT_TOP, ROW_SQUARES = range(9)
NUMBERS = 9
"""Rows of `Nodes.by_node`: the value, β's range, split ReLUs, products of directions, a direction's square, the step,
the largest of `squares` among open and among split ReLUs, the sum of the weights' largest."""


@compiled
def climb(net: SteppedNetwork, radius: float, margin: float, near: float, nodes: Nodes, moves: int, last: bool) -> None:
    """So many steps of `BatchedBound.optimise`; `last`: evaluate the last one too."""
    for _ in range(moves):
        _backward(net, radius, margin, nodes)
        _note(nodes)
        _drop(nodes)
        if nodes.counts[0] == 0:
            return
        _forward(net, nodes)
        _move(near, nodes)
        nodes.counts[1] += 1
    if last:
        _backward(net, radius, margin, nodes)
        _note(nodes)


@inner
def _backward(net: SteppedNetwork, radius: float, margin: float, nodes: Nodes) -> None:
    """Values, μ, and the points where the forms are least."""
    wide, kept, size = rounded(nodes.counts[0]), net.rows.size, net.ball.centre.size
    value, scale = nodes.by_node[VALUE], nodes.by_node[SCALE]
    for j in range(wide):
        value[j], scale[j] = -np.float32(margin), NOTHING
    for i in range(nodes.weights.shape[0]):
        message, weight, constant = nodes.messages[kept + i], nodes.weights[i], net.constant[kept + i]
        for j in range(wide):
            message[j] = -weight[j]
        for j in range(wide):
            value[j] += constant * message[j]
    for i in range(kept - 1, -1, -1):
        message, constant = nodes.messages[i], net.constant[i]
        if net.rows[i] < 0:
            for j in range(wide):
                message[j] = NOTHING
            product(net.back, size + i, nodes.messages, message, wide)
            for j in range(wide):
                value[j] += constant * message[j]
            continue
        mu, own = nodes.mu[size + i], nodes.state[net.rows[i]]
        for j in range(wide):
            mu[j] = NOTHING
        product(net.back, size + i, nodes.messages, mu, wide)
        for j in range(wide):
            open_ = own[ROLE + j] == OPEN
            on_lower = open_ and mu[j] > NOTHING
            extra = NOTHING if open_ else own[ROLE + j] * own[THETA + j]
            message[j] = mu[j] * (own[THETA + j] if on_lower else own[SLOPE + j]) + extra
        for j in range(wide):
            value[j] += (own[INTERCEPT + j] * mu[j] if mu[j] < NOTHING else NOTHING) + constant * message[j]
        for j in range(wide):
            scale[j] += NOTHING if own[ROLE + j] == OPEN else mu[j] * mu[j]
    for i in range(size):
        row = nodes.mu[i]
        for j in range(wide):
            row[j] = NOTHING
        product(net.back, i, nodes.messages, row, wide)
    least_points(net.ball, radius, nodes.mu, nodes.values, nodes.counts[0], value)


@inner
def _note(nodes: Nodes) -> None:
    """Keep what is better than before, and let shares grow or fall."""
    width, begun, size = nodes.counts[0], nodes.counts[1] > 0, nodes.best_points.shape[0]
    gained = np.empty(width, dtype=np.int64)
    count = 0
    for j in range(width):
        place, value = nodes.at[j], nodes.by_node[VALUE, j]
        better = value > nodes.best[place]
        if begun:
            share = nodes.shares[place] * (GAINED if better else FAILED)
            nodes.shares[place] = min(max(share, LEAST_SHARE), FIRST_SHARE)
        if better or not begun:
            gained[count] = j
            count += 1
            nodes.best[place] = value
    for i in range(nodes.state.shape[0]):
        own = nodes.state[i]
        for k in range(count):
            own[BEST + nodes.at[gained[k]]] = own[THETA + gained[k]]
    for i in range(size):
        point, value = nodes.best_points[i], nodes.values[i]
        for k in range(count):
            point[nodes.at[gained[k]]] = value[gained[k]]
    for i in range(nodes.weights.shape[0]):
        for k in range(count):
            nodes.best_weights[i, nodes.at[gained[k]]] = nodes.weights[i, gained[k]]


@inner
def _drop(nodes: Nodes) -> None:
    """Leave out closed nodes, once they crowd the batch."""
    width, stay, count = nodes.counts[0], np.empty(nodes.counts[0], dtype=np.int64), 0
    for j in range(width):
        if not nodes.by_node[VALUE, j] > NOTHING:
            stay[count] = j
            count += 1
    if count >= CROWDED * width:
        return
    nodes.counts[0] = count
    for i in range(nodes.state.shape[0]):
        own = nodes.state[i]
        for plane in (ROLE, THETA, SLOPE, INTERCEPT, LAST, SQUARES):
            for k in range(count):
                own[plane + k] = own[plane + stay[k]]
    for i in range(nodes.mu.shape[0]):
        _keep(nodes.mu[i], stay, count)
        _keep(nodes.values[i], stay, count)
    for i in range(nodes.weights.shape[0]):
        _keep(nodes.weights[i], stay, count)
        _keep(nodes.row_last[i], stay, count)
    for i in range(NUMBERS):
        _keep(nodes.by_node[i], stay, count)
    for k in range(count):
        nodes.at[k] = nodes.at[stay[k]]


@inner
def _keep(row: Floats, stay: Integers, count: int) -> None:
    for k in range(count):
        row[k] = row[stay[k]]


@inner
def _forward(net: SteppedNetwork, nodes: Nodes) -> None:
    """The arguments of ReLUs along the lines at the points, which give the gradient, and the goal's rows there."""
    wide, kept, size = rounded(nodes.counts[0]), net.rows.size, net.ball.centre.size
    scale, top, split_top = nodes.by_node[SCALE], nodes.by_node[TOP], nodes.by_node[SPLIT_TOP]
    for j in range(wide):
        scale[j] = WIDE * np.sqrt(scale[j] / nodes.by_node[SPLITS, j])
        top[j], split_top[j] = NOTHING, NOTHING
    for i in range(kept):
        value, constant = nodes.values[size + i], net.constant[i]
        for j in range(wide):
            value[j] = constant
        product(net.forward, i, nodes.values, value, wide)
        if net.rows[i] < 0:
            continue
        mu, own = nodes.mu[size + i], nodes.state[net.rows[i]]
        for j in range(wide):
            open_ = own[ROLE + j] == OPEN
            rise = (mu[j] if mu[j] > NOTHING else NOTHING) if open_ else own[ROLE + j]
            own[TURN + j] = rise * value[j]
        for j in range(wide):
            on_lower = own[ROLE + j] == OPEN and mu[j] > NOTHING
            value[j] = own[THETA + j] * value[j] if on_lower else own[SLOPE + j] * value[j] + own[INTERCEPT + j]
        _unblock(own, wide)
        for j in range(wide):
            own[SQUARES + j] += own[TURN + j] * own[TURN + j]
        for j in range(wide):
            top[j] = max(top[j], own[SQUARES + j] if own[ROLE + j] == OPEN else NOTHING)
        for j in range(wide):
            split_top[j] = max(split_top[j], NOTHING if own[ROLE + j] == OPEN else own[SQUARES + j])
    for i in range(nodes.weights.shape[0]):
        turn = nodes.row_turn[i]
        for j in range(wide):
            turn[j] = net.constant[kept + i]
        product(net.forward, kept + i, nodes.values, turn, wide)
        for j in range(wide):
            turn[j] = -turn[j]


@inner
def _unblock(own: Floats, wide: int) -> None:
    """A ReLU's turn without what pushes α out of [0, 1] or β below 0."""
    for j in range(wide):
        theta, turn = own[THETA + j], own[TURN + j]
        blocked = theta <= NOTHING and turn < NOTHING
        blocked = blocked or (theta >= WHOLE and turn > NOTHING and own[ROLE + j] == OPEN)
        own[TURN + j] = NOTHING if blocked else turn


@inner
def _move(near: float, nodes: Nodes) -> None:
    """One step of all multipliers."""
    wide, width, count = rounded(nodes.counts[0]), nodes.counts[0], nodes.weights.shape[0]
    turned, length, step = nodes.by_node[TURNED], nodes.by_node[LENGTH], nodes.by_node[STEP]
    _measure(nodes)
    moving = np.empty(count, dtype=np.bool_)
    for j in range(width):
        _turn_weights(nodes, j, moving)
    for i in range(nodes.state.shape[0]):
        own = nodes.state[i]
        for j in range(wide):
            own[TURN + j] += turned[j] * own[LAST + j]
            own[LAST + j] = own[TURN + j]
        _unblock(own, wide)
        for j in range(wide):
            length[j] += own[UNITS + j] * own[TURN + j] * own[TURN + j]
    for j in range(width):
        best, share = nodes.best[nodes.at[j]], nodes.shares[nodes.at[j]]
        level = best + share * max(abs(best), np.float32(near))
        step[j] = LONG * (level - nodes.by_node[VALUE, j]) / length[j] if length[j] > SMALL else NOTHING
    for i in range(nodes.state.shape[0]):
        own = nodes.state[i]
        for j in range(wide):
            moved = own[THETA + j] + step[j] * (own[UNITS + j] * own[TURN + j])
            moved = moved if moved > NOTHING else NOTHING
            own[THETA + j] = WHOLE if own[ROLE + j] == OPEN and moved > WHOLE else moved
    if count > 1:
        for j in range(width):
            unit = WHOLE / max(np.sqrt(nodes.by_node[ROW_SQUARES, j]), TINY)
            for i in range(count):
                nodes.weights[i, j] += step[j] * (unit * nodes.row_turn[i, j])
            to_simplex(nodes.weights, j)


@inner
def _measure(nodes: Nodes) -> None:
    """The units in which entries move, and in that metric the products of the last direction."""
    wide, first = rounded(nodes.counts[0]), nodes.counts[1] == 0
    scale, turned, length = nodes.by_node[SCALE], nodes.by_node[TURNED], nodes.by_node[LENGTH]
    floor, split_floor = nodes.by_node[TOP], nodes.by_node[SPLIT_TOP]
    for j in range(wide):
        floor[j], split_floor[j] = FLOOR * np.sqrt(floor[j]), FLOOR * np.sqrt(split_floor[j])
        turned[j], length[j] = NOTHING, NOTHING
    for i in range(nodes.state.shape[0]):
        own = nodes.state[i]
        for j in range(wide):
            open_ = own[ROLE + j] == OPEN
            added, unit = (floor[j], WHOLE) if open_ else (split_floor[j], scale[j])
            own[UNITS + j] = unit / max(np.sqrt(own[SQUARES + j]) + added, TINY)
        if not first:
            for j in range(wide):
                turned[j] += own[UNITS + j] * own[LAST + j] * own[TURN + j]
            for j in range(wide):
                length[j] += own[UNITS + j] * own[LAST + j] * own[LAST + j]


@inner
def _turn_weights(nodes: Nodes, j: int, moving: npt.NDArray[np.bool_]) -> None:
    """A node's direction of the weights, and how much of the last direction is kept; then the square of theirs."""
    count, first = nodes.weights.shape[0], nodes.counts[1] == 0
    turned, length = nodes.by_node[TURNED], nodes.by_node[LENGTH]
    within_simplex(nodes.row_turn, nodes.weights, j, moving)
    largest = NOTHING
    for i in range(count):
        largest = max(largest, nodes.row_turn[i, j] * nodes.row_turn[i, j])
    nodes.by_node[ROW_SQUARES, j] += largest
    unit = WHOLE / max(np.sqrt(nodes.by_node[ROW_SQUARES, j]), TINY)
    if not first:
        for i in range(count):
            turned[j] += unit * nodes.row_last[i, j] * nodes.row_turn[i, j]
            length[j] += unit * nodes.row_last[i, j] * nodes.row_last[i, j]
    bent = not first and turned[j] < NOTHING
    turned[j] = -BENT * turned[j] / max(length[j], SMALL) if bent else NOTHING
    length[j] = NOTHING
    for i in range(count):
        nodes.row_last[i, j] = nodes.row_turn[i, j] + turned[j] * nodes.row_last[i, j]
        nodes.row_turn[i, j] = nodes.row_last[i, j]
    within_simplex(nodes.row_turn, nodes.weights, j, moving)
    for i in range(count):
        length[j] += unit * nodes.row_turn[i, j] * nodes.row_turn[i, j]


@compiled
def smallest_rows(net: SteppedNetwork, points: Floats, places: Integers, values: Floats, found: Floats) -> None:
    """The goal's smallest row at the points in these columns (n, batch), about: `BatchedBound.margins`. Values of the
    network, as in `Nodes`, are filled in."""
    width = places.size
    wide, kept, size = rounded(width), net.rows.size, net.ball.centre.size
    for i in range(size):
        value, point = values[i], points[i]
        for j in range(width):
            value[j] = point[places[j]]
        for j in range(width, wide):
            value[j] = NOTHING
    for i in range(net.constant.size):
        value = values[size + i]
        for j in range(wide):
            value[j] = net.constant[i]
        product(net.forward, i, values, value, wide)
        if i < kept:
            for j in range(wide):
                value[j] = value[j] if value[j] > NOTHING else NOTHING
        elif i == kept:
            for j in range(width):
                found[j] = value[j]
        else:
            for j in range(width):
                found[j] = min(found[j], value[j])
