"""Whole balls by quadratic bounds: nothing is excluded that reaches the goal, and more is excluded than by lines."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from encoders.formulations.to_stages import to_stages
from encoders.network.graph import Array
from verifier.bounds.alpha_crown import goal_upper, linear_bounds
from verifier.bounds.quadratic_forms import quadratic_forms
from verifier.bounds.quadratic_rows import climbed
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.norms.table import GEOMETRIES
from verifier.problem.query import Ball, Halfspaces, Norm, Targeted, disjuncts
from verifier.problem.rounding import FLOAT32
from verifier.solvers import quadratic_root as module
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.quadratic_root import quadratic_ends, quadratic_goals, suits


def steps(norm: Norm, rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Steps of the length 1 at most."""
    return GEOMETRIES[norm].directions(rng, shape) if norm is Norm.L2 else rng.uniform(-1, 1, shape)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_it_excludes_no_ball_that_a_point_of_the_goal_lies_in(truth: Any, norm: Norm) -> None:
    """Against exact enumeration, from well within the distance to just beyond it, for float32 evaluations too."""
    excluded = 0
    for seed in range(4):
        net = truth.net(seed, (3, 6, 4, 3))
        centre = np.full(3, 0.5)
        goal = disjuncts(Targeted(seed % 3), 3)[0][1]
        distance = min(net.nearest(norm, centre, goal), 0.5)
        if not distance > 0.01:
            continue
        stages = replace(to_stages(net.graph, FLOAT32.unit, FLOAT32.floors(net.graph)), both=True)
        for share in (0.6, 0.9, 1.0 + 1e-6):
            ball = Ball(norm, centre, share * distance, net.lo, net.hi)
            ends = hidden_bounds(stages, linear_bounds(net.graph, ball, Budget(), arithmetic=FLOAT32))
            if not suits(ball, *ends):
                continue
            tight = quadratic_ends(stages, ball, *ends, Budget())
            assert np.all((tight[0] >= ends[0]) & (tight[1] <= ends[1]))
            ((real, charged, _),) = quadratic_goals(stages, ball, *tight, [goal], Budget())
            assert charged <= real
            if real > 0.0:
                assert share < 1.0 or net.nearest(norm, centre, goal) > distance
                excluded += share > 0.5
    assert excluded > 1


@pytest.mark.parametrize(("norm", "radius"), [(Norm.LINF, 0.15), (Norm.L2, 0.6)])
def test_it_excludes_balls_that_lines_do_not(truth: Any, norm: Norm, radius: float) -> None:
    rng = np.random.default_rng(1)
    layers = [(rng.normal(size=(m, n)) / n**0.5, 0.1 * rng.normal(size=m)) for n, m in pairwise((24, 40, 10, 1))]
    net = truth.of_layers(*layers)
    ball = Ball(norm, np.full(24, 0.5), radius, net.lo, net.hi)
    stages, bounds = to_stages(net.graph), linear_bounds(net.graph, ball, Budget())
    ends = hidden_bounds(stages, bounds)
    points = ball.centre + ball.radius * steps(norm, rng, (500, 24))
    highest = stages.values(points)[1].max(axis=0)
    plain = Halfspaces(np.array([[1.0]]), -highest)
    by_lines = goal_upper(net.graph, ball, bounds, plain, Budget())
    goal = Halfspaces(plain.matrix, plain.offset - 0.8 * by_lines)
    assert goal_upper(net.graph, ball, bounds, goal, Budget()) > 0
    tight = quadratic_ends(stages, ball, *ends, Budget())
    values = stages.values(points)[0]
    assert np.all((values >= tight[0]) & (values <= tight[1]))
    later = slice(stages.starts[1], None)
    assert np.sum(tight[1][later] - tight[0][later]) < 0.95 * np.sum(ends[1][later] - ends[0][later])
    easy = Halfspaces(plain.matrix, plain.offset - 2.0 * by_lines)
    found = quadratic_goals(stages, ball, *tight, [goal, easy], Budget())
    assert min(min(one.real, one.charged) for one in found) > 0


@pytest.mark.parametrize("size", [1e20, 1e60])
def test_of_numbers_beyond_float32_nothing_is_said_and_nobody_is_warned(truth: Any, size: float) -> None:
    """NaN, which warnings of numpy would tell of, is never an end."""
    plain = truth.net(1, (6, 14, 10, 4))
    net = truth.of_layers(*((size * weight, size**k * bias) for k, (weight, bias) in enumerate(plain.layers, 1)))
    ball = Ball(Norm.LINF, np.full(6, 0.5), 0.2, net.lo, net.hi)
    stages = to_stages(net.graph)
    ends = hidden_bounds(stages, linear_bounds(net.graph, ball, Budget()))
    assert suits(ball, *ends)
    tight = quadratic_ends(stages, ball, *ends, Budget())
    values = stages.values(ball.centre + ball.radius * np.random.default_rng(0).uniform(-1, 1, (50, 6)))[0]
    assert np.all((values >= tight[0]) & (values <= tight[1]))
    forms = quadratic_forms(stages, ball, *tight, 3)
    climbed(forms, forms.asked.either_sign(np.arange(4)), Budget(), 9, 0.1)
    ((real, charged, _),) = quadratic_goals(stages, ball, *tight, [Halfspaces(np.eye(4)[[0]], np.zeros(1))], Budget())
    assert (real, charged) == (-np.inf, -np.inf)


def test_a_goal_goes_on_by_itself_from_where_several_have_come_to(truth: Any) -> None:
    """It ends no lower than there, and no higher than what points lack."""
    net = truth.net(1, (6, 14, 10, 4))
    ball = Ball(Norm.LINF, np.full(6, 0.5), 0.2, net.lo, net.hi)
    stages = to_stages(net.graph)
    ends = hidden_bounds(stages, linear_bounds(net.graph, ball, Budget()))
    goals = [Halfspaces(sign * np.eye(4)[[row]], np.zeros(1)) for row in range(4) for sign in (1.0, -1.0)]
    outputs = stages.values(ball.centre + ball.radius * np.random.default_rng(0).uniform(-1, 1, (500, 6)))[1]
    together = quadratic_goals(stages, ball, *ends, goals, Budget())
    gained = []
    for goal, one in zip(goals, together, strict=True):
        (alone,) = quadratic_goals(stages, ball, *ends, [goal], Budget(), one.multipliers)
        assert alone.real <= -float((outputs @ goal.matrix[0]).max()) + 1e-9
        gained.append(alone.real - one.real)
    assert min(gained) > -1e-4
    assert max(gained) > 1e-3


@pytest.mark.parametrize("norm", Norm)
def test_what_suits(truth: Any, norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    net = truth.net(0, (3, 8, 6, 3))
    ball = Ball(norm, np.full(3, 0.5), 0.4, net.lo, net.hi)
    ends = hidden_bounds(to_stages(net.graph), linear_bounds(net.graph, ball, Budget()))
    assert suits(ball, *ends) is (norm is not Norm.L1)
    assert not suits(ball, np.zeros_like(ends[0]), ends[1])
    assert not suits(ball, ends[0], ends[1] + np.inf)
    monkeypatch.setattr(module, "MOST", 1)
    assert not suits(ball, *ends)


def test_forms_look_at_the_time_too(truth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a convolutional net with thousands of ReLUs take seconds before the first ascent."""
    net = truth.net(0, (3, 8, 6, 3))
    ball, stages = Ball(Norm.LINF, np.full(3, 0.5), 0.4, net.lo, net.hi), to_stages(net.graph)
    ends = hidden_bounds(stages, linear_bounds(net.graph, ball, Budget()))
    monkeypatch.setattr(module, "quadratic_lower", None)
    with pytest.raises(OutOfTimeError):
        quadratic_ends(stages, ball, *ends, Budget(0.0))
    with pytest.raises(OutOfTimeError):
        quadratic_goals(stages, ball, *ends, [disjuncts(Targeted(0), 3)[0][1]], Budget(0.0))
