"""A target's lower end by quadratic bounds of whole balls, ever farther out, beside a tree that does not close."""

from __future__ import annotations

import math
from dataclasses import dataclass

from verifier.bounds.alpha_crown import Effort
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Halfspaces
from verifier.search.linear_bisection import BoundsByRadius
from verifier.solvers.quadratic_root import PARTS

FINE, COARSE = 1.03, 5
"""Radii are whole powers of this, so that targets share their balls' bounds; and how many powers farther out the next
one lies, until one stays open: a sixth."""

FIRST = 0.5
"""Share of the distance at which, or where lines end, the first ball lies."""

LINES = Effort(goal_iterations=0)
"""What lines may cost before."""


@dataclass(eq=False)
class QuadraticSteps:
    """One target's balls; failed: the least power of a radius that stayed open."""

    failed: float = math.inf

    def aim(self, lower: float, radius: float) -> float | None:
        """The next radius, between what is proved and `radius`; None where these are as near as it gets."""
        if not 0.0 < radius < math.inf:
            return None
        below, high = _power(lower) if lower > 0.0 else -math.inf, min(self.failed, _power(radius) + 1.0)
        if math.isinf(self.failed):
            first = _power(FIRST * radius)
            power = min(below + COARSE if below >= first else first, high - 1.0)
        else:
            power = math.floor(0.5 * (max(below, _power(FIRST * FIRST * radius)) + high))
        return FINE**power if below < power < high else None

    def step(
        self, goal: Halfspaces, bounds: BoundsByRadius, lower: float, radius: float, budget: Budget
    ) -> tuple[float, float]:
        """What the next ball excludes, where nothing within `lower` of `radius` is left: over the reals, and for every
        evaluation; 0 for nothing. Raises OutOfTimeError."""
        aim = self.aim(lower, radius)
        if aim is None or not bounds.serves(aim):
            return 0.0, 0.0
        if not bounds.squares(aim):
            self.failed = min(self.failed, float(_power(aim)))
            return 0.0, 0.0
        if bounds.exclude(goal, aim, bounds.at(aim), LINES):
            return aim, aim
        share = budget.share(PARTS)
        try:
            bounds.square(aim, share)
            if bounds.exclude(goal, aim, bounds.at(aim), LINES):
                return aim, aim
            real, charged = bounds.lacks(goal, aim, share)
            if real > 0.0:
                return aim, aim if charged > 0.0 else 0.0
        except OutOfTimeError:
            budget.check()
        self.failed = min(self.failed, float(_power(aim)))
        return 0.0, 0.0


def _power(radius: float) -> int:
    """Of the largest of the radii that is at most this one."""
    return math.floor(math.log(radius) / math.log(FINE) + 1e-9)
