"""What proposes trees of boxes in certificates for graphs with Sigmoids: CROWN as the search's own tree asks it.

Of a Sigmoid no sign is claimed: the checker bounds its argument in each box by itself, and draws its own lines.
"""

from __future__ import annotations

import numpy as np

from encoders.network.graph import Array, Graph, Relu, Sigmoid
from verifier.bounds.box_crown import Bounded
from verifier.bounds.box_part import BoxPart
from verifier.bounds.smooth_crown import SmoothCrown
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces


class SmoothBoxes:
    """Bounds boxes within a box for a goal of a graph of Input, Affine, Relu and Sigmoid nodes. To make one raises
    OutOfTimeError."""

    def __init__(self, graph: Graph, ball: Ball, goal: Halfspaces, budget: Budget) -> None:
        self._crown = SmoothCrown(graph, ball.interval, goal, budget)
        nodes = [node for node in graph.nodes if isinstance(node, Relu | Sigmoid)]
        self.sizes = tuple(node.size for node in nodes)
        self._curved = np.repeat([isinstance(node, Sigmoid) for node in nodes], self.sizes)

    def bound(self, part: BoxPart, lower: Array, upper: Array, budget: Budget) -> Bounded:
        """As `BoxCrown` does; nothing is said of the arguments of Sigmoids. Raises OutOfTimeError."""
        free = self._crown.free
        found = self._crown.bound(BoxPart.of_boxes(part.low[:, free], part.high[:, free]), budget)
        rows = np.zeros((*found.values.shape, part.low.shape[1]))
        rows[:, :, free] = found.rows
        lower = np.where(self._curved, lower, np.maximum(lower, found.lower))
        upper = np.where(self._curved, upper, np.minimum(upper, found.upper))
        return Bounded(lower, upper, rows, found.constants, found.values, found.values)
