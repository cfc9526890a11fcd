"""A ball as a whole by quadratic bounds, in L∞ or L2, where lines leave far more than trees can split away.

The arguments of one stage after another are bounded within the ends of those before, all rows of a stage together; then
goals, which are rows of the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.quadratic_forms import QuadraticForms, quadratic_forms
from verifier.bounds.quadratic_rows import (
    STEP,
    STEPS,
    OwnMultipliers,
    QuadraticMultipliers,
    quadratic_climb,
    quadratic_lower,
)
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces
from verifier.problem.rounding import down

MOST = 1200
"""Open ReLUs of a box for which this is asked, at most: a step at 500 of them takes some 20 ms, at 1,200 some 150."""

LARGEST = 4096
"""Entries of the input that may move, at most."""

PARTS = 4.0
"""A box takes at most such a part of the time that is left."""

GOAL_STEPS = 150
"""Steps of goals, which are few rows: what they share fits them closely."""

ON = 0.05
"""The first step with which a goal goes on by itself from where several have come to together."""

TOGETHER = 1024
"""Rows that are bounded together, at most."""


def served(ball: Ball) -> bool:
    """Is it a ball in L∞ or L2? In L1 no quadratic constraint says much more than the box."""
    return bool(ball.geometry.is_box or ball.geometry.is_euclidean)


def suits(ball: Ball, lower: Array, upper: Array) -> bool:
    """Is a ball with these bounds of ReLU arguments `served`, and small enough for dense quadratic forms?"""
    if not served(ball) or not ball.bounded or not np.all(np.isfinite(lower) & np.isfinite(upper)):
        return False
    low, high = ball.interval
    open_ = int(np.count_nonzero((lower < 0) & (upper > 0)))
    return 1 <= open_ <= MOST and 0 < int(np.count_nonzero(high > low)) <= LARGEST


def quadratic_ends(stages: Stages, ball: Ball, lower: Array, upper: Array, budget: Budget) -> tuple[Array, Array]:
    """Tighter bounds of ReLU arguments (relu_count,) in a ball that `suits`, for every evaluation that the stages
    allow. Raises OutOfTimeError."""
    lower, upper = lower.copy(), upper.copy()
    for number in range(2, len(stages.stages)):
        forms = quadratic_forms(stages, ball, lower, upper, number, budget.check)
        if not forms.places.size:
            continue
        for steps in (0, STEPS):  # lines within the ends so far settle some
            _bounded(forms, stages.starts[number - 1 : number + 1], lower, upper, steps, budget)
    return lower, upper


def _bounded(
    forms: QuadraticForms, ends: tuple[int, ...], lower: Array, upper: Array, steps: int, budget: Budget
) -> None:
    """Tighten the open arguments of one stage, in place."""
    begin, end = ends
    open_ = np.flatnonzero((lower[begin:end] < 0) & (upper[begin:end] > 0))
    for part in in_parts(open_):
        budget.check()
        found = quadratic_lower(forms, forms.asked.either_sign(part), budget, steps)
        low, high = np.split(found.charged, 2)
        lower[begin + part] = np.maximum(lower[begin + part], low)
        upper[begin + part] = np.minimum(upper[begin + part], -high)


def in_parts(entries: npt.NDArray[np.integer]) -> list[npt.NDArray[np.integer]]:
    """Entries both ends of which are `TOGETHER` rows at most, in parts about as large as each other."""
    count = -(-2 * entries.size // TOGETHER)
    size = -(-entries.size // max(count, 1)) or 1
    return [entries[first : first + size] for first in range(0, entries.size, size)]


class GoalBound(NamedTuple):
    """What points lack of a goal at least, over the reals and for every evaluation; and what has shown it."""

    real: float
    charged: float
    multipliers: QuadraticMultipliers | None = None


def quadratic_goals(
    stages: Stages,
    ball: Ball,
    lower: Array,
    upper: Array,
    goals: Sequence[Halfspaces],
    budget: Budget,
    start: QuadraticMultipliers | None = None,
) -> list[GoalBound]:
    """For each goal a lower bound of what points of the ball lack of it: by the row that lines bound best. Above 0
    nothing there reaches it. start: the multipliers that the same ends have had for these goals, from which they go on.
    Raises OutOfTimeError."""
    forms = quadratic_forms(stages, ball, lower, upper, len(stages.stages), budget.check)
    if not forms.places.size:
        return [GoalBound(-np.inf, -np.inf) for _ in goals]
    _, matrix, offset = best_rows(forms, goals, budget)
    chosen = forms.asked.combined(-matrix, -offset, forms.rate)
    found, multipliers = quadratic_climb(forms, chosen, budget, GOAL_STEPS, ON if start else STEP, start)
    ends = [down(part, 0.0).tolist() for part in found]
    if multipliers is None:
        return [GoalBound(real, charged) for real, charged in zip(*ends, strict=True)]
    shared, own = multipliers
    each = [(shared, OwnMultipliers(*(part[row : row + 1] for part in own))) for row in range(len(goals))]
    return [GoalBound(real, charged, one) for real, charged, one in zip(*ends, each, strict=True)]


def best_rows(forms: QuadraticForms, goals: Sequence[Halfspaces], budget: Budget) -> tuple[list[int], Array, Array]:
    """Of each goal, the row that lines bound best: which one it is, and these rows (goals, K) and offsets (goals,).

    Goal by goal, as a goal's choice must not depend on which others are left. Raises OutOfTimeError.
    """
    best = []
    for goal in goals:
        rows = forms.asked.combined(-goal.matrix, -goal.offset, forms.rate)
        bounds = quadratic_lower(forms, rows, budget, steps=0).real if len(goal.offset) > 1 else np.zeros(1)
        best.append(int(np.argmax(bounds)))
    matrix, offset = (
        np.array([getattr(goal, name)[row] for goal, row in zip(goals, best, strict=True)])
        for name in ("matrix", "offset")
    )
    return best, matrix, offset
