"""The goal's rows at a point and their gradients, in float64, for graphs with Sigmoids, which have no stages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from encoders.network.graph import Affine, Array, Graph, Relu, Sigmoid, evaluate, reverse
from verifier.problem.plateau import uphill
from verifier.problem.query import Ball, Halfspaces


class GraphAscent:
    """As `GoalAscent`, by the graph's own nodes: what steps uphill climb."""

    def __init__(self, graph: Graph, ball: Ball, goal: Halfspaces) -> None:
        self.graph, self.ball, self.goal = graph, ball, goal

    def gradient(self, x: Array) -> tuple[float, Array]:
        """The smallest row at x (n,), and its gradient there, (n,); where that vanishes, that of ReLUs which leak."""
        values, rows = self._at(x)
        worst = int(np.argmin(rows))
        return float(rows[worst]), uphill(partial(self._sent_back, values), self.goal.matrix[[worst]])[0]

    def rows(self, x: Array) -> tuple[Array, Array]:
        """All rows at x (n,), and their gradients there, as in `gradient`: (m,), (m, n)."""
        values, rows = self._at(x)
        return rows, uphill(partial(self._sent_back, values), self.goal.matrix)

    def _at(self, x: Array) -> tuple[Sequence[Array], Array]:
        values = evaluate(self.graph, x)
        return values, self.goal.matrix @ values[self.graph.output][0] + self.goal.offset

    def _sent_back(self, values: Sequence[Array], messages: Array, leak: float) -> Array:
        """The gradients (k, n) of forms (k, K) over the outputs, where nodes have these values."""
        graph = self.graph

        def affine(_: int, node: Affine, message: Array) -> list[tuple[int, Array]]:
            return [(term.source, term.map.adjoint(message)) for term in node.terms]

        def relu(_: int, node: Relu, message: Array) -> list[tuple[int, Array]]:
            return [(node.source, np.where(values[node.source] > 0, message, leak * message if leak else 0.0))]

        def sigmoid(index: int, node: Sigmoid, message: Array) -> list[tuple[int, Array]]:
            return [(node.source, message * values[index] * (1.0 - values[index]))]

        table: dict[type, Any] = {Affine: affine, Relu: relu, Sigmoid: sigmoid}
        arrived = reverse(graph, table, graph.output, messages, np.add)
        found: Array = arrived[0] if 0 in arrived else np.zeros((len(messages), graph.input_size))
        return found
