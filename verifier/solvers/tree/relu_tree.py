"""What trees share that split at ReLUs: the root, its safe evaluation, primal heuristics, what threads hand back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from encoders.network.graph import Array
from verifier.bounds.lagrangian import Lagrangian
from verifier.problem.budget import Budget
from verifier.problem.phase_tree import PhaseTree
from verifier.solvers.tree.frontier import NearestUntilCrowded, TreeNode
from verifier.solvers.tree.goal_ascent import GoalAscent
from verifier.solvers.tree.lending import LendingFrontier
from verifier.solvers.tree.primal_heuristics import Drawing, GradientDescent
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.region_polish import RegionPolish
from verifier.solvers.tree.relaxation import Relaxation


@dataclass(frozen=True, eq=False)
class Explored:
    """What one thread did: nodes evaluated, and a point with the node that it came from."""

    nodes: int
    point: Array | None = None
    source: TreeNode | None = None


class ReluTree(LendingFrontier):
    """A tree over bounds of ReLU arguments: the members of `Tree` that do not depend on how its nodes are bounded."""

    def __init__(self, root: TreeRoot, most: float = math.inf) -> None:
        """most: open nodes before the newest are next."""
        super().__init__(
            root.lower, root.upper, root.ball.radius, root.floor, NearestUntilCrowded(most, root.memory), root.memory
        )
        self.root = root
        self.nodes = 0
        self._lagrangian = Lagrangian(root.stages, root.ball, root.goal, root.lower, root.upper)
        self._goal = GoalAscent(root.stages, root.ball, root.goal)
        self._descent, self._drawing = GradientDescent(self._goal), Drawing(self._goal)

    @property
    def follows(self) -> bool:
        """Are there open nodes that an earlier tree has as well?"""
        return False

    def grown(self) -> PhaseTree | None:
        """The tree as it is now, where it was written down: this kind is not."""
        return None

    def pattern(self, x: Array) -> Array:
        """Which ReLUs are active at x (n,): (relu_count,)."""
        return self._goal.pattern(x)

    def draw(self, x: Array, radius: float, budget: Budget) -> Array:
        """A point that reaches the goal as x does, drawn towards the input by small steps."""
        return self._drawing.improve(x, radius, budget)[0]

    def _taken(self, done: Sequence[Explored], budget: Budget) -> Array | None:
        """Count what threads did; the first point that one of them found. Raises OutOfTimeError where none did."""
        self.nodes += sum(part.nodes for part in done)
        found = next((part for part in done if part.point is not None), None)
        if found is None:
            budget.check()
            return None
        self._source = found.source
        return found.point

    def _polished(self, x: Array, lp: Relaxation, flips: int, budget: Budget) -> tuple[Array, float]:
        """`RegionPolish` by this relaxation, which is left at the tree's radius. Raises OutOfTimeError."""
        try:
            return RegionPolish(self.root, self._lagrangian, self._goal, lp, flips).improve(x, self.radius, budget)
        finally:
            lp.set_radius(self.radius)
