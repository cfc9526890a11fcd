"""Bounds by quadratic multipliers: never above the truth in exact arithmetic, higher than lines where many are open."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from encoders.formulations.to_stages import to_stages
from encoders.network.exact import exact_outputs
from encoders.network.graph import Array
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.quadratic_forms import AffineForms, QuadraticForms, quadratic_forms
from verifier.bounds.quadratic_rows import (
    OwnMultipliers,
    QuadraticRows,
    SharedMultipliers,
    proved,
    quadratic_lower,
)
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Norm
from verifier.solvers.branch_and_bound import hidden_bounds

DIFFERENCE = 1e-5
"""Step of central differences."""


@pytest.fixture(params=[Norm.LINF, Norm.L2])
def norm(request: pytest.FixtureRequest) -> Norm:
    """The norms that there are quadratic bounds in."""
    return Norm(request.param)


def drawn(bound: QuadraticRows, rng: np.random.Generator) -> tuple[SharedMultipliers, OwnMultipliers]:
    """Any multipliers, some negative, the Hessian positive definite or not."""
    shared, own = bound.start()
    size = 10.0 ** rng.uniform(-3, 1)
    scale = float(own.mu.max(initial=0.0)) + float(own.sigma.max(initial=0.0))
    shared = SharedMultipliers(*(part * np.exp(size * rng.normal(size=part.shape)) for part in shared))
    lines = (part + size * scale * rng.normal(size=part.shape) for part in own[1:])
    return shared._replace(tau=shared.tau * 10.0 ** rng.uniform(0, 2)), OwnMultipliers(
        own.t * 10.0 ** rng.normal(), *lines
    )


def test_never_above_the_rows_in_exact_arithmetic(setting: Any) -> None:
    region, graph, rng = setting.region, setting.graph, setting.rng
    stages = to_stages(graph)
    lower, upper = hidden_bounds(stages, linear_bounds(graph, region, Budget()))
    if not (region.bounded and np.all(np.isfinite(upper - lower)) and np.any((lower < 0) & (upper > 0))):
        return
    points = [exact_outputs(graph, point) for point in setting.points[:8]]
    forms = quadratic_forms(stages, region, lower, upper, len(stages.stages))
    matrix, offset = rng.normal(size=(3, graph.output_size)), float(np.abs(points[0]).max()) * rng.normal(size=3)
    rows = forms.asked.combined(matrix, offset, forms.rate)
    least = [
        min(sum((Fraction(a) * z for a, z in zip(row.tolist(), logits, strict=True)), Fraction(d)) for logits in points)
        for row, d in zip(matrix, offset.tolist(), strict=True)
    ]
    bound = QuadraticRows(forms, rows)
    for given in (bound.start(), *(drawn(bound, rng) for _ in range(8))):
        found = proved(forms, rows, *given)
        assert np.all(found.charged <= found.real)
        for value, most in zip(found.real.tolist(), least, strict=True):
            assert value == -np.inf or Fraction(value) <= most
    climbed = quadratic_lower(forms, rows, Budget(), steps=30)
    assert all(
        value == -np.inf or Fraction(value) <= most for value, most in zip(climbed.real.tolist(), least, strict=True)
    )


def wide(truth: Any, norm: Norm, seed: int, hidden: int = 40) -> tuple[QuadraticForms, AffineForms, Array]:
    """The last stage's rows of a net whose ReLUs are nearly all open; the least of each that was drawn."""
    rng = np.random.default_rng(seed)
    layers = [(rng.normal(size=(m, n)) / n**0.5, 0.1 * rng.normal(size=m)) for n, m in pairwise((24, hidden, 10, 4))]
    net = truth.of_layers(*layers)
    ball = Ball(norm, np.full(24, 0.5), 0.25 if norm is Norm.LINF else 0.9, net.lo, net.hi)
    stages = to_stages(net.graph)
    ends = hidden_bounds(stages, linear_bounds(net.graph, ball, Budget()))
    steps = rng.choice([-1.0, 1.0], (2000, 24)) if norm is Norm.LINF else ball.geometry.directions(rng, (2000, 24))
    points = np.clip(ball.centre + ball.radius * steps, net.lo, net.hi)
    forms = quadratic_forms(stages, ball, *ends, 3)
    return forms, forms.asked.combined(np.eye(4), np.zeros(4), forms.rate), stages.values(points)[1].min(axis=0)


def test_more_than_lines_and_less_than_the_truth(truth: Any, norm: Norm) -> None:
    """Of what lines lack of the lowest points that were drawn, the ascent wins back a third and more."""
    won = []
    for seed in range(4):
        forms, rows, lowest = wide(truth, norm, seed)
        lines, found = (quadratic_lower(forms, rows, Budget(), steps) for steps in (0, 100))
        assert np.all(found.real <= lowest)
        assert np.array_equal(found.charged, found.real)
        won.append((found.real - lines.real) / (lowest - lines.real))
    assert np.mean(won) > 1.0 / 3.0


def q_at(bound: QuadraticRows, shared: SharedMultipliers, own: OwnMultipliers, z: Array) -> Array:
    """q of each row at points z (k, N), from its definition: (r, k)."""
    forms, rows = bound.forms, bound.rows
    moved, hidden = z[:, : forms.moving], z[:, forms.moving :]
    arguments = z @ forms.arguments.rows.T + forms.arguments.constants
    over = bound.slope * (arguments - forms.lower) - hidden
    squares = (1.0 - moved**2) @ shared.tau
    if forms.round is not None:
        squares += shared.rho * (1.0 - ((forms.round.shift + forms.round.share * moved) ** 2).sum(axis=1))
    squares += (hidden * (forms.upper - hidden)) @ shared.pi
    squares -= (hidden * (hidden - arguments)) @ shared.kappa
    lines = own.lam @ hidden.T + own.mu @ (hidden - arguments).T + own.sigma @ over.T
    return np.asarray(rows.rows @ z.T + rows.constants[:, np.newaxis] - np.outer(own.t, squares) - lines)


def box_points(forms: QuadraticForms, rng: np.random.Generator, count: int = 4000) -> Array:
    """Points of |ξ| ≤ 1, 0 ≤ h ≤ u, half of them corners."""
    unit = rng.random((count, forms.reach.size))
    unit[::2] = np.round(unit[::2])
    low = np.concatenate([-np.ones(forms.moving), np.zeros(forms.upper.size)])
    return np.asarray(low + unit * (forms.reach - low))


def test_below_q_wherever_the_minimiser_is_taken_to_be(truth: Any, norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    """q's least value in the box, to within rounding; with a point or a factor that is off less, and never more."""
    forms, rows, _ = wide(truth, norm, 0)
    bound, rng = QuadraticRows(forms, rows), np.random.default_rng(0)
    given = bound.start()
    hessian = bound.hessian(given[0])
    assert hessian is not None
    at = bound.least(*given, hessian)
    plain = proved(forms, rows, *given)
    rough = proved(replace(forms, rate=1e-3), rows, *given)
    assert np.all(rough.real <= plain.real - 4e-3 * rows.sizes), "rounding is charged"
    assert plain.real == pytest.approx(at.values, abs=1e-6)
    assert q_at(bound, *given, np.hstack([at.moved, at.hidden])).diagonal() == pytest.approx(at.values, abs=1e-9)
    assert np.all(q_at(bound, *given, box_points(forms, rng)) >= plain.real[:, np.newaxis])
    moved = replace(at, moved=at.moved + 0.1 * rng.normal(size=at.moved.shape))
    monkeypatch.setattr(QuadraticRows, "least", lambda *_: moved)
    assert np.all(proved(forms, rows, *given).real < plain.real)
    monkeypatch.setattr(QuadraticRows, "least", lambda *_: at)
    off = hessian._replace(factor=hessian.factor * (1.0 + 1e-3 * rng.normal(size=hessian.factor.shape)))
    monkeypatch.setattr(QuadraticRows, "hessian", lambda *_: off)
    assert np.all(proved(forms, rows, *given).real < plain.real - 1e-6)


def test_a_hessian_that_is_not_positive_bounds_nothing(truth: Any, norm: Norm) -> None:
    forms, rows, _ = wide(truth, norm, 1)
    bound = QuadraticRows(forms, rows)
    shared, own = bound.start()
    assert bound.hessian(shared) is not None
    far = shared._replace(kappa=100.0 * shared.kappa)
    assert bound.hessian(far) is None
    assert np.all(proved(forms, rows, far, own).real == -np.inf)
    none = shared._replace(tau=0.0 * shared.tau, rho=0.0 * shared.rho)
    assert np.all(proved(forms, rows, none, own).real == -np.inf)


def test_what_forms_are_off_by_is_charged_at_the_multipliers_that_read_them(truth: Any, norm: Norm) -> None:
    forms, rows, _ = wide(truth, norm, 2)
    shared, own = QuadraticRows(forms, rows).start()
    plain, off = proved(forms, rows, shared, own), 1e-3 * np.arange(1.0, forms.upper.size + 1.0)
    slope = forms.upper / (forms.upper - forms.lower)
    cost = np.outer(own.t, shared.kappa * forms.upper) + own.mu + own.sigma * slope
    blurred = replace(forms, arguments=replace(forms.arguments, errors=forms.arguments.errors + off))
    found = proved(blurred, replace(rows, errors=rows.errors + 0.5), shared, own)
    assert np.array_equal(found.real, plain.real)
    assert plain.charged - found.charged == pytest.approx(cost @ off + 0.5, rel=1e-9)
    assert np.all(plain.charged - found.charged >= cost @ off + 0.5)


def few(truth: Any) -> tuple[QuadraticForms, AffineForms]:
    """−h, −|x| and |x| − relu(x + y) for h = relu(x), x and y from −1 to 1: the least is −1 each time."""
    weight = np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 1.0]])
    out = np.array([[-1.0, 0.0, 0.0], [-1.0, -1.0, 0.0], [1.0, 1.0, -1.0]])
    net = truth.of_layers((weight, np.zeros(3)), (out, np.zeros(3)), lo=-1.0)
    ball = Ball(Norm.LINF, np.zeros(2), 1.0, net.lo, net.hi)
    stages = to_stages(net.graph)
    ends = hidden_bounds(stages, linear_bounds(net.graph, ball, Budget()))
    forms = quadratic_forms(stages, ball, *ends, 2)
    return forms, forms.asked.combined(np.eye(3), np.zeros(3), forms.rate)


def test_few_relus_are_bounded_nearly_exactly(truth: Any) -> None:
    forms, rows = few(truth)
    lines, found = (quadratic_lower(forms, rows, Budget(), steps).real for steps in (0, 300))
    assert np.all(found <= -1.0)
    assert found[:2] == pytest.approx(-1.0, abs=0.05)
    assert found[2] > lines[2] + 0.05


def test_the_upper_line_alone(truth: Any) -> None:
    """h ≤ (x + 1) / 2 and ξ² ≤ 1 give −1, and no more."""
    forms, rows = few(truth)
    none, tiny = np.zeros((3, 3)), np.full(3, 1e-9)
    sigma = none.copy()
    sigma[0, 0] = 1.0
    found = proved(
        forms,
        rows,
        SharedMultipliers(np.array([0.25, 1e-6]), tiny, tiny),
        OwnMultipliers(np.ones(3), none, none, sigma),
    )
    assert found.real[0] <= -1.0
    assert found.real[0] == pytest.approx(-1.0, abs=1e-4)


def test_gains_are_the_derivatives(truth: Any, norm: Norm) -> None:
    """Against central differences: of τ, κ, π, ρ and t by their logarithms."""
    forms, rows, _ = wide(truth, norm, 2, hidden=12)
    bound = QuadraticRows(forms, rows)
    shared, own = bound.start()

    def values(multipliers: SharedMultipliers, each: OwnMultipliers) -> Array:
        hessian = bound.hessian(multipliers)
        assert hessian is not None
        return np.asarray(bound.least(multipliers, each, hessian).values)

    hessian = bound.hessian(shared)
    assert hessian is not None
    sums, each = bound.gains(shared, own, bound.least(shared, own, hessian))
    for name in SharedMultipliers._fields:
        for place in range(0, getattr(shared, name).size, 7):
            ends = []
            for sign in (1.0, -1.0):
                part = getattr(shared, name).copy()
                part[place] *= np.exp(sign * DIFFERENCE)
                ends.append(values(shared._replace(**{name: part}), own))
            change = (ends[0] - ends[1]) / (2.0 * DIFFERENCE)
            assert change.sum() == pytest.approx(getattr(sums, name)[place], rel=1e-4, abs=1e-8)
    for name in OwnMultipliers._fields:
        for where in ((1,),) if name == "t" else ((0, 0), (3, 7)):
            ends = []
            for sign in (1.0, -1.0):
                part = getattr(own, name).copy()
                part[where] = (
                    part[where] * np.exp(sign * DIFFERENCE) if name == "t" else part[where] + sign * DIFFERENCE
                )
                ends.append(values(shared, own._replace(**{name: part})))
            change = (ends[0] - ends[1])[where[0]] / (2.0 * DIFFERENCE)
            assert change == pytest.approx(getattr(each, name)[where], rel=1e-4, abs=1e-8)


def test_the_ascent_ends_with_the_budget(truth: Any, norm: Norm) -> None:
    forms, rows, _ = wide(truth, norm, 3)
    ended = Budget()
    ended.cancel()
    with pytest.raises(OutOfTimeError):
        quadratic_lower(forms, rows, ended)
