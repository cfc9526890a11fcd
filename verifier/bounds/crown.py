"""Linear relaxations of ReLUs over known pre-activation bounds, and the backward pass through them (CROWN).

A ReLU lies between its `relu_lines` (Zhang et al. 2018), the lower one of any slope α in [0, 1]. A lower bound of ν·v
is pushed back node by node until it reads the input alone, where `Geometry.minimum` closes it. Every coefficient is a
given multiplier; the rounding of each product is charged to an error term, as in Neumaier & Shcherbina (2004), so that
the bounds hold in real arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from encoders.network.graph import Affine, Array, Graph, Relu, forward, reverse
from encoders.network.node_bounds import NodeBounds
from encoders.network.pieces import matrix_of
from verifier.bounds.relu_lines import relu_lines
from verifier.problem.budget import Budget
from verifier.problem.query import Ball
from verifier.problem.rounding import REAL, Arithmetic, down, evaluation_errors, graph_gamma, underflow

Slopes = Mapping[int, Array]
"""Lower slopes α by ReLU node: (1, size) for all rows alike, or (rows, size)."""


@dataclass(frozen=True, eq=False)
class Backward:
    """What a backward pass leaves: `value` (R,) proved lower bounds, `rows` (R, n) their coefficients at the input,
    `messages` the coefficients that arrived at each Relu node, (R, size)."""

    value: Array
    rows: Array
    messages: Mapping[int, Array]


class LinearRelaxation:
    """A lowered graph over a region, each ReLU between its lines; bounds of linear forms of any node.

    To make one raises OutOfTimeError.
    """

    def __init__(
        self, graph: Graph, region: Ball, bounds: NodeBounds, budget: Budget, arithmetic: Arithmetic = REAL
    ) -> None:
        self.graph = graph
        self.region = region
        self.lines = {
            index: relu_lines(bounds.lower[source], bounds.upper[source])
            for index in graph.relus()
            for source in graph.nodes[index].sources
        }
        self._gamma = graph_gamma(graph)
        errors, floors = evaluation_errors(graph, arithmetic.unit), arithmetic.floors(graph)
        largest = (bounds.magnitude(index) for index in range(len(bounds.lower)))
        self._slack = underflow(max(float(size[np.isfinite(size)].max(initial=0.0)) for size in largest))
        self._sizes: dict[int, Array] = {}
        for index, node in enumerate(graph.nodes):
            if isinstance(node, Affine):
                budget.check()
                size = self._term_size(node, bounds, region if errors[index] else None) + floors[index]
                self._sizes[index] = size * (1.0 + errors[index] / self._gamma)

    @staticmethod
    def _term_size(node: Affine, bounds: NodeBounds, region: Ball | None) -> Array:
        """Σ |M|·max|source| + |bias|: what the rounding errors of an affine node are relative to.

        region: given where this matters so much that it pays to look at the input's ball, not only at its interval.
        """
        total = np.abs(node.bias)
        for term in node.terms:
            if region is not None and term.source == 0:
                total = total + region.geometry.sizes(matrix_of(term.map.magnitude()))
                continue
            with np.errstate(invalid="ignore"):
                total = total + term.map.magnitude().apply(bounds.magnitude(term.source)[np.newaxis])[0]
        return total

    def default_slopes(self) -> dict[int, Array]:
        return {index: lines.alpha[np.newaxis] for index, lines in self.lines.items()}

    def lower(self, node: int, rows: Array, offset: Array, slopes: Slopes, budget: Budget) -> Backward:
        """Lower bounds of rows · v + offset over the region, v the value of `node`: rows (R, size), offset (R,).

        Raises OutOfTimeError.
        """
        count = len(rows)
        constant, size, error = offset.astype(np.float64), np.abs(offset), np.zeros(count)
        messages: dict[int, Array] = {}

        def affine(index: int, part: Affine, message: Array) -> list[tuple[int, Array]]:
            nonlocal constant, size, error
            budget.check()
            constant = constant + message @ part.bias
            error = error + np.abs(message) @ self._sizes[index]
            return [(term.source, term.map.adjoint(message)) for term in part.terms]

        def relu(index: int, part: Relu, message: Array) -> list[tuple[int, Array]]:
            nonlocal constant, size, error
            budget.check()
            messages[index] = message
            lines = self.lines[index]
            against = np.minimum(message, 0.0)
            lost = np.where(against < 0, against * lines.intercept, 0.0)
            constant = constant + lost.sum(axis=1)
            size = size - lost.sum(axis=1)
            error = error + np.abs(message) @ lines.magnitude
            slope = np.where(message > 0, slopes[index], lines.slope) * lines.unstable + lines.active
            return [(part.source, message * slope)]

        with np.errstate(invalid="ignore", over="ignore"):
            arrived = reverse(self.graph, {Affine: affine, Relu: relu}, node, rows, np.add)
            at_input = arrived.get(0, np.zeros((count, self.graph.input_size)))
            closed = self.region.geometry.minimum(at_input)
            total = closed + constant
            value = down(total, self._gamma * (error + size + np.abs(closed)) + self._slack)
        return Backward(value, at_input, messages)

    def slope_gradient(
        self, node: int, backward: Backward, slopes: Slopes, budget: Budget
    ) -> tuple[dict[int, Array], Array]:
        """The gradient of the bounds by their slopes, and the relaxed value of `node` at the minimisers (R, size).

        Raises OutOfTimeError.

        No autodiff: with x* the minimiser of the linear bound, pushed forward through the lines that the bound chose,
        ∂bound/∂α_j = max(ν_j, 0) · a_j(x*) (the envelope theorem).
        """
        messages, gradient = backward.messages, {}

        def affine(_: int, part: Affine, values: list[Array]) -> Array:
            budget.check()
            total = np.broadcast_to(part.bias, (len(values[0]), part.size))
            for term in part.terms:
                total = term.map.apply(values[term.source]) + total
            return total

        def relu(index: int, part: Relu, values: list[Array]) -> Array:
            argument, lines = values[part.source], self.lines[index]
            if index not in messages:
                return np.maximum(argument, 0.0)
            message = messages[index]
            gradient[index] = np.maximum(message, 0.0) * argument * lines.unstable
            above = lines.slope * argument + lines.intercept
            open_value = np.where(message > 0, slopes[index] * argument, above)
            return np.asarray(np.where(lines.unstable > 0, open_value, argument * lines.active))

        start = self.region.geometry.minimiser(backward.rows)
        values = forward(self.graph, {Affine: affine, Relu: relu}, start)
        return gradient, values[node]
