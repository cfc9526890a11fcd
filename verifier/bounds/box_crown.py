"""CROWN for a batch of boxes: the arguments of every stage anew in each of them, then the rows of the goal.

A box is a part of the ball that a `Lagrangian` was made for, whose charges for rounding hold there too; the formulas
are those of `stage_crown` (Zhang et al. 2018), with the lines of its own box for each row. The rows of all boxes go
through one matrix product, so that a batch costs a few calls for each pair of stages, however many boxes it has. An
argument whose sign is known is not bounded again: it stays known in every part of the box.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.box_part import BoxPart, Places
from verifier.bounds.lagrangian import Lagrangian
from verifier.bounds.relu_lines import lower_slope, upper_intercept, upper_slope
from verifier.problem.budget import Budget
from verifier.problem.rounding import down


@dataclass(frozen=True, eq=False)
class Bounded:
    """What CROWN says of a batch of boxes.

    lower, upper (batch, relu_count): of the ReLU arguments; where they cross, a box holds nothing. For each row of the
    goal −(C·z + d) ≥ constants + rows·(x − base): (batch, m), (batch, m, n). `values` (batch, m) is the least of that
    in the box, rounding subtracted: where it is above 0, nothing there reaches the row. real_values: over the reals
    alone.
    """

    lower: Array
    upper: Array
    rows: Array
    constants: Array
    values: Array
    real_values: Array


@dataclass(eq=False)
class _Forms:
    """Linear forms on their way back: `rows` by stage, constants, sizes of what was added up (and of that over the
    reals, where it differs), and the number of each form's box."""

    rows: dict[int, Array]
    constant: Array
    size: Array
    real: Array | None
    box: Places


class BoxCrown:
    """Bounds boxes within the ball of a Lagrangian, whose goal and charges for rounding it takes."""

    def __init__(self, stages: Stages, lagrangian: Lagrangian) -> None:
        self._stages, self._lagrangian = stages, lagrangian
        self.sizes = tuple(stage.size for stage in stages.hidden)
        self._slices = [slice(a, b) for a, b in pairwise(stages.starts)]
        goal = lagrangian.goal
        self._goal = {source: -(goal.matrix @ block.matrix) for source, block in stages.output.blocks.items()}
        self._goal_constant = -(goal.matrix @ stages.output.constant + goal.offset)

    def bound(self, part: BoxPart, lower: Array, upper: Array, budget: Budget) -> Bounded:
        """Bound the boxes of `part` from what is known there, (batch, relu_count) each. Raises OutOfTimeError."""
        lower, upper = lower.copy(), upper.copy()
        with np.errstate(invalid="ignore", over="ignore"):
            for number, places in enumerate(self._slices, start=1):
                box, chosen = np.nonzero((lower[:, places] < 0) & (upper[:, places] > 0))
                if box.size == 0:
                    continue
                ends = self._ends(number, box, chosen, part, (lower, upper), budget)
                at = box, places.start + chosen
                lower[at] = np.maximum(lower[at], ends[: box.size])
                upper[at] = np.minimum(upper[at], -ends[box.size :])
            return self._of_goal(part, lower, upper, budget)

    def _ends(
        self, number: int, box: Places, chosen: Places, part: BoxPart, bounds: tuple[Array, Array], budget: Budget
    ) -> Array:
        """Lower bounds of (z, −z) for chosen entries of a stage, each in its box."""
        stage, lagrangian = self._stages.stages[number - 1], self._lagrangian
        forms = _Forms(
            {source: _signed_rows(block.matrix, chosen) for source, block in stage.blocks.items()},
            np.concatenate([stage.constant[chosen], -stage.constant[chosen]]),
            np.tile(lagrangian.sizes[number - 1][chosen], 2),
            None,
            np.tile(box, 2),
        )
        row = self._back(number, forms, bounds, budget)
        value = forms.constant + part.at_base(row, forms.box) - part.falls(row, forms.box)
        return down(value, lagrangian.rate * forms.size + lagrangian.slack)

    def _of_goal(self, part: BoxPart, lower: Array, upper: Array, budget: Budget) -> Bounded:
        lagrangian, count, goals = self._lagrangian, len(lower), len(self._goal_constant)
        forms = _Forms(
            {source: np.tile(matrix, (count, 1)) for source, matrix in self._goal.items()},
            np.tile(self._goal_constant, count),
            np.tile(lagrangian.goal_size, count),
            np.tile(lagrangian.real_goal_size, count) if self._stages.both else None,
            np.repeat(np.arange(count), goals),
        )
        row = self._back(len(self._stages.stages), forms, (lower, upper), budget)
        constant, fallen = forms.constant + part.at_base(row, forms.box), part.falls(row, forms.box)
        charged = down(constant, lagrangian.rate * forms.size + lagrangian.slack)
        real = charged if forms.real is None else down(constant, lagrangian.rate * forms.real + lagrangian.slack)
        shape = (count, goals)
        return Bounded(
            lower,
            upper,
            row.reshape(*shape, -1),
            charged.reshape(shape),
            (charged - fallen).reshape(shape),
            (real - fallen).reshape(shape),
        )

    def _back(self, number: int, forms: _Forms, bounds: tuple[Array, Array], budget: Budget) -> Array:
        """Push forms over a stage back to the input: their coefficients there (rows, n). Raises OutOfTimeError."""
        stages, lagrangian, box = self._stages, self._lagrangian, forms.box
        for source in range(number - 1, 0, -1):
            message = forms.rows.pop(source, None)
            if message is None:
                continue
            budget.check()
            places = self._slices[source - 1]
            low, high = bounds[0][:, places], bounds[1][:, places]
            slope, alpha = upper_slope(low, high), lower_slope(low, high)
            against = np.minimum(message, 0.0)
            message -= against
            lost = np.einsum("rj,rj->r", against, upper_intercept(slope, low, high)[box])
            # In place: these arrays are what a batch's time is spent on.
            message *= alpha[box]
            against *= slope[box]
            message += against
            size = np.abs(message, out=against)
            forms.constant = forms.constant + lost + message @ stages.stages[source - 1].constant
            forms.size = forms.size - lost + size @ lagrangian.charge[places]
            if forms.real is not None:
                forms.real = forms.real - lost + size @ lagrangian.real_charge[places]
            for earlier, block in stages.stages[source - 1].blocks.items():
                sent = message @ block.matrix
                forms.rows[earlier] = forms.rows[earlier] + sent if earlier in forms.rows else sent
        at_input = forms.rows.get(0)
        return np.zeros((box.size, stages.input_size)) if at_input is None else at_input


def _signed_rows(matrix: Any, chosen: Places) -> Array:
    rows = matrix[chosen]
    dense: Array = rows if isinstance(rows, np.ndarray) else rows.toarray()
    return np.concatenate([dense, -dense])
