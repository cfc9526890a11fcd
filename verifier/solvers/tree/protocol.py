"""What a search that follows its incumbent asks of a search tree, and of who makes such trees: not how they branch."""

from __future__ import annotations

from typing import Protocol

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from encoders.network.node_bounds import NodeBounds
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Query
from verifier.solvers.tree.local_search import LocalSearch


class Tree(Protocol):
    """A branch-and-bound tree: is there an x with ‖x − x0‖ < `radius` in the root's `ball` that reaches the goal?"""

    engine: str
    """The engine's name in results."""
    nodes: int
    """Nodes evaluated so far."""

    @property
    def ball(self) -> Ball:
        """The ball that the root was bounded on."""

    @property
    def radius(self) -> float:
        """Where the tree decides: at most the ball's radius."""

    @property
    def local(self) -> LocalSearch:
        """Primal heuristics on the tree's network and goal."""

    @property
    def open_nodes(self) -> int:
        """Nodes that are neither pruned nor split; 0: nothing within the radius reaches the goal."""

    @property
    def stuck(self) -> bool:
        """True when only nodes are open that neither close nor split any more."""

    @property
    def lower_end(self) -> float:
        """The least radius of an open node: no x nearer than that reaches the goal. The tree's radius when none is."""

    @property
    def float32_end(self) -> float:
        """As `lower_end`, for every evaluation that bounds are charged for, not only over the reals."""

    def cut(self, radius: float) -> None:
        """Only points within this smaller radius matter from now on; a larger one changes nothing."""

    def explore(self, budget: Budget, threads: int = 1) -> Array | None:
        """Evaluate some nodes; a point (n,) that reaches the goal within the radius, as floats see it, ends that.

        When the budget ends, every node that is not closed is open again. Raises OutOfTimeError.
        """

    def refuse(self) -> None:
        """The point that was found last is no witness: the node that it came from is split without it."""

    def polish(self, x: Array, budget: Budget) -> tuple[Array, float]:
        """The nearest point that reaches the goal in the linear region of x or in one next to it, and its radius.

        (x, inf) where these hold nothing within the tree's radius. Raises OutOfTimeError.
        """


class TreeMaker(Protocol):
    """Makes trees for a search that follows its incumbent."""

    @property
    def restart(self) -> float:
        """The root is bounded anew when the radius has fallen below this share of the root's; 0 for never."""

    @property
    def inner_balls(self) -> bool:
        """Are smaller balls searched beside a tree that does not close?"""

    def tree(
        self, query: Query, stages: Stages, bounds: NodeBounds, *, floor: float, slack: float, tolerance: float
    ) -> Tree:
        """The tree of a query over a bounded region, with proved `bounds` there; `stages` are its network.

        floor: nothing nearer is known to reach the goal. slack: how much farther out than need be polished points may
        lie, to lie deeper. tolerance: that of the tree's LPs. Raises ValueError for bounds that are not proved.
        """
