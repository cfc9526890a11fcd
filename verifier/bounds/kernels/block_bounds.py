"""Bounds of the arguments of one stage after another by α-CROWN's kernels, a block of rows at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.alpha_crown import FIRST_STEP, MOMENTUM, SECOND_MOMENTUM, STEP_DECAY
from verifier.bounds.kernels.alpha_crown import LANES, backward, box_least, climb, keep_better, reached
from verifier.bounds.kernels.jit import Integers
from verifier.bounds.kernels.sparse_stages import SparseStages, single
from verifier.problem.budget import Budget
from verifier.problem.norms.geometry import Floats
from verifier.problem.query import Ball
from verifier.problem.rounding import down


class BlockBounds:
    """Bounds of the arguments of one stage after another over a region, by the kernels: `ArgumentBounds`."""

    def __init__(self, stages: Stages, region: Ball) -> None:
        self._sparse = SparseStages(stages, region.geometry)
        self._numbers = {node: number for number, node in enumerate(stages.nodes[:-1], 1)}
        self._geometry = region.geometry
        count, size = stages.relu_count, stages.input_size
        self._ends = np.array(region.interval)
        self._over = False
        """Has the time ended? Stages that come after one that is not bounded are not bounded either."""
        self._default = np.zeros((count, LANES), np.float32)
        self._safe = _Workspace(count, size, np.dtype(np.float64))
        self._quick = _Workspace(count, size, np.dtype(np.float32))
        self._single_ends = single(self._ends)
        self._slopes = [np.zeros((count, LANES), np.float32) for _ in range(5)]

    def tightened(self, node: int, lower: Array, upper: Array, iterations: int, budget: Budget) -> tuple[Array, Array]:
        self._over = self._over or budget.ended
        if self._over:
            return lower, upper
        number = self._numbers[node]
        self._sparse.add(number)
        lower, upper = lower.copy(), upper.copy()
        for slopes in sorted({0, iterations}):
            open_ = np.flatnonzero((lower < 0) & (upper > 0))
            for start in range(0, open_.size, LANES // 2):
                if budget.ended:
                    break
                part = open_[start : start + LANES // 2]
                low, high = self._block(self._sparse.part(number).start + part, slopes, budget)
                lower[part], upper[part] = np.maximum(lower[part], low), np.minimum(upper[part], high)
        self._sparse.bound(number, lower, upper)
        self._default[self._sparse.part(number)] = self._sparse.alpha[self._sparse.part(number), np.newaxis]
        return lower, upper

    def _block(self, chosen: Array, iterations: int, budget: Budget) -> tuple[Array, Array]:
        """Bounds of a few arguments, their slopes optimised so many times."""
        count = chosen.size
        half = np.concatenate([chosen, np.repeat(chosen[:1], LANES // 2 - count)])
        asked = np.concatenate([half, half])
        signs = np.repeat([1.0, -1.0], LANES // 2)
        places, inputs = reached(self._sparse.safe, asked, self._ends.shape[1])
        alpha = self._climbed(asked, signs, places, inputs, iterations, budget) if iterations else self._default
        safe, work = self._sparse.safe, self._safe
        backward(safe, asked, signs, places, inputs, alpha, work.mu, work.row, work.value, work.size)
        error = self._sparse.rate * work.size + self._sparse.slack
        if self._geometry.is_box:
            box_least(inputs, work.row, self._ends, work.points, work.value)
            value = down(work.value, error)
        else:
            value = down(work.value + self._geometry.minimum(np.ascontiguousarray(work.row.T)), error)
        work.row[inputs] = 0.0
        return value[:count], -value[LANES // 2 : LANES // 2 + count]

    def _climbed(
        self, asked: Integers, signs: Array, places: Integers, inputs: Integers, iterations: int, budget: Budget
    ) -> Floats:
        """The best slopes met for each row, in float32, by the time the budget ends."""
        quick, work = self._sparse.quick, self._quick
        alpha, best, first, second, heights = self._slopes
        alpha[places] = best[places] = self._default[places]
        first[places] = second[places] = 0.0
        known, single = np.full(LANES, -np.inf, np.float32), signs.astype(np.float32)
        for count in range(1, iterations + 1):
            if budget.ended:
                break
            backward(quick, asked, single, places, inputs, alpha, work.mu, work.row, work.value, work.size)
            points = work.points
            if self._geometry.is_box:
                box_least(inputs, work.row, self._single_ends, points, work.value)
            else:
                with np.errstate(invalid="ignore", over="ignore"):
                    points, least = self._geometry.least_of_batch(work.row)
                    work.value += least
            keep_better(places, work.value, alpha, known, best)
            if count < iterations:
                step = FIRST_STEP * STEP_DECAY ** (count - 1)
                scale, square_scale = 1.0 / (1.0 - MOMENTUM**count), 1.0 / (1.0 - SECOND_MOMENTUM**count)
                climb(quick, places, points, work.mu, heights, step, scale, square_scale, alpha, first, second)
        work.row[inputs] = 0.0
        return best


class _Workspace:
    """What kernels fill in, in one type of floats."""

    def __init__(self, count: int, size: int, dtype: np.dtype[Any]) -> None:
        self.mu, self.row, self.points = (np.zeros((rows, LANES), dtype) for rows in (count, size, size))
        self.value, self.size = np.zeros(LANES, dtype), np.zeros(LANES, dtype)
