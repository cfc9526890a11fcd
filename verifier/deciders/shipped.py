"""The network as it is shipped: proofs for every float32 evaluation, not only for real arithmetic.

ONNX Runtime computes in float32, in an order of summation that nobody promises, perhaps with FMA. Every such evaluation
obeys z = W h + b + e, |e| ≤ γ_{n+1}(2⁻²⁴)·(|W||h| + |b|) and an underflow term; ReLU, max and pooling are exact, and
what runtimes fuse (Conv with BatchNormalization, MatMul with Add) obeys the bound of the composed map. A search tree
closes on all of these at once when each sum is charged its e. (Szász, Bánhelyi, Jelasity 2025: the gap is real.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from encoders.graph import Affine, Graph
from encoders.node_bounds import NodeBounds
from encoders.to_stages import Stages, to_stages
from verifier.bounds.linear import linear_bounds
from verifier.deciders.branch_and_bound import BranchAndBound
from verifier.proof.rounding import FLOAT32
from verifier.query import Ball, Halfspaces, Query
from verifier.verdict import Budget, OutOfTimeError

OVERFLOW = 2.0**126
"""Half the largest float32: where no partial sum exceeds it, nothing overflows, roundings included."""


SHARES = (1e-6, 1e-4, 1e-3, 1e-2, 0.1)
"""How much of a radius is given up, one after the other, until rounding cannot bridge what is left."""

NODES = 256
"""A goal's tree may have this many nodes beyond those that the real network took: rounding hardly adds any."""


def float32_lower(
    graph: Graph, ball: Ball, goals: Sequence[Halfspaces], lower: float, nodes: int, budget: Budget
) -> float:
    """A radius ≤ `lower` within which no float32 evaluation reaches any of the goals; 0 where none is proved.

    `graph` is lowered. nodes: what the search over the real network took. Infinite where `lower` is and the whole box
    is excluded. Raises SolverError.
    """
    top = ball.reach if math.isinf(lower) else lower
    if not (math.isfinite(top) and top > 0.0):
        return 0.0
    tried = [(top, lower)] if math.isinf(lower) else []
    tried += [(radius := top * (1.0 - share), radius) for share in SHARES]
    try:
        stages = to_stages(graph, FLOAT32.unit, FLOAT32.floor, budget.check)
        for radius, answer in tried:
            if _excluded(graph, stages, ball.with_radius(radius), goals, nodes + NODES, budget):
                return answer
    except OutOfTimeError:
        pass
    return 0.0


def _excluded(
    graph: Graph, stages: Stages, region: Ball, goals: Sequence[Halfspaces], limit: int, budget: Budget
) -> bool:
    """Does no float32 evaluation reach a goal in the region? Raises OutOfTimeError."""
    bounds = linear_bounds(graph, region, budget, arithmetic=FLOAT32)
    budget.check()
    if not in_range(graph, bounds):
        return False
    for goal in goals:
        query = Query(graph, region, goal)
        tree = BranchAndBound().tree(query, stages, bounds, floor=0.0, slack=0.0, tolerance=1e-7)
        while tree.open_nodes:
            if tree.stuck or tree.nodes > limit or tree.explore(budget) is not None:
                return False
    return True


def in_range(graph: Graph, bounds: NodeBounds) -> bool:
    """Does every partial sum stay within float32?"""
    for node in graph.nodes:
        if isinstance(node, Affine):
            size = np.abs(node.bias)
            for term in node.terms:
                with np.errstate(invalid="ignore", over="ignore"):
                    reached = bounds.magnitude(term.source)[np.newaxis]
                    size = size + term.map.magnitude().apply(reached)[0]
            if not np.all(size < OVERFLOW):
                return False
    return True
