"""Cheap descents on stages: from a point of a search tree towards one that reaches the goal, inside the ball."""

from __future__ import annotations

import numpy as np

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces
from verifier.solvers.node_constants import STEPS

DRAWN, LEAST_DRAWN = 0.5, 2.0**-8
"""The share of its distance by which a point is drawn nearer at first, and the smallest one that is tried."""

TRIES = 40
"""Moves that are tried for one point: it would never arrive at an input that reaches the goal itself."""

ASCENT = 0.25
"""The steps that bring a drawn point back to the goal, as a share of what it was drawn."""


class LocalSearch:
    """Ascent of the goal's smallest row, in the steps of the ball's norm."""

    def __init__(self, stages: Stages, ball: Ball, goal: Halfspaces) -> None:
        self._stages, self._ball, self._goal = stages, ball, goal

    def margin(self, x: Array) -> float:
        """The goal's smallest row at x (n,), in float64."""
        return float(self._goal.margin(self._stages.values(x)[1])[0])

    def pattern(self, x: Array) -> Array:
        """Which ReLUs are active at x: (relu_count,)."""
        active: Array = self._stages.values(x)[0][0] > 0
        return active

    def descend(self, x: Array, radius: float, steps: int = STEPS) -> tuple[Array, float]:
        """The best point met within the radius on the way from x, and its margin; stops at the first with one ≥ 0."""
        geometry, best, best_margin = self._ball.geometry, x, -np.inf
        for step in range(steps):
            margin, gradient = self._ascent(x)
            if margin > best_margin:
                best, best_margin = x, margin
            if margin >= 0:
                break
            x = geometry.ascended(x, gradient, radius, geometry.ascent_share(step, steps))
        return best, best_margin

    def draw(self, x: Array, radius: float, budget: Budget) -> Array:
        """A point that reaches the goal as x does at the distance `radius`, drawn towards the input while that can be.

        It is moved a share of the way to the input, and small steps of ascent within the smaller ball follow; where
        they do not reach the goal, half the share is tried. When the budget ends, the point so far is the answer.
        """
        centre, share = self._ball.centre, DRAWN
        for _ in range(TRIES):
            if share < LEAST_DRAWN or budget.remaining <= 0:
                break
            nearer = (1.0 - share) * radius
            found = self._back(centre + (1.0 - share) * (x - centre), nearer, ASCENT * share, budget)
            if found is None:
                share *= 0.5
            else:
                x, radius = found, nearer
        return x

    def _back(self, x: Array, radius: float, step: float, budget: Budget) -> Array | None:
        """A point of the ball that reaches the goal, after steps of that share of the radius; None for none."""
        for _ in range(STEPS):
            if budget.remaining <= 0:
                return None
            margin, gradient = self._ascent(x)
            if margin >= 0:
                return x
            x = self._ball.geometry.ascended(x, gradient, radius, step)
        return x if self.margin(x) >= 0 else None

    def _ascent(self, x: Array) -> tuple[float, Array]:
        """The smallest row at x and its gradient."""
        stages = self._stages
        arguments, outputs = stages.values(x)
        rows = self._goal.matrix @ outputs[0] + self._goal.offset
        worst = int(np.argmin(rows))
        message = self._goal.matrix[worst]
        active = arguments[0] > 0
        starts = stages.starts
        sent = np.zeros(stages.relu_count)
        gradient = np.zeros(stages.input_size)
        for number in range(len(stages.stages), 0, -1):
            if number < len(stages.stages):
                part = slice(starts[number - 1], starts[number])
                message = np.where(active[part], sent[part], 0.0)
            for source, block in stages.stages[number - 1].blocks.items():
                arrived = block.adjoint @ message
                if source:
                    sent[starts[source - 1] : starts[source]] += arrived
                else:
                    gradient += arrived
        return float(rows[worst]), gradient
