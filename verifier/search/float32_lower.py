"""The float32 end: proofs for every float32 evaluation of the network, not only for real arithmetic.

ONNX Runtime computes in float32, in an order of summation that nobody promises, perhaps with FMA. Every such evaluation
obeys z = W h + b + e, |e| ≤ γ_{n+1}(2⁻²⁴)·(|W||h| + |b|) and an underflow term; ReLU, max and pooling are exact, a
Sigmoid is assumed to be off by SIGMOID_UNITS · 2⁻²⁴ at most, and what runtimes fuse (Conv with BatchNormalization,
MatMul with Add) obeys the bound of the composed map, but for products of constants that underflow before a value meets
them: these are charged as well. A search tree closes on all of these at once when each sum is charged its e. (Szász,
Bánhelyi, Jelasity 2025: the gap is real.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Affine, Graph
from encoders.network.node_bounds import NodeBounds
from encoders.network.rounded_operations import Fused, fused_constants, rounded_operations
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.interval import interval_bounds
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Halfspaces, Query
from verifier.problem.rounding import FLOAT32, SUBNORMAL, Arithmetic
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.root_bounds import rooted

OVERFLOW = 2.0**126
"""Half the largest float32: where no partial sum exceeds it, nothing overflows, roundings included."""


SHARES = (1e-6, 1e-4, 1e-3, 1e-2, 0.1)
"""How much of a radius is given up, one after the other, until rounding cannot bridge what is left."""

NODES = 256
"""A goal's tree may have this many nodes beyond those that the real network took: rounding hardly adds any."""


TIE = 2.0**-18
"""How far apart two logits may be that a Softmax, LogSoftmax or Sigmoid in float32 shows in the wrong order, or as
equal: 64 units of rounding. The largest logit has e⁰ = 1 exactly; e^x and a quotient are off by a few units, and a
logarithm of a sum of up to 2²⁶ terms, at most 18, is subtracted from both."""


def float32_arithmetic(graph: Graph, region: Ball, rounds: bool) -> Arithmetic | None:
    """Every float32 evaluation of a lowered graph in the region, constants that are multiplied beforehand included.

    rounds: what is read is no logit but made of them with rounding. None where an evaluation may overflow.
    """
    output = graph.nodes[graph.output]
    if not region.bounded or (rounds and not isinstance(output, Affine)):
        return None
    constants = fused_constants(graph)
    plain = _losses(graph, constants, _bounds(graph, region, FLOAT32))
    if plain is None:
        return None
    # Losses grow with the values that they are charged to, which they widen: twice what they are without.
    losses = {index: 2.0 * loss for index, loss in plain.items()}
    ends = dict(losses)
    if rounds:
        ends[graph.output] = losses.get(graph.output, 0.0) + TIE
    found = replace(FLOAT32, losses=ends)
    bounds = _bounds(graph, region, found)
    again = _losses(graph, constants, bounds)
    if again is None or not in_range(graph, bounds) or any(again[index] > losses[index] for index in again):
        return None
    return found


def _bounds(graph: Graph, region: Ball, arithmetic: Arithmetic) -> NodeBounds:
    if graph.smooth:
        return interval_bounds(graph, region, arithmetic)
    return linear_bounds(graph, region, Budget(0.0), arithmetic=arithmetic)


def _losses(graph: Graph, constants: Mapping[int, Fused], bounds: NodeBounds) -> dict[int, float] | None:
    """What each affine node may be off by because products of constants underflow; None where such may overflow.

    A product that is flushed to zero is off by 2⁻¹²⁶; what other constants make of that is at most `growth` times it.
    """
    counts, losses = rounded_operations(graph), {}
    for index, fused in constants.items():
        met = fused.biases + sum(count * float(bounds.magnitude(k).sum()) for k, count in fused.inputs.items())
        if not fused.growth * (1.0 + fused.biases) < OVERFLOW:
            return None
        losses[index] = 2.0 * counts[index] * SUBNORMAL * fused.growth * met
    return losses


def float32_lower(
    graph: Graph,
    ball: Ball,
    goals: Sequence[Halfspaces],
    lower: float,
    nodes: int,
    budget: Budget,
    rounds: bool = False,
) -> float:
    """A radius ≤ `lower` within which no float32 evaluation reaches any of the goals; 0 where none is proved.

    `graph` is lowered. nodes: what the search over the real network took. rounds: see `float32_arithmetic`. Infinite
    where `lower` is and the whole box is excluded.
    """
    top = ball.reach if math.isinf(lower) else lower
    if not (math.isfinite(top) and top > 0.0):
        return 0.0
    arithmetic = float32_arithmetic(graph, ball.with_radius(top), rounds)
    if arithmetic is None:
        return 0.0
    tried = [(top, lower)] if math.isinf(lower) else []
    tried += [(radius := top * (1.0 - share), radius) for share in SHARES]
    try:
        stages = to_stages(graph, arithmetic.unit, arithmetic.floors(graph), budget.check)
        for radius, answer in tried:
            if _excluded(graph, stages, arithmetic, ball.with_radius(radius), goals, nodes + NODES, budget):
                return answer
    except OutOfTimeError:
        pass
    return 0.0


def _excluded(
    graph: Graph,
    stages: Stages,
    arithmetic: Arithmetic,
    region: Ball,
    goals: Sequence[Halfspaces],
    limit: int,
    budget: Budget,
) -> bool:
    """Does no float32 evaluation reach a goal in the region? Raises OutOfTimeError."""
    root = rooted(graph, region, budget, arithmetic, lambda: stages)
    bounds = root.bounds
    budget.check()
    for goal in goals:
        if root.excludes(goal, region.radius, budget):
            continue
        query = Query(graph, region, goal)
        tree = BranchAndBound().tree(query, stages, bounds, floor=0.0, slack=0.0, tolerance=1e-7, memory=budget.memory)
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
