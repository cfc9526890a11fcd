"""`NumpyNarrowing` by the kernel on sparse stages: for networks whose dense matrices are large."""

from __future__ import annotations

import math
import threading

import numpy as np

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.kernels.alpha_crown import LANES
from verifier.bounds.kernels.network import surroundings
from verifier.bounds.kernels.sparse_stages import SparseStages
from verifier.bounds.lagrangian import Dual, Lagrangian
from verifier.solvers.kernels.narrowing import Charges, NarrowRules, Workspace, narrow_node
from verifier.solvers.node_constants import COSTLY, DEAREST
from verifier.solvers.tree.tightening import Narrowed


class SparseNarrowing:
    """Narrows nodes below a root with `lower`, `upper` (relu_count,), one after another."""

    def __init__(self, stages: Stages, lagrangian: Lagrangian, lower: Array, upper: Array) -> None:
        geometry, count, size = lagrangian.geometry, stages.relu_count, stages.input_size
        sparse = SparseStages(stages, geometry)
        for number in range(1, len(stages.stages)):
            part = sparse.part(number)
            sparse.add(number)
            sparse.bound(number, lower[part], upper[part])
        self._network, self._starts = sparse.safe, np.array(stages.starts, np.int64)
        self._around = surroundings(geometry)
        self._charges = Charges(sparse.rate, sparse.slack, np.maximum(np.abs(lower), np.abs(upper)))
        self._rules = NarrowRules(COSTLY, DEAREST)
        self._shape, self._works = (count, size), threading.local()

    @property
    def _work(self) -> Workspace:
        """This thread's."""
        if not hasattr(self._works, "work"):
            count, size = self._shape
            mu, row, lanes = np.zeros((count, LANES)), np.zeros((size, LANES)), np.zeros((count, LANES), np.float32)
            (value, width), (slope, intercept, alpha) = np.zeros((2, LANES)), np.zeros((3, count))
            self._works.work = Workspace(mu, row, value, width, lanes, slope, intercept, alpha)
        found: Workspace = self._works.work
        return found

    def narrow(self, dual: Dual, weights: Array, radius: float, lower: Array, upper: Array) -> Narrowed | None:
        del weights  # μ and ν stay as they are
        low, high, shares = lower.copy(), upper.copy(), dual.shares.copy()
        key = narrow_node(
            self._network,
            self._starts,
            self._around,
            self._charges,
            self._rules,
            self._work,
            radius,
            dual.constant,
            dual.row,
            dual.mu,
            dual.nu,
            shares,
            low,
            high,
        )
        return None if key >= radius > 0.0 or key == math.inf else Narrowed(key, low, high, shares)
