"""`BatchPacking` by its kernels: for where these are loaded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.alpha_beta_crown import Start
from verifier.problem.norms.geometry import Floats
from verifier.solvers.kernels.batch_nodes import differing, pack_multipliers, unpack_bounds, unpack_multipliers
from verifier.solvers.tree.batch_packing import BatchPacking, Halved, Ragged

_Places = npt.NDArray[np.integer]


class CompiledPacking(BatchPacking):
    """The same, bit for bit."""

    def _tighten(self, kept: Ragged, lower: Array, upper: Array) -> None:
        low, high = kept.values
        unpack_bounds(self._ranks, kept.ends, kept.places, low, high, lower, upper)

    def _unpacked(self, steps: npt.NDArray[np.uint8], kept: Ragged) -> tuple[Floats, Floats]:
        alpha, beta = np.empty(steps.shape[::-1], np.float32), np.empty(steps.shape[::-1], np.float32)
        unpack_multipliers(steps, kept.ends, kept.places, kept.values[0], alpha, beta)
        return alpha, beta

    def _packed(self, best: Start, chosen: _Places) -> tuple[npt.NDArray[np.uint8], Ragged]:
        alpha, beta, count = np.ascontiguousarray(best.alpha), np.ascontiguousarray(best.beta), chosen.size
        most = int(np.count_nonzero(beta))
        steps, ends = np.empty((count, len(alpha)), np.uint8), np.zeros(count + 1, dtype=np.int64)
        places, values = np.empty(most, np.int32), np.empty(most, np.float32)
        pack_multipliers(chosen.astype(np.int64), alpha, beta, steps, ends, places, values)
        return steps, Ragged(ends, places, (values,))

    def _differing(self, split: Halved) -> tuple[_Places, Ragged]:
        rows, columns = split.rows.astype(np.int64), split.columns.astype(np.int64)
        lower, upper = np.ascontiguousarray(split.lower), np.ascontiguousarray(split.upper)
        ends, at = np.zeros(rows.size + 1, dtype=np.int64), np.empty(rows.size, dtype=np.int64)
        found = np.empty(rows.size * lower.shape[1], np.int32), *np.empty((2, rows.size * lower.shape[1]))
        differing(rows, lower, upper, self._open, columns, ends, at, *found)
        places, low, high = (part[: ends[-1]] for part in found)
        return at, Ragged(ends, places, (low, high))
