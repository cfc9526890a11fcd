"""Points of a box that reach half-spaces of the outputs: many at random, and steps uphill from the best of them.

Random points find what gradients miss: in few dimensions, and where a margin is flat (ACAS Xu's property 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from encoders.network.graph import Affine, Array, Graph
from verifier.problem.budget import Budget
from verifier.problem.norms.geometry import FIRST_STEP
from verifier.problem.query import Ball, Halfspaces

FIRST_POINTS, LEAST_POINTS = 512, 8
"""Of a round at first."""

MOST_POINTS = 1 << 13
"""To which later rounds grow: where steps uphill from the best of few points end beside what is looked for, those from
the best of many may not (one in 250,000 leads into what violates ACAS Xu's property 7)."""

SHORT = 0.1
"""Seconds within which a round's points are evaluated, so that the next one may have twice as many: no look at the
budget lies between."""

WORK = 1 << 27
"""Products that they may cost, a tenth of a second."""

CORNERS = 0.25
"""The share of random points that are corners of the box: margins are often largest there."""

UPHILL = 3
"""Points of a round from which steps uphill begin."""

STEPS = 20
"""Steps uphill from one point."""


ATTACK_SHARE, LATE_SHARE = 0.2, 0.04
"""Of the time that trees take, for random points and steps uphill meanwhile; and of what they take later."""

EARLY = 15.0
"""Seconds of trees from which on that is later: of mnist_fc and oval21 all 19 points were found in the first 11 s,
while a question that holds pays for the rest."""

RANDOM_STEPS = 30
"""Random steps uphill from one point."""

FIRST_SHARE = 0.1
"""How far an entry may move in the first of them, as a share of its side of the box."""

GAINED, FAILED = 1.5, 0.7
"""What that is multiplied with after a step that gains, and after one that does not."""


def attack_seconds(growing: float, *, few: bool = False) -> float:
    """What attacks may have taken once trees have taken so many; few: inputs, in whose boxes points get dense."""
    early = growing if few else min(growing, EARLY)
    return ATTACK_SHARE * early + LATE_SHARE * (growing - early)


class Ascent(Protocol):
    """What steps uphill climb in `ball`: a goal's smallest row."""

    @property
    def ball(self) -> Ball: ...
    @property
    def goal(self) -> Halfspaces: ...
    def gradient(self, x: Array) -> tuple[float, Array]:
        """The smallest row at x (n,), and its gradient there, (n,); where that vanishes, another way uphill."""

    def rows(self, x: Array) -> tuple[Array, Array]:
        """All rows at x (n,), and their gradients there, as in `gradient`: (m,), (m, n)."""


def drawn_in(ball: Ball, points: Array) -> Array:
    """Points (…, n) of a ball's interval, those beyond its radius drawn towards its centre."""
    if ball.geometry.is_box:
        return points
    length = np.asarray(ball.length(points))[..., np.newaxis]
    share = np.where(length > ball.radius, ball.radius / np.where(length > 0, length, 1.0), 1.0)
    return np.asarray(np.clip(ball.centre + share * (points - ball.centre), *ball.interval))


class Sampler:
    """Draws points of a bounded region, the middle first; the same seed draws the same ones."""

    def __init__(self, region: Ball, seed: int) -> None:
        self._region, self.rng = region, np.random.default_rng(seed)
        self._fresh = True

    def draw(self, count: int) -> Array:
        """Points (count, n)."""
        lo, hi = self._region.interval
        size = (count, lo.size)
        share = np.where(self.rng.random((count, 1)) < CORNERS, self.rng.integers(0, 2, size), self.rng.random(size))
        points = drawn_in(self._region, np.minimum(lo + share * (hi - lo), hi))
        if self._fresh:
            points[0] = self._region.centre
            self._fresh = False
        found: Array = points
        return found


def points_of_a_round(graph: Graph, most: int = FIRST_POINTS) -> int:
    """How many random points a round has: fewer of large networks."""
    products = sum(
        term.map.out_size * term.map.fan_in for node in graph.nodes if isinstance(node, Affine) for term in node.terms
    )
    return max(LEAST_POINTS, min(most, WORK // max(1, products)))


def promising(values: Array, points: Array, goals: Sequence[Halfspaces]) -> list[tuple[float, int, Array]]:
    """For each goal its best points (margin, place of the goal, point), no two alike, those of all goals with the best
    one first.

    values (count, K): the outputs at points (count, n), float32's perhaps; where they are no numbers, no margin is.
    """
    found = []
    for place, goal in enumerate(goals):
        with np.errstate(over="ignore", invalid="ignore"):
            margins = np.nan_to_num(goal.margin(values), nan=-np.inf)
        best: list[int] = []
        for k in np.argsort(-margins, kind="stable").tolist():
            if len(best) == UPHILL:
                break
            if not any(margins[k] == margins[other] and np.array_equal(points[k], points[other]) for other in best):
                best.append(k)
        found += [(float(margins[k]), place, points[k]) for k in best]
    return sorted(found, key=lambda entry: -entry[0])


def uphill(ascent: Ascent, start: Array, budget: Budget) -> tuple[Array, float]:
    """The best point on the way of steps from the start along the sign of the gradient, and its margin.

    Each entry steps by a share of its own side of the box, the first one half of it. Stops at a margin of at least 0,
    as floats see it, and when the budget ends.
    """
    lo, hi = ascent.ball.interval
    x, best, best_margin = start, start, -np.inf
    for step in range(STEPS):
        margin, gradient = ascent.gradient(x)
        if margin > best_margin:
            best, best_margin = x, margin
        if margin >= 0 or budget.ended:
            break
        share = FIRST_STEP * (1.0 - step / STEPS)
        x = drawn_in(ascent.ball, np.clip(x + share * (hi - lo) * np.sign(gradient), lo, hi))
    return best, best_margin


def by_random_steps(ascent: Ascent, start: Array, rng: np.random.Generator, budget: Budget) -> tuple[Array, float]:
    """The last of random steps uphill from the start, each with a larger margin than the one before, and that margin.

    Entries move with the sign of the gradient, by random shares of their sides of the box below a bound that grows with
    a step that gains and shrinks with one that does not (Schumer & Steiglitz 1968). Where the gradient turns within a
    hair's breadth, such steps still come through. Stops as `uphill` does.
    """
    lo, hi = ascent.ball.interval
    share, x = FIRST_SHARE, start
    margin, gradient = ascent.gradient(x)
    for _ in range(RANDOM_STEPS):
        if margin >= 0 or budget.ended:
            break
        moved = np.clip(x + share * rng.random(x.size) * (hi - lo) * np.sign(gradient), lo, hi)
        there = drawn_in(ascent.ball, moved)
        reached, slope = ascent.gradient(there)
        gains = reached > margin
        share *= GAINED if gains else FAILED
        if gains:
            x, margin, gradient = there, reached, slope
    return x, margin
