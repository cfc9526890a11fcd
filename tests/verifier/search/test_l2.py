"""L2 questions against the minima that an enumeration of all linear regions gives, and what is refused in L2."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.errors import InputError
from verifier.problem.query import Norm, Targeted, disjuncts
from verifier.problem.verdict import Evidence, Holds, Status, Violated

SAME = 1e-6
"""What the enumeration's least squares may be off by."""

PRECISION = 1e-4
SIZES = ((3, 5, 5, 3), (2, 4, 4, 4, 2), (4, 3, 6, 2))


def squared(x: np.ndarray, centre: np.ndarray) -> Fraction:
    pairs = zip(x.reshape(-1).tolist(), centre.tolist(), strict=True)
    return sum(((Fraction(a) - Fraction(b)) ** 2 for a, b in pairs), Fraction(0))


@pytest.mark.parametrize("seed", range(8))
def test_brackets_hold_the_minimum_of_the_enumeration(truth: Any, save_net: Callable[..., Any], seed: int) -> None:
    net = truth.net(seed, SIZES[seed % len(SIZES)])
    model = save_net(net)
    centre = np.random.default_rng(seed).random(net.lo.size).astype(np.float32)
    label, classes = model.predict(centre), net.layers[-1][1].size
    for target in [place for place in range(classes) if place != label]:
        ((_, goal),) = disjuncts(Targeted(target), classes)
        expected = net.nearest(Norm.L2, centre.astype(np.float64), goal)
        found = verifier.minimal(model, centre, norm="l2", target=target, precision=PRECISION)
        assert found.lower <= expected + SAME
        assert found.upper >= expected - SAME
        assert found.status in {Status.MINIMAL, Status.UNREACHABLE}
        assert (found.witness is None) == math.isinf(expected)
        if found.witness is not None:
            assert found.upper - found.lower <= PRECISION
            assert squared(found.witness.point, centre) <= Fraction(found.upper) ** 2
            assert model.predict(found.witness.point) == target
        for radius, verdict in ((0.99 * found.lower, Holds), (1.01 * found.upper, Violated)):
            if math.isfinite(radius):
                answer = verifier.check(model, centre, radius, norm="l2", target=target)
                assert isinstance(answer.verdict, verdict)


def test_a_tie_exactly_at_the_radius(truth: Any, save_net: Callable[..., Any]) -> None:
    """3 x₀ + 4 x₁ ≥ 25/4 from (1/2, 1/2): a distance of (25/4 − 7/2) / 5 = 11/20, at (1/2, 1/2) + 11/20 (3/5, 4/5)."""
    model = save_net(truth.of_layers(([[3.0, 4.0]], [0.0]), ([[1.0], [0.0]], [0.0, 6.25]), hi=2.0))
    x = np.array([0.5, 0.5], dtype=np.float32)
    found = verifier.minimal(model, x, norm="l2", box=(0.0, 2.0), precision=1e-6)
    assert found.lower <= 0.55 <= found.upper
    assert found.status is Status.MINIMAL
    assert found.evidence is Evidence.PROVED


def test_what_l2_does_not_go_with(truth: Any, save_net: Callable[..., Any]) -> None:
    model = save_net(truth.net(0, (3, 5, 3)))
    x = np.full(3, 0.5, dtype=np.float32)
    for method in ("milp", "milp-direct", "z3"):
        with pytest.raises(InputError, match=r"l2"):
            verifier.minimal(model, x, norm="l2", method=method)
