"""Linear bounds with optimised slopes (α-CROWN; Xu et al. 2021), each dearer step only where a sign is still open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encoders.graph import Affine, Array, Graph, Relu
from encoders.node_bounds import NodeBounds
from verifier.bounds.interval import Pair, affine_interval
from verifier.bounds.relaxation import Relaxation
from verifier.proof.rounding import REAL, Arithmetic, evaluation_errors, gamma, graph_gamma
from verifier.query import Ball, Halfspaces
from verifier.verdict import Budget

ROW_ENTRIES = 1 << 22
"""Most entries of one coefficient matrix (32 MiB of float64): more rows than that are bounded in chunks."""

FIRST_STEP = 0.3
"""Adam's first step for slopes in [0, 1]; larger ones overshoot, smaller ones need more iterations."""

STEP_DECAY = 0.9
MOMENTUM, SECOND_MOMENTUM, ADAM_EPSILON = 0.9, 0.999, 1e-12
WEIGHT_STEP = 2.0
"""Step of the exponentiated gradient for the goal's row weights, relative to the largest row gradient."""


@dataclass(frozen=True)
class Effort:
    """How much work the slopes get: iterations for neurons whose sign is open, and for the goal."""

    neuron_iterations: int = 6
    goal_iterations: int = 20


def linear_bounds(
    graph: Graph, region: Ball, budget: Budget, effort: Effort | None = None, arithmetic: Arithmetic = REAL
) -> NodeBounds:
    """Proved bounds on every node: intervals first, then CROWN for ReLU arguments whose sign they leave open.

    They hold for every evaluation that `arithmetic` allows.

    Returns what the budget allowed: where it ends early, the remaining nodes keep their intervals.
    """
    effort = effort or Effort()
    gamma, errors = graph_gamma(graph), evaluation_errors(graph, arithmetic.unit)
    arguments = {graph.nodes[index].sources[0] for index in graph.relus()}
    pairs: list[Pair] = [region.interval]
    for index, node in enumerate(graph.nodes[1:], start=1):
        match node:
            case Affine():
                pair = affine_interval(node, pairs, gamma + errors[index], arithmetic.floor)
            case Relu():
                lower, upper = pairs[node.source]
                pair = np.maximum(lower, 0.0), np.maximum(upper, 0.0)
            case _:
                raise TypeError(f"node {index} is a {type(node).__name__}: linear bounds need a lowered graph")
        if index in arguments and budget.remaining > 0:
            pair = _tightened(graph, region, [*pairs, pair], index, effort, budget, arithmetic)
        pairs.append(pair)
    return _node_bounds(pairs)


def _node_bounds(pairs: list[Pair]) -> NodeBounds:
    return NodeBounds(tuple(lower for lower, _ in pairs), tuple(upper for _, upper in pairs), proved=True)


def _prefix(graph: Graph, index: int) -> Graph:
    """The graph up to node `index`, which becomes its output: what a bound of that node may look at."""
    return Graph(graph.nodes[: index + 1], index)


def _tightened(
    graph: Graph, region: Ball, pairs: list[Pair], index: int, effort: Effort, budget: Budget, arithmetic: Arithmetic
) -> Pair:
    """The interval of node `index` cut down by linear bounds of its entries with an open sign."""
    lower, upper = (np.array(end) for end in pairs[index])
    relaxation: Relaxation | None = None
    for iterations in (0, effort.neuron_iterations):
        open_entries = np.flatnonzero((lower < 0) & (upper > 0))
        if open_entries.size == 0 or (iterations == 0 and relaxation is not None) or budget.remaining <= 0:
            break
        relaxation = relaxation or Relaxation(_prefix(graph, index), region, _node_bounds(pairs), arithmetic)
        chunk = max(1, ROW_ENTRIES // (2 * max(node.size for node in graph.nodes[: index + 1])))
        for start in range(0, open_entries.size, chunk):
            if budget.remaining <= 0:
                break
            part = open_entries[start : start + chunk]
            rows = np.zeros((2 * part.size, lower.size))
            rows[np.arange(part.size), part] = 1.0
            rows[part.size + np.arange(part.size), part] = -1.0
            value = optimised_lower(relaxation, index, rows, np.zeros(len(rows)), iterations, budget)
            lower[part] = np.maximum(lower[part], value[: part.size])
            upper[part] = np.minimum(upper[part], -value[part.size :])
        if not relaxation.lines:
            break
    return lower, upper


class Adam:
    """Projected ascent with per-entry step sizes (Kingma & Ba 2015), for slopes in [0, 1]."""

    def __init__(self, slopes: dict[int, Array]) -> None:
        self.slopes = slopes
        self._first = {index: np.zeros_like(slope) for index, slope in slopes.items()}
        self._second = {index: np.zeros_like(slope) for index, slope in slopes.items()}
        self._count = 0

    def ascend(self, gradient: dict[int, Array]) -> None:
        self._count += 1
        step = FIRST_STEP * STEP_DECAY ** (self._count - 1)
        for index, slope in gradient.items():
            first = self._first[index] = MOMENTUM * self._first[index] + (1 - MOMENTUM) * slope
            second = self._second[index] = SECOND_MOMENTUM * self._second[index] + (1 - SECOND_MOMENTUM) * slope * slope
            mean = first / (1 - MOMENTUM**self._count)
            deviation = np.sqrt(second / (1 - SECOND_MOMENTUM**self._count)) + ADAM_EPSILON
            self.slopes[index] = np.clip(self.slopes[index] + step * mean / deviation, 0.0, 1.0)


def optimised_lower(
    relaxation: Relaxation, node: int, rows: Array, offset: Array, iterations: int, budget: Budget
) -> Array:
    """Lower bounds (R,) of rows · v + offset, v the value of `node`, with α optimised for each row on its own."""
    slopes = relaxation.default_slopes()
    if iterations == 0 or not relaxation.lines or not relaxation.region.bounded:
        return relaxation.lower(node, rows, offset, slopes).value
    adam = Adam({index: np.repeat(slope, len(rows), axis=0) for index, slope in slopes.items()})
    best = np.full(len(rows), -np.inf)
    for _ in range(iterations):
        backward = relaxation.lower(node, rows, offset, adam.slopes)
        best = np.maximum(best, backward.value)
        if budget.remaining <= 0:
            break
        gradient, _ = relaxation.slope_gradient(node, backward, adam.slopes)
        adam.ascend(gradient)
    return best


def goal_upper(
    graph: Graph,
    region: Ball,
    bounds: NodeBounds,
    goal: Halfspaces,
    budget: Budget,
    effort: Effort | None = None,
    arithmetic: Arithmetic = REAL,
) -> float:
    """A proved upper bound of the goal's margin min_i (C z + d)_i over the region; below 0, no point reaches the goal.

    For any weights λ in the simplex, max_x min_i r_i(x) ≤ max_x Σ λ_i r_i(x); α and λ are optimised together.
    """
    effort = effort or Effort()
    if bounds.empty:
        return -np.inf
    relaxation = Relaxation(graph, region, bounds, arithmetic)
    single = -optimised_lower(relaxation, graph.output, -goal.matrix, -goal.offset, 0, budget)
    best = float(single.min())
    if not region.bounded or not np.all(np.isfinite(single)):
        # Slopes and weights are moved by where the bound is least: an unbounded one has no such point.
        return best
    adam = Adam(relaxation.default_slopes())
    # Weights begin at the row that closes best alone; the exponentiated gradient mixes the others in.
    logits = -(single - best) / (np.ptp(single) + ADAM_EPSILON) * WEIGHT_STEP
    for _ in range(effort.goal_iterations):
        if best < 0 or budget.remaining <= 0:
            break
        weights = np.exp(logits - logits.max())
        weights /= weights.sum()
        row = -(weights @ goal.matrix)[np.newaxis]
        # The float product λᵀC is the given multiplier of the logits; its own rounding needs no charge, but then the
        # bound is one of *that* row: see _weight_error.
        backward = relaxation.lower(graph.output, row, np.array([-(weights @ goal.offset)]), adam.slopes)
        best = min(best, -float(backward.value[0]) + _weight_error(goal, weights, bounds, graph))
        gradient, values = relaxation.slope_gradient(graph.output, backward, adam.slopes)
        adam.ascend(gradient)
        margins = goal.matrix @ values[0] + goal.offset
        logits = logits - WEIGHT_STEP * (margins - margins.min()) / (np.ptp(margins) + ADAM_EPSILON)
    return best


def _weight_error(goal: Halfspaces, weights: Array, bounds: NodeBounds, graph: Graph) -> float:
    """What rounding λᵀC and Σλ = 1 can cost: γ times the largest value that the weighted rows can take."""
    size = weights @ (np.abs(goal.matrix) @ bounds.magnitude(graph.output) + np.abs(goal.offset))
    charge = graph_gamma(graph) + gamma(len(weights))
    return float(np.nextafter(charge * 4.0 * size, np.inf))
