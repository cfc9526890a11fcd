"""The nearest point of a linear region that reaches the goal, and of the regions next to it.

Newton's method on the radius: a region's least margin is convex and piecewise linear in it, and every LP's multipliers
give the radius at which their tangent crosses 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.lagrangian import Dual, Lagrangian
from verifier.problem.budget import Budget
from verifier.solvers.node_constants import ADDED
from verifier.solvers.tree.goal_ascent import GoalAscent
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.relaxation import Relaxation, Solved

NEWTON_STEPS = 12
"""Steps to the nearest point of a linear region: three or four are usual."""

TIGHT = 1e-6
"""Relative: a ReLU's argument this near to 0 lies on the border of its region."""

FARTHER = 3.0
"""By how much the excess over the duals' radius grows until the region holds a point there."""

NEARER = 1e-7
"""Relative: a radius that is smaller by less than this is the same radius."""


def bounds_of(root: TreeRoot, pattern: Array) -> tuple[Array, Array] | None:
    """The root's bounds on pre-activations within an activation pattern; None where they leave nothing of it."""
    low = np.where(pattern, np.maximum(root.lower, 0.0), root.lower)
    high = np.where(pattern, root.upper, np.minimum(root.upper, 0.0))
    return None if np.any(low > high) else (low, high)


def neighbours(pattern: Array, pull: Array, most: int) -> Iterator[Array]:
    """The patterns of the regions across one border, those with the largest pull > 0 first."""
    for place in np.argsort(-pull)[:most].tolist():
        if pull[place] <= 0:
            return
        other = pattern.copy()
        other[place] = ~other[place]
        yield other


@dataclass(frozen=True, eq=False)
class Nearest:
    """A region's nearest point, its radius, and the multipliers that say so."""

    point: Array
    radius: float
    dual: Dual


@dataclass(frozen=True, eq=False)
class RegionPolish:
    """The improvement heuristic of LPs over activation regions; the LP is the tree's own.

    An optimum up to the root's tolerance counts as reaching the goal. flips: tight ReLUs whose phase is tried the other
    way.
    """

    root: TreeRoot
    lagrangian: Lagrangian
    goal: GoalAscent
    lp: Relaxation
    flips: int
    name: str = field(default="region polish", init=False)

    def improve(self, x: Array, radius: float, budget: Budget) -> tuple[Array, float]:
        """(point, radius): the nearest found within `radius` in the region of x or next to it; (x, inf) for none."""
        pattern = self.goal.pattern(x)
        best = self._nearest(pattern, radius, budget)
        if best is None:
            return x, math.inf
        for _ in range(self.flips):
            better = self._flipped(pattern, best, budget)
            if better is None:
                break
            pattern, best = better
        return best.point, best.radius

    def _flipped(self, pattern: Array, best: Nearest, budget: Budget) -> tuple[Array, Nearest] | None:
        """A neighbouring region with a nearer point: the tight ReLUs with the largest multipliers are flipped."""
        dual = best.dual
        pull = np.maximum(np.where(pattern, dual.mu - dual.nu, dual.nu), 0.0)
        arguments = self.root.stages.values(best.point)[0][0]
        tight = np.abs(arguments) <= TIGHT * (1.0 + np.abs(arguments).max(initial=0.0))
        score = np.where(tight & (self.root.lower < 0) & (self.root.upper > 0), pull, 0.0)
        for other in neighbours(pattern, score, self.flips):
            found = self._nearest(other, best.radius, budget)
            if found is not None and found.radius < best.radius * (1.0 - NEARER):
                return other, found
        return None

    def _nearest(self, pattern: Array, most: float, budget: Budget) -> Nearest | None:
        """The nearest point in the region of an activation pattern; None when it holds nothing within `most`."""
        bounds = bounds_of(self.root, pattern)
        if bounds is None:
            return None
        low, high = bounds
        radius, floor = most, 0.0
        best: Nearest | None = None
        for step in range(NEWTON_STEPS):
            self.lp.set_radius(radius)
            found = self._relaxed(low, high, radius, budget)
            if found is None:
                return best
            solved, dual = found
            feasible = solved.optimum is not None and solved.optimum <= self.root.tolerance
            if step == 0 and not feasible:
                return None
            if feasible:
                best = Nearest(solved.point, radius, dual)
            # Every dual says that the region holds nothing nearer than its radius.
            floor = max(floor, dual.radius(most))
            if abs(floor - radius) <= NEARER * radius:
                break
            radius = floor
        return best and self._outwards(low, high, radius, best, most, budget)

    def _outwards(self, low: Array, high: Array, radius: float, best: Nearest, most: float, budget: Budget) -> Nearest:
        """The duals' rounding is charged: the nearest point lies farther out than the radius that they leave.

        The excess grows from next to nothing, then the interval to where the region holds a point is halved.
        """
        settled = NEARER * best.radius
        excess = settled
        while best.radius - radius > settled:
            middle = min(radius + excess, 0.5 * (radius + best.radius))
            self.lp.set_radius(min(most, middle + self.root.slack))
            last = self.lp.solve(low, high, budget)
            if last.optimum is not None and last.optimum <= self.root.tolerance:
                best = Nearest(last.point, middle, best.dual)
            else:
                radius = middle
            excess *= FARTHER
        return best

    def _relaxed(self, low: Array, high: Array, radius: float, budget: Budget) -> tuple[Solved, Dual] | None:
        """The region's LP, priced until nothing is gained."""
        for _ in range(ADDED):
            solved = self.lp.solve(low, high, budget)
            if not solved.usable:
                return None
            dual = self.lagrangian.evaluate(solved.weights, solved.nu, low, high)
            if not self.lp.price(dual, radius):
                break
        return solved, dual
