"""Lower ends by linear bounds alone: below the truth, shared bounds counted, what is proved is kept."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Norm, Targeted, disjuncts
from verifier.runtime.witness import Judge
from verifier.search import incumbent
from verifier.search import linear_bisection as module
from verifier.search.linear_bisection import EARLY, FARTHER, NEARER, BoundsByRadius, early_lower, linear_lower
from verifier.search.state import Problem, SearchState


def problem_of(net: Any, centre: np.ndarray, norm: Norm) -> Problem:
    """Targets 1 and 2 of a network; no witness is known."""
    ball = Ball(norm, centre, math.inf, net.lo, net.hi)
    goals = tuple(disjuncts(Targeted(target), 3)[0] for target in (1, 2))
    judge = Judge(net.graph, net.graph, None, np.dtype(np.float64), ball, goals)
    return Problem(net.graph, ball, goals, judge, lambda _: [None, None], "none", 1e-3, None)


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("seed", range(4))
def test_lower_ends_stay_below_the_truth(truth: Any, norm: Norm, seed: int) -> None:
    net = truth.net(seed, (3, 5, 4, 3))
    problem = problem_of(net, np.full(3, 0.5), norm)
    state = SearchState(problem, Budget())
    linear_lower(state, BoundsByRadius(problem, state.budget), problem.ball.reach)
    optima = [net.nearest(norm, problem.ball.centre, goal) for _, goal in problem.disjuncts]
    for target, optimum in zip(state.targets, optima, strict=True):
        assert 0 <= target.lower <= optimum + 1e-9
    if not any(optimum == 0 for optimum in optima):
        assert any(target.lower > 0 for target in state.targets)


@pytest.mark.parametrize("seed", range(4))
def test_in_l1_large_networks_are_asked_by_anchored_lines_alone(
    truth: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KERNELS_PAY", 0)
    monkeypatch.setattr(BoundsByRadius, "at", None)
    net = truth.net(seed, (3, 5, 4, 3))
    problem = problem_of(net, np.full(3, 0.5), Norm.L1)
    state = SearchState(problem, Budget())
    bounds = BoundsByRadius(problem, state.budget)
    linear_lower(state, bounds, problem.ball.reach)
    optima = [net.nearest(Norm.L1, problem.ball.centre, goal) for _, goal in problem.disjuncts]
    for target, optimum in zip(state.targets, optima, strict=True):
        assert 0 <= target.lower <= optimum + 1e-9
        assert target.lower > 0 or optimum < 0.1
    assert len(bounds._anchored) <= module.ANCHORED_KEPT


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("seed", range(2))
def test_a_first_lower_end_takes_two_balls_at_most(
    truth: Any, norm: Norm, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, asked = truth.net(seed, (3, 5, 4, 3)), set()
    problem = problem_of(net, np.full(3, 0.5), norm)
    optima = [net.nearest(norm, problem.ball.centre, goal) for _, goal in problem.disjuncts]
    top, exclude = min(1.1 * min(optima) + 0.1, 3.0), BoundsByRadius.exclude

    def noted(self: BoundsByRadius, goal: Any, radius: float, *how: Any) -> bool:
        asked.add(radius)
        return exclude(self, goal, radius, *how)

    monkeypatch.setattr(BoundsByRadius, "exclude", noted)
    state, apart = SearchState(problem, Budget()), [SearchState(problem.alone(place), Budget()) for place in (0, 1)]
    early_lower([state], BoundsByRadius(problem, state.budget), top)
    assert asked in ({EARLY * top, FARTHER * top}, {EARLY * top, NEARER * top})
    early_lower(apart, BoundsByRadius(problem, state.budget), top)
    for each in ([state, *apart], apart):
        for target, optimum in zip([one for alone in each for one in alone.targets], 2 * optima, strict=False):
            assert 0 <= target.lower == target.float32 <= optimum + 1e-9
    if min(optima) > 0.1:
        assert state.lower >= NEARER * top
    asked.clear()
    early_lower([one for one in (state, *apart) if one.lower > 0], BoundsByRadius(problem, state.budget), top)
    assert not asked


@pytest.mark.parametrize("norm", Norm)
def test_where_anchored_lines_come_farther_than_trees_bisection_is_finer(
    truth: Any, norm: Norm, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, steps = problem_of(truth.net(1, (3, 5, 4, 3)), np.full(3, 0.5), norm), []
    search = SimpleNamespace(goes_inside=True, bounds=BoundsByRadius(problem, Budget()))
    monkeypatch.setattr(incumbent, "linear_lower", lambda *asked: steps.append(asked[-1]))
    for pays in (1000, 0):
        monkeypatch.setattr(module, "KERNELS_PAY", pays)
        incumbent._raise(search, SearchState(problem, Budget()), 0.5)  # type: ignore[arg-type]
    assert steps == [module.FIRST_STEPS, module.LOWER_STEPS if norm is Norm.L1 else module.FIRST_STEPS]


def test_bounds_are_shared_by_radius(truth: Any) -> None:
    problem = problem_of(truth.net(1, (3, 5, 4, 3)), np.full(3, 0.5), Norm.LINF)
    bounds = BoundsByRadius(problem, Budget())
    wide = bounds.at(0.5)
    assert bounds.at(0.5) is wide
    assert bounds.near(0.495, 0.98) is wide
    assert bounds.near(0.45, 0.98) is not wide
    assert bounds.near(0.51, 0.98) is not wide


def test_without_time_nothing_is_claimed(truth: Any) -> None:
    problem, budget = problem_of(truth.net(1, (3, 5, 4, 3)), np.full(3, 0.5), Norm.LINF), Budget()
    budget.cancel()
    state = SearchState(problem, budget)
    with pytest.raises(OutOfTimeError):
        linear_lower(state, BoundsByRadius(problem, budget), 0.5)
    assert state.lower == 0
