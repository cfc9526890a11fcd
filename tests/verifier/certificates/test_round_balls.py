"""Certificates in L2: the checker's bound over a round ball is below every point of it, near the least, and enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import verifier
from tests.verifier.certificates.parts import taken_apart
from verifier.certificates import checker
from verifier.certificates.checker import CheckedQuery, InvalidError, Region, held
from verifier.problem.norms.l2 import L2

NEAR = 1e-6
"""Relative to what a form falls: HELD_BITS of its coefficients and of the rooms."""


def exactly(value: Any, den: int) -> list[Fraction]:
    return [Fraction(int(entry), den) for entry in value]


@pytest.mark.parametrize("radius", [2.0**-12, 1 / 64, 0.3, 1.0, 1.7, 100.0])
@pytest.mark.parametrize("seed", range(4))
def test_forms_are_bounded_below_and_closely(seed: int, radius: float) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    centre = rng.integers(0, 9, n) / 8
    rows = (rng.normal(size=(6, n)) * 2.0 ** rng.integers(0, 40, (6, 1))).astype(np.int64)
    rows[0] = 0
    region = Region(CheckedQuery("l2", 0, None, 0.0, centre, np.zeros(n), np.ones(n)), radius)
    with np.errstate(all="ignore"):  # as where certificates are checked
        least = exactly(*region.least(*held(rows.astype(object)), 1))
    ball = L2(centre, np.zeros(n), np.ones(n), radius)
    points = ball.minimiser(rows.astype(np.float64))
    points = centre + (points - centre) * (1 - 1e-10)
    for row, bound, x in zip(rows.tolist(), least, points.tolist(), strict=True):
        assert L2.distance_exact(x, centre) <= radius
        there = sum((Fraction(a) * Fraction(b) for a, b in zip(row, x, strict=True)), Fraction(0))
        fall = sum((abs(Fraction(a)) for a in row), Fraction(0)) * Fraction(min(radius, 1.0))
        assert bound <= there
        assert there - bound <= Fraction(NEAR) * fall


def test_squares_and_roots_are_exact() -> None:
    rng = np.random.default_rng(0)
    rows = np.vstack([rng.integers(0, 1 << 36, (5, 40)), np.full((1, 40), 1 << 36), np.zeros((1, 40), dtype=np.int64)])
    found = checker.squares(rows)
    assert found.tolist() == [sum(entry * entry for entry in row) for row in rows.tolist()]
    for number, root in zip(found.tolist(), checker.roots(found).tolist(), strict=True):
        assert root == math.isqrt(number) + (math.isqrt(number) ** 2 < number)


def test_a_bracket_is_certified_and_what_is_tampered_with_refused(truth: Any, save_net: Callable[..., Any]) -> None:
    model = save_net(truth.net(3, (3, 5, 4, 3)))
    x = np.full(3, 0.5, dtype=np.float32)
    bracket = verifier.minimal(model, x, norm="l2", precision=1e-4)
    assert bracket.witness is not None
    made = verifier.certificate(model, x, bracket.lower, bracket.witness.point, norm="l2")
    content = model.path.read_bytes()
    found = made.result
    assert found.query.norm == "l2"
    assert found.lower == bracket.lower
    assert found.distance is not None
    assert Fraction(bracket.lower) <= found.distance <= Fraction(bracket.upper)
    parts = taken_apart(made.content)
    parts.header["radius"] = (bracket.upper * 1.01).hex()
    with pytest.raises(InvalidError):
        checker.checked(parts.content(), content)


def test_a_larger_ball_of_the_same_radius_is_refused(valid: list[Any]) -> None:
    """‖δ‖∞ ≤ ‖δ‖₂ ≤ ‖δ‖₁: a proof in L1 is none in L2, one in L2 none in L∞, at the radius that just closes."""
    refused = 0
    for case, content in valid:
        norm = case.asked.ball.norm.value
        other = {"l1": "l2", "l2": "linf"}.get(norm)
        if other is None:
            continue
        parts = taken_apart(content)
        parts.header["norm"] = other
        try:
            checker.checked(parts.content(), case.content)
        except InvalidError:
            refused += 1
        else:
            larger = replace(case.asked.ball, norm=type(case.asked.ball.norm)(other))
            nearest = min(float(case.net.nearest(larger.norm, larger.centre, goal)) for _, goal in case.asked.goals)
            assert nearest > 0.98 * case.truth
    assert refused
