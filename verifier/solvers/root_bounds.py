"""The node bounds that a search begins with: `linear_bounds`, by kernels where a network is large and they are at hand.

Which way is taken depends on the network and on this machine, never on what the process did before: the same question
has the same bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Array, Graph
from encoders.network.node_bounds import NodeBounds
from verifier.bounds.alpha_crown import Effort, linear_bounds
from verifier.bounds.anchored import AnchoredBounds, anchors
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Halfspaces
from verifier.problem.rounding import REAL, Arithmetic
from verifier.solvers.kernels import cache

KERNELS_PAY = 1000
"""ReLUs from which kernels bound arguments: below, numpy takes less time than loading them, about a second."""

CLIMBS = 30
"""Iterations of the anchored lines of a goal's row: each takes a millisecond or two on 4,804 ReLUs."""

LARGE = 2000
"""ReLUs beyond which numpy takes CROWN's default lines: optimised ones took 13 s of 20 on a CIFAR conv net."""


def root_bounds(
    graph: Graph,
    region: Ball,
    budget: Budget,
    arithmetic: Arithmetic = REAL,
    stages: Callable[[], Stages] | None = None,
) -> NodeBounds:
    """The bounds of `rooted`."""
    return rooted(graph, region, budget, arithmetic, stages).bounds


@dataclass(frozen=True, eq=False)
class Rooted:
    """Proved bounds on every node over a region; where it is a ball in L1, the lines anchored at its centre too."""

    bounds: NodeBounds
    anchored: AnchoredBounds | None = None

    def excludes(self, goal: Halfspaces, radius: float, budget: Budget) -> bool:
        """Do anchored lines prove that no point within `radius`, at most the region's, reaches the goal?"""
        return self.anchored is not None and self.anchored.goal_upper(goal, radius, CLIMBS, budget) < 0


def rooted(
    graph: Graph,
    region: Ball,
    budget: Budget,
    arithmetic: Arithmetic = REAL,
    stages: Callable[[], Stages] | None = None,
) -> Rooted:
    """Proved bounds on every node over the region, as `linear_bounds` gives them: what the budget allows.

    stages: gives those of the graph in this arithmetic, where someone keeps them; it may raise OutOfTimeError.
    """
    found, kernels = None, _by_kernels(graph, region, budget)
    if kernels or anchors(graph, region):
        with suppress(OutOfTimeError):
            found = stages() if stages else to_stages(graph, arithmetic.unit, arithmetic.floors(graph), budget.check)
    if found is None or found.underflows:
        return Rooted(linear_bounds(graph, region, budget, _effort(graph), arithmetic))
    by = None
    if kernels:
        from verifier.bounds.kernels.block_bounds import BlockBounds  # noqa: PLC0415 (imports numba)

        by = BlockBounds(found, region)
    before = AnchoredBounds(found, region) if anchors(graph, region) else None
    effort = Effort() if kernels else _effort(graph)
    bounds = linear_bounds(graph, region, budget, effort, arithmetic, by, before)
    return Rooted(bounds, before if before is not None and before.complete else None)


class _Kept:
    """`ArgumentBounds` that leave intervals as they are."""

    @staticmethod
    def tightened(node: int, lower: Array, upper: Array, iterations: int, budget: Budget) -> tuple[Array, Array]:
        del node, iterations, budget
        return lower, upper


def anchored_alone(
    graph: Graph, region: Ball, budget: Budget, arithmetic: Arithmetic, stages: Stages
) -> AnchoredBounds | None:
    """The lines anchored at the centre over intervals that nothing else has cut down, in a third of the time that
    `rooted` takes; None where there are none."""
    if stages.underflows or not anchors(graph, region):
        return None
    found = AnchoredBounds(stages, region)
    linear_bounds(graph, region, budget, arithmetic=arithmetic, by=_Kept(), before=found)
    return found if found.complete else None


def _effort(graph: Graph) -> Effort:
    """numpy's."""
    return Effort(neuron_iterations=0) if graph.relu_count > LARGE else Effort()


def _by_kernels(graph: Graph, region: Ball, budget: Budget) -> bool:
    """Do kernels bound the arguments in place of numpy?"""
    return graph.relu_count >= KERNELS_PAY and region.bounded and cache.at_once(budget.remaining)
