"""The traps: small networks on which a verifier that trusts its floats, or a solver's tolerance, goes wrong."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from tests.traps.enumeration import Exact
from verifier.problem.query import Norm


@dataclass(frozen=True)
class Trap:
    """A network of float32 weights, an input and a target: how far is the nearest point that prefers the target?"""

    name: str
    layers: tuple[tuple[Any, Any], ...]
    centre: tuple[float, ...]
    target: int = 0
    precision: float = 1e-5
    lo: float = 0.0
    hi: float = 1.0

    @property
    def exact(self) -> Exact:
        layers = tuple((np.asarray(w, np.float64).tolist(), np.asarray(b, np.float64).tolist()) for w, b in self.layers)
        ends = ((Fraction(end),) * len(self.centre) for end in (self.lo, self.hi))
        return Exact(layers, *ends)

    def nearest(self, norm: Norm) -> Fraction | None:
        return self.exact.nearest(norm, tuple(map(Fraction, self.centre)), self.target)


def scalar(hidden: list[tuple[float, float]], row: list[float], offset: float = 0.0) -> tuple[tuple[Any, Any], ...]:
    """One input: z0 = row · relu(w x + b) + offset, against z1 = 0."""
    return ([[w] for w, _ in hidden], [b for _, b in hidden]), ([row, [0.0] * len(row)], [offset, 0.0])


def plane(hidden: list[tuple[float, float, float]], row: list[float], offset: float = 0.0) -> tuple[Any, ...]:
    """Two inputs: z0 = row · relu(w0 x0 + w1 x1 + b) + offset, against z1 = 0."""
    return ([[w, v] for w, v, _ in hidden], [b for _, _, b in hidden]), ([row, [0.0] * len(row)], [offset, 0.0])


def hidden_by_rounding(scale: float, gate: float, step: float) -> tuple[Any, ...]:
    """z0 = gate·relu(x − 3/4) + step·(1 − s) − 1/16, s = relu(ωv + 1) − relu(ωv) = 1 for v = relu(x − 1/2).

    From x = 1/2 on floats see s as 0. The 1 is a neuron of its own, so that every weight is a float32.
    """
    first = [[1.0], [1.0], [0.0]], [-0.5, -0.75, 1.0]
    second = [[scale, 0.0, 1.0], [scale, 0.0, 0.0], [0.0, 1.0, 0.0]], [0.0, 0.0, 0.0]
    return first, second, ([[-step, step, gate], [0.0, 0.0, 0.0]], [step - 0.0625, 0.0])


def tent(at: float, steep: float, height: float = 0.5) -> tuple[tuple[Any, Any], ...]:
    """z0 = a tent of height 1 and half-width 1/steep over x = at, less `height`."""
    ends = [(steep, 1.0 - steep * at), (steep, -steep * at), (steep, -1.0 - steep * at)]
    return scalar(ends, [1.0, -2.0, 1.0], -height)


ONE = (0.0, 1.0)
"""A neuron that is 1."""


def near_zero(power: int, sign: int) -> tuple[tuple[Any, Any], ...]:
    """z0 = x − 1 ± 2^-power, whose largest value in the box is ± 2^-power."""
    return scalar([(1.0, 0.0), ONE, (0.0, 2.0**-power)], [1.0, -1.0, float(sign)])


def ridge(power: int, sign: int) -> tuple[tuple[Any, Any], ...]:
    """z0 = −|x0 − 5/8| − |x1 − 5/8| ± 2^-power: reached around one point, or nowhere."""
    sides = [(1.0, 0.0, -0.625), (-1.0, 0.0, 0.625), (0.0, 1.0, -0.625), (0.0, -1.0, 0.625), (0.0, 0.0, 2.0**-power)]
    return plane(sides, [-1.0] * 4 + [float(sign)])


TINY, HUGE = 2.0**-149, 2.0**127
"""The least subnormal float32 and nearly the largest float32."""

TRAPS = (
    Trap("rounding hides it: 2^30", hidden_by_rounding(2.0**30, 4.0, -8.0), (0.25,)),
    Trap("rounding hides it: 2^60", hidden_by_rounding(2.0**60, 4.0, -8.0), (0.25,)),
    Trap("rounding invents it: 2^30", hidden_by_rounding(2.0**30, 0.0, 8.0), (0.25,)),
    Trap("rounding invents it: 2^60", hidden_by_rounding(2.0**60, 0.0, 8.0), (0.25,)),
    Trap("rounding hides the gate: 2^60", hidden_by_rounding(2.0**60, 4.0, -0.25), (0.25,), precision=1e-2),
    Trap("rounding invents it at the input", hidden_by_rounding(2.0**60, 0.0, 0.25), (0.875,)),
    *(
        Trap(f"{name} {'+' if sign > 0 else '-'}2^-{power}", make(power, sign), centre, precision=1e-6)
        for name, make, centre in (("margin", near_zero, (0.5,)), ("ridge", ridge, (0.25, 0.5)))
        for power in (23, 30, 40)
        for sign in (1, -1)
    ),
    Trap("ridge of one point", ridge(30, 0), (0.25, 0.5)),
    Trap("tent of width 2e-6", tent(0.5, 2.0**20), (0.25,)),
    Trap("tent of width 2e-6, tip only", tent(0.5, 2.0**20, 1.0), (0.25,)),
    Trap("tent that stays below", tent(0.5, 2.0**20, 1.0 + 2.0**-20), (0.25,)),
    Trap("big-M 2^20", scalar([(2.0**20, -(2.0**19)), (2.0**20, -(2.0**19) - 1)], [1.0, -1.0], -0.5), (0.25,)),
    Trap("big-M 2^20, never", scalar([(2.0**20, -(2.0**19)), (2.0**20, -(2.0**19) - 1)], [1.0, -1.0], -1.0 - 2.0**-20),
         (0.25,)),
    Trap("tie at the distance", scalar([(1.0, 0.0)], [1.0], -0.75), (0.5,)),
    Trap("two nearest points", scalar([(1.0, -0.5), (-1.0, 0.5)], [1.0, 1.0], -0.25), (0.5,)),
    Trap("three classes tie", (([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]),
         ([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]], [-0.5, -0.5, -0.5])), (0.75, 0.25)),
    Trap("three classes tie with nothing to spare", (([[1.0, -1.0], [-1.0, 1.0]], [0.0, 0.0]),
         ([[-1.0, -1.0], [0.0, 0.0], [0.0, -1.0]], [0.0, 0.0, 0.0])), (0.75, 0.25)),
    Trap("on a kink", scalar([(1.0, -0.625), (-1.0, 0.625)], [-1.0, -1.0]), (0.5,)),
    Trap("on the border of the box", scalar([(1.0, 0.0)], [1.0], -1.0), (0.5,)),
    Trap("in the corner of the box", plane([(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)], [1.0, 1.0], -2.0), (0.5, 0.25)),
    Trap("one float beyond the box", scalar([(1.0, 0.0)], [1.0], -1.0 - 2.0**-23), (0.5,)),
    Trap("distance 0", scalar([(1.0, -0.25)], [1.0], -0.25), (0.5,)),
    Trap("distance 0, second class", (([[1.0]], [-0.25]), ([[0.0], [1.0]], [0.25, 0.0])), (0.5,), target=1),
    Trap("no such target", scalar([(1.0, 0.0)], [1.0], -3.0), (0.5,)),
    Trap("target of lower bias", (([[1.0]], [0.0]), ([[1.0], [1.0]], [0.0, 2.0**-20])), (0.5,)),
    Trap("all dead", scalar([(1.0, -2.0), (-1.0, -1.0)], [5.0, 7.0], -0.5), (0.5,)),
    Trap("dead but at the border", scalar([(1.0, -1.0), (-1.0, 0.0)], [5.0, 7.0]), (0.5,)),
    Trap("constant", scalar([(0.0, 1.0), (0.0, 0.0), (0.0, -1.0)], [1.0, 5.0, 7.0], -1.0), (0.5,)),
    Trap("duplicates cancel", scalar([(3.0, -1.0)] * 4 + [(1.0, 0.0)], [7.0, -7.0, 5.0, -5.0, 1.0], -0.75), (0.5,)),
    Trap("twins", (([[1.0]], [0.0]), ([[1.0], [1.0]], [0.0, 0.0])), (0.5,), target=1),
    Trap("1e-7 away", scalar([(1.0, 0.0)], [2.0**20], -(2.0**20) * (0.5 + 2.0**-23)), (0.5,), precision=1e-9),
    Trap("1e-7 from 0", scalar([(2.0**20, 0.0)], [1.0], -(2.0**-3)), (0.0,), precision=1e-10),
    Trap("1e-12 from 0", scalar([(2.0**20, 0.0)], [1.0], -(2.0**-20)), (0.0,), precision=1e-15),
    Trap("subnormal, huge", (([[TINY]], [0.0]), ([[HUGE]], [0.0]), ([[2.0**22], [0.0]], [-0.75, 0.0])), (0.5,)),
    Trap("huge, subnormal", (([[HUGE]], [0.0]), ([[TINY]], [0.0]), ([[2.0**22], [0.0]], [-0.75, 0.0])), (0.5,)),
    Trap("tiny, large", (([[2.0**-34]], [0.0]), ([[2.0**34], [0.0]], [-0.75, 0.0])), (0.5,)),
    Trap("tiny, large, never", (([[2.0**-34]], [0.0]), ([[2.0**34], [0.0]], [-1.25, 0.0])), (0.5,)),
    Trap("tiny beside one", plane([(1.0, 2.0**-34, 0.0), (1.0, 0.0, 0.0)], [2.0**34, -(2.0**34)], -0.75), (0.5, 0.5)),
    Trap("overflow", (([[HUGE]], [0.0]), ([[HUGE]], [0.0]), ([[TINY], [0.0]], [-HUGE, 0.0])), (0.0,)),
    Trap("against the gradient", plane([(4.0, 0.0, -0.25), (-(2.0**7), 0.0, 16.0), (0.0, 1.0, -2.0)], [0.25, 1.0, 9.0],
         -15.0), (0.375, 0.5)),
    Trap("far tent beside a slope", (([[1.0], [64.0], [64.0], [64.0]], [0.0, -55.0, -56.0, -57.0]),
         ([[-0.5, 1.0, -2.0, 1.0], [0.0] * 4], [-0.25, 0.0])), (0.125,)),
)  # fmt: skip
"""Sizes are powers of two, so that each float32 weight is what is written here."""
