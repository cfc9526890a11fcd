"""The nearest witness among the points of a lattice: points of a search over all inputs, rounded, and drawn nearer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from encoders.network.norm import Norm
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.inputs.lattice import Lattice, Whole
from verifier.problem.query import ELSEWHERE, Halfspaces
from verifier.problem.verdict import Bracket, OnLattice, Status, Witness
from verifier.runtime.witness import Judge
from verifier.search.closing import closing_radius
from verifier.search.lattice_ascent import LatticeAscent
from verifier.search.property_attack import points_of_a_round
from verifier.solvers.tree.graph_ascent import GraphAscent

ASCENT_STEPS = 8
"""Steps uphill within one level, each of which is rounded."""

ASCENT_LEVELS = 4
"""Levels from that of a point upwards within which steps go uphill: most points round within the next."""

STEPS = 8
"""Steps from one point of the lattice to the next within one amount: mostly the second or third goes nowhere new."""

CLOSER = 8
"""Times that the amount between what was reached and what was not is halved."""

WIDENED = 64
"""The first amount beyond that of a point is larger by this part of it at least."""

ENOUGH = 500
"""Nodes of the search over all points of the box, after which parts are searched step by step where that is of use: a
small network's minimum is found by then, and a large one's lower end near."""

DRAWN = 64
"""Times that a witness is drawn nearer by its single entries, the best of all each time."""

MOST_POINTS, MOST_ENTRIES = 512, 1 << 22
"""Points that drawing nearer tries at once; entries of these, and of those that are run at a time."""

JUDGED = 8
"""Of the points that ONNX Runtime accepts, how many are judged exactly, the nearest first."""

MOST_KNOWN = 100_000
"""Points that are remembered as tried."""


@dataclass(eq=False)
class LatticePoints:
    """The nearest witness of the lattice so far; `judge` judges points of the whole box.

    slack: what securing a witness may add to its distance where entries take any value.
    """

    lattice: Lattice
    judge: Judge
    precision: float
    slack: float = 0.0
    witness: Witness | None = None
    amount: Fraction | None = None
    """Its distance over the rationals, as `Lattice.amount`."""
    _known: set[bytes] = field(default_factory=set)

    @property
    def upper(self) -> float:
        return math.inf if self.witness is None else self.witness.distance

    def alone(self, judge: Judge) -> LatticePoints:
        """The same for some of the disjuncts, with nothing found."""
        return LatticePoints(self.lattice, judge, self.precision, self.slack)

    def closed(self, lower: float) -> bool:
        """Is no point of the lattice nearer than the witness, by more than the precision at most?"""
        if self.witness is None:
            return math.isinf(lower)
        level = self.lattice.level(min(lower, self.upper))
        raised = level is not None and self.amount is not None and level >= self.amount
        return raised or self.upper - lower <= self.precision

    def settled(self, lower: float, upper: float) -> bool:
        """Says closing lower … upper over all points of the box no more of those of the lattice?"""
        level, most = self.lattice.level(lower), self.lattice.level(upper)
        return (level is not None and most is not None and level >= most) or self.closed(lower)

    def enough(self, nodes: int) -> bool:
        """Has the search over all points had its nodes, where the points themselves can be searched step by step?"""
        return nodes >= ENOUGH and self.witness is not None and self._ascent.prices.few(self.deciding)

    def closing(self, upper: float, plain: float) -> float:
        """The radius that closes a bracket over all points with this upper end, where that is of use; `plain`: the one
        that the precision asks for."""
        radius = self.lattice.radius_below(self.lattice.level(upper))
        return plain if radius is None else min(plain, radius)

    @property
    def deciding(self) -> float:
        """The radius that closes the lattice's own bracket, where there is a witness."""
        plain = closing_radius(self.upper, self.precision)
        radius = self.lattice.radius_below(self.amount)
        return plain if radius is None else min(plain, radius)

    def told(self, bracket: Bracket, everywhere: float | None = None) -> Bracket:
        """A bracket as one over the lattice: its lower end, which holds there, rounded up, and what was found here.

        everywhere: what is proved of all points of the box; None: the bracket's lower end is.
        """
        lower = min(self.lattice.raised(bracket.lower), self.upper)
        status = bracket.status
        if status is not Status.ALREADY_ADVERSARIAL:
            closed = self.closed(bracket.lower)
            unreachable = self.witness is None and closed
            status = Status.UNREACHABLE if unreachable else Status.MINIMAL if closed else Status.BRACKETED
        found = self.witness
        levels = self.lattice.level(bracket.lower)
        if self.amount is not None and levels is not None:
            levels = min(levels, self.amount)
        target = bracket.target
        if len(self.judge.disjuncts) > 1:
            target = found.target if found is not None and found.target != ELSEWHERE else None
        return replace(
            bracket,
            lower=lower,
            upper=self.upper,
            witness=found,
            status=status,
            target=target,
            float32=None if bracket.float32 is None else min(self.lattice.raised(bracket.float32), lower),
            reason=bracket.reason if status is Status.BRACKETED else "",
            lattice=OnLattice(bracket.lower if everywhere is None else everywhere, levels, self.amount),
        )

    def offer(self, point: npt.NDArray[np.floating], budget: Budget) -> bool:
        """Round a point that reaches a goal, or nearly does. True where that gave a nearer witness."""
        before = self.upper
        with suppress(OutOfTimeError):
            start = np.asarray(point, dtype=np.float64)
            if self._judge(np.stack([start, *self._uphill(start, budget)]), budget):
                self._draw(budget)
            if self._climb(start, budget):
                self._draw(budget)
        return self.upper < before

    def offer_completed(self, fixed: Whole, point: Array, budget: Budget) -> bool:
        """Take a point (n,) with these whole numbers, if it is a witness and nearer. True if it was."""
        with suppress(OutOfTimeError):
            return self._keep(fixed, point, budget)
        return False

    def _keep(self, numbers: Whole, point: Array, budget: Budget) -> bool:
        """Judge a point with these whole numbers; where entries take any value the nearest that they leave."""
        lattice = self.lattice
        x = lattice.completed(numbers, point)
        found = self.judge.witness(x, budget) if lattice.pure else self._nearest_beside(x, budget)
        if found is None or found.distance >= self.upper:
            return False
        if not np.array_equal(found.point[lattice.whole], x[lattice.whole]):
            return False
        self.witness = found
        self.amount = None if lattice.levels is None else lattice.amount(found.point.astype(np.float64))
        return True

    def _nearest_beside(self, x: Array, budget: Budget) -> Witness | None:
        """The nearest witness found near x (n,) with the same whole numbers. Raises OutOfTimeError.

        They are where the others' distances are measured from: what these add to them does not change.
        """
        lattice, ball = self.lattice, self.judge.ball
        base, low, high = (np.where(lattice.whole, x, other) for other in (ball.centre, ball.lo, ball.hi))
        judge = replace(self.judge, ball=replace(ball, centre=base, lo=low, hi=high))
        found = judge.secured(x, self.slack, budget)
        if found is None:
            return None
        return self.judge.witness(judge.polished(found, self.slack, budget).point, budget)

    def _judge(self, points: Array, budget: Budget) -> bool:
        """Round points (B, n) and judge them, the nearest first, until one is a nearer witness. True if one was."""
        numbers = self.lattice.nearest(points)
        rounded = self.lattice.completed(numbers, points)
        lengths = self.judge.ball.length(rounded)
        fresh: list[int] = []
        for place in np.argsort(lengths, kind="stable").tolist():
            key = (numbers[place] if self.lattice.pure else rounded[place]).tobytes()
            if key not in self._known and (lengths[place] < self.upper or not self.lattice.pure):
                fresh.append(place)
                if len(self._known) < MOST_KNOWN:
                    self._known.add(key)
        most = max(1, min(points_of_a_round(self.judge.lowered), MOST_ENTRIES // rounded.shape[1]))
        judged = 0
        for begin in range(0, len(fresh), most):
            budget.check()
            part = fresh[begin : begin + most]
            for place, reached in zip(part, self._reaches(rounded[part]), strict=True):
                if reached and judged < JUDGED and lengths[place] < self.upper:
                    judged += 1
                    if self._keep(numbers[place], rounded[place], budget):
                        return True
        return False

    def _reaches(self, points: Array) -> list[bool]:
        """Which points ONNX Runtime accepts."""
        runtime = self.judge.runtime
        logits, scores = runtime.outputs(points.astype(self.judge.dtype))
        fine = np.all(np.isfinite(logits), axis=1) & ~np.any(np.isnan(scores), axis=1)
        return [
            bool(good) and self.judge.reached(runtime.classes(row)) is not None
            for good, row in zip(fine, scores, strict=True)
        ]

    def _radii(self, point: Array) -> list[float]:
        """Radii from that of a point, or its level's, upwards, below the witness."""
        lattice, length = self.lattice, float(self.judge.ball.length(point))
        levels, amount = lattice.levels, lattice.level(length)
        if levels is None or amount is None:
            return [min(length, self.upper)]
        found: list[float] = []
        while len(found) < ASCENT_LEVELS and (self.amount is None or amount < self.amount):
            radius = levels.distance(amount, math.inf) * (1.0 + float(lattice.slack))
            found.append(radius)
            amount = levels.at_least(amount + min(levels.units) / 2)
            if radius > self.judge.ball.reach:
                break
        return [radius for radius in found if radius > 0]

    def _uphill(self, start: Array, budget: Budget) -> Iterator[Array]:
        """Steps uphill from a point, within each of its next levels."""
        ball = self.judge.ball
        goal = self._deepest_goal(start)
        for radius in self._radii(start):
            x = start
            around = ball.with_radius(radius)
            climb = GraphAscent(self.judge.lowered, around, goal)
            for step in range(ASCENT_STEPS):
                budget.check()
                share = around.geometry.ascent_share(step, ASCENT_STEPS)
                x = around.geometry.ascended(x, climb.gradient(x)[1], radius, share)
                yield x

    def _climb(self, start: Array, budget: Budget) -> bool:
        """Look for a nearer witness by steps from point to point, in L2: within the amount of a point at which a goal
        is reached, then in twice as much more each time; then between what was reached and what was not. True where
        there was one."""
        before = self.upper
        levels, amount = self.lattice.levels, self.lattice.level(float(self.judge.ball.length(start)))
        if self.lattice.norm is not Norm.L2 or levels is None or amount is None:
            return False
        unit, most, missed = min(levels.units), levels.amount(self.judge.ball.reach), amount
        climb = GraphAscent(self.judge.lowered, self.judge.ball, self._deepest_goal(start))
        gap = max(unit, amount / WIDENED)
        while amount <= most and (self.amount is None or amount < self.amount):
            if self._climbs(climb, start, amount, budget):
                break
            missed, amount, gap = amount, levels.at_least(amount + gap), 2 * gap
        for _ in range(CLOSER):
            middle = None if self.amount is None else levels.at_least((missed + self.amount) / 2)
            if middle is None or self.amount is None or middle >= self.amount:
                break
            if not self._climbs(climb, start, middle, budget):
                missed = middle
        return self.upper < before

    def _climbs(self, climb: GraphAscent, start: Array, amount: Fraction, budget: Budget) -> bool:
        """Take steps from point to point within an amount. True where one was a nearer witness."""
        levels, x = self.lattice.levels, start
        assert levels is not None
        radius, found = levels.distance(amount, math.inf), dict[bytes, Array]()
        for _ in range(STEPS):
            budget.check()
            numbers = self._ascent.best(climb.gradient(x)[1], radius)
            x = self.lattice.values(numbers)
            if numbers.tobytes() in found:
                break
            found[numbers.tobytes()] = x
        return self._judge(np.stack(list(found.values())), budget)

    @cached_property
    def _ascent(self) -> LatticeAscent:
        return LatticeAscent(self.lattice)

    def _deepest_goal(self, x: Array) -> Halfspaces:
        """The goal with the largest margin at x."""
        logits = np.asarray(self.judge.runtime.logits(x.astype(self.judge.dtype)[np.newaxis])[0], dtype=np.float64)
        margins = [float(goal.margin(logits)[0]) for _, goal in self.judge.disjuncts]
        return self.judge.disjuncts[int(np.argmax(np.nan_to_num(margins, nan=-np.inf)))][1]

    def _draw(self, budget: Budget) -> None:
        """Draw the witness nearer, as far as that goes."""
        rounds = 0
        while rounds < DRAWN and self._drawn(budget):
            rounds += 1

    def _drawn(self, budget: Budget) -> bool:
        """Draw the witness nearer: all entries into the next levels' balls, or single ones back. True where one was."""
        assert self.witness is not None
        lattice, centre = self.lattice, self.judge.ball.centre
        point = self.witness.point.astype(np.float64)
        numbers = lattice.nearest(point[np.newaxis])[0]
        points = [np.clip(point, centre - radius, centre + radius) for radius in self._shorter()]
        moved = np.flatnonzero(lattice.whole & (numbers != lattice.at))
        grouped = np.zeros(point.size, dtype=bool)
        for group in lattice.groups:
            grouped[group] = True
            if np.any(numbers[group] != lattice.at[group]):
                back = point.copy()
                back[group] = centre[group]
                points.append(back)
        most = max(1, min(MOST_POINTS, MOST_ENTRIES // point.size) // 2)
        alone = moved[~grouped[moved]]
        for place in alone[np.argsort(-np.abs(point - centre)[alone], kind="stable")][:most].tolist():
            one = numbers.copy()
            one[place] -= int(np.sign(numbers[place] - lattice.at[place]))
            points.append(lattice.completed(one, point))
            back = point.copy()
            back[place] = centre[place]
            points.append(back)
        return bool(points) and self._judge(np.stack(points), budget)

    def _shorter(self) -> Iterator[float]:
        """The radii of the levels below the witness, the first ones."""
        levels, amount = self.lattice.levels, self.amount
        for _ in range(ASCENT_LEVELS):
            radius = self.lattice.radius_below(amount)
            if radius is None or levels is None or amount is None:
                return
            yield radius
            amount = levels.below(amount)
