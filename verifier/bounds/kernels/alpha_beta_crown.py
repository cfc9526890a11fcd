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
from verifier.bounds.kernels.least_points import SingleBall, least_points
from verifier.problem.norms.geometry import Floats

OPEN = np.float32(2.0)
"""What marks an open ReLU among `Nodes.role`."""

NOTHING, WHOLE = np.float32(0.0), np.float32(1.0)
WIDE = np.float32(BETA_SCALE)
BENT, LONG = np.float32(DEFLECTION), np.float32(OVERSTEP)


class CompressedRows(NamedTuple):
    """A sparse matrix by rows: entries ends[i] to ends[i + 1] of `places` and `entries` are those of row i."""

    ends: Integers
    places: npt.NDArray[np.int32]
    entries: Floats


class SteppedNetwork(NamedTuple):
    """The network: `forward` leads from (input, kept ReLUs) to (their arguments, the goal's rows), with `constant`;
    `back` is its transpose."""

    forward: CompressedRows
    back: CompressedRows
    constant: Floats
    ball: SingleBall


class Nodes(NamedTuple):
    """The state of a batch, one node a column; the first columns are those still at work.

    role (kept, batch): OPEN, 0, or the side of a split ReLU: −1 active, 1 inactive. theta: α of open ReLUs, β of split
    ones. slope, intercept: of the upper lines. mu and values: input first, then kept ReLUs.
    turn, last: this step's direction and the one before; row_turn, row_last: the weights'. squares: of all gradients so
    far, summed; units: in what entries move. by_node: see NUMBERS. at: which node a column is; counts: columns at work,
    and steps taken. The rest: what each node has seen best.
    """

    role: Floats
    theta: Floats
    slope: Floats
    intercept: Floats
    weights: Floats
    mu: Floats
    values: Floats
    messages: Floats
    turn: Floats
    last: Floats
    row_turn: Floats
    row_last: Floats
    squares: Floats
    units: Floats
    by_node: Floats
    at: Integers
    counts: Integers
    best: Floats
    shares: Floats
    best_theta: Floats
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
def _product(rows: CompressedRows, i: int, sources: Floats, target: Floats, width: int) -> None:
    """target += row i times the sources, for the first columns."""
    begin, end = rows.ends[i], rows.ends[i + 1]
    places, entries = rows.places, rows.entries
    whole = end - (end - begin) % 4
    for k in range(begin, whole, 4):
        a, b, c, d = entries[k], entries[k + 1], entries[k + 2], entries[k + 3]
        p, q, r, s = sources[places[k]], sources[places[k + 1]], sources[places[k + 2]], sources[places[k + 3]]
        for j in range(width):
            target[j] += a * p[j] + b * q[j] + c * r[j] + d * s[j]
    for k in range(whole, end):
        a, p = entries[k], sources[places[k]]
        for j in range(width):
            target[j] += a * p[j]


@inner
def _backward(net: SteppedNetwork, radius: float, margin: float, nodes: Nodes) -> None:
    """Values, μ, and the points where the forms are least."""
    width, kept, size = nodes.counts[0], nodes.role.shape[0], net.ball.centre.size
    value, scale = nodes.by_node[VALUE], nodes.by_node[SCALE]
    for j in range(width):
        value[j], scale[j] = -np.float32(margin), NOTHING
    for i in range(nodes.weights.shape[0]):
        message, weight, constant = nodes.messages[kept + i], nodes.weights[i], net.constant[kept + i]
        for j in range(width):
            message[j] = -weight[j]
        for j in range(width):
            value[j] += constant * message[j]
    for i in range(kept - 1, -1, -1):
        mu, message, role, theta = nodes.mu[size + i], nodes.messages[i], nodes.role[i], nodes.theta[i]
        slope, intercept, constant = nodes.slope[i], nodes.intercept[i], net.constant[i]
        for j in range(width):
            mu[j] = NOTHING
        _product(net.back, size + i, nodes.messages, mu, width)
        for j in range(width):
            on_lower = role[j] == OPEN and mu[j] > NOTHING
            extra = NOTHING if role[j] == OPEN else role[j] * theta[j]
            message[j] = mu[j] * (theta[j] if on_lower else slope[j]) + extra
        for j in range(width):
            value[j] += (intercept[j] * mu[j] if mu[j] < NOTHING else NOTHING) + constant * message[j]
        for j in range(width):
            scale[j] += NOTHING if role[j] == OPEN or role[j] == NOTHING else mu[j] * mu[j]
    for i in range(size):
        row = nodes.mu[i]
        for j in range(width):
            row[j] = NOTHING
        _product(net.back, i, nodes.messages, row, width)
    least_points(net.ball, radius, nodes.mu, nodes.values, width, value)


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
    for i in range(nodes.theta.shape[0]):
        for k in range(count):
            nodes.best_theta[i, nodes.at[gained[k]]] = nodes.theta[i, gained[k]]
    for i in range(size):
        for k in range(count):
            nodes.best_points[i, nodes.at[gained[k]]] = nodes.values[i, gained[k]]
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
    for i in range(nodes.role.shape[0]):
        _keep(nodes.role[i], stay, count)
        _keep(nodes.theta[i], stay, count)
        _keep(nodes.slope[i], stay, count)
        _keep(nodes.intercept[i], stay, count)
        _keep(nodes.last[i], stay, count)
        _keep(nodes.squares[i], stay, count)
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
    width, kept, size = nodes.counts[0], nodes.role.shape[0], net.ball.centre.size
    scale, top, split_top = nodes.by_node[SCALE], nodes.by_node[TOP], nodes.by_node[SPLIT_TOP]
    for j in range(width):
        scale[j] = WIDE * np.sqrt(scale[j] / nodes.by_node[SPLITS, j])
        top[j], split_top[j] = NOTHING, NOTHING
    argument = np.empty(width, dtype=np.float32)
    for i in range(kept):
        mu, value, role, theta = nodes.mu[size + i], nodes.values[size + i], nodes.role[i], nodes.theta[i]
        slope, intercept, turn, squares = nodes.slope[i], nodes.intercept[i], nodes.turn[i], nodes.squares[i]
        for j in range(width):
            argument[j] = net.constant[i]
        _product(net.forward, i, nodes.values, argument, width)
        for j in range(width):
            on_lower = role[j] == OPEN and mu[j] > NOTHING
            value[j] = theta[j] * argument[j] if on_lower else slope[j] * argument[j] + intercept[j]
        for j in range(width):
            rise = (mu[j] if mu[j] > NOTHING else NOTHING) if role[j] == OPEN else role[j]
            turn[j] = rise * argument[j]
        _unblock(turn, turn, theta, role, width)
        for j in range(width):
            squares[j] += turn[j] * turn[j]
        for j in range(width):
            top[j] = max(top[j], squares[j] if role[j] == OPEN else NOTHING)
        for j in range(width):
            split_top[j] = max(split_top[j], NOTHING if role[j] == OPEN else squares[j])
    for i in range(nodes.weights.shape[0]):
        for j in range(width):
            argument[j] = net.constant[kept + i]
        _product(net.forward, kept + i, nodes.values, argument, width)
        for j in range(width):
            nodes.row_turn[i, j] = -argument[j]


@inner
def _unblock(given: Floats, found: Floats, theta: Floats, role: Floats, width: int) -> None:
    """Without what pushes α out of [0, 1] or β below 0; nothing for ReLUs that have neither."""
    for j in range(width):
        blocked = theta[j] <= NOTHING and given[j] < NOTHING
        blocked = blocked or (theta[j] >= WHOLE and given[j] > NOTHING and role[j] == OPEN)
        found[j] = NOTHING if blocked or role[j] == NOTHING else given[j]


@inner
def _move(near: float, nodes: Nodes) -> None:
    """One step of all multipliers."""
    width, kept, count = nodes.counts[0], nodes.role.shape[0], nodes.weights.shape[0]
    turned, length, step = nodes.by_node[TURNED], nodes.by_node[LENGTH], nodes.by_node[STEP]
    _measure(nodes)
    moving = np.empty(count, dtype=np.bool_)
    for j in range(width):
        _turn_weights(nodes, j, moving)
    for i in range(kept):
        turn, last, role, units = nodes.turn[i], nodes.last[i], nodes.role[i], nodes.units[i]
        for j in range(width):
            last[j] = turn[j] + turned[j] * last[j]
        _unblock(last, turn, nodes.theta[i], role, width)
        for j in range(width):
            length[j] += units[j] * turn[j] * turn[j]
    for j in range(width):
        best, share = nodes.best[nodes.at[j]], nodes.shares[nodes.at[j]]
        level = best + share * max(abs(best), np.float32(near))
        step[j] = LONG * (level - nodes.by_node[VALUE, j]) / length[j] if length[j] > SMALL else NOTHING
    for i in range(kept):
        turn, role, theta, units = nodes.turn[i], nodes.role[i], nodes.theta[i], nodes.units[i]
        for j in range(width):
            moved = theta[j] + step[j] * (units[j] * turn[j])
            moved = moved if moved > NOTHING else NOTHING
            theta[j] = WHOLE if role[j] == OPEN and moved > WHOLE else moved
    if count > 1:
        for j in range(width):
            unit = WHOLE / max(np.sqrt(nodes.by_node[ROW_SQUARES, j]), TINY)
            for i in range(count):
                nodes.weights[i, j] += step[j] * (unit * nodes.row_turn[i, j])
            _to_simplex(nodes.weights, j)


@inner
def _measure(nodes: Nodes) -> None:
    """The units in which entries move, and in that metric the products of the last direction."""
    width, first = nodes.counts[0], nodes.counts[1] == 0
    scale, turned, length = nodes.by_node[SCALE], nodes.by_node[TURNED], nodes.by_node[LENGTH]
    floor, split_floor = nodes.by_node[TOP], nodes.by_node[SPLIT_TOP]
    for j in range(width):
        floor[j], split_floor[j] = FLOOR * np.sqrt(floor[j]), FLOOR * np.sqrt(split_floor[j])
        turned[j], length[j] = NOTHING, NOTHING
    for i in range(nodes.role.shape[0]):
        role, turn, last, units, squares = nodes.role[i], nodes.turn[i], nodes.last[i], nodes.units[i], nodes.squares[i]
        for j in range(width):
            added = floor[j] if role[j] == OPEN else split_floor[j]
            units[j] = (WHOLE if role[j] == OPEN else scale[j]) / max(np.sqrt(squares[j]) + added, TINY)
        if not first:
            for j in range(width):
                turned[j] += units[j] * last[j] * turn[j]
            for j in range(width):
                length[j] += units[j] * last[j] * last[j]


@inner
def _turn_weights(nodes: Nodes, j: int, moving: npt.NDArray[np.bool_]) -> None:
    """A node's direction of the weights, and how much of the last direction is kept; then the square of theirs."""
    count, first = nodes.weights.shape[0], nodes.counts[1] == 0
    turned, length = nodes.by_node[TURNED], nodes.by_node[LENGTH]
    _within_simplex(nodes.row_turn, nodes.weights, j, moving)
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
    _within_simplex(nodes.row_turn, nodes.weights, j, moving)
    for i in range(count):
        length[j] += unit * nodes.row_turn[i, j] * nodes.row_turn[i, j]


@inner
def _within_simplex(turn: Floats, weights: Floats, j: int, moving: npt.NDArray[np.bool_]) -> None:
    """The part of a direction along which weights may move, in place: as `alpha_beta_crown` has it."""
    count = weights.shape[0]
    for i in range(count):
        moving[i] = True
    mean = NOTHING
    for attempt in range(3):
        total, among = NOTHING, 0
        for i in range(count):
            if moving[i]:
                total += turn[i, j]
                among += 1
        mean = total / np.float32(max(among, 1))
        if attempt < 2:
            for i in range(count):
                moving[i] = moving[i] and (weights[i, j] > NOTHING or turn[i, j] > mean)
    for i in range(count):
        turn[i, j] = turn[i, j] - mean if moving[i] else NOTHING


@inner
def _to_simplex(weights: Floats, j: int) -> None:
    """`onto_simplex` for one node: entries below the threshold leave until none does (Michelot 1986).

    Thresholds rise, but for rounding: one that lies a rounding below the last would take in again what that left out.
    """
    count = weights.shape[0]
    weights[:, j] -= weights[:, j].max()
    threshold, left = -np.float32(np.inf), count + 1
    while True:
        total, among = NOTHING, 0
        for i in range(count):
            if weights[i, j] > threshold:
                total += weights[i, j]
                among += 1
        if among == 0 or among >= left:
            break
        left = among
        threshold = (total - WHOLE) / np.float32(among)
    for i in range(count):
        moved = weights[i, j] - threshold
        weights[i, j] = moved if moved > NOTHING else NOTHING
