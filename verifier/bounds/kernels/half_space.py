"""How low a linear form gets in a ball and a half-space, as kernels: the formulas of `half_space`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.half_space import SETTLED, WEIGHTS
from verifier.bounds.kernels.jit import Integers, compiled, inner
from verifier.bounds.kernels.network import Surroundings
from verifier.bounds.kernels.norms import insert
from verifier.bounds.kernels.round_ball import mixed_fall, step_of
from verifier.problem.rounding import SPARE_OPERATIONS, SUMMED, UNIT

HELD = 128
"""Entries that an L1 ball is spent on, at most: what is left of it is charged at the rate of the last one."""

NEARBY = 0.6
"""Entries of an L1 row that matter when it is mixed with another: those above this share of its price. As squares of
prices add up, those of two rows make √2 of one, and what was left out of both at most 2 · 0.6."""


MIXED_ROUNDS = 2
"""Rounds of the scale of a row in L2: a third one raised no bound by a thousandth."""


class Cut(NamedTuple):
    """The steps δ (n,) from the centre within the ball, and in the half-space row·δ ≤ amount.

    deepest (n,): the step at which row·δ is least, −fallen. size: the dual norm of row. L∞: the box of steps is
    middle ± half, scaled = row · half, shift = row · middle. L1: the ball is spent down to slopes of `price`; all
    entries but those at `places` are at most `rest`. L2 needs none of these.
    """

    row: Array
    amount: float
    radius: float
    deepest: Array
    fallen: float
    size: float
    half: Array
    middle: Array
    scaled: Array
    shift: float
    places: Integers
    price: float
    rest: float


@compiled
def cut_of(around: Surroundings, row: Array, amount: float, radius: float) -> Cut:
    """The half-space in a ball of this radius; an infinite amount: the ball alone."""
    n = row.size
    deepest, half, middle, scaled = np.zeros(n), np.empty(n), np.empty(n), np.empty(n)
    size, fallen, shift, price, rest = 0.0, 0.0, 0.0, 0.0, 0.0
    if around.l1:
        for i in range(n):
            size = max(size, abs(row[i]))
        places, price, rest = _leading(around, row, radius, NEARBY * NEARBY * size)
        left = radius
        for i in places:
            used = min(around.down[i] if row[i] > 0.0 else around.up[i], left)
            deepest[i] = -used if row[i] > 0.0 else used
            fallen += abs(row[i]) * used
            left -= used
        fallen += rest * left
    elif around.l2:
        places = np.empty(0, dtype=np.int64)
        for i in range(n):
            size += row[i] * row[i]
        size = math.sqrt(size)
        step_of(row, around.down, around.up, radius, math.inf, deepest)
        for i in range(n):
            fallen -= row[i] * deepest[i]
    else:
        places = np.empty(0, dtype=np.int64)
        down, up = np.minimum(around.down, radius), np.minimum(around.up, radius)
        # Each loop writes one array: so that all are vectorised.
        for i in range(n):
            half[i] = 0.5 * (up[i] + down[i])
        for i in range(n):
            middle[i] = 0.5 * (up[i] - down[i])
        for i in range(n):
            deepest[i] = -down[i] if row[i] > 0.0 else up[i]
        for i in range(n):
            scaled[i] = row[i] * half[i]
        for i in range(n):
            shift += row[i] * middle[i]
            fallen += abs(scaled[i])
            size += abs(row[i])
        fallen -= shift
    return Cut(row, amount, radius, deepest, fallen, size, half, middle, scaled, shift, places, price, rest)


@compiled
def least(around: Surroundings, cut: Cut, row: Array, enough: float) -> float:
    """`half_space.least` for one row, all rounding charged; bounds that stay below `enough` are not made tight."""
    n, l1 = row.size, around.l1
    size, deep, shift, rest = 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        deep += row[i] * cut.deepest[i]
    if l1:
        for i in range(n):
            size = max(size, abs(row[i]))
        own, other, down, up, rest = _gathered(around, cut, row, size)
    elif around.l2:
        own, other, down, up = row, cut.row, around.down, around.up
        for i in range(n):
            size += row[i] * row[i]
        size = math.sqrt(size)
    else:
        own, other, down, up = np.empty(n), cut.scaled, cut.half, cut.half
        for i in range(n):
            own[i] = row[i] * cut.half[i]
        for i in range(n):
            shift += row[i] * cut.middle[i]
            size += abs(row[i])
    if l1:
        fallen, slope = _spent(own, other, down, up, 0.0, rest, cut.radius)
    elif around.l2:
        fallen, slope = mixed_fall(own, other, down, up, 0.0, cut.radius, MIXED_ROUNDS)
    else:
        fallen, slope = _boxed(own, other, 0.0)
    fallen, slope = fallen - shift, slope + cut.shift
    rounding = SUMMED * (n + SPARE_OPERATIONS) * cut.radius
    best = -fallen - rounding * size
    # Two tangents of −S(row + λ·cut) − λ·amount: at 0, and the one that all others approach.
    left, rise, right, decline = -fallen, slope - cut.amount, deep, -cut.fallen - cut.amount
    for _ in range(WEIGHTS):
        if not rise > 0.0 or not decline < 0.0:
            break
        weight = (right - left) / (rise - decline)
        highest = left + weight * rise
        if not weight > 0.0 or highest <= enough or highest - best <= SETTLED * (highest + fallen):
            break
        if l1:
            value, slope = _spent(own, other, down, up, weight, rest + weight * cut.rest, cut.radius)
        elif around.l2:
            value, slope = mixed_fall(own, other, down, up, weight, cut.radius, MIXED_ROUNDS)
        else:
            value, slope = _boxed(own, other, weight)
        found = shift + weight * cut.shift - value - weight * cut.amount
        slope += cut.shift - cut.amount
        charge = rounding * (size + weight * cut.size) + 4.0 * UNIT * abs(weight * cut.amount)
        best = max(best, found - charge)
        if slope > 0.0:
            left, rise = found - slope * weight, slope
        else:
            right, decline = found - slope * weight, slope
    return best


@inner
def _boxed(own: Array, other: Array, weight: float) -> tuple[float, float]:
    """L∞: (Σ |v|, −Σ other · sign v) for v = own + weight · other."""
    total, slope = 0.0, 0.0
    for i in range(own.size):
        value = own[i] + weight * other[i]
        total += abs(value)
        slope += -other[i] if value > 0.0 else other[i]
    return total, slope


@inner
def _spent(
    own: Array, other: Array, down: Array, up: Array, weight: float, rest: float, radius: float
) -> tuple[float, float]:
    """L1: (how far v = own + weight · other falls at most, other·δ there), all other entries being at most `rest`."""
    steep, places, count = np.empty(own.size), np.empty(own.size, dtype=np.int64), 0
    for i in range(own.size):
        size = abs(own[i] + weight * other[i])
        if size > rest:
            count = insert(steep, places, count, size, i)
    total, slope, left = 0.0, 0.0, radius
    for k in range(count):
        i = places[k]
        falls = own[i] + weight * other[i] > 0.0
        used = min(down[i] if falls else up[i], left)
        total += steep[k] * used
        slope += -used * other[i] if falls else used * other[i]
        left -= used
        if left <= 0.0:
            break
    return total + rest * max(left, 0.0), slope


@inner
def _gathered(around: Surroundings, cut: Cut, row: Array, size: float) -> tuple[Array, Array, Array, Array, float]:
    """L1: (row, cut's row, down, up) at the entries that matter to a mixture; what others of row are at most.

    An entry that pulls to a side without room is in neither row's list for its own sake. What turns it to the other
    side is the other row's entry, less its own.
    """
    guess = NEARBY * cut.price * size / cut.size if cut.size > 0.0 else 0.0
    mine, _, rest = _leading(around, row, cut.radius, guess)
    places, count = np.empty(mine.size + cut.places.size, dtype=np.int64), mine.size
    places[:count] = mine
    for i in cut.places:
        if abs(row[i]) <= rest or (around.down[i] if row[i] > 0.0 else around.up[i]) <= 0.0:
            places[count] = i
            count += 1
    own, other, down, up = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    for k in range(count):
        i = places[k]
        own[k], other[k], down[k], up[k] = row[i], cut.row[i], around.down[i], around.up[i]
    return own, other, down, up, rest


@inner
def _leading(around: Surroundings, row: Array, radius: float, guess: float) -> tuple[Integers, float, float]:
    """L1: (places of the steepest entries, steepest first, the slope at which the ball is spent, what all others are at
    most): enough of them to spend the ball, from slopes of the `guess` on, or less."""
    steep, places = np.empty(HELD), np.empty(HELD, dtype=np.int64)
    guess = guess if row.size > HELD else 0.0
    while True:
        count, rest = 0, guess
        for i in range(row.size):
            size = abs(row[i])
            if size > rest and (around.down[i] if row[i] > 0.0 else around.up[i]) > 0.0:
                count = insert(steep, places, count, size, i)
                if count == HELD:
                    rest = max(guess, steep[HELD - 1])
        price, left = 0.0, radius
        for k in range(count):
            price = steep[k]
            left -= around.down[places[k]] if row[places[k]] > 0.0 else around.up[places[k]]
            if left <= 0.0:
                return places[:count], price, rest
        if count == HELD or rest <= 0.0:
            return places[:count], rest, rest
        guess = 0.5 * guess if 1e3 * guess > price else 0.0
