"""Lower ends by quadratic bounds: true, and farther out than trees bring them on wide nets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import verifier
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Norm, Targeted, Untargeted, disjuncts
from verifier.search import linear_bisection
from verifier.search.linear_bisection import BoundsByRadius
from verifier.search.methods import METHODS
from verifier.search.quadratic_steps import COARSE, FINE, FIRST, QuadraticSteps
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.quadratic_root import GoalBound
from verifier.solvers.tree.table import TREES

TRUTH = 1e-6
"""What enumerated distances may be off by: their solver's tolerance."""


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Bound trees that quadratic bounds stand beside from the first nodes on; what these have excluded."""
    found: list[tuple[float, float]] = []
    step = QuadraticSteps.step

    def noted(own: QuadraticSteps, *asked: Any) -> tuple[float, float]:
        found.append(step(own, *asked))
        return found[-1]

    monkeypatch.setattr(QuadraticSteps, "step", noted)
    decider = BranchAndBound("bound", tuple(replace(kind, alone=1) for kind in TREES))
    monkeypatch.setitem(METHODS, "tree", replace(METHODS["tree"], decider=lambda *_: decider))  # type: ignore[arg-type]
    return found


def test_radii_are_powers_that_lie_outwards_until_one_stays_open_then_between() -> None:
    own = QuadraticSteps()
    assert own.aim(0.0, math.inf) is None
    assert own.aim(0.0, 0.0) is None
    first = own.aim(0.0, 1.0)
    assert first is not None
    assert FIRST / FINE <= first <= FIRST
    assert own.aim(0.2, 1.0) == first, "of whatever target"
    second = own.aim(first, 1.0)
    assert second == pytest.approx(first * FINE**COARSE)
    assert own.aim(0.99 * FIRST, FIRST) is None, "no power lies between"
    power = round(math.log(second) / math.log(FINE))
    own.failed = power
    between = own.aim(first, 1.0)
    assert between is not None
    assert first < between < second
    own.failed = power - COARSE + 1
    assert own.aim(first, 1.0) is None
    own.failed = round(math.log(first) / math.log(FINE))
    nearer = own.aim(0.0, 1.0)
    assert nearer is not None
    assert 0.2 < nearer < first


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_brackets_close_around_the_truth(
    make_root: Callable[..., Any],
    save_net: Callable[[Any], verifier.Model],
    stepped: list[tuple[float, float]],
    norm: Norm,
) -> None:
    for seed, sizes in ((7, (3, 6, 6, 3)), (15, (3, 12, 4))):
        root = make_root(seed, sizes, norm)
        x, model = root.ball.centre, save_net(root.net)
        for target in sorted(set(range(sizes[-1])) - {model.predict(x)})[:1]:
            truth = root.net.nearest(norm, x, disjuncts(Targeted(target), sizes[-1])[0][1])
            found = verifier.minimal(model, x, norm=norm.value, target=target, precision=1e-2)
            assert found.lower <= truth + TRUTH
            assert found.upper >= truth - TRUTH
            assert found.float32 is None or found.float32 <= found.lower
    assert any(charged > 0.0 for _, charged in stepped)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_a_wide_net_s_lower_end_is_theirs(
    truth: Any, save_net: Callable[[Any], verifier.Model], stepped: list[tuple[float, float]], norm: Norm
) -> None:
    """Random layers of 60 ReLUs: the search is left once their first steps are done, and what they excluded stands."""
    rng = np.random.default_rng(0)
    layers = [(rng.normal(size=(m, n)) * (2.0 / n) ** 0.5, np.zeros(m)) for n, m in pairwise((60, 60, 60, 3))]
    model, x = save_net(truth.of_layers(*layers)), rng.random(60)
    lower, upper = 0.0, math.inf
    for bracket in verifier.brackets(model, x, norm=norm.value, precision=1e-3):
        lower, upper = bracket.lower, bracket.upper
        if len(stepped) >= 12:
            break
    assert any(0.0 < real <= lower for real, _ in stepped)
    assert lower <= upper


def test_where_time_ends_within_one_ascent_its_radius_stays_open(
    make_root: Callable[..., Any], save_net: Callable[[Any], verifier.Model], monkeypatch: pytest.MonkeyPatch,
    stepped: list[tuple[float, float]],
) -> None:  # fmt: skip
    """An ascent that takes longer than its part of the time fails alone: the search goes on and closes."""
    monkeypatch.setattr(linear_bisection, "quadratic_goals", _late)
    root = make_root(7, (3, 6, 6, 3), Norm.LINF)
    found = verifier.minimal(save_net(root.net), root.ball.centre, precision=1e-4)
    assert found.final
    assert found.upper - found.lower <= 1e-4
    assert (0.0, 0.0) in stepped


def test_a_goal_goes_on_from_where_all_of_them_together_have_come_to(
    make_root: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, shown = list[tuple[int, object]](), object()

    def goals_bounded(*given: Any) -> list[GoalBound]:
        goals, start = given[4], (*given[6:], None)[0]
        asked.append((len(goals), start))
        return [GoalBound(1.0 if number else -1.0, -1.0, cast(Any, shown)) for number, _ in enumerate(goals)]

    monkeypatch.setattr(linear_bisection, "quadratic_goals", goals_bounded)
    monkeypatch.setattr(linear_bisection, "suits", lambda *_: True)
    root = make_root(7, (3, 6, 6, 3), Norm.LINF)
    goals = disjuncts(Untargeted(0), 3)
    problem = SimpleNamespace(ball=root.ball, disjuncts=goals)
    bounds = BoundsByRadius(cast(Any, problem), Budget())
    bounds._squared[0.1], bounds._known[0.1] = cast(Any, (None, None)), cast(Any, None)
    monkeypatch.setattr(BoundsByRadius, "exclude", lambda *_: False)
    bounds.stages = cast(Any, None)
    assert bounds.lacks(goals[1][1], 0.1, Budget()) == (1.0, -1.0)
    assert bounds.lacks(goals[0][1], 0.1, Budget()) == (-1.0, -1.0)
    assert asked == [(2, None), (1, shown)]


def test_no_ball_around_one_with_too_many_open_relus(
    make_root: Callable[..., Any], save_net: Callable[[Any], verifier.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[BoundsByRadius] = []
    monkeypatch.setattr(QuadraticSteps, "step", lambda _, goal, bounds, *more: (asked.append(bounds), (0.0, 0.0))[1])
    decider = BranchAndBound("bound", tuple(replace(kind, alone=1) for kind in TREES))
    monkeypatch.setitem(METHODS, "tree", replace(METHODS["tree"], decider=lambda *_: decider))  # type: ignore[arg-type]
    root = make_root(7, (3, 6, 6, 3), Norm.LINF)
    verifier.minimal(save_net(root.net), root.ball.centre, precision=1e-2)
    monkeypatch.undo()
    bounds, own = asked[-1], QuadraticSteps()
    radius = 0.25
    bounds.at(radius)
    least = min(bounds._known)
    assert bounds.squares(radius)
    monkeypatch.setattr(linear_bisection, "MOST", 0)
    assert not bounds.squares(radius)
    assert not bounds.squares(0.99 * least)
    assert bounds.squares(0.99 * least / linear_bisection.HARDLY)
    monkeypatch.setattr(BoundsByRadius, "at", None)
    goal = disjuncts(Targeted(0), 3)[0][1]
    assert own.step(goal, bounds, radius, 1.0, Budget()) == (0.0, 0.0)
    assert own.failed < math.inf


def _late(*_: Any) -> Any:
    raise OutOfTimeError("its part of the time")
