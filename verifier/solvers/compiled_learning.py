"""Propagation and learning by compiled kernels."""

from __future__ import annotations

import numpy as np

from verifier.bounds.box_part import Places
from verifier.solvers.kernels.conflict import learn, walk_of
from verifier.solvers.kernels.propagate import propagate, wave_of
from verifier.solvers.propagation.conflict import Learned, level_of
from verifier.solvers.propagation.rows import RowSystem
from verifier.solvers.propagation.trail import Nogoods, Trail


class CompiledEngine:
    """`NumpyEngine` by kernels."""

    def __init__(self, rows: RowSystem, trail: Trail, inputs: int) -> None:
        self._rows, self._trail, self._inputs = rows, trail, inputs
        self._wave, self._walk = wave_of(rows, trail), walk_of(trail)

    def propagate(self, nogoods: Nogoods, heads: Places, clash: Places) -> int:
        return propagate(self._rows, nogoods, self._trail, heads, clash, self._wave)

    def learn(self, nogoods: Nogoods, starts: Places, clash: Places) -> Learned:
        walk = self._walk
        count = learn(self._rows, nogoods, self._trail, self._inputs, starts, clash, walk)
        end, value = walk.literal[:count].copy(), walk.threshold[:count].copy()
        return Learned(end, value, level_of(starts, walk.place[1:count]), np.flatnonzero(walk.seen))
