"""CROWN on stages: bounds of later ReLU arguments, again and again for the nodes of a search tree.

A ReLU lies between its `relu_lines`, with the default slopes. Splits are bounds with an end at 0, so that the lines of
a split ReLU are exact. Every coefficient is a given multiplier, its rounding charged with sizes that are known
beforehand.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.half_space import HalfSpace, least
from verifier.bounds.lagrangian import Lagrangian
from verifier.bounds.relu_lines import lower_slope, upper_intercept, upper_slope
from verifier.problem.rounding import down


class StageBounds:
    """Bounds of the arguments of one stage from bounds of those before it."""

    def __init__(self, stages: Stages, lagrangian: Lagrangian, radius: float) -> None:
        self._stages, self._radius = stages, radius
        self._geometry, self._centre = lagrangian.geometry, lagrangian.ball.centre
        self._charge, self._sizes = lagrangian.charge, lagrangian.sizes
        self._slack = lagrangian.slack
        self._rate = lagrangian.rate
        starts = stages.starts
        self._slices = [slice(a, b) for a, b in pairwise(starts)]

    def tighten(self, lower: Array, upper: Array, wanted: npt.NDArray[np.bool_], cut: HalfSpace) -> tuple[Array, Array]:
        """lower, upper (relu_count,) with the `wanted` open arguments bounded anew, stage by stage, within the cut."""
        lower, upper = lower.copy(), upper.copy()
        for number in range(1, len(self._stages.hidden) + 1):
            part = self._slices[number - 1]
            chosen = np.flatnonzero(wanted[part] & (lower[part] < 0) & (upper[part] > 0))
            if chosen.size == 0:
                continue
            ends = self._ends(number, chosen, lower, upper, cut)
            places = part.start + chosen
            lower[places] = np.maximum(lower[places], ends[: chosen.size])
            upper[places] = np.minimum(upper[places], -ends[chosen.size :])
        return lower, upper

    def _ends(self, number: int, chosen: npt.NDArray[Any], lower: Array, upper: Array, cut: HalfSpace) -> Array:
        """Lower bounds of (z, −z) for the chosen entries of a stage."""
        stages = self._stages
        stage = stages.stages[number - 1]
        slope, alpha = upper_slope(lower, upper), lower_slope(lower, upper)
        intercept = upper_intercept(slope, lower, upper)
        rows = {source: _signed_rows(block.matrix, chosen) for source, block in stage.blocks.items()}
        constant = np.concatenate([stage.constant[chosen], -stage.constant[chosen]])
        size = np.tile(self._sizes[number - 1][chosen], 2)
        for source in range(number - 1, 0, -1):
            message = rows.pop(source, None)
            if message is None:
                continue
            part = self._slices[source - 1]
            against = np.minimum(message, 0.0)
            lost = against @ intercept[part]
            message = np.where(message > 0, message * alpha[part], against * slope[part])
            constant = constant + lost + message @ stages.stages[source - 1].constant
            size = size - lost + np.abs(message) @ self._charge[part]
            for earlier, block in stages.stages[source - 1].blocks.items():
                sent = message @ block.matrix
                rows[earlier] = rows[earlier] + sent if earlier in rows else sent
        at_input = rows.get(0)
        if at_input is not None:
            constant = constant + at_input @ self._centre + least(self._geometry, at_input, self._radius, cut)
        return down(constant, self._rate * size + self._slack)


def _signed_rows(matrix: Array, chosen: Array) -> Array:
    rows = matrix[chosen]
    dense: Array = rows if isinstance(rows, np.ndarray) else rows.toarray()
    return np.vstack([dense, -dense])
