"""A walk through linear regions to nearer and nearer points that reach the goal, for networks of any size.

A region of a large network has thousands of borders, of which its nearest point meets a few. So they are rows that are
added as they are needed: the nearest point under the goal's rows and the borders so far is looked for; where the
network itself, whose activation pattern there may be another one, reaches the goal, the walk goes on from it; else the
borders that lie first on the way become rows. Where a region has nothing nearer, those next to it are tried, across the
borders that hold its nearest point back most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.solvers.tree.goal_ascent import GoalAscent
from verifier.solvers.tree.nearest_by_rows import NearestByRows, row_solver
from verifier.solvers.tree.pattern_forms import PatternForms
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.region_polish import neighbours

NEARER = 1e-7
"""Relative: a point that is nearer by less is not gone to, so that a walk ends."""

OUTWARDS = (0.0625, 1.0)
"""Shares of the root's slack by which a nearest point is moved outwards, to lie deeper: the first one at which the
network reaches the goal."""

GAINED = 0.05
"""Of the root's slack: nor is one that is nearer by less than this share of it."""

FIRST_BORDERS = 48
"""Borders that become rows at a time: those that lie first on the way to where the goal is missed."""

ROUNDS = 40
"""Times that borders become rows for one region: a handful is usual."""

CROSSED = 1e-9
"""Of the largest argument: a ReLU whose argument has the other sign by less is on its border."""


_Places = npt.NDArray[np.intp]
"""Which ReLUs: (p,)."""


@dataclass(frozen=True, eq=False)
class _Region:
    """What is left when a region has nothing nearer: its pattern, and what each border (relu_count,) holds back."""

    pattern: Array
    pull: Array


@dataclass(frozen=True, eq=False)
class RegionWalk:
    """The improvement heuristic of `nearest_by_rows` over activation regions.

    flips: borders of one region that are crossed on trial, those with the largest multipliers.
    """

    root: TreeRoot
    goal: GoalAscent
    flips: int
    name: str = field(default="region walk", init=False)

    def improve(self, x: Array, radius: float, budget: Budget) -> tuple[Array, float]:
        """(point, radius): the nearest found from x, which lies in a region that reaches the goal.

        (x, inf) for none within `radius`, (x, radius) where nothing can say what the ball is. Points are moved outwards
        by up to the root's slack, and reach the goal as floats see it. When the budget ends, the point so far is the
        answer; raises OutOfTimeError where that is x.
        """
        if row_solver(self.root.ball) is None:
            return x, radius
        length = self._length(x)
        found = length <= radius * (1.0 + NEARER) and self.goal.margin(x) >= 0
        best, within = x, min(radius, length)
        try:
            while (nearer := self._step(best, within, budget)) is not None:
                best, within, found = nearer, self._length(nearer), True
        except OutOfTimeError:
            if best is x:
                raise
        return best, within if found else math.inf

    def _step(self, x: Array, within: float, budget: Budget) -> Array | None:
        """A point that reaches the goal and is nearer, in the region of x or in one next to it; None for none."""
        found, region = self._nearest(x, self.goal.pattern(x), within, budget)
        if found is not None or region is None:
            return found
        for other in neighbours(region.pattern, region.pull, self.flips):
            found, _ = self._nearest(x, other, within, budget)
            if found is not None:
                return found
        return None

    def _nearest(self, x: Array, pattern: Array, within: float, budget: Budget) -> tuple[Array | None, _Region | None]:
        """A nearer point, by the affine functions of a pattern; else the region's last rows, None where it has none."""
        solver, wanted = row_solver(self.root.ball), self._wanted(within) - OUTWARDS[0] * self.root.slack
        if solver is None or wanted <= 0:
            return None, None
        forms = PatternForms(self.root.stages, self.root.goal, pattern)
        centre = self.root.ball.centre
        arguments, goals = forms.at(centre)
        normals, _ = forms.rows(np.zeros(0, dtype=np.intp))
        solver.add(-normals, goals - normals @ centre)
        places, start = np.zeros(0, dtype=np.intp), forms.signs * forms.at(x)[0]
        last: NearestByRows | None = None
        for _ in range(ROUNDS):
            found = solver.nearest(math.inf, budget)
            if found is None:
                break
            last = found
            if self._length(found.point) > wanted:
                break
            if (point := self._reached(found.point, within)) is not None:
                return point, None
            new = self._borders(forms, start, found.point, places)
            if not new.size:
                break
            _, rows = forms.rows(new)
            signs = forms.signs[new]
            solver.add(-signs[:, np.newaxis] * rows, signs * (arguments[new] - rows @ centre))
            places = np.concatenate([places, new])
        if last is None:
            return None, None
        pull, multipliers = np.zeros(pattern.size), last.pull[len(goals) :]
        pull[places[: multipliers.size]] = multipliers
        return None, _Region(pattern, pull)

    def _reached(self, nearest: Array, within: float) -> Array | None:
        """The point, moved outwards a little, where it reaches the goal there and is nearer."""
        ball, length = self.root.ball, self._length(nearest)
        for share in OUTWARDS:
            far = 1.0 + share * self.root.slack / length if length > 0 else 1.0
            point: Array = np.clip(ball.centre + far * (nearest - ball.centre), ball.lo, ball.hi)
            if self._length(point) <= self._wanted(within) and self.goal.margin(point) >= 0:
                return point
        return None

    def _borders(self, forms: PatternForms, start: Array, point: Array, known: _Places) -> _Places:
        """ReLUs, ascending, whose borders lie between x and the point: the first ones that are no rows yet.

        start: the signed arguments at x, ≥ 0 within the region.
        """
        end = forms.signs * forms.at(point)[0]
        missed = end < -CROSSED * (1.0 + np.abs(end).max(initial=0.0))
        missed[known] = False
        new = np.flatnonzero(missed)
        first = np.maximum(start[new], 0.0)
        order = np.argsort(first / (first - end[new]), kind="stable")[:FIRST_BORDERS]
        return np.sort(new[order])

    def _wanted(self, within: float) -> float:
        """How near a point has to be to count as nearer."""
        return within * (1.0 - NEARER) - GAINED * self.root.slack

    def _length(self, x: Array) -> float:
        return float(self.root.ball.length(x))
