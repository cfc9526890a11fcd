"""The goal's smallest row at a point, in float64: its value, its gradient, the activation pattern of the point."""

from __future__ import annotations

import numpy as np

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.problem.query import Ball, Halfspaces


class GoalAscent:
    """What primal heuristics climb, and the steps of the ball's norm in which they do."""

    def __init__(self, stages: Stages, ball: Ball, goal: Halfspaces) -> None:
        self.stages, self.ball, self.goal = stages, ball, goal

    def margin(self, x: Array) -> float:
        """The smallest row at x (n,)."""
        return float(self.goal.margin(self.stages.values(x)[1])[0])

    def pattern(self, x: Array) -> Array:
        """Which ReLUs are active at x: (relu_count,)."""
        active: Array = self.stages.values(x)[0][0] > 0
        return active

    def gradient(self, x: Array) -> tuple[float, Array]:
        """The smallest row at x, and its gradient there: (n,)."""
        stages = self.stages
        arguments, outputs = stages.values(x)
        rows = self.goal.matrix @ outputs[0] + self.goal.offset
        worst = int(np.argmin(rows))
        message = self.goal.matrix[worst]
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
