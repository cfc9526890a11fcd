"""The minimum by one search tree that follows the incumbent: what is pruned stays pruned, no query is repeated.

The tree decides at incumbent − precision. Every better witness shrinks its ball; when it has fallen enough, the root is
bounded anew on the smaller ball. The least radius of an open node is the lower end at any time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from encoders.graph import Array
from encoders.node_bounds import NodeBounds
from encoders.to_stages import Stages, to_stages
from verifier.bounds.linear import linear_bounds
from verifier.deciders.branch_and_bound import BranchAndBound, Tree
from verifier.deciders.worker import Decider
from verifier.query import Query
from verifier.search_state import Problem, SearchState, TargetState
from verifier.verdict import Bracket, Budget, OutOfTimeError

RESTART = 0.98
"""A root is bounded anew when the radius has fallen below this share of the root's."""

REPORT = 0.1
"""Seconds between two brackets while the tree grows."""

TOLERANCE_SHARE = 1e-3
"""An LP's tolerances as a share of the precision, between HiGHS's limits."""

FINEST, COARSEST = 1e-10, 1e-7


def follow(problem: Problem, decider: Decider, budget: Budget) -> Iterator[Bracket]:
    """Brackets by a tree for each target, all following one incumbent; the last one is final."""
    if not isinstance(decider, BranchAndBound):
        raise TypeError(f"the tree follows the incumbent itself; it is not driven by {decider.name}")
    state = SearchState(problem, budget)
    search = _Search(state, decider)
    try:
        state.attack(polish=False)
        yield state.bracket()
        yield from search.run()
    except OutOfTimeError as error:
        state.reason = str(error)
    search.update()
    yield state.bracket(final=True)


@dataclass
class _Search:
    """The trees of all targets."""

    state: SearchState
    decider: BranchAndBound
    trees: dict[int, Tree] = field(default_factory=dict)
    nodes: int = 0
    _stages: Stages | None = None
    _bounds: tuple[float, NodeBounds] | None = None

    @property
    def stages(self) -> Stages:
        if self._stages is None:
            self._stages = to_stages(self.state.problem.graph)
        return self._stages

    def run(self) -> Iterator[Bracket]:
        """Explore the target with the least lower end, until the bracket is closed or nothing can be split."""
        state, reported = self.state, time.monotonic()
        self._start()
        while not state.closed:
            state.budget.check()
            target = min(state.targets, key=lambda entry: entry.lower)
            if target.stuck:
                break
            self._step(target)
            if time.monotonic() - reported > REPORT:
                reported = time.monotonic()
                yield state.bracket()

    @property
    def goal_radius(self) -> float:
        """Where trees decide: one float above upper − precision, so that closing there closes the bracket."""
        state = self.state
        if math.isinf(state.upper):
            return state.problem.ball.reach
        return max(0.0, math.nextafter(state.upper - state.problem.precision, math.inf))

    def _start(self) -> None:
        """Polish the attack's witness in the tree of its own target."""
        state = self.state
        if state.witness is None:
            return
        target = next(entry for entry in state.targets if entry.target == state.witness.target)
        tree = self._tree(target, state.upper)
        self._take(tree, state.witness.point.astype(float))

    def _step(self, target: TargetState) -> None:
        radius = self.goal_radius
        tree = self.trees.get(target.target)
        if tree is None or radius < RESTART * tree.ball.radius:
            tree = self._tree(target, radius)
        tree.cut(radius)
        before = tree.nodes
        try:
            found = tree.explore(self.state.budget)
        finally:
            self.nodes += tree.nodes - before
        if found is not None and not self._take(tree, found):
            tree.refuse()
        self._raise(target, tree)

    def _raise(self, target: TargetState, tree: Tree) -> None:
        whole_box = math.isinf(self.state.upper) and not tree.open_nodes
        target.lower = math.inf if whole_box else max(target.lower, tree.lower_end)
        if tree.stuck:
            target.stuck = True
            self.state.reason = "rounding leaves cases open that no split decides"

    def update(self) -> None:
        """Take over the lower ends of trees that were interrupted."""
        for target in self.state.targets:
            tree = self.trees.get(target.target)
            if tree is not None and not tree.stuck:
                target.lower = max(target.lower, tree.lower_end)

    def _tree(self, target: TargetState, radius: float) -> Tree:
        """A new root for the target on the ball of this radius."""
        problem, state = self.state.problem, self.state
        ball = problem.ball.with_radius(radius)
        old = self.trees.get(target.target)
        floor = max(target.lower, old.lower_end if old is not None else 0.0)
        tolerance = min(COARSEST, max(FINEST, TOLERANCE_SHARE * problem.precision))
        tree = self.decider.tree(
            Query(problem.graph, ball, target.goal),
            self.stages,
            self._bounds_at(radius),
            floor=min(floor, radius),
            slack=state.slack / 2,
            tolerance=tolerance,
        )
        self.trees[target.target] = tree
        return tree

    def _bounds_at(self, radius: float) -> NodeBounds:
        """Bounds on the ball of this radius, or on one that is hardly larger."""
        if self._bounds is None or not RESTART * self._bounds[0] < radius <= self._bounds[0]:
            problem = self.state.problem
            self._bounds = radius, linear_bounds(problem.graph, problem.ball.with_radius(radius), self.state.budget)
        return self._bounds[1]

    def _take(self, tree: Tree, point: Array) -> bool:
        """Polish a point in the tree's LP and offer it; True when it lowered the upper end."""
        budget = self.state.budget
        nearer, _ = tree.polish(point, budget)
        return self.state.offer(nearer, polish=False) or self.state.offer(point, polish=False)
