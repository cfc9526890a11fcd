"""Quadratic bounds of one input and one ReLU, in few bits: each rounding alone would show if it went the wrong way."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from verifier.certificates.checker import (
    LONGEST,
    SLOPE_BITS,
    SPARE_BITS,
    FormsOverBox,
    InvalidError,
    Layer,
    QuadraticBounds,
    QuadraticEvidence,
)

INSTANCES = 800


class Counting:
    """What a proof counts."""

    def count(self, work: int) -> None:
        assert work >= 0


def small(own: FormsOverBox, width: int, aside: int, square: int) -> QuadraticBounds:
    """Bounds over one input, its step from the centre aside + width · ξ, in a ball of this radius², or a box (0)."""
    found: Any = object.__new__(QuadraticBounds)
    found.proof, found.fine, found.moves, found.arguments = Counting(), SPARE_BITS, np.arange(1), lambda layers: own
    found.round, found.square, found.width = square > 0, square, np.array([width], dtype=object)
    found.sides, found.free = found.width * (2 * aside + width), square - aside * aside
    bounds: QuadraticBounds = found
    return bounds


def least_of_formula(
    layer: Layer, given: QuadraticEvidence, own: FormsOverBox, asked: FormsOverBox, width: int, aside: int, square: int
) -> Fraction | None:
    """The least of it over all reals, exactly; None where that is not at ξ ≥ 0 and 0 ≤ h ≤ u."""
    unit = Fraction(1, 1 << SPARE_BITS)
    form, constant, above = (int(v) * unit for v in (own.rows[0, 0], own.constants[0], own.above[0]))
    pull, reads, value = (int(v) * unit for v in (*asked.rows[0], asked.constants[0]))
    low, high = Fraction(int(layer.low[0])), Fraction(int(layer.high[0]))
    kappa, pi = (Fraction(int(v[0]), 1 << given.shared) for v in (given.kappa, given.pi))
    t, lam, mu, sigma = (Fraction(int(v), 1 << given.own) for v in (given.t[0], *given.lines[:, 0, 0]))
    slope = Fraction(-((int(-high) << SLOPE_BITS) // int(high - low)), 1 << SLOPE_BITS)
    tau = Fraction(1 << given.fine, int(given.inverse[0]))
    if square:
        rho = Fraction(given.rho, square << given.ball)
        pull, value = pull + t * rho * width * (width + 2 * aside), value - t * rho * (square - aside * aside)
    # y is at least form · ξ + constant, and so much above it at most.
    pull += (mu - sigma * slope) * form - t * tau
    reads += sigma - lam - mu - t * (kappa * (constant + above) + pi * high)
    value += mu * constant - sigma * slope * (constant + above - low)
    # The least over ξ, then over h: pull + t(2τ ξ − κ form h) = 0.
    curve = kappa + pi - (kappa * form) ** 2 / (4 * tau)
    if curve <= 0:
        return None
    reads += kappa * form * pull / (2 * tau)
    h = -reads / (2 * t * curve)
    xi = (kappa * form * h - pull / t) / (2 * tau)
    if not (0 <= h <= high and xi >= 0):
        return None
    return value - pull * pull / (4 * t * tau) + reads * h + t * curve * h * h


def drawn(rng: np.random.Generator, square: int) -> tuple[Any, ...]:
    """(layer, arguments, what is asked, evidence, width and step of the input). Most of it is of so few bits that
    nothing is rounded, and some of it is not."""

    def one(*values: int) -> int:
        return int(rng.choice(values))

    def odd(often: float = 0.12) -> int:
        return one(-3, -1, 1, 2) if rng.random() < often else 0

    def row(*values: int) -> Any:
        return np.array([values], dtype=object)

    unit, none = 1 << SPARE_BITS, np.zeros(1, dtype=object)
    low, high = ((-1, 1), (-3, 1), (-2, 2), (-1, 2))[one(0, 0, 1, 1, 2, 3)]
    layer = Layer(np.arange(1), np.zeros(1, dtype=bool), none + low, none + high, 0)
    own = FormsOverBox(row(unit * one(0, -1, 1) + odd(), 0), none + unit * one(-2, -1, 0, 1) + odd(), none + abs(odd()))
    asked = FormsOverBox(row(unit * one(*range(-7, 2)) + odd(), 2 * unit * one(*range(-2, 3)) + odd()), none, none)
    # With τ = 1 the matrix is mostly a square.
    kappa, pi = ((0, 1), (0, 4), (2, 0), (4, 1), (2, 3), (0, 3))[one(0, 0, 0, 1, 1, 2, 3, 4, 5)]
    given = QuadraticEvidence(
        np.zeros(1, dtype=np.int64),
        *(one(0, 0, 2), one(0, 0, 0, 2), one(0, 0, 0, 0, 1, 3, 8)),
        *(none.astype(np.int64) + each for each in (one(1, 1, 1, 1, 2, 4, 3), kappa, pi, one(1, 1, 1, 2, 3))),
        np.where(rng.random((3, 1, 1)) < 0.7, 0, rng.choice([1, 2, 3, 8], (3, 1, 1))),
    )
    width, aside = one(1, 1, 2), -one(0, 1, 2)
    if square:
        given = replace(given, ball=one(0, 0, 1, 4))
        most = small(own, width, aside, square).most_rho(given)
        given = replace(given, rho=min(max(0, (square << given.ball) * one(0, 1, 1) + odd(0.4)), most))
    return layer, own, asked, given, width, aside


@pytest.mark.parametrize("square", [0, 1, 5])
def test_no_rounding_goes_above_the_least_of_the_formula(square: int) -> None:
    """square: the ball's radius²; 0: a box."""
    rng, gaps = np.random.default_rng(square), list[Fraction]()
    for _ in range(INSTANCES):
        layer, own, asked, given, *place = drawn(rng, square)
        least = least_of_formula(layer, given, own, asked, *place, square)
        if least is not None:
            value, den = small(own, *place, square).least([layer], given, asked)
            gaps.append(least - Fraction(int(value[0]), den))
    assert min(gaps) >= 0
    assert gaps.count(Fraction(0)) > INSTANCES // 20


def sized(**bits: int) -> tuple[QuadraticBounds, list[Layer], QuadraticEvidence, FormsOverBox]:
    """Bounds whose numbers have so many bits: of the argument's form, of the ReLU's upper end in its last place, of the
    input's multiplier and of what is asked of the input; all else is about 1."""
    none, unit, some = np.zeros(1, dtype=object), 1 << SPARE_BITS, np.ones(1, dtype=np.int64)
    form, pull = (
        np.array([[-(1 << bits[each] - 1) if each in bits else unit, 0]], dtype=object) for each in ("form", "pull")
    )
    high = 1 << bits["high"] - 1 - SPARE_BITS if "high" in bits else 1
    layer = Layer(np.arange(1), np.zeros(1, dtype=bool), none - 1, none + high, 0)
    inverse = some << bits.get("inverse", 1) - 1
    given = QuadraticEvidence(
        np.zeros(1, dtype=np.int64), 0, 0, 0, inverse, 0 * some, 4 * some, some, np.zeros((3, 1, 1), dtype=np.int64)
    )
    return small(FormsOverBox(form, none, none), 1, 0, 0), [layer], given, FormsOverBox(pull, none, none)


@pytest.mark.parametrize(
    ("fit", "too_long"),
    [
        ({"form": 53}, {"form": 54}),
        ({"high": 53}, {"high": 54}),
        ({"form": 50, "inverse": 12}, {"form": 50, "inverse": 13}),
        ({"pull": LONGEST - 1}, {"pull": LONGEST}),
        ({"pull": LONGEST - 20, "inverse": 20}, {"pull": LONGEST - 20, "inverse": 21}),
    ],
)
def test_numbers_that_floats_or_words_do_not_hold_are_refused(fit: dict[str, int], too_long: dict[str, int]) -> None:
    bounds, *given = sized(**fit)
    assert bounds.least(*given)[1] > 0
    bounds, *given = sized(**too_long)
    with pytest.raises(InvalidError, match="the numbers of quadratic bounds are too long"):
        bounds.least(*given)
