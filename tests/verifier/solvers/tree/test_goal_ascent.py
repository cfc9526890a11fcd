"""Margin, pattern and gradient are those of the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.network.graph import evaluate, outputs
from verifier.problem.plateau import LEAK
from verifier.problem.query import Halfspaces, Norm
from verifier.solvers.tree.goal_ascent import GoalAscent

SIZES = ((3, 5, 3), (4, 4, 4, 3), (2, 4, 3, 3, 2))

ROUNDING = 1e-12
"""Sums of a few products of size 1 to 100."""

STEP = 1e-7
"""Of a difference quotient; points whose pattern it changes are left out."""

question = given(
    seed=st.integers(0, 2**16), sizes=st.sampled_from(SIZES), norm=st.sampled_from(list(Norm)), rows=st.integers(0, 3)
)


def goal_of(root: Any) -> GoalAscent:
    return GoalAscent(root.stages, root.ball, root.goal)


@settings(max_examples=60, deadline=None)
@question
def test_margin_and_pattern_are_those_of_the_graph(
    make_root: Callable[..., Any], seed: int, sizes: tuple[int, ...], norm: Norm, rows: int
) -> None:
    root = make_root(seed, sizes, norm, rows)
    found = goal_of(root)
    for x in root.points(seed):
        margin = float(root.goal.margin(outputs(root.net.graph, x))[0])
        assert found.margin(x) == pytest.approx(margin, abs=ROUNDING)
        values = evaluate(root.net.graph, x)
        active = np.concatenate([values[node][0] > 0 for node in root.stages.nodes[:-1]])
        np.testing.assert_array_equal(found.pattern(x), active)  # eighths: float64 is exact near the centre


def test_the_gradient_is_that_of_difference_quotients(make_root: Callable[..., Any]) -> None:
    compared = flat = 0
    for seed in range(12):
        root = make_root(seed, SIZES[seed % len(SIZES)], Norm.LINF, 1)
        found = goal_of(root)
        for x in np.random.default_rng(seed).random((5, root.ball.centre.size)):
            margin, gradient = found.gradient(x)
            assert margin == pytest.approx(found.margin(x), abs=ROUNDING)
            quotients = []
            for entry in range(x.size):
                moved = x + STEP * np.eye(x.size)[entry]
                if np.array_equal(found.pattern(moved), found.pattern(x)):
                    quotients.append((gradient[entry], (found.margin(moved) - margin) / STEP))
            if any(abs(quotient) > STEP for _, quotient in quotients):
                compared += len(quotients)
                for slope, quotient in quotients:
                    assert quotient == pytest.approx(slope, abs=1e-5)
            else:
                flat += 1
    assert compared > 100
    assert flat


def test_where_the_gradient_vanishes_inactive_relus_leak(make_root: Callable[..., Any]) -> None:
    """A network by hand on a plateau: Σ of paths through it, each ReLU a factor of 1 or LEAK."""
    root = make_root(1, (3, 5, 4, 3), Norm.LINF, 1)
    (first, b), (second, c), (third, _) = root.net.layers
    asked = 0
    for x in np.random.default_rng(0).uniform(-4.0, 4.0, (200, 3)):
        before = first @ x + b
        after = second @ np.maximum(before, 0.0) + c
        true, leaky = (
            third * np.where(after > 0, 1.0, leak) @ (second * np.where(before > 0, 1.0, leak)) @ first
            for leak in (0.0, LEAK)
        )
        goal = Halfspaces(np.eye(3), np.zeros(3))
        _, gradients = GoalAscent(root.stages, root.ball, goal).rows(x)
        for row in range(3):
            asked += not true[row].any()
            expected = true[row] if true[row].any() else leaky[row]
            np.testing.assert_allclose(gradients[row], expected, atol=ROUNDING)
    assert 0 < asked < 600


def test_all_rows_are_those_of_their_own_goals(make_root: Callable[..., Any]) -> None:
    """A goal's row k and its gradient, as the smallest row of the goal that has no other."""
    for seed in range(6):
        root = make_root(seed, SIZES[seed % len(SIZES)], Norm.LINF, 3)
        goal = root.goal
        for x in np.random.default_rng(seed).random((3, root.ball.centre.size)):
            rows, gradients = goal_of(root).rows(x)
            assert rows.shape == (3,)
            for k, (row, gradient) in enumerate(zip(rows, gradients, strict=True)):
                alone = GoalAscent(root.stages, root.ball, Halfspaces(goal.matrix[[k]], goal.offset[[k]]))
                value, slope = alone.gradient(x)
                assert row == pytest.approx(value, abs=ROUNDING)
                np.testing.assert_allclose(gradient, slope, atol=ROUNDING)
