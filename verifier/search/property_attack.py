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

MOST_POINTS, LEAST_POINTS = 512, 8
"""Of one round."""

WORK = 1 << 27
"""Products that the random points of a round may cost, a tenth of a second."""

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
        """The smallest row at x (n,), and its gradient there: (n,)."""

    def rows(self, x: Array) -> tuple[Array, Array]:
        """All rows at x (n,), and their gradients there: (m,), (m, n)."""


class Sampler:
    """Draws points of a bounded region, the middle first; the same seed draws the same ones."""

    def __init__(self, region: Ball, seed: int) -> None:
        self._region, self._rng = region, np.random.default_rng(seed)
        self._fresh = True

    def draw(self, count: int) -> Array:
        """Points (count, n)."""
        lo, hi = self._region.interval
        size = (count, lo.size)
        share = np.where(self._rng.random((count, 1)) < CORNERS, self._rng.integers(0, 2, size), self._rng.random(size))
        points = np.minimum(lo + share * (hi - lo), hi)
        if self._fresh:
            points[0] = self._region.centre
            self._fresh = False
        found: Array = points
        return found


def points_of_a_round(graph: Graph) -> int:
    """How many random points a round has: fewer of large networks."""
    products = sum(
        term.map.out_size * term.map.fan_in for node in graph.nodes if isinstance(node, Affine) for term in node.terms
    )
    return max(LEAST_POINTS, min(MOST_POINTS, WORK // max(1, products)))


def promising(values: Array, points: Array, goals: Sequence[Halfspaces]) -> list[tuple[float, int, Array]]:
    """For each goal its best points (margin, place of the goal, point), those of all goals with the best one first.

    values (count, K): the outputs at points (count, n), float32's perhaps; where they are no numbers, no margin is.
    """
    found = []
    for place, goal in enumerate(goals):
        with np.errstate(over="ignore", invalid="ignore"):
            margins = np.nan_to_num(goal.margin(values), nan=-np.inf)
        found += [(float(margins[k]), place, points[k]) for k in np.argsort(-margins, kind="stable")[:UPHILL]]
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
        x = np.clip(x + share * (hi - lo) * np.sign(gradient), lo, hi)
    return best, best_margin
