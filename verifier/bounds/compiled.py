"""The Lagrangian bound and CROWN of `lagrangian` and `stage_bounds` as kernels for small networks, dense throughout.

The same formulas with the same charges for rounding, on one matrix over all stages; tests compare both. Sums may be
formed in any order, which the charges allow.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from encoders.graph import Array
from encoders.to_stages import Stages
from verifier.bounds.jit import compiled
from verifier.bounds.lagrangian import CUT_SLACK, RADIUS_SLACK, SNAP, Lagrangian
from verifier.bounds.relaxation import LINE_SLACK
from verifier.bounds.support import SETTLED, TANGENTS
from verifier.proof.rounding import UNDERFLOW, UNIT
from verifier.query import Norm


class Network(NamedTuple):
    """Rows are all ReLU arguments, then the goal's rows C·z + d: value = inputs·x + hidden·h + constant.

    `spans` (rows, 2): the columns of `hidden` that a row reads; `reads`: whether it reads the input. `charge`,
    `sizes`, `goal_size`, `real_charge`, `real_goal_size`, `rate`, `slack`: what rounding is charged with, as in
    `Lagrangian`. `down`, `up`: the room that the box leaves around `centre`.
    """

    starts: Array
    inputs: Array
    hidden: Array
    spans: Array
    reads: Array
    constant: Array
    charge: Array
    sizes: Array
    goal_size: Array
    real_charge: Array
    real_goal_size: Array
    centre: Array
    down: Array
    up: Array
    rate: float
    slack: float
    l1: bool


def network(stages: Stages, lagrangian: Lagrangian) -> Network:
    """The arrays of a query whose Lagrangian is at hand."""
    goal, ball = lagrangian.goal, lagrangian.ball
    relus, rows = stages.relu_count, stages.relu_count + len(goal.offset)
    inputs, hidden = np.zeros((rows, stages.input_size)), np.zeros((rows, relus))
    constant = np.zeros(rows)
    starts = stages.starts
    for number, stage in enumerate(stages.stages, start=1):
        last = number == len(stages.stages)
        part = slice(relus, rows) if last else slice(starts[number - 1], starts[number])
        constant[part] = goal.matrix @ stage.constant + goal.offset if last else stage.constant
        for source, block in stage.blocks.items():
            matrix = block.matrix if isinstance(block.matrix, np.ndarray) else block.matrix.toarray()
            matrix = goal.matrix @ matrix if last else matrix
            if source:
                hidden[part, starts[source - 1] : starts[source]] = matrix
            else:
                inputs[part] = matrix
    used = hidden != 0
    spans = np.where(
        used.any(axis=1)[:, np.newaxis],
        np.stack([used.argmax(axis=1), relus - used[:, ::-1].argmax(axis=1)], axis=1) if relus else 0,
        0,
    )
    room = lagrangian.support.room
    return Network(
        starts=np.array(starts),
        inputs=inputs,
        hidden=hidden,
        spans=spans.reshape(rows, 2).astype(np.int64),
        reads=np.any(inputs != 0, axis=1),
        constant=constant,
        charge=np.array(lagrangian.charge),
        sizes=np.concatenate([*lagrangian.sizes[:-1], np.zeros(0)]),
        goal_size=np.array(lagrangian.goal_size),
        real_charge=np.array(lagrangian.real_charge),
        real_goal_size=np.array(lagrangian.real_goal_size),
        centre=np.array(ball.centre),
        down=np.array(room.down),
        up=np.array(room.up),
        rate=lagrangian.rate,
        slack=lagrangian.slack,
        l1=ball.norm is Norm.L1,
    )


@compiled
def evaluate(
    net: Network, weights: Array, nu: Array, lower: Array, upper: Array, mu: Array, row: Array, shares: Array
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
    centre = net.centre
    for i in range(row.size):
        total += row[i] * centre[i]
    return total - net.rate * size - net.slack, total - net.rate * real_size - net.slack


@compiled
def _input_row(net: Network, weights: Array, nu: Array, row: Array) -> None:
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
def fall(net: Network, row: Array, radius: float) -> float:
    """S(radius) of `support`, for one row."""
    if net.l1:
        filled = _fill_from_top(net, row, radius)
        return filled if filled >= 0.0 else _fill(net, row, radius)
    down, up, total = net.down, net.up, 0.0
    for i in range(row.size):
        value = row[i]
        total += value * min(down[i], radius) if value > 0.0 else -value * min(up[i], radius)
    return total


TOP = 32
"""Entries among which an L1 ball's are sought first: most balls are spent on fewer."""


@compiled
def _fill_from_top(net: Network, row: Array, radius: float) -> float:
    """S(radius) in L1 where the `TOP` steepest entries use up the ball, else −1."""
    down, up = net.down, net.up
    steep, rooms, count = np.empty(TOP), np.empty(TOP), 0
    for i in range(row.size):
        value = row[i]
        size = abs(value)
        if size == 0.0 or (count == TOP and size <= steep[TOP - 1]):
            continue
        room = min(down[i] if value > 0.0 else up[i], radius)
        if room <= 0.0:
            continue
        place = min(count, TOP - 1)
        while place > 0 and steep[place - 1] < size:
            steep[place], rooms[place] = steep[place - 1], rooms[place - 1]
            place -= 1
        steep[place], rooms[place] = size, room
        count = min(count + 1, TOP)
    total, left = 0.0, radius
    for k in range(count):
        used = min(rooms[k], left)
        total += steep[k] * used
        left -= used
    if left > 0.0 and count == TOP:
        return -1.0
    return total * (1.0 + FILL_SLACK * (row.size + 16))


FILL_SLACK = 4.0 * UNIT
"""For each entry, relative: filling an L1 ball subtracts as it goes; this covers the rounding of what is left."""


@compiled
def _fill(net: Network, row: Array, radius: float) -> float:
    steep, rooms, count = _steepest(net, row, radius)
    total, left = 0.0, radius
    while count > 0 and left > 0.0:
        count = _pop(steep, rooms, count)
        used = min(rooms[count], left)
        total -= steep[count] * used
        left -= used
    return total * (1.0 + FILL_SLACK * (row.size + 16))


@compiled
def excluded(net: Network, row: Array, amount: float, most: float) -> float:
    """`Dual.radius`: a radius r ≤ most with S(r) ≤ amount, as large as it can be, rounding left out of it."""
    if not amount >= 0.0:
        return 0.0
    shrink = 1.0 - RADIUS_SLACK - 2.0 * row.size * UNIT
    if net.l1:
        steep, rooms, count = _steepest(net, row, most)
        spent, gained = 0.0, 0.0
        while count > 0:
            count = _pop(steep, rooms, count)
            gain = -steep[count] * rooms[count]
            if gained + gain > amount:
                reached: float = min(most, spent + (amount - gained) / -steep[count])
                return reached * shrink
            gained += gain
            spent += rooms[count]
        return most * shrink
    down, up, radius = net.down, net.up, 0.0
    for _ in range(TANGENTS):
        slope, used = 0.0, 0.0
        for i in range(row.size):
            value = row[i]
            room = down[i] if value > 0.0 else up[i]
            if room > radius:
                slope += abs(value)
            else:
                used += abs(value) * room
        if slope <= 0.0 or (amount - used) >= most * slope:
            radius = most
            break
        step = (amount - used) / slope
        if step <= radius * (1.0 + SETTLED):
            break
        radius = step
    return radius * shrink


@compiled
def _steepest(net: Network, row: Array, most: float) -> tuple[Array, Array, int]:
    """A heap of −|g_i|, least first, with the rooms."""
    down, up = net.down, net.up
    steep, rooms, count = np.empty(row.size), np.empty(row.size), 0
    for i in range(row.size):
        value = row[i]
        room = min(down[i] if value > 0.0 else up[i], most)
        if value != 0.0 and room > 0.0:
            count = _push(steep, rooms, count, -abs(value), room)
    return steep, rooms, count


@compiled
def _push(keys: Array, others: Array, size: int, key: float, other: float) -> int:
    place = size
    while place > 0:
        parent = (place - 1) >> 1
        if keys[parent] <= key:
            break
        keys[place], others[place] = keys[parent], others[parent]
        place = parent
    keys[place], others[place] = key, other
    return size + 1


@compiled
def _pop(keys: Array, others: Array, size: int) -> int:
    """Move the least entry of a heap behind its new end."""
    size -= 1
    key, other = keys[size], others[size]
    keys[size], others[size] = keys[0], others[0]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[place], others[place] = keys[child], others[child]
        place = child
    if size > 0:
        keys[place], others[place] = key, other
    return size


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
def tighten_stages(
    net: Network, radius: float, first: int, lower: Array, upper: Array, wanted: npt.NDArray[np.bool_]
) -> bool:
    """`StageBounds.tighten` in place from stage `first` on; False when an argument's bounds cross."""
    relus = lower.size
    starts, hidden, inputs, biases, charge = net.starts, net.hidden, net.inputs, net.constant, net.charge
    slope, intercept, alpha = np.empty(relus), np.empty(relus), np.empty(relus)
    for number in range(max(2, first), starts.size):
        start, end = starts[number - 1], starts[number]
        chosen = np.empty(end - start, dtype=np.int64)
        count = 0
        for j in range(start, end):
            if wanted[j] and lower[j] < 0.0 < upper[j]:
                chosen[count] = j
                count += 1
        if count == 0:
            continue
        _lines(lower, upper, start, slope, intercept, alpha)
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
                _add_product(messages, low, high, hidden, low, messages)
        rows = np.zeros((2 * count, inputs.shape[1]))
        _add_product(messages, 0, start, inputs, inputs.shape[1], rows)
        for k in range(count):
            if net.reads[chosen[k]]:
                rows[k] += inputs[chosen[k]]
                rows[count + k] -= inputs[chosen[k]]
        for k in range(count):
            j = chosen[k]
            lower[j] = max(lower[j], _end(net, rows[k], radius, constants[k], sizes[k]))
            upper[j] = min(upper[j], -_end(net, rows[count + k], radius, constants[count + k], sizes[count + k]))
            if lower[j] > upper[j]:
                return False
    return True


@compiled
def _add_product(left: Array, low: int, high: int, right: Array, width: int, out: Array) -> None:
    """out[:, :width] += left[:, low:high] · right[low:high], zeros skipped; BLAS would start threads of its own."""
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
            for j in range(width):
                target[j] += a * row_p[j] + b * row_q[j] + c * row_r[j] + d * row_s[j]
        for k in range(count - count % 4, count):
            a, row_p = source[places[k]], right[places[k]]
            for j in range(width):
                target[j] += a * row_p[j]


@compiled
def _end(net: Network, row: Array, radius: float, constant: float, size: float) -> float:
    """A safe lower bound of row·x + constant over the ball."""
    centre = net.centre
    for i in range(row.size):
        constant += row[i] * centre[i]
    constant -= fall(net, row, radius)
    constant -= net.rate * size + net.slack
    end: float = constant - 2.0 * abs(constant) * UNIT
    return end


@compiled
def _lines(lower: Array, upper: Array, count: int, slope: Array, intercept: Array, alpha: Array) -> None:
    """The lines of `stage_bounds` for the first `count` arguments."""
    for j in range(count):
        low, high = lower[j], upper[j]
        if low < 0.0 < high:
            slope[j] = high / (high - low)
            intercept[j] = max(-slope[j] * low, high * (1.0 - slope[j])) * (1.0 + LINE_SLACK) + UNDERFLOW
            alpha[j] = 1.0 if high > -low else 0.0
        else:
            slope[j] = alpha[j] = 1.0 if low >= 0.0 else 0.0
            intercept[j] = 0.0


@compiled
def forward(net: Network, x: Array, arguments: Array) -> float:
    """Fill the ReLU arguments at x; the goal's smallest row."""
    margin, _ = _margin(net, x, arguments)
    return margin


@compiled
def _margin(net: Network, x: Array, arguments: Array) -> tuple[float, int]:
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
def descend(net: Network, ends: Array, x: Array, radius: float, steps: int, first_step: float, best: Array) -> float:
    """`LocalSearch.descend` from x (n,), which is moved, in the box `ends` (2, n): the margin at `best`, filled in."""
    size, relus = x.size, net.charge.size
    arguments, sent, gradient = np.empty(relus), np.empty(relus), np.empty(size)
    hidden, spans, reads, inputs, centre = net.hidden, net.spans, net.reads, net.inputs, net.centre
    found = -math.inf
    best[:] = x
    for step in range(steps):
        margin, worst = _margin(net, x, arguments)
        if margin > found:
            found = margin
            best[:] = x
        if margin >= 0.0:
            break
        sent[:] = hidden[worst]
        gradient[:] = inputs[worst]
        for number in range(relus - 1, -1, -1):
            value = sent[number]
            if value != 0.0 and arguments[number] > 0.0:
                coefficients = hidden[number]
                for k in range(spans[number, 0], spans[number, 1]):
                    sent[k] += value * coefficients[k]
                if reads[number]:
                    coefficients = inputs[number]
                    for i in range(size):
                        gradient[i] += value * coefficients[i]
        if net.l1:
            share = 2.0 / (step + 3.0)
            for i in range(size):
                x[i] -= share * (x[i] - centre[i])
            _to_corner(net, gradient, radius, share, x)
        else:
            length = first_step * radius * (1.0 - step / steps)
            for i in range(size):
                moved = x[i] + length * np.sign(gradient[i])
                moved = min(max(moved, centre[i] - radius), centre[i] + radius)
                x[i] = min(max(moved, ends[0, i]), ends[1, i])
    return found


@compiled
def _to_corner(net: Network, gradient: Array, radius: float, share: float, x: Array) -> None:
    """x += share · (the step from the centre within the L1 ball that the gradient prefers)."""
    down, up = net.down, net.up
    steep, places, count, left = np.empty(x.size), np.empty(x.size), 0, radius
    for i in range(x.size):
        value = gradient[i]
        if value != 0.0:
            count = _push(steep, places, count, -abs(value), float(i))
    while count > 0 and left > 0.0:
        count = _pop(steep, places, count)
        i = int(places[count])
        used = min(up[i] if gradient[i] > 0.0 else down[i], left)
        x[i] += share * used if gradient[i] > 0.0 else -share * used
        left -= used
