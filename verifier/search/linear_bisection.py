"""The largest radius at which linear bounds alone exclude a goal, by bisection; node bounds shared by radius."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TypeVar

import numpy as np

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Array
from encoders.network.node_bounds import NodeBounds
from verifier.bounds.alpha_crown import Effort, goal_upper, linear_bounds
from verifier.bounds.anchored import AnchoredBounds, anchors
from verifier.problem.budget import Budget
from verifier.problem.query import Halfspaces
from verifier.search.state import Problem, SearchState, TargetState
from verifier.solvers.branch_and_bound import hidden_bounds, with_hidden
from verifier.solvers.quadratic_root import MOST, GoalBound, quadratic_ends, quadratic_goals, served, suits
from verifier.solvers.root_bounds import CLIMBS, KERNELS_PAY, anchored_alone, rooted

LOWER_STEPS = 7
"""Bisections of the radius by linear bounds alone: the lower end that they reach is then known to 2⁻⁷ of the top."""

FIRST_STEPS = 4
"""The same where inner balls go on from there, and come farther."""

EARLY, FARTHER, NEARER = 1 / 8, 3 / 8, 1 / 32
"""Shares of the top that are asked about before any tree: the first, which is cheap as few ReLUs are open there; where
it is excluded one that bisection need not ask about again, else one more."""

SOON = 3.0
"""One of so many parts of the time left is what the first and the nearer one may take."""

PLAIN, ONE_PASS = Effort(neuron_iterations=0), Effort(goal_iterations=0)
"""Default lines, of ReLU arguments and of goals."""

BOUNDS_KEPT = 32
"""Balls whose node bounds are kept for other targets: the paths of a few bisections, little memory."""


HARDLY = 1.03
"""How much larger a ball may be to stand for another: what a tree's root may be, and a little more."""

ANCHORED_KEPT = 4
"""Balls whose anchored lines are kept: some 20 MB each for 4,804 ReLUs."""


class BoundsByRadius:
    """Proved node bounds on balls around a problem's centre; targets that ask for the same ball share them."""

    def __init__(self, problem: Problem, budget: Budget) -> None:
        self._problem, self._budget = problem, budget
        self._known: dict[float, NodeBounds] = {}
        self._plain: dict[float, NodeBounds] = {}
        self._anchored: dict[float, AnchoredBounds] = {}
        self._squared: dict[float, tuple[Array, Array]] = {}
        self._lacks: dict[float, dict[int, GoalBound]] = {}

    def at(self, radius: float) -> NodeBounds:
        """Bounds on the ball of this radius. Raises OutOfTimeError."""
        if radius not in self._known:
            self._budget.check()
            problem = self._problem
            ball = problem.ball.with_radius(radius)
            found = rooted(problem.graph, ball, self._budget, problem.arithmetic, lambda: self.stages)
            self._budget.check()
            bounds = found.bounds
            for outer, ends in self._squared.items():
                bounds = with_hidden(self.stages, bounds, *ends) if radius <= outer else bounds
            _keep(self._known, radius, bounds, BOUNDS_KEPT)
            if found.anchored is not None:
                _keep(self._anchored, radius, found.anchored, ANCHORED_KEPT)
        return self._known[radius]

    @cached_property
    def stages(self) -> Stages:
        """The network as bounds and trees work on it. Raises OutOfTimeError."""
        graph, arithmetic = self._problem.graph, self._problem.arithmetic
        return to_stages(graph, arithmetic.unit, arithmetic.floors(graph), self._budget.check)

    def near(self, radius: float, share: float) -> NodeBounds:
        """Bounds on this ball, or known ones on a ball that is hardly larger: radius ≥ share times its own."""
        return self.at(min((r for r in self._known if share * r <= radius <= r), default=radius))

    def serves(self, radius: float) -> bool:
        """Are there quadratic bounds of the ball of this radius, whatever its ReLUs?"""
        return served(self._problem.ball.with_radius(radius))

    def squares(self, radius: float) -> bool:
        """May quadratic bounds suit this ball: they serve it, and the largest ball that is bounded within it, or hardly
        beyond, has no more open ReLUs than they take?"""
        within = max((r for r in self._known if r <= HARDLY * radius), default=None)
        if within is None or not self.serves(radius):
            return self.serves(radius)
        lower, upper = hidden_bounds(self.stages, self._known[within])
        return int(np.count_nonzero((lower < 0) & (upper > 0))) <= MOST

    def square(self, radius: float, budget: Budget) -> tuple[Array, Array]:
        """Tighten the bounds on this ball, and on those within it that are bounded from now on, by quadratic bounds: of
        all ReLU arguments, where the ball `suits` these. Raises OutOfTimeError."""
        if radius not in self._squared:
            ball, known = self._problem.ball.with_radius(radius), self.at(radius)
            ends = hidden_bounds(self.stages, known)
            if suits(ball, *ends):
                ends = quadratic_ends(self.stages, ball, *ends, budget)
                _keep(self._known, radius, with_hidden(self.stages, known, *ends), BOUNDS_KEPT)
            self._squared[radius] = ends
        return self._squared[radius]

    def lacks(self, goal: Halfspaces, radius: float, budget: Budget) -> tuple[float, float]:
        """`quadratic_goals` of one goal on a ball that is squared: of all goals of the problem together, where that has
        not been done; from there this one goes on alone. Raises OutOfTimeError."""
        ball, ends = self._problem.ball.with_radius(radius), self.square(radius, budget)
        if not suits(ball, *ends):
            return -math.inf, -math.inf
        if radius not in self._lacks:
            bounds, goals = self.at(radius), [goal for _, goal in self._problem.disjuncts]
            goals = [one for one in goals if not self.exclude(one, radius, bounds, ONE_PASS)]
            found = quadratic_goals(self.stages, ball, *ends, goals, budget) if goals else []
            self._lacks[radius] = dict(zip(map(id, goals), found, strict=True))
        known = self._lacks[radius].pop(id(goal), None)
        if known is None or not known.real > 0.0:
            start = None if known is None else known.multipliers
            (known,) = quadratic_goals(self.stages, ball, *ends, [goal], budget, start)
        return known.real, known.charged

    def exclude(self, goal: Halfspaces, radius: float, bounds: NodeBounds, effort: Effort | None = None) -> bool:
        """True when `bounds`, true within `radius`, prove by linear bounds that no point there reaches the goal; or
        anchored lines do, those of the least ball around it that has some."""
        anchored = self._anchored.get(min((r for r in self._anchored if r >= radius), default=radius))
        if anchored is not None and anchored.goal_upper(goal, radius, CLIMBS, self._budget) < 0:
            return True
        problem = self._problem
        ball = problem.ball.with_radius(radius)
        return goal_upper(problem.graph, ball, bounds, goal, self._budget, effort, problem.arithmetic) < 0

    def excludes_soon(self, goal: Halfspaces, radius: float, budget: Budget) -> bool:
        """As `excludes`, by default lines, for which no kernels are loaded: that alone takes a second. budget: of node
        bounds, which are worth what they are where it ends."""
        problem = self._problem
        ball = problem.ball.with_radius(radius)
        if anchors(problem.graph, ball):
            return self.excludes(goal, radius)
        if radius not in self._plain:
            self._plain[radius] = linear_bounds(problem.graph, ball, budget, PLAIN, problem.arithmetic)
        return self.exclude(goal, radius, self._plain[radius], ONE_PASS)

    def excludes(self, goal: Halfspaces, radius: float) -> bool:
        """Do linear bounds prove that no point within the radius reaches the goal: in L1 anchored lines alone, where
        they do, or where there are so many ReLUs that the rest would take longer than it is worth?"""
        problem = self._problem
        ball = problem.ball.with_radius(radius)
        if not anchors(problem.graph, ball):
            return self.exclude(goal, radius, self.at(radius))
        if radius not in self._anchored:
            self._budget.check()
            found = anchored_alone(problem.graph, ball, self._budget, problem.arithmetic, self.stages)
            self._budget.check()
            if found is not None:
                _keep(self._anchored, radius, found, ANCHORED_KEPT)
        found = self._anchored.get(radius)
        if found is not None and found.goal_upper(goal, radius, CLIMBS, self._budget) < 0:
            return True
        return not (found and self._many) and self.exclude(goal, radius, self.at(radius))

    def beyond_trees(self, radius: float) -> bool:
        """Do lines come farther than trees do in a minute: anchored ones, on a large network?"""
        return self._many and anchors(self._problem.graph, self._problem.ball.with_radius(radius))

    @property
    def _many(self) -> bool:
        return self._problem.graph.relu_count >= KERNELS_PAY


Kept = TypeVar("Kept")


def _keep(known: dict[float, Kept], radius: float, found: Kept, most: int) -> None:
    """Keep what was found at a radius, and no more than so many in all."""
    if radius not in known and len(known) >= most:
        del known[next(iter(known))]
    known[radius] = found


def early_lower(states: Sequence[SearchState], bounds: BoundsByRadius, top: float) -> None:
    """A first lower end of each state that has none, by linear bounds on two balls at most, which all of them share.

    Raises OutOfTimeError; what was proved by then is kept.
    """
    soon = partial(bounds.excludes_soon, budget=states[0].budget.share(SOON))
    for state in states:
        if state.lower > 0.0:
            continue
        if _clear(state, soon, EARLY * top):
            _clear(state, bounds.excludes, FARTHER * top)
        else:
            _clear(state, soon, NEARER * top)


def _clear(state: SearchState, excludes: Callable[[Halfspaces, float], bool], radius: float) -> bool:
    """Is every goal of a state excluded within the radius? Lower ends are raised until one is not."""
    for target in sorted(state.targets, key=lambda one: one.target != state.target):
        if not radius < state.upper or not excludes(target.goal, radius):
            return False
        target.lower, target.float32 = max(target.lower, radius), max(target.float32, radius)
    return True


def linear_lower(state: SearchState, bounds: BoundsByRadius, top: float, steps: int = LOWER_STEPS) -> None:
    """Raise each target's lower end towards the largest radius at which linear bounds alone exclude its goal.

    The radii are multiples of 2^-steps · `top`, which is finite: states with one `top` share their bounds. Where
    no witness is known and `top` reaches every corner of the box, a goal excluded there is unreachable. Raises
    OutOfTimeError; what was proved by then is kept.
    """
    whole_box = math.isinf(state.upper) and top >= state.problem.ball.reach
    ranges: dict[int, tuple[float, float]] = {}
    for place, target in enumerate(state.targets):
        if whole_box and bounds.excludes(target.goal, top):
            target.lower = target.float32 = math.inf
        else:
            ranges[place] = 0.0, top
    for _ in range(steps):
        # The state's lower end is that of its least target: only those raise it, all of them by one step a round.
        least = min((low for low, _ in ranges.values()), default=math.inf)
        for place in [place for place, (low, _) in ranges.items() if low == least]:
            low, high = ranges[place]
            if high - low > state.problem.precision / 4:
                ranges[place] = _halved(state, state.targets[place], bounds, low, high)


def _halved(
    state: SearchState, target: TargetState, bounds: BoundsByRadius, low: float, high: float
) -> tuple[float, float]:
    """The half of low … high that still holds the largest excluded radius; the target's lower end is raised to it."""
    middle = 0.5 * (low + high)
    if middle <= target.lower:
        return middle, high
    if middle < state.upper and bounds.excludes(target.goal, middle):
        target.lower, target.float32 = middle, max(target.float32, middle)
        return middle, high
    return low, middle
