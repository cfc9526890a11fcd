"""What a search that follows its incumbent asks of a search tree, and of who makes such trees: not how they branch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array, Graph
from encoders.network.node_bounds import NodeBounds
from verifier.problem.budget import Budget
from verifier.problem.memory import UNLIMITED, Memory
from verifier.problem.phase_tree import PhaseTree
from verifier.problem.query import Ball, Halfspaces, Query
from verifier.solvers.tree.threads import ALONE, Threads


@dataclass(frozen=True, eq=False)
class TreeRoot:
    """The root of a tree: does a point of `ball` reach `goal`? `lower`, `upper` (relu_count,) are proved there.

    floor: nothing nearer is known to reach the goal. slack: how much farther out than need be polished points may lie,
    to lie deeper. tolerance: that of the tree's LPs.
    """

    stages: Stages
    ball: Ball
    goal: Halfspaces
    lower: Array
    upper: Array
    floor: float = 0.0
    slack: float = 0.0
    tolerance: float = 1e-7
    rows: npt.NDArray[np.integer] | None = None
    """Which rows of the question's goal these are; None: all of them."""
    earlier: PhaseTree | None = None
    """The tree of such a question about an earlier network, to begin with; given, this one's is written down too."""
    memory: Memory = field(default=UNLIMITED, repr=False)
    """What open nodes are counted in."""
    graph: Graph | None = field(default=None, repr=False)
    """What the stages are of, where that is at hand."""

    @property
    def goal_rows(self) -> npt.NDArray[np.integer]:
        """Which rows of the question's goal the goal's are."""
        return np.arange(len(self.goal.offset)) if self.rows is None else self.rows

    @property
    def unstable(self) -> int:
        """ReLUs whose sign the bounds leave open."""
        return int(np.count_nonzero((self.lower < 0) & (self.upper > 0)))


class Explorable(Protocol):
    """What a search for any point that reaches the goal asks of a tree."""

    engine: str
    """The engine's name in results."""
    nodes: int
    """Nodes evaluated so far."""

    @property
    def radius(self) -> float:
        """Where the tree decides: at most the root's radius."""

    @property
    def open_nodes(self) -> int:
        """Nodes that are neither pruned nor split; 0: nothing within the radius reaches the goal."""

    @property
    def stuck(self) -> bool:
        """True when only nodes are open that neither close nor split any more."""

    @property
    def float32_end(self) -> float:
        """As `Tree.lower_end`, for every evaluation that bounds are charged for, not only over the reals."""

    def explore(self, budget: Budget, threads: Threads = ALONE) -> Array | None:
        """Evaluate some nodes; a point (n,) that reaches the goal within the radius, as floats see it, ends that.

        When the budget ends, every node that is not closed is open again. Raises OutOfTimeError.
        """

    def charge(self) -> bool:
        """Where none is open, open the nodes that only the real network has closed; False where they are not kept.

        From then on charged bounds alone close nodes, and no point is offered.
        """

    def refuse(self) -> None:
        """The point that was found last is no witness: the node that it came from is split without it."""


class Tree(Explorable, Protocol):
    """A branch-and-bound tree: is there an x with ‖x − x0‖ < `radius` that reaches the goal?"""

    @property
    def root_radius(self) -> float:
        """The radius of the ball that the root was bounded on."""

    @property
    def lower_end(self) -> float:
        """The least radius of an open node: no x nearer than that reaches the goal. The tree's radius when none is."""

    @property
    def follows(self) -> bool:
        """Are there open nodes that an earlier tree has as well?"""

    def grown(self) -> PhaseTree | None:
        """The tree as it is now, where it was written down."""

    def cut(self, radius: float) -> None:
        """Only points within this smaller radius matter from now on; a larger one changes nothing."""

    def pattern(self, x: Array) -> Array:
        """Which ReLUs are active at x (n,): (relu_count,)."""

    def draw(self, x: Array, radius: float, budget: Budget) -> Array:
        """A point that reaches the goal as x does, at the distance `radius`, drawn nearer as far as cheap steps do."""

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

    def nodes_alone(self, engine: str) -> float:
        """Nodes that a target's tree of this engine has before; infinite for what is no tree."""

    def tree(
        self,
        query: Query,
        stages: Stages,
        bounds: NodeBounds,
        *,
        floor: float,
        slack: float,
        tolerance: float,
        earlier: PhaseTree | None = None,
        memory: Memory = UNLIMITED,
    ) -> Tree:
        """The tree of a query over a bounded region, with proved `bounds` there; `stages` are its network.

        The rest as in `TreeRoot`. Raises ValueError for bounds that are not proved.
        """
