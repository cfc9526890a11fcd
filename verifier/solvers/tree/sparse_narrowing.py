"""`NumpyNarrowing` by the kernel on sparse stages, a batch at a time: for networks whose dense matrices are large."""

from __future__ import annotations

import threading
import time

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.kernels.network import surroundings
from verifier.bounds.kernels.sparse_stages import SparseRows, SparseStages
from verifier.bounds.lagrangian import Dual, Duals, Lagrangian, ranks
from verifier.problem.rounding import SUBNORMAL, evaluation_error
from verifier.solvers.kernels.narrowing import LANES, Batch, Charges, NarrowRules, OpenRelus, Workspace, narrow_nodes
from verifier.solvers.node_constants import COSTLY, DEAREST
from verifier.solvers.tree.tightening import Narrowed, NarrowedBatch

SINGLE_UNIT = 2.0**-24
"""Half the gap between 1 and the next float32."""

SPARE = 8
"""Float32 operations more than a sum has terms: rounding weights, the lines of a ReLU, the sums of charges."""

AT_ONCE = 0.5
"""Seconds that one call may take, about: a budget that ends is seen only between calls."""

KEPT = 0.9
"""Share of what a node has taken that the next one is taken to take at least: many are closed at once."""

WORK = 1 << 26
"""Entries of the network times ReLUs that are bounded anew at one node, at most: on a residual CIFAR net of 2.1 million
entries 128 of them take six times as long as a node's steps, and 32 close the same trees in 0.6 to 0.75 of the time."""

BRIEFEST = 1e-6
"""Seconds: no node takes less."""


class SparseNarrowing:
    """Narrows nodes below a root with `lower`, `upper` (relu_count,)."""

    def __init__(self, stages: Stages, lagrangian: Lagrangian, lower: Array, upper: Array) -> None:
        geometry = lagrangian.geometry
        sparse = SparseStages(stages, geometry)
        for number in range(1, len(stages.stages)):
            part = sparse.part(number)
            sparse.add(number)
            sparse.bound(number, lower[part], upper[part])
        self._network = sparse.safe._replace(hidden=sparse.quick.hidden, inputs=sparse.quick.inputs)
        entries = self._network.hidden.values.size + self._network.inputs.values.size
        self._dearest = min(DEAREST, max(1, WORK // max(1, entries)))
        self._around = surroundings(geometry)
        self.relus: npt.NDArray[np.integer] = np.flatnonzero(sparse.safe.open)
        own, starts = self.relus, np.searchsorted(self.relus, stages.starts)
        self._open = OpenRelus(own.astype(np.int64), ranks(own, stages.relu_count), starts.astype(np.int64))
        whole = charges(sparse, np.maximum(np.abs(lower), np.abs(upper)))
        self._charges = whole._replace(magnitude=whole.magnitude[own])
        self._shape, self._works = (stages.relu_count, stages.input_size), threading.local()
        self._seconds, self._most = BRIEFEST, 1
        """What a node takes, as calls took it so far; nodes that a call may have, twice those of any before it."""

    @property
    def together(self) -> int:
        """Nodes of one call that ends within AT_ONCE."""
        return max(1, min(self._most, int(AT_ONCE / self._seconds)))

    @property
    def _work(self) -> Workspace:
        """This thread's."""
        if not hasattr(self._works, "work"):
            relus, size = self._shape
            self._works.work = Workspace(np.zeros((relus, LANES), np.float32), np.zeros((size, LANES), np.float32))
        found: Workspace = self._works.work
        return found

    def narrow(self, dual: Dual, weights: Array, radius: float, lower: Array, upper: Array) -> Narrowed | None:
        """As `Narrowing.narrow`."""
        own = self.relus
        duals = Duals.of([dual]).within(own)
        ends = lower[np.newaxis, own], upper[np.newaxis, own]
        (found,) = self.narrow_batch(duals, weights[np.newaxis], radius, *ends, reduced=False)
        if found is None:
            return None
        lower, upper, shares = np.array(lower), np.array(upper), np.array(dual.shares)
        lower[own], upper[own], shares[own] = found.lower, found.upper, found.shares
        return Narrowed(found.key, lower, upper, shares)

    def narrow_batch(
        self, duals: Duals, weights: Array, radius: float, lower: Array, upper: Array, *, reduced: bool
    ) -> NarrowedBatch:
        """As `BatchNarrowing.narrow_batch`."""
        del weights  # μ and ν stay as they are
        kept = (duals.constant, duals.row, duals.mu, duals.nu)
        changed = (np.array(part, order="C") for part in (duals.shares, lower, upper, np.zeros(len(duals))))
        batch, rules = Batch(*kept, *changed), NarrowRules(COSTLY, self._dearest, reduced)
        begun = time.perf_counter()
        narrow_nodes(self._network, self._open, self._around, self._charges, rules, self._work, radius, batch)
        self._seconds = max(BRIEFEST, KEPT * self._seconds, (time.perf_counter() - begun) / len(duals))
        self._most = max(self._most, 2 * len(duals))
        keys = np.where((batch.keys >= radius) & (radius > 0.0), np.inf, batch.keys)
        return NarrowedBatch(keys, batch.lower, batch.upper, batch.shares)


def charges(sparse: SparseStages, magnitude: Array) -> Charges:
    """What float32 rows over all stages are charged with; magnitude (relu_count,): the largest |argument|.

    A sum of n products is off by γ_{n+2} of its size, the weights rounded too; n is how many rows read what it is sent
    to. What is passed on is charged as the argument's size besides: the line of its ReLU is met up to rounding.
    """
    stages, network = sparse.stages, sparse.safe
    plain, terms, entries = np.array(network.sizes), np.zeros(magnitude.size), np.zeros(magnitude.size)
    for number, stage in enumerate(stages.hidden, 1):
        # What other evaluations of the network round is no part of these sums.
        plain[sparse.part(number)] /= 1.0 + evaluation_error(stage.operations, stages.unit) / sparse.rate
    for rows, size in ((network.hidden, magnitude.size), (network.inputs, stages.input_size)):
        row, column = _entries(rows)
        filled = np.flatnonzero(rows.end > rows.begin)
        most = np.maximum.reduceat(np.bincount(column, minlength=size)[column], np.searchsorted(row, filled))
        terms[filled] = np.maximum(terms[filled], most)
        entries += np.bincount(row, minlength=magnitude.size)
    largest = 1.0 + float(max(part.max(initial=0.0) for part in (magnitude, plain, np.abs(sparse.geometry.interval))))
    # Weights, and what they are multiplied with, may lose that much each where float32 is not normal.
    asked = _single_gamma(terms + SPARE) * plain + sparse.rate * network.sizes + SUBNORMAL * largest * (entries + SPARE)
    passed = asked + (_single_gamma(np.array(SPARE)) + sparse.rate) * magnitude
    slack = sparse.slack + SUBNORMAL * largest * float(entries.sum() + SPARE * magnitude.size)
    return Charges(sparse.rate, slack, asked, passed, magnitude)


def _entries(rows: SparseRows) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]:
    """The row and the column of each entry."""
    counts = rows.end - rows.begin
    row = np.repeat(np.arange(counts.size), counts)
    place = np.arange(row.size) + np.repeat(rows.begin - np.cumsum(counts) + counts, counts)
    return row, rows.columns[place]


def _single_gamma(operations: Array) -> Array:
    """γ_n of float32 sums; infinite where it is no bound any more."""
    product = operations * SINGLE_UNIT
    return np.where(product < 1.0, product / np.maximum(1.0 - product, SINGLE_UNIT), np.inf)
