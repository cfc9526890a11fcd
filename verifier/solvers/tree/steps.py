"""The steps of a bound tree's multipliers: the root's, and who takes and evaluates the others, numpy or kernels."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.alpha_beta_crown import FEW, Ascending, BatchedBound, Proposed, Start
from verifier.bounds.lagrangian import Duals, Lagrangian, measured
from verifier.problem.budget import Budget
from verifier.problem.norms.geometry import Floats
from verifier.solvers.kernels import cache
from verifier.solvers.tree.batch_packing import BatchPacking

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
    """Evaluates what is proposed for batches of nodes. relus: those that arrays are of: all, or those that the root
    leaves open."""

    relus: npt.NDArray[np.integer]

    def on_lines(self, best: Start, lower: Array, upper: Array) -> Duals:
        """The safe evaluation of multipliers, at nodes with bounds (nodes, relus) within the root's."""

    def measured(self, duals: Duals, radius: float) -> tuple[Array, Array, Array]:
        """`Duals.values` and `Duals.radii`."""

    def margins(self, points: Floats, places: npt.NDArray[np.integer]) -> Floats:
        """As `BatchedBound.margins`."""


class NumpyLines:
    """The numpy side, below a root with bounds `ends`."""

    def __init__(
        self, bound: BatchedBound, lagrangian: Lagrangian, ends: tuple[Array, Array], relus: npt.NDArray[np.integer]
    ) -> None:
        self._bound, self._lagrangian, self._ends, self.relus = bound, lagrangian, ends, relus
        self.margins, self.measured = bound.margins, measured

    def on_lines(self, best: Start, lower: Array, upper: Array) -> Duals:
        """As `Evaluating.on_lines`."""
        ends = [np.repeat(end[:, np.newaxis], len(lower), axis=1) for end in self._ends]
        for end, own in zip(ends, (lower, upper), strict=True):
            end[self.relus] = own.T
        found = self._lagrangian.on_lines(best.weights.astype(np.float64), *self._bound.spread(best), *ends)
        return found if self.relus.size == len(ends[0]) else found.within(self.relus)


def evaluating(
    bound: BatchedBound,
    ascends: Ascending | None,
    lagrangian: Lagrangian,
    ends: tuple[Array, Array],
    relus: npt.NDArray[np.integer],
) -> Evaluating:
    """Kernels where they take the steps."""
    if ascends is not None and ascends is not bound:
        from verifier.bounds.kernels.compiled_bound import CompiledBound  # noqa: PLC0415 (imports numba)
        from verifier.bounds.kernels.compiled_lines import CompiledLines  # noqa: PLC0415 (imports numba)

        if isinstance(ascends, CompiledBound):
            return CompiledLines(ascends, bound, lagrangian, relus)
    return NumpyLines(bound, lagrangian, ends, relus)


def packing(ends: tuple[Array, Array], undecided: npt.NDArray[Any], relus: npt.NDArray[Any]) -> BatchPacking:
    """By kernels where they are loaded."""
    if not cache.loaded():
        return BatchPacking(ends, undecided, relus)
    from verifier.solvers.tree.compiled_packing import CompiledPacking  # noqa: PLC0415 (imports numba)

    return CompiledPacking(ends, undecided, relus)


def rooted(bound: BatchedBound, lower: Array, upper: Array, steps: int, budget: Budget) -> Proposed:
    """The root's multipliers, with bounds (open, 1), from those of its best row of the goal alone. Raises
    OutOfTimeError."""
    rows = bound.first()
    count = rows.weights.shape[1]
    alone = bound.optimise(np.repeat(lower, count, axis=1), np.repeat(upper, count, axis=1), rows, 1, budget)
    best = np.array([int(np.argmax(alone.values))])
    found = bound.optimise(lower, upper, alone.best.columns(best), steps, budget)
    bound.deficit = max(0.0, -float(found.values.max()))
    return found
