"""Steps by linear programs: what they reach that the gradient of the smallest row does not, and when they stop."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.formulations.to_stages import to_stages
from encoders.network.graph import Graph, GraphBuilder
from encoders.network.linear_maps import Dense
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces
from verifier.search import linear_steps
from verifier.search.linear_steps import by_linear_programs, climbed
from verifier.search.property_attack import uphill
from verifier.solvers.tree.goal_ascent import GoalAscent

SLIVER = 1e-6
"""How far the outputs may lie from their values: a point of the box in 10^12."""

TARGET = np.array([0.35, 0.2])


def network() -> Graph:
    """relu(A·x) and a second layer: two outputs of three inputs."""
    builder, rng = GraphBuilder(3), np.random.default_rng(3)
    hidden = builder.relu(builder.affine([(Dense(rng.normal(size=(8, 3))), 0)], rng.normal(size=8)))
    return builder.graph(builder.affine([(Dense(rng.normal(size=(2, 8)) / 4.0), hidden)], np.zeros(2)))


def within(target: np.ndarray, room: float) -> Halfspaces:
    """Both outputs within `room` of the target's: four rows."""
    return Halfspaces(np.vstack([np.eye(2), -np.eye(2)]), np.concatenate([room - target, room + target]))


def ascent(room: float, target: np.ndarray = TARGET) -> GoalAscent:
    return GoalAscent(to_stages(network()), Ball.of_box(-np.ones(3), np.ones(3)), within(target, room))


def reachable() -> np.ndarray:
    """The outputs at a point of the box."""
    return to_stages(network()).values(np.array([0.3, -0.4, 0.2]))[1][0]


def test_they_reach_a_sliver_that_the_smallest_row_does_not() -> None:
    asked, starts = ascent(SLIVER, reachable()), np.random.default_rng(0).uniform(-1.0, 1.0, (8, 3))
    by_rows = [by_linear_programs(asked, start, Budget()) for start in starts]
    reached = [margin for _, margin in by_rows if margin >= 0]
    assert reached
    assert all(uphill(asked, start, Budget())[1] < 0 for start in starts)
    for point, margin in by_rows:
        assert np.all(np.abs(point) <= 1.0)
        assert asked.margin(point) == pytest.approx(margin, abs=1e-12)


def test_no_step_makes_it_worse_where_nothing_can_be_reached() -> None:
    asked = ascent(SLIVER, np.array([1e3, -1e3]))
    for start in np.random.default_rng(1).uniform(-1.0, 1.0, (4, 3)):
        point, margin = by_linear_programs(asked, start, Budget())
        assert asked.margin(start) <= margin == asked.margin(point) < 0


def test_an_entry_that_cannot_move_stays() -> None:
    asked = ascent(SLIVER, reachable())
    held = GoalAscent(asked.stages, Ball.of_box([-1.0, 0.25, -1.0], [1.0, 0.25, 1.0]), asked.goal)
    assert by_linear_programs(held, np.array([0.0, 0.25, 0.0]), Budget())[0][1] == 0.25


def test_what_is_no_number_ends_the_steps() -> None:
    asked = ascent(SLIVER)
    start = np.zeros(3)
    endless = GoalAscent(asked.stages, asked.ball, Halfspaces(1e300 * asked.goal.matrix, asked.goal.offset))
    assert np.array_equal(by_linear_programs(endless, start, Budget())[0], start)


def test_one_row_or_very_many_are_climbed_by_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[str] = []
    monkeypatch.setattr(linear_steps, "uphill", lambda *_: ways.append("gradient"))
    monkeypatch.setattr(linear_steps, "by_random_steps", lambda _, start, *__: (start, -1.0))
    monkeypatch.setattr(linear_steps, "by_linear_programs", lambda *_: ways.append("programs"))
    asked = ascent(SLIVER)
    for rows in (1, 2, linear_steps.MOST_ROWS, linear_steps.MOST_ROWS + 1):
        goal = Halfspaces(np.tile(asked.goal.matrix[:1], (rows, 1)), np.zeros(rows))
        climbed(GoalAscent(asked.stages, asked.ball, goal), np.zeros(3), np.random.default_rng(0), Budget())
    assert ways == ["gradient", "programs", "programs", "gradient"]


def test_they_end_with_the_budget() -> None:
    asked = ascent(SLIVER, reachable())
    spent = Budget(1e-9)
    while not spent.ended:
        pass
    start = np.full(3, 0.9)
    assert np.array_equal(by_linear_programs(asked, start, spent)[0], start)
