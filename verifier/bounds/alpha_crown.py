"""Linear bounds with optimised slopes (α-CROWN; Xu et al. 2021), each dearer step only where a sign is still open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from encoders.network.graph import Affine, Array, Graph, Node, Relu
from encoders.network.node_bounds import NodeBounds
from verifier.bounds.crown import LinearRelaxation
from verifier.bounds.interval import Pair, affine_interval
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Halfspaces
from verifier.problem.rounding import REAL, Arithmetic, evaluation_errors, gamma, graph_gamma

ROW_ENTRIES, ROW_PRODUCTS = 1 << 20, 1 << 29
"""Most entries of one coefficient matrix (8 MiB of float64, which caches hold), and most products that pushing it
through one node takes (some 0.1 s, after which the budget is looked at): more rows than that are bounded in chunks."""

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


class ArgumentBounds(Protocol):
    """Bounds the arguments of ReLUs, one node after another."""

    def tightened(self, node: int, lower: Array, upper: Array, iterations: int, budget: Budget) -> Pair:
        """The interval of a node (size,), cut down where its sign is open; all nodes that it depends on came before."""


class ArgumentLines(Protocol):
    """Bounds arguments by lines of its own, and hears of the ends that all ways together have."""

    def ends(self, node: int, lower: Array, upper: Array, budget: Budget) -> Pair:
        """The interval of a node (size,), cut down; all nodes that it depends on have `passed`."""

    def passed(self, node: int, lower: Array, upper: Array) -> None:
        """This is the node's interval."""


def linear_bounds(
    graph: Graph,
    region: Ball,
    budget: Budget,
    effort: Effort | None = None,
    arithmetic: Arithmetic = REAL,
    by: ArgumentBounds | None = None,
    before: ArgumentLines | None = None,
) -> NodeBounds:
    """Proved bounds on every node: intervals first, then CROWN for ReLU arguments whose sign they leave open.

    They hold for every evaluation that `arithmetic` allows. by: what else than numpy has CROWN's part, for the same.
    before: what cuts intervals down before that.

    Returns what the budget allowed: where it ends early, the remaining nodes keep their intervals.
    """
    effort = effort or Effort()
    gamma, errors, floors = graph_gamma(graph), evaluation_errors(graph, arithmetic.unit), arithmetic.floors(graph)
    arguments = {graph.nodes[index].sources[0] for index in graph.relus()}
    pairs: list[Pair] = []

    def cut(index: int, pair: Pair) -> Pair:
        """The interval of an argument, by all ways that there are."""
        if before is not None:
            pair = before.ends(index, *pair, budget)
        if by is not None:
            pair = by.tightened(index, *pair, effort.neuron_iterations, budget)
        elif index and budget.remaining > 0:
            pair = _tightened(graph, region, [*pairs, pair], index, effort, budget, arithmetic)
        if before is not None:
            before.passed(index, *pair)
        return pair

    pairs.append(cut(0, region.interval) if 0 in arguments else region.interval)
    for index, node in enumerate(graph.nodes[1:], start=1):
        match node:
            case Affine():
                pair = affine_interval(node, pairs, gamma + errors[index], floors[index])
            case Relu():
                lower, upper = pairs[node.source]
                pair = np.maximum(lower, 0.0), np.maximum(upper, 0.0)
            case _:
                raise TypeError(f"node {index} is a {type(node).__name__}: linear bounds need a lowered graph")
        pairs.append(cut(index, pair) if index in arguments else pair)
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
    relaxation: LinearRelaxation | None = None
    for iterations in (0, effort.neuron_iterations):
        open_entries = np.flatnonzero((lower < 0) & (upper > 0))
        if open_entries.size == 0 or (iterations == 0 and relaxation is not None) or budget.remaining <= 0:
            break
        try:
            relaxation = relaxation or LinearRelaxation(
                _prefix(graph, index), region, _node_bounds(pairs), budget, arithmetic
            )
        except OutOfTimeError:
            break
        chunk = _rows_at_a_time(graph.nodes[: index + 1]) // 2
        for start in range(0, open_entries.size, chunk):
            part = open_entries[start : start + chunk]
            rows = np.zeros((2 * part.size, lower.size))
            rows[np.arange(part.size), part] = 1.0
            rows[part.size + np.arange(part.size), part] = -1.0
            try:
                value = optimised_lower(relaxation, index, rows, np.zeros(len(rows)), iterations, budget)
            except OutOfTimeError:
                return lower, upper
            lower[part] = np.maximum(lower[part], value[: part.size])
            upper[part] = np.minimum(upper[part], -value[part.size :])
        if not relaxation.lines:
            break
    return lower, upper


def _rows_at_a_time(nodes: Sequence[Node]) -> int:
    """An even number: that of rows which one step of a backward pass through these nodes takes little time for."""
    widest = max(node.size for node in nodes)
    affine = [node for node in nodes if isinstance(node, Affine)]
    products = max((term.map.fan_in * node.size for node in affine for term in node.terms), default=1)
    return max(2, min(ROW_ENTRIES // widest, ROW_PRODUCTS // max(1, products)) // 2 * 2)


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
    relaxation: LinearRelaxation, node: int, rows: Array, offset: Array, iterations: int, budget: Budget
) -> Array:
    """Lower bounds (R,) of rows · v + offset, v the value of `node`, with α optimised for each row on its own.

    Where the budget ends early, what has been proved by then. Raises OutOfTimeError: nothing has.
    """
    slopes = relaxation.default_slopes()
    if iterations == 0 or not relaxation.lines or not relaxation.region.bounded:
        return relaxation.lower(node, rows, offset, slopes, budget).value
    adam = Adam({index: np.repeat(slope, len(rows), axis=0) for index, slope in slopes.items()})
    best = relaxation.lower(node, rows, offset, adam.slopes, budget)
    value = best.value
    with suppress(OutOfTimeError):
        for _ in range(iterations - 1):
            gradient, _ = relaxation.slope_gradient(node, best, adam.slopes, budget)
            adam.ascend(gradient)
            best = relaxation.lower(node, rows, offset, adam.slopes, budget)
            value = np.maximum(value, best.value)
    return value


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

    For any weights λ in the simplex, max_x min_i r_i(x) ≤ max_x Σ λ_i r_i(x); α and λ are optimised together. Where the
    budget ends early, what has been proved by then; infinite where that is nothing.
    """
    effort = effort or Effort()
    if bounds.empty:
        return -np.inf
    best = np.inf
    with suppress(OutOfTimeError):
        relaxation = LinearRelaxation(graph, region, bounds, budget, arithmetic)
        for proved in _goal_uppers(relaxation, goal, bounds, effort.goal_iterations, budget):
            best = min(best, proved)
            if best < 0:
                break
    return best


def _goal_uppers(
    relaxation: LinearRelaxation, goal: Halfspaces, bounds: NodeBounds, iterations: int, budget: Budget
) -> Iterator[float]:
    """Proved upper bounds of the goal's margin: by its best row alone, then by weighted rows. Raises OutOfTimeError."""
    graph, region = relaxation.graph, relaxation.region
    single = -optimised_lower(relaxation, graph.output, -goal.matrix, -goal.offset, 0, budget)
    best = float(single.min())
    yield best
    if not region.bounded or not np.all(np.isfinite(single)):
        # Slopes and weights are moved by where the bound is least: an unbounded one has no such point.
        return
    adam = Adam(relaxation.default_slopes())
    # Weights begin at the row that closes best alone; the exponentiated gradient mixes the others in.
    logits = -(single - best) / (np.ptp(single) + ADAM_EPSILON) * WEIGHT_STEP
    for _ in range(iterations):
        weights = np.exp(logits - logits.max())
        weights /= weights.sum()
        row = -(weights @ goal.matrix)[np.newaxis]
        # The float product λᵀC is the given multiplier of the logits; its own rounding needs no charge, but then the
        # bound is one of *that* row: see _weight_error.
        backward = relaxation.lower(graph.output, row, np.array([-(weights @ goal.offset)]), adam.slopes, budget)
        yield -float(backward.value[0]) + _weight_error(goal, weights, bounds, graph)
        gradient, values = relaxation.slope_gradient(graph.output, backward, adam.slopes, budget)
        adam.ascend(gradient)
        margins = goal.matrix @ values[0] + goal.offset
        logits = logits - WEIGHT_STEP * (margins - margins.min()) / (np.ptp(margins) + ADAM_EPSILON)


def _weight_error(goal: Halfspaces, weights: Array, bounds: NodeBounds, graph: Graph) -> float:
    """What rounding λᵀC and Σλ = 1 can cost: γ times the largest value that the weighted rows can take."""
    size = weights @ (np.abs(goal.matrix) @ bounds.magnitude(graph.output) + np.abs(goal.offset))
    charge = graph_gamma(graph) + gamma(len(weights))
    return float(np.nextafter(charge * 4.0 * size, np.inf))
