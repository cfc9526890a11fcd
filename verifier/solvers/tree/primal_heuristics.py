"""Primal heuristics: how a tree comes by points that reach the goal, and by nearer ones, without solving a node for it.

Start heuristics begin where the goal is not reached, improvement heuristics where it is; the third one is
`region_polish`. They propose: what counts as a witness is the judge's.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from encoders.network.graph import Array
from verifier.problem.budget import Budget
from verifier.solvers.node_constants import STEPS
from verifier.solvers.tree.goal_ascent import GoalAscent

DRAWN, LEAST_DRAWN = 0.5, 2.0**-8
"""The share of its distance by which a point is drawn nearer at first, and the smallest one that is tried."""

TRIES = 40
"""Moves that are tried for one point: it would never arrive at an input that reaches the goal itself."""

ASCENT = 0.25
"""The steps that bring a drawn point back to the goal, as a share of what it was drawn."""


class StartHeuristic(Protocol):
    """Looks for a point that reaches the goal."""

    name: str

    def search(self, x: Array, radius: float) -> tuple[Array, float]:
        """The best point met within the radius on the way from x (n,), and its margin: at least 0 where it reaches the
        goal."""


class ImprovementHeuristic(Protocol):
    """Looks for a nearer point that reaches the goal."""

    name: str

    def improve(self, x: Array, radius: float, budget: Budget) -> tuple[Array, float]:
        """(point, the radius that it lies within), from an x (n,) that reaches the goal within `radius`.

        Raises OutOfTimeError where what has been found by then is nothing.
        """


class GradientDescent:
    """A few steps along the gradient of the goal's smallest row: towards where the network would be misled."""

    name = "gradient descent"

    def __init__(self, goal: GoalAscent, steps: int = STEPS) -> None:
        self._goal, self._steps = goal, steps

    def search(self, x: Array, radius: float) -> tuple[Array, float]:
        """Stops at the first point with a margin of at least 0."""
        geometry, best, best_margin = self._goal.ball.geometry, x, -np.inf
        for step in range(self._steps):
            margin, gradient = self._goal.gradient(x)
            if margin > best_margin:
                best, best_margin = x, margin
            if margin >= 0:
                break
            x = geometry.ascended(x, gradient, radius, geometry.ascent_share(step, self._steps))
        return best, best_margin


class Drawing:
    """Draws a point towards the input while small steps of ascent still bring it back to the goal.

    It is moved a share of the way, and steps within the smaller ball follow; where they do not reach the goal, half the
    share is tried. When the budget ends, the point so far is the answer.
    """

    name = "drawing"

    def __init__(self, goal: GoalAscent) -> None:
        self._goal = goal

    def improve(self, x: Array, radius: float, budget: Budget) -> tuple[Array, float]:
        """From an x at the distance `radius`."""
        centre, share = self._goal.ball.centre, DRAWN
        for _ in range(TRIES):
            if share < LEAST_DRAWN or budget.remaining <= 0:
                break
            nearer = (1.0 - share) * radius
            found = self._back(centre + (1.0 - share) * (x - centre), nearer, ASCENT * share, budget)
            if found is None:
                share *= 0.5
            else:
                x, radius = found, nearer
        return x, radius

    def _back(self, x: Array, radius: float, step: float, budget: Budget) -> Array | None:
        """A point of the ball that reaches the goal, after steps of that share of the radius; None for none."""
        for _ in range(STEPS):
            if budget.remaining <= 0:
                return None
            margin, gradient = self._goal.gradient(x)
            if margin >= 0:
                return x
            x = self._goal.ball.geometry.ascended(x, gradient, radius, step)
        return x if self._goal.margin(x) >= 0 else None
