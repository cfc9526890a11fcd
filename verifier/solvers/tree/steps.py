"""The steps of a bound tree's multipliers: the root's, and who takes and evaluates the others, numpy or kernels."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.alpha_beta_crown import FEW, Ascending, BatchedBound, Proposed, Start
from verifier.bounds.lagrangian import Duals, Lagrangian
from verifier.problem.budget import Budget
from verifier.problem.norms.geometry import Floats
from verifier.solvers.kernels import cache

STEPPED = 5e7
"""Nodes of a tree times entries of its matrices from which on kernels are loaded for its steps, where they are not yet:
loading takes a second, and steps by numpy have taken half of one."""

LARGEST = 1 << 24
"""Entries of its matrices up to which a kernel takes the steps: it has a copy of them, of 24 bytes each."""


def ascending(bound: BatchedBound, nodes: int, batch: int, budget: Budget) -> Ascending | None:
    """What takes steps from now on in a tree that has so many nodes: the kernel where it can be called at once; None
    while batches are small or the tree may end soon."""
    lasts = nodes * bound.entries >= STEPPED or cache.loaded()
    if batch < FEW or not lasts or bound.entries > LARGEST:
        return None
    if not cache.at_once(budget.remaining):
        return bound
    from verifier.bounds.kernels.compiled_bound import CompiledBound  # noqa: PLC0415 (imports numba)

    return CompiledBound(bound)


class Evaluating(Protocol):
    """Evaluates what is proposed for batches of nodes."""

    def on_lines(self, best: Start, lower: Array, upper: Array) -> Duals:
        """The safe evaluation of multipliers, at nodes with bounds (relu_count, nodes) within the root's."""

    def margins(self, points: Floats) -> Floats:
        """As `BatchedBound.margins`."""


class NumpyLines:
    """The numpy side."""

    def __init__(self, bound: BatchedBound, lagrangian: Lagrangian) -> None:
        self._bound, self._lagrangian, self.margins = bound, lagrangian, bound.margins

    def on_lines(self, best: Start, lower: Array, upper: Array) -> Duals:
        """As `Evaluating.on_lines`."""
        alpha, beta, kept = np.zeros_like(lower), np.zeros_like(lower), self._bound.kept
        alpha[kept], beta[kept] = best.alpha, best.beta
        return self._lagrangian.on_lines(best.weights.astype(np.float64), alpha, beta, lower, upper)


def evaluating(bound: BatchedBound, ascends: Ascending | None, lagrangian: Lagrangian) -> Evaluating:
    """Kernels where they take the steps."""
    if ascends is not None and ascends is not bound:
        from verifier.bounds.kernels.compiled_bound import CompiledBound  # noqa: PLC0415 (imports numba)
        from verifier.bounds.kernels.compiled_lines import CompiledLines  # noqa: PLC0415 (imports numba)

        if isinstance(ascends, CompiledBound):
            return CompiledLines(ascends, bound, lagrangian)
    return NumpyLines(bound, lagrangian)


def rooted(bound: BatchedBound, lower: Array, upper: Array, steps: int, budget: Budget) -> Proposed:
    """The root's multipliers, with bounds (kept, 1), from those of its best row of the goal alone. Raises
    OutOfTimeError."""
    rows = bound.first()
    count = rows.weights.shape[1]
    alone = bound.optimise(np.repeat(lower, count, axis=1), np.repeat(upper, count, axis=1), rows, 1, budget)
    best = np.array([int(np.argmax(alone.values))])
    found = bound.optimise(lower, upper, alone.best.columns(best), steps, budget)
    bound.deficit = max(0.0, -float(found.values.max()))
    return found
