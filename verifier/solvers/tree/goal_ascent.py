"""The goal's rows at a point, in float64: values, gradients, the activation pattern of the point."""

from __future__ import annotations

from functools import partial

import numpy as np

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.problem.plateau import uphill
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
        """The smallest row at x, and its gradient there, (n,); where that vanishes, that of ReLUs which leak."""
        arguments, rows = self._at(x)
        worst = int(np.argmin(rows))
        return float(rows[worst]), uphill(partial(self._sent_back, arguments), self.goal.matrix[[worst]])[0]

    def rows(self, x: Array) -> tuple[Array, Array]:
        """All rows at x (n,), and their gradients there, as in `gradient`: (m,), (m, n)."""
        arguments, rows = self._at(x)
        return rows, uphill(partial(self._sent_back, arguments), self.goal.matrix)

    def _at(self, x: Array) -> tuple[Array, Array]:
        arguments, outputs = self.stages.values(x)
        return arguments[0], self.goal.matrix @ outputs[0] + self.goal.offset

    def _sent_back(self, arguments: Array, messages: Array, leak: float) -> Array:
        """The gradients (k, n) of forms (k, K) over the outputs, where ReLUs have these arguments."""
        stages, count = self.stages, len(messages)
        active, starts = arguments > 0, stages.starts
        sent, gradients = np.zeros((count, stages.relu_count)), np.zeros((count, stages.input_size))
        for number in range(len(stages.stages), 0, -1):
            if number < len(stages.stages):
                part = slice(starts[number - 1], starts[number])
                messages = np.where(active[part], sent[:, part], leak * sent[:, part] if leak else 0.0)
            for source, block in stages.stages[number - 1].blocks.items():
                arrived = (block.adjoint @ messages.T).T
                if source:
                    sent[:, starts[source - 1] : starts[source]] += arrived
                else:
                    gradients += arrived
        return gradients
