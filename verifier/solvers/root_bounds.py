"""The node bounds that a search begins with: `linear_bounds`, by kernels where a network is large and they are at hand.

Which way is taken depends on the network and on this machine, never on what the process did before: the same question
has the same bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Graph
from encoders.network.node_bounds import NodeBounds
from verifier.bounds.alpha_crown import ArgumentBounds, Effort, linear_bounds
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball
from verifier.problem.rounding import REAL, Arithmetic
from verifier.solvers.kernels import cache

KERNELS_PAY = 1000
"""ReLUs from which kernels bound arguments: below, numpy takes less time than loading them, about a second."""

LARGE = 2000
"""ReLUs beyond which numpy takes CROWN's default lines: optimised ones took 13 s of 20 on a CIFAR conv net."""


def root_bounds(
    graph: Graph,
    region: Ball,
    budget: Budget,
    arithmetic: Arithmetic = REAL,
    stages: Callable[[], Stages] | None = None,
) -> NodeBounds:
    """Proved bounds on every node over the region, as `linear_bounds` gives them: what the budget allows.

    stages: gives those of the graph in this arithmetic, where someone keeps them; it may raise OutOfTimeError.
    """
    by = _kernels(graph, region, budget, arithmetic, stages)
    effort = Effort(neuron_iterations=0) if by is None and graph.relu_count > LARGE else Effort()
    return linear_bounds(graph, region, budget, effort, arithmetic, by)


def _kernels(
    graph: Graph, region: Ball, budget: Budget, arithmetic: Arithmetic, stages: Callable[[], Stages] | None
) -> ArgumentBounds | None:
    """What bounds the arguments in place of numpy; None: nothing does."""
    if graph.relu_count < KERNELS_PAY or not region.bounded or not cache.at_once(budget.remaining):
        return None
    with suppress(OutOfTimeError):
        found = stages() if stages else to_stages(graph, arithmetic.unit, arithmetic.floors(graph), budget.check)
        if not found.underflows:
            from verifier.bounds.kernels.block_bounds import BlockBounds  # noqa: PLC0415 (imports numba)

            return BlockBounds(found, region)
    return None
