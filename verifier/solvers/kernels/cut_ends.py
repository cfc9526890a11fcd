"""Safe lower bounds of rows within the half-spaces of a batch of nodes, as kernels: what `half_space.least` gives.

In L∞ only the entries of the input that a row reads are gone through: all others are steps along the cut alone, whose
sum over the whole input is known.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.half_space import SETTLED, WEIGHTS
from verifier.bounds.kernels.half_space import Cut, cut_of, least
from verifier.bounds.kernels.jit import Integers, inner
from verifier.bounds.kernels.network import Surroundings
from verifier.problem.norms.geometry import Floats
from verifier.problem.rounding import SPARE_OPERATIONS, SUMMED, UNIT


class Cuts(NamedTuple):
    """The parts of each node's `Cut`, one node a row of arrays (nodes, n); half and middle (n,) are the same for all.

    numbers (nodes, 6): fallen, size, shift, price, rest, and how many of the places are used.
    """

    amount: Array
    row: Array
    deepest: Array
    scaled: Array
    numbers: Array
    places: Integers
    half: Array
    middle: Array


class Sides(NamedTuple):
    """A ball's centre, and `Cuts.half` and `middle`, at some entries of the input."""

    centre: Array
    half: Array
    middle: Array


STRIP = 16
"""Entries of 64 lanes that are copied at a time, a line of the cache of each: so much stays in the first cache."""


@inner
def cuts_of(around: Surroundings, row: Array, constant: Array, left: Array, radius: float) -> Cuts:
    """The half-spaces of nodes whose multipliers prove constant + row · δ for steps δ: of those that are `left`."""
    count, n = row.shape
    deepest, scaled, numbers = np.empty((count, n)), np.empty((count, n)), np.empty((count, 6))
    places, half, middle = np.empty((count, n), dtype=np.int64), np.empty(n), np.empty(n)
    for b in range(count):
        if left[b] < math.inf:
            cut = cut_of(around, row[b], -constant[b], radius)
            deepest[b], scaled[b], half[:], middle[:] = cut.deepest, cut.scaled, cut.half, cut.middle
            places[b, : cut.places.size] = cut.places
            numbers[b, 0], numbers[b, 1], numbers[b, 2] = cut.fallen, cut.size, cut.shift
            numbers[b, 3], numbers[b, 4], numbers[b, 5] = cut.price, cut.rest, cut.places.size
    return Cuts(-constant, row, deepest, scaled, numbers, places, half, middle)


@inner
def turned(row: Floats, inputs: Integers) -> Floats:
    """The rows (n, lanes), one lane a row, at `inputs` alone: (lanes, inputs)."""
    lanes = row.shape[1]
    found = np.empty((lanes, inputs.size), dtype=np.float32)
    for begin in range(0, inputs.size, STRIP):
        end = min(begin + STRIP, inputs.size)
        for lane in range(lanes):
            own = found[lane]
            for k in range(begin, end):
                own[k] = row[inputs[k], lane]
    return found


@inner
def part_of(array: Array, inputs: Integers) -> Array:
    """The array (n,) at `inputs`."""
    if inputs.size == array.size:
        return array
    found = np.empty(inputs.size)
    for k in range(inputs.size):
        found[k] = array[inputs[k]]
    return found


@inner
def lower_end(
    around: Surroundings,
    cuts: Cuts,
    radius: float,
    b: int,
    entries: Floats,
    inputs: Integers,
    sides: Sides,
    constant: float,
    charge: float,
    known: float,
) -> float:
    """A safe lower bound of row · x + constant − charge in node b's cut ball; tight only where it is above the `known`
    one. entries: the row's at `inputs`, where sides are those of the box."""
    fallen, size, shift, price, rest, count = cuts.numbers[b]
    cut = Cut(
        cuts.row[b],
        cuts.amount[b],
        radius,
        cuts.deepest[b],
        fallen,
        size,
        cuts.half,
        cuts.middle,
        cuts.scaled[b],
        shift,
        cuts.places[b, : int(count)],
        price,
        rest,
    )
    centre = sides.centre
    for k in range(entries.size):
        constant += entries[k] * centre[k]
    enough = known - constant + charge
    if around.l1 or around.l2:
        row = np.zeros(around.centre.size)
        for k in range(inputs.size):
            row[inputs[k]] = entries[k]
        constant += least(around, cut, row, enough) - charge
    else:
        deepest, scaled = part_of(cut.deepest, inputs), part_of(cut.scaled, inputs)
        constant += _least_in_box(cut, entries, deepest, scaled, sides, enough) - charge
    end: float = constant - 2.0 * abs(constant) * UNIT
    # What is no number bounds nothing.
    return end if end > known else known


@inner
def _least_in_box(cut: Cut, entries: Floats, deepest: Array, scaled: Array, sides: Sides, enough: float) -> float:
    """`half_space.least` in L∞ for a row whose other entries are 0; deepest, scaled: the cut's at these."""
    count, half, middle = entries.size, sides.half, sides.middle
    own = np.empty(count)
    deep, shift, size, fallen, inner, slope = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(count):
        own[k] = entries[k] * half[k]
    for k in range(count):
        deep += entries[k] * deepest[k]
        shift += entries[k] * middle[k]
        size += abs(np.float64(entries[k]))
    for k in range(count):
        mine, its = own[k], scaled[k]
        fallen += abs(mine)
        inner += abs(its)
        # Where the row is 0, a mixture moves as the cut does.
        slope += -its if mine > 0.0 else (its if mine < 0.0 else -abs(its))
    outer = max(cut.fallen + cut.shift - inner, 0.0)
    fallen, slope = fallen - shift, slope + cut.shift - outer
    # Twice: what the other entries add is a difference of sums.
    rounding = 2.0 * SUMMED * (cut.row.size + SPARE_OPERATIONS) * cut.radius
    best = -fallen - rounding * size
    left, rise, right, decline = -fallen, slope - cut.amount, deep, -cut.fallen - cut.amount
    for _ in range(WEIGHTS):
        if not rise > 0.0 or not decline < 0.0:
            break
        weight = (right - left) / (rise - decline)
        highest = left + weight * rise
        if not weight > 0.0 or highest <= enough or highest - best <= SETTLED * (highest + fallen):
            break
        spent, slope = weight * outer, cut.shift - outer - cut.amount
        for k in range(count):
            value = own[k] + weight * scaled[k]
            spent += abs(value)
            slope += -scaled[k] if value > 0.0 else scaled[k]
        found = shift + weight * cut.shift - spent - weight * cut.amount
        best = max(best, found - rounding * (size + weight * cut.size) - 4.0 * UNIT * abs(weight * cut.amount))
        if slope > 0.0:
            left, rise = found - slope * weight, slope
        else:
            right, decline = found - slope * weight, slope
    return best
