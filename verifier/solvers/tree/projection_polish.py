"""The nearest point of a linear region that reaches the goal, and of the regions next to it, where balls are round.

What `region_polish` does by LPs is one least-squares problem here. The region's borders that hold the point back have
multipliers: across those with the largest ones nearer points may lie.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.lagrangian import Lagrangian
from verifier.problem.budget import Budget
from verifier.solvers.tree.goal_ascent import GoalAscent
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.region_polish import NEARER, bounds_of, neighbours
from verifier.solvers.tree.region_projection import Projected, projected

ENTRIES = 1 << 24
"""ReLUs times inputs up to which a region's rows are formed: their dense matrices take 128 MB then."""


@dataclass(frozen=True, eq=False)
class ProjectionPolish:
    """The improvement heuristic of nearest points over activation regions. flips: borders that are crossed in turn, and
    how many are tried each time."""

    root: TreeRoot
    lagrangian: Lagrangian
    goal: GoalAscent
    flips: int
    name: str = field(default="projection polish", init=False)

    def improve(self, x: Array, radius: float, budget: Budget) -> tuple[Array, float]:
        """(point, radius): the nearest found within `radius` in the region of x or next to it, moved outwards by the
        root's slack; (x, inf) for none. Raises OutOfTimeError."""
        stages = self.root.stages
        if stages.relu_count * stages.input_size > ENTRIES:
            return x, radius
        pattern = self.goal.pattern(x)
        best = self._nearest(pattern, radius, budget)
        if best is None:
            return x, math.inf
        for _ in range(self.flips):
            better = self._flipped(pattern, best, budget)
            if better is None:
                break
            pattern, best = better
        return self._outwards(best), self._length(best)

    def _nearest(self, pattern: Array, most: float, budget: Budget) -> Projected | None:
        """The nearest point in the region of an activation pattern; None when it holds nothing within `most`."""
        bounds = bounds_of(self.root, pattern)
        if bounds is None:
            return None
        found = projected(self.root, self.lagrangian, *bounds, most, budget)
        return None if found.point is None or self._length(found) > most else found

    def _flipped(self, pattern: Array, best: Projected, budget: Budget) -> tuple[Array, Projected] | None:
        """A neighbouring region with a nearer point, across one of the borders with the largest multipliers."""
        wanted = self._length(best) * (1.0 - NEARER)
        for other in neighbours(pattern, best.pull, self.flips):
            found = self._nearest(other, wanted, budget)
            if found is not None:
                return other, found
        return None

    def _length(self, found: Projected) -> float:
        assert found.point is not None
        return float(self.root.ball.length(found.point))

    def _outwards(self, found: Projected) -> Array:
        """Farther along the same line by the root's slack: the goal's margin is 0 at the point, and affine there."""
        ball, length = self.root.ball, self._length(found)
        assert found.point is not None
        if not length > 0:
            return found.point
        moved = ball.centre + (1.0 + self.root.slack / length) * (found.point - ball.centre)
        return np.asarray(np.clip(moved, ball.lo, ball.hi))
