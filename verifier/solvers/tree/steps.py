"""Who takes the steps of a bound tree's multipliers: numpy, or the kernel once that pays."""

from __future__ import annotations

from verifier.bounds.alpha_beta_crown import FEW, Ascending, BatchedBound
from verifier.problem.budget import Budget
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
