"""The goal's smallest row at a point and its gradient, in float64, for graphs with Sigmoids, which have no stages."""

from __future__ import annotations

from typing import Any

import numpy as np

from encoders.network.graph import Affine, Array, Graph, Relu, Sigmoid, evaluate, reverse
from verifier.problem.query import Ball, Halfspaces


class GraphAscent:
    """As `GoalAscent`, by the graph's own nodes: what steps uphill climb."""

    def __init__(self, graph: Graph, ball: Ball, goal: Halfspaces) -> None:
        self.graph, self.ball, self.goal = graph, ball, goal

    def gradient(self, x: Array) -> tuple[float, Array]:
        """The smallest row at x (n,), and its gradient there: (n,)."""
        graph, values = self.graph, evaluate(self.graph, x)
        rows = self.goal.matrix @ values[graph.output][0] + self.goal.offset
        worst = int(np.argmin(rows))

        def affine(_: int, node: Affine, message: Array) -> list[tuple[int, Array]]:
            return [(term.source, term.map.adjoint(message)) for term in node.terms]

        def relu(_: int, node: Relu, message: Array) -> list[tuple[int, Array]]:
            return [(node.source, np.where(values[node.source] > 0, message, 0.0))]

        def sigmoid(index: int, node: Sigmoid, message: Array) -> list[tuple[int, Array]]:
            return [(node.source, message * values[index] * (1.0 - values[index]))]

        table: dict[type, Any] = {Affine: affine, Relu: relu, Sigmoid: sigmoid}
        arrived = reverse(graph, table, graph.output, self.goal.matrix[worst][np.newaxis], np.add)
        found: Array = arrived[0][0] if 0 in arrived else np.zeros(graph.input_size)
        return float(rows[worst]), found
