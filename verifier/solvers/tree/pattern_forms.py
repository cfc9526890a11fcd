"""The network within one activation pattern, where it is affine: values, and the rows that are asked for.

Rows come by the chain rule, backwards from the ReLUs in question. A large network's region has thousands of them over
hundreds of inputs; a walk through regions asks for the few next to it.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.problem.query import Halfspaces


def pulled_back(stages: Stages, active: Array, outputs: Array, places: npt.NDArray[np.intp]) -> Array:
    """The gradients over the input (k + p, n) of forms (k, K) over the outputs and of the arguments of ReLUs at
    `places` (p,), ascending, where these ReLUs (relu_count,) are active."""
    count, starts = len(outputs), stages.starts
    sent = np.zeros((count + places.size, stages.relu_count))
    gradients = np.zeros((count + places.size, stages.input_size))
    rows, messages = np.arange(count), outputs
    for number in range(len(stages.stages), 0, -1):
        if number < len(stages.stages):
            part = slice(starts[number - 1], starts[number])
            behind = np.flatnonzero(places >= part.start)
            rows = np.concatenate([np.arange(count), count + behind])
            messages = np.where(active[part], sent[rows, part], 0.0)
            own = np.flatnonzero(places[behind] < part.stop)
            messages[count + own, places[behind][own] - part.start] += 1.0
        for source, block in stages.stages[number - 1].blocks.items():
            arrived = (block.adjoint @ messages.T).T
            if source:
                sent[rows, starts[source - 1] : starts[source]] += arrived
            else:
                gradients[rows] += arrived
    return gradients


class PatternForms:
    """Arguments of ReLUs and a goal's rows as affine functions of x, where the ReLUs of `pattern` are active."""

    def __init__(self, stages: Stages, goal: Halfspaces, pattern: Array) -> None:
        self.stages, self.goal, self.pattern = stages, goal, pattern

    @cached_property
    def signs(self) -> Array:
        """1 where a ReLU is active, −1 where not: (relu_count,); the region is where signs · arguments ≥ 0."""
        return np.where(self.pattern, 1.0, -1.0)

    def at(self, x: Array) -> tuple[Array, Array]:
        """(arguments (relu_count,), goal rows (m,)) of the affine functions at x (n,)."""
        stages = self.stages
        arguments: list[Array] = [np.zeros(0)]
        outputs: list[Array] = [x]
        for number, stage in enumerate(stages.stages):
            total = stage.constant
            for source, block in stage.blocks.items():
                total = total + block.matrix @ outputs[source]
            if number == len(stages.hidden):
                return np.concatenate(arguments), self.goal.matrix @ total + self.goal.offset
            arguments.append(total)
            outputs.append(np.where(self.pattern[stages.starts[number] : stages.starts[number + 1]], total, 0.0))
        raise ValueError("stages end with the output")

    def rows(self, places: npt.NDArray[np.intp]) -> tuple[Array, Array]:
        """The gradients of the goal's rows (m, n), and of the arguments of ReLUs at `places` (p, n), ascending."""
        count = len(self.goal.matrix)
        gradients = pulled_back(self.stages, self.pattern, self.goal.matrix, places)
        return gradients[:count], gradients[count:]
