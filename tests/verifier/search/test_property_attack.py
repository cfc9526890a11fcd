"""Points of a box that reach half-spaces: rounds of random points that grow, random steps uphill."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.formulations.to_stages import to_stages
from encoders.network.graph import GraphBuilder
from encoders.network.linear_maps import Dense
from verifier.problem.budget import Budget
from verifier.problem.properties.cases import parts
from verifier.problem.properties.from_vnnlib import property_of
from verifier.problem.properties.s_expressions import Text
from verifier.problem.query import Ball, Halfspaces
from verifier.search import property_track
from verifier.search.property_attack import FIRST_POINTS, MOST_POINTS, by_random_steps, promising
from verifier.search.property_check import _PropertySearch
from verifier.search.property_question import property_question
from verifier.search.property_track import SearchedBox
from verifier.search.settings import Settings
from verifier.solvers.tree.goal_ascent import GoalAscent

NEVER = "(assert (and (>= Y_0 100) (>= Y_1 100)))(assert (or (>= Y_0 (* 2 Y_1)) (>= Y_1 (* 2 Y_0))))"


def ascent(offset: float, seed: int = 3) -> GoalAscent:
    """Two outputs of a random network of three inputs, each to be at least −offset."""
    builder, rng = GraphBuilder(3), np.random.default_rng(seed)
    hidden = builder.relu(builder.affine([(Dense(rng.normal(size=(8, 3))), 0)], rng.normal(size=8)))
    graph = builder.graph(builder.affine([(Dense(rng.normal(size=(2, 8)) / 4.0), hidden)], np.zeros(2)))
    return GoalAscent(to_stages(graph), Ball.of_box(-np.ones(3), np.ones(3)), Halfspaces(np.eye(2), np.full(2, offset)))


def starts(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1.0, 1.0, (count, 3))


def test_random_steps_stay_in_the_box_and_make_nothing_worse() -> None:
    asked, gained = ascent(-1e3), 0
    for start in starts(8):
        point, margin = by_random_steps(asked, start, np.random.default_rng(1), Budget())
        assert np.all(np.abs(point) <= 1.0)
        assert asked.margin(point) == pytest.approx(margin, abs=1e-12)
        assert margin >= asked.margin(start)
        assert np.array_equal(point, by_random_steps(asked, start, np.random.default_rng(1), Budget())[0])
        gained += margin > asked.margin(start)
    assert gained == 8


def test_random_steps_end_where_the_goal_is_reached() -> None:
    rng = np.random.default_rng(1)
    best = max(by_random_steps(ascent(-1e3), start, rng, Budget())[1] for start in starts(8)) + 1e3
    asked = ascent(-(best - 1e-3))
    assert max(by_random_steps(asked, start, np.random.default_rng(1), Budget())[1] for start in starts(8)) >= 0


def test_random_steps_end_with_the_budget() -> None:
    spent, start = Budget(1e-9), np.full(3, 0.5)
    while not spent.ended:
        pass
    assert np.array_equal(by_random_steps(ascent(-1e3), start, np.random.default_rng(1), spent)[0], start)


def test_points_that_are_drawn_twice_are_climbed_from_once() -> None:
    """In few dimensions a quarter of the points are the same few corners."""
    points = np.array([[0.0], [1.0], [1.0], [0.25], [1.0], [0.5]])
    found = promising(points, points, [Halfspaces(np.eye(1), np.zeros(1)), Halfspaces(-np.eye(1), np.zeros(1))])
    assert [(margin, place, point.tolist()) for margin, place, point in found] == [
        (1.0, 0, [1.0]), (0.5, 0, [0.5]), (0.25, 0, [0.25]), (0.0, 1, [0.0]), (-0.25, 1, [0.25]), (-0.5, 1, [0.5])
    ]  # fmt: skip


@pytest.fixture
def tiny(truth: Any, save_net: Callable[..., verifier.Model]) -> verifier.Model:
    return save_net(truth.net(0, (2, 4, 2)))


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many points each round has."""
    counts: list[int] = []
    drawn = SearchedBox.sampled

    def sampled(box: SearchedBox) -> tuple[np.ndarray, np.ndarray]:
        points, values = drawn(box)
        counts.append(len(points))
        return points, values

    monkeypatch.setattr(SearchedBox, "sampled", sampled)
    return counts


def attacked(model: verifier.Model, times: int) -> None:
    """So many rounds for a property of two cases in one box that no point satisfies."""
    names = "".join(f"(declare-const {letter}_{k} Real)" for letter, k in product("XY", range(2)))
    box = "".join(f"(assert (<= X_{k} 1))(assert (>= X_{k} -1))" for k in range(2))
    asked = property_question(model, property_of(Text("p", names + box + NEVER)), Budget(), "real")
    search = _PropertySearch(asked, Settings(Budget()))
    tracks: list[Any] = []
    for part in parts(asked.prop, Budget().check):
        tracks += search._tracks(part)  # type: ignore[arg-type]
    assert len(tracks) == 2
    for _ in range(times):
        assert search._attack(tracks) is None


def test_rounds_grow_and_cases_of_a_box_share_them(
    tiny: verifier.Model, rounds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(property_track, "SHORT", math.inf)
    attacked(tiny, 7)
    assert rounds == [min(MOST_POINTS, FIRST_POINTS << k) for k in range(7)]


def test_rounds_that_take_long_do_not_grow(
    tiny: verifier.Model, rounds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(property_track, "SHORT", 0.0)
    attacked(tiny, 3)
    assert rounds == [FIRST_POINTS] * 3
