"""Affine forms of open ReLUs: exact values differ from them by no more than they say, in every net and box."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from encoders.formulations.to_stages import to_stages
from encoders.network.exact import exact_values
from encoders.network.graph import Array
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.quadratic_forms import AffineForms, QuadraticForms, quadratic_forms
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Norm
from verifier.problem.rounding import FLOAT32
from verifier.solvers.branch_and_bound import hidden_bounds


def point_of(forms: QuadraticForms, x: Array, arguments: list[Fraction]) -> list[Fraction]:
    """z = (ξ, h) at an input with these arguments of all ReLUs, exactly."""
    moved = zip(x[forms.moves].tolist(), forms.middle.tolist(), forms.half.tolist(), strict=True)
    opened = (max(arguments[place], Fraction(0)) for place in forms.places.tolist())
    return [*((Fraction(a) - Fraction(m)) / Fraction(h) for a, m, h in moved), *opened]


def steps_squared(forms: QuadraticForms, z: list[Fraction]) -> Fraction:
    """‖shift + share∘ξ‖²; 0 where the ball is its box."""
    if forms.round is None:
        return Fraction(0)
    parts = zip(forms.round.shift.tolist(), forms.round.share.tolist(), z[: forms.moving], strict=True)
    return sum(((Fraction(d) + Fraction(e) * entry) ** 2 for d, e, entry in parts), Fraction(0))


def assert_near(forms: AffineForms, z: list[Fraction], values: list[Fraction]) -> None:
    """Each value lies within its form's error, and its terms within its size."""
    rest = forms.constants.tolist(), forms.real.tolist(), forms.sizes.tolist()
    for row, constant, error, size, value in zip(forms.rows, *rest, values, strict=True):
        terms = [Fraction(constant), *(Fraction(a) * b for a, b in zip(row.tolist(), z, strict=True))]
        assert abs(value - sum(terms)) <= Fraction(error)
        assert sum(map(abs, terms)) <= Fraction(size) * (1 + Fraction(1, 2**40))


@pytest.fixture(params=[Norm.LINF, Norm.L2])
def norm(request: pytest.FixtureRequest) -> Norm:
    """The norms that there are quadratic bounds in."""
    return Norm(request.param)


def test_exact_values_lie_as_near_to_their_forms_as_these_say(setting: Any) -> None:
    """Every stage's arguments, those of the open ReLUs before it, and combinations of them."""
    region, graph, rng = setting.region, setting.graph, setting.rng
    stages = to_stages(graph)
    lower, upper = hidden_bounds(stages, linear_bounds(graph, region, Budget()))
    if not (region.bounded and np.all(np.isfinite(upper - lower))):
        return
    for number in range(1, len(stages.stages) + 1):
        forms = quadratic_forms(stages, region, lower, upper, number)
        before = stages.starts[number - 1]
        assert np.array_equal(forms.places, np.flatnonzero((lower[:before] < 0) & (upper[:before] > 0)))
        size = len(forms.asked.constants)
        matrix, offset = rng.normal(size=(2, size)), rng.normal(size=2)
        combined = forms.asked.combined(matrix, offset, forms.rate)
        for x in setting.points[:4]:
            values = exact_values(graph, x)
            arguments = [entry for node in stages.nodes[:-1] for entry in values[node].fractions()]
            z = point_of(forms, x, arguments)
            assert all(abs(entry) <= Fraction(most) for entry, most in zip(z, forms.reach.tolist(), strict=True))
            assert steps_squared(forms, z) <= 1 + Fraction(1, 2**40)
            assert_near(forms.arguments, z, [arguments[place] for place in forms.places.tolist()])
            asked = values[stages.nodes[number - 1]].fractions()
            assert_near(forms.asked, z, asked)
            sums = [
                sum((Fraction(a) * y for a, y in zip(row.tolist(), asked, strict=True)), Fraction(d))
                for row, d in zip(matrix, offset.tolist(), strict=True)
            ]
            assert_near(combined, z, sums)


def test_what_float32_rounds_is_charged_beside_the_reals(truth: Any) -> None:
    net = truth.net(3, (3, 6, 5, 3))
    ball = Ball(Norm.LINF, np.full(3, 0.5), 0.3, net.lo, net.hi)
    for both in (True, False):
        stages = replace(to_stages(net.graph, FLOAT32.unit, FLOAT32.floors(net.graph)), both=both)
        ends = hidden_bounds(stages, linear_bounds(net.graph, ball, Budget(), arithmetic=FLOAT32))
        asked = quadratic_forms(stages, ball, *ends, 3).asked
        assert np.all((asked.errors > asked.real) == both)
        assert np.all((asked.errors > 1e-7) & (asked.errors < 1e-3))
