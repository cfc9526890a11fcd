"""The checker's forms over the input: digits, what is rounded off, and the region's least value, against fractions."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from verifier.certificates import checker
from verifier.certificates.checker import HELD_BITS, CheckedQuery, Limbs, Region, Weights, held


def integers(rng: np.random.Generator, shape: tuple[int, ...], bits: int) -> np.ndarray:
    values = [int(rng.integers(-(1 << 62), 1 << 62)) >> int(rng.integers(0, 62)) for _ in range(math.prod(shape))]
    found = np.empty(shape, dtype=object)
    found.reshape(-1)[:] = [value << int(rng.integers(0, max(1, bits))) for value in values]
    return found


def limbs_of(values: np.ndarray, bits: int, parts: int) -> Limbs:
    """Carries are left on purpose: all parts but the last hold more than `bits` bits."""
    rest, found = values, []
    for _ in range(parts):
        found.append(((rest & ((1 << bits) - 1)) + (3 << bits)).astype(np.int64))
        rest = (rest >> bits) - 3
    return Limbs([*found, rest.astype(np.int64)], bits)


@pytest.mark.parametrize("bits", [18, 21, 26])
def test_limbs_are_rounded_as_the_integers_that_they_are(bits: int) -> None:
    rng = np.random.default_rng(bits)
    values = integers(rng, (12, 7), 40)
    values[0], values[1], values[2, :] = 0, -1, -(1 << 70)
    parts = limbs_of(values, bits, 5)
    whole = parts.whole()
    assert np.array_equal(whole, values)
    own, shift = parts.held()
    other, spare = held(whole)
    assert np.array_equal(own, other)
    assert np.array_equal(shift, spare)
    rest = whole - (own.astype(object) << shift[:, np.newaxis])
    assert np.all(rest >= 0)
    assert np.all(rest < (1 << shift)[:, np.newaxis])
    assert max(int(abs(own).max()), 1).bit_length() <= HELD_BITS + 1
    alone = [held(row[np.newaxis]) for row in whole]
    assert all(np.array_equal(v[0], own[k]) and s[0] == shift[k] for k, (v, s) in enumerate(alone))


def test_products_are_exact_and_may_be_cut_into_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    stack = rng.normal(size=(2, 3, 4)).astype(np.float32).astype(np.float64)
    rows = integers(rng, (5, 2, 2, 3), 90)
    weights = Weights(stack)
    made = weights.product(rows, back=False).whole()
    exactly = np.array([[Fraction(float(w)) * weights.den for w in row] for row in stack.reshape(-1, 4)], dtype=object)
    for b, g, left, n in product(range(5), range(2), range(2), range(4)):
        wanted = sum(rows[b, g, left, k] * exactly[3 * g + k, n] for k in range(3))
        assert made[b, (g * 2 + left) * 4 + n] == wanted
    rows[0] >>= 60
    made = weights.product(rows, back=False).whole()
    monkeypatch.setattr(checker, "MOST_DIGITS", 300)
    assert np.array_equal(weights.product(rows, back=False).whole(), made)


def query(norm: str, n: int, rng: np.random.Generator) -> CheckedQuery:
    centre = rng.uniform(0, 1, n).astype(np.float32).astype(np.float64)
    return CheckedQuery(norm, 0, 1, 0.0, centre, np.zeros(n), np.where(rng.random(n) < 0.2, centre, 1.0))


def least(query: CheckedQuery, row: list[Fraction], radius: float) -> Fraction:
    """The minimum of row · x over the ball and the box: each entry as far as it may; in L1 the steepest first."""
    centre = [Fraction(c) for c in query.centre.tolist()]
    room = [
        c - Fraction(lo) if g > 0 else Fraction(hi) - c
        for g, c, lo, hi in zip(row, centre, query.lo.tolist(), query.hi.tolist(), strict=True)
    ]
    left, fall = Fraction(radius), Fraction(0)
    for g, space in sorted(zip(row, room, strict=True), key=lambda pair: -abs(pair[0])):
        step = min(space, Fraction(radius) if query.norm == "linf" else left)
        fall, left = fall + abs(g) * step, left - (step if query.norm == "l1" else 0)
    return sum((g * c for g, c in zip(row, centre, strict=True)), Fraction(0)) - fall


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize("n", [1, 9, 100])
def test_the_least_value_is_the_minimum_less_what_is_rounded_off(norm: str, n: int) -> None:
    rng = np.random.default_rng(n)
    asked, radius = query(norm, n, rng), 0.07 if norm == "linf" else 1.3
    region = Region(asked, radius)
    rows = integers(rng, (20, n), 60)
    rows[0] = 0
    found, den = region.least(*held(rows), 7)
    for row, value in zip(rows, found, strict=True):
        exactly = least(asked, [Fraction(int(entry), 7) for entry in row], radius)
        lost = exactly - Fraction(int(value), den)
        assert 0 <= lost <= Fraction(4 * n * int(abs(row).max()), 7) / (1 << HELD_BITS - 1)


def test_small_numbers_lose_nothing() -> None:
    asked = CheckedQuery("linf", 0, 1, 0.0, np.array([0.5, 0.25]), np.zeros(2), np.ones(2))
    value, den = Region(asked, 0.125).least(*held(np.array([[3, -1]], dtype=object)), 1)
    assert Fraction(int(value[0]), den) == Fraction(3 * 3 - 3, 8)
