"""Polishing for trees that solve no LPs at their nodes: given up when it takes long; LPs are made when first needed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.lagrangian import Lagrangian
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.solvers.tree.goal_ascent import GoalAscent
from verifier.solvers.tree.node_lp import NodeLp
from verifier.solvers.tree.projection_polish import ProjectionPolish
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.region_polish import RegionPolish


@dataclass(eq=False)
class Polisher:
    """`RegionPolish` with an LP of its own, of the ball that `set_radius` has said last.

    flips: as there; seconds: what one polishing may take.
    """

    root: TreeRoot
    lagrangian: Lagrangian
    goal: GoalAscent
    flips: int
    seconds: float
    radius: float = field(init=False)
    _lp: NodeLp | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.radius = self.root.ball.radius

    @property
    def able(self) -> bool:
        """Can LPs say what the ball is?"""
        return self.root.ball.geometry.has_flat_sides

    @property
    def lp(self) -> NodeLp:
        """At the radius."""
        if self._lp is None:
            self._lp = NodeLp(self.root, self._moves())
            self._lp.set_radius(self.radius)
        return self._lp

    def set_radius(self, radius: float) -> None:
        """Only points within it matter from now on."""
        self.radius = radius
        if self._lp is not None:
            self._lp.set_radius(radius)

    def improve(self, x: Array, budget: Budget) -> tuple[Array, float]:
        """As `Tree.polish`; (x, the radius) when it takes too long, or nothing can say what the ball is."""
        part = budget.first_of(Budget(self.seconds))
        if self.root.ball.geometry.is_euclidean:
            try:
                return ProjectionPolish(self.root, self.lagrangian, self.goal, self.flips).improve(x, self.radius, part)
            except OutOfTimeError:
                budget.check()
                return x, self.radius
        if not self.able:
            return x, self.radius
        polish = RegionPolish(self.root, self.lagrangian, self.goal, self.lp, self.flips)
        try:
            return polish.improve(x, self.radius, part)
        except OutOfTimeError:
            budget.check()
            return x, self.radius
        finally:
            self.lp.set_radius(self.radius)

    def _moves(self) -> list[tuple[int, int]]:
        """Every input entry, to the side to which the CROWN form of the goal pulls it (used where moves are split)."""
        root = self.root
        row = self.lagrangian.crown(np.ones(len(root.goal.offset)), root.lower, root.upper).row
        return [(int(i), -1 if row[i] > 0 else 1) for i in np.flatnonzero(row)]
