"""The largest radius at which linear bounds alone exclude a goal, by bisection; node bounds shared by radius."""

from __future__ import annotations

import math

from encoders.node_bounds import NodeBounds
from verifier.bounds.linear import Effort, goal_upper, linear_bounds
from verifier.query import Halfspaces
from verifier.search_state import Problem, SearchState
from verifier.verdict import Budget

LOWER_STEPS = 7
"""Bisections of the radius by linear bounds alone: the lower end that they reach is then known to 2⁻⁷ of the top."""

BOUNDS_KEPT = 32
"""Balls whose node bounds are kept for other targets: the paths of a few bisections, little memory."""


class BoundsByRadius:
    """Proved node bounds on balls around a problem's centre; targets that ask for the same ball share them."""

    def __init__(self, problem: Problem, budget: Budget) -> None:
        self._problem, self._budget = problem, budget
        self._known: dict[float, NodeBounds] = {}

    def at(self, radius: float) -> NodeBounds:
        """Bounds on the ball of this radius. Raises OutOfTimeError."""
        if radius not in self._known:
            bounds = linear_bounds(self._problem.graph, self._problem.ball.with_radius(radius), self._budget)
            self._budget.check()
            if len(self._known) >= BOUNDS_KEPT:
                del self._known[next(iter(self._known))]
            self._known[radius] = bounds
        return self._known[radius]

    def near(self, radius: float, share: float) -> NodeBounds:
        """Bounds on this ball, or known ones on a ball that is hardly larger: radius ≥ share times its own."""
        return self.at(min((r for r in self._known if share * r <= radius <= r), default=radius))

    def exclude(self, goal: Halfspaces, radius: float, bounds: NodeBounds, effort: Effort | None = None) -> bool:
        """True when `bounds`, true within `radius`, prove by linear bounds that no point there reaches the goal."""
        ball = self._problem.ball.with_radius(radius)
        return goal_upper(self._problem.graph, ball, bounds, goal, self._budget, effort) < 0


def linear_lower(state: SearchState, bounds: BoundsByRadius, top: float) -> None:
    """Raise each target's lower end towards the largest radius at which linear bounds alone exclude its goal.

    The radii are multiples of 2^-LOWER_STEPS · `top`, which is finite: states with one `top` share their bounds. Where
    no witness is known and `top` reaches every corner of the box, a goal excluded there is unreachable. Raises
    OutOfTimeError; what was proved by then is kept.
    """
    whole_box = math.isinf(state.upper) and top >= state.problem.ball.reach
    for target in state.targets:
        if whole_box and bounds.exclude(target.goal, top, bounds.at(top)):
            target.lower = math.inf
            continue
        low, high = 0.0, top
        for _ in range(LOWER_STEPS):
            if high - low <= state.problem.precision / 4:
                break
            middle = 0.5 * (low + high)
            known = middle <= target.lower
            if known or (middle < state.upper and bounds.exclude(target.goal, middle, bounds.at(middle))):
                low = middle
                target.lower = max(target.lower, low)
            else:
                high = middle
