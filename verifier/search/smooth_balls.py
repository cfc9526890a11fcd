"""The nearest point of a question about a network with Sigmoids: one ball around the input after the other.

Trees of distances live on ReLUs. Here the question is asked of balls: what holds raises the lower end to the ball's
radius, a witness lowers the upper end to its own distance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Protocol

from encoders.network.graph import Array
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.properties.formula import And, LinearRow, Property
from verifier.problem.verdict import (
    LINEAR_BOUNDS,
    Bracket,
    Evidence,
    Holds,
    Initial,
    Search,
    Semantics,
    Status,
    Violated,
    Witness,
)
from verifier.runtime.device import Device
from verifier.runtime.near_judge import NearJudge
from verifier.search.bisection import BISECT_FACTOR
from verifier.search.closing import closing_radius
from verifier.search.float32_lower import SHARES
from verifier.search.property_check import PropertyCheck, check_property
from verifier.search.property_question import PropertyQuestion
from verifier.search.settings import Settings
from verifier.search.state import FIRST_RADIUS, LAST_RADIUS, POLISH_SHARE

PARTS = 3.0
"""One part of so many of the time that is left is for a ball: one that stays open is followed by smaller ones."""

FLOAT32_PATIENCE = 5.0
"""Seconds at most for a ball of which only float32 is open."""

PATIENCE, MORE = 0.25, 4.0
"""Without a time limit: seconds for a ball in the first round, and how many times as long in each that follows."""


def within_box(prop: Property, centre: Array, radius: float) -> Property:
    """The property in the box of this radius around `centre`, which is closed."""
    if math.isinf(radius):
        return prop
    far, one = Fraction(radius), Fraction(1)
    rows: list[LinearRow] = []
    for place, entry in enumerate(centre.tolist()):
        rows.append(LinearRow(((place, one),), (), far - Fraction(entry)))
        rows.append(LinearRow(((place, -one),), (), far + Fraction(entry)))
    return replace(prop, formula=And((*rows, prop.formula)))


@dataclass(frozen=True, eq=False)
class InBall:
    """A question about one ball, and the judge of its witnesses."""

    question: PropertyQuestion
    judge: NearJudge

    def answer(self, settings: Settings) -> PropertyCheck:
        """Its answer; gradients are our own, whatever device attacks may take. Raises InputError."""
        return check_property(self.question, replace(settings, device=Device.CPU))


class Balls(Protocol):
    """What is asked of ball after ball."""

    @property
    def precision(self) -> float: ...
    @property
    def semantics(self) -> Semantics: ...
    @property
    def charges(self) -> bool:
        """Are float32 evaluations asked about, and can something be proved of them?"""

    def within(self, radius: float, most: float, semantics: Semantics, budget: Budget) -> InBall:
        """The question about the ball of this radius; a witness ends it that is no farther than `most`."""


@dataclass(eq=False)
class BallSearch:
    """lower ≤ d* ≤ upper; float32: the lower end for every float32 evaluation.

    witness: what is known to begin with, `initial`: from where; input_judged: is the input itself no witness? target:
    the one that is asked for. left: the smallest ball for which this round had too little time, late: is there any?
    stuck: the smallest ball that no time decides, and `reason`, why.
    """

    asked: Balls
    settings: Settings
    witness: Witness | None = None
    initial: Initial = field(default_factory=lambda: Initial("none", math.inf))
    target: int | None = None
    input_judged: bool = False
    lower: float = 0.0
    float32: float = 0.0
    late: bool = False
    left: float = math.inf
    stuck: float = math.inf
    reason: str = ""
    evidence: Evidence = Evidence.PROVED
    search: Search = field(default_factory=lambda: Search(LINEAR_BOUNDS, 0, 0, 0.0))

    def __post_init__(self) -> None:
        self._patience = PATIENCE if math.isinf(self.settings.budget.limit) else math.inf

    def brackets(self) -> Iterator[Bracket]:
        try:
            for radius in self._radii():
                self._ask(radius)
                yield self._bracket()
            self._ask_float32()
        except OutOfTimeError as error:
            self.reason = str(error)
        yield replace(self._bracket(), final=True)

    @property
    def upper(self) -> float:
        return math.inf if self.witness is None else self.witness.distance

    @property
    def _closed(self) -> bool:
        return math.isinf(self.lower) or self.upper - self.lower <= self.asked.precision

    def _radii(self) -> Iterator[float]:
        """Of the balls that are asked: the input alone, then all of the box and smaller ones, round by round."""
        if not self.input_judged:
            yield 0.0
        while not self._closed:
            self.late, self.left = False, math.inf
            if math.isinf(self.upper):
                yield math.inf
            while not self._closed and (radius := self._next()) is not None:
                yield radius
            if not self.late:
                return
            self._patience *= MORE

    def _next(self) -> float | None:
        """The radius of the next ball; None where nothing is left to ask in this round."""
        precision, end = self.asked.precision, min(self.upper, self.left, self.stuck)
        if math.isinf(end):
            radius = max(FIRST_RADIUS, 2.0 * self.lower)
            return radius if radius <= LAST_RADIUS else None
        gap = end - self.lower
        if end < self.upper and gap <= precision:
            return None
        if end < self.upper or gap > BISECT_FACTOR * precision:
            return self.lower + 0.5 * gap
        return max(closing_radius(end, precision), math.nextafter(self.lower, math.inf))

    def _ask(self, radius: float) -> None:
        """Whether a point of the ball satisfies the property. Raises OutOfTimeError."""
        budget = self.settings.budget.share(PARTS).first_of(Budget(self._patience))
        answer = self._checked(radius, self.asked.semantics, budget)
        if isinstance(answer.verdict, Holds):
            self.lower, self.evidence = radius, min(self.evidence, answer.verdict.evidence)
            self.float32 = radius if answer.float32 else self.float32
        elif isinstance(answer.verdict, Violated):
            return
        elif budget.ended:
            self.late, self.left = True, min(self.left, radius)
        elif radius > 0.0:
            self.stuck, self.reason = min(self.stuck, radius), answer.remark or answer.reason

    def _ask_float32(self) -> None:
        """Where rounding leaves the last ball open in float32, whether a smaller one is. Raises OutOfTimeError."""
        balls = [math.inf] if math.isinf(self.lower) else [self.lower * (1.0 - share) for share in SHARES]
        for radius in balls if self.asked.charges and self.lower > 0 else ():
            if radius <= self.float32:
                return
            budget = self.settings.budget.share(PARTS).first_of(Budget(FLOAT32_PATIENCE))
            if isinstance(self._checked(radius, Semantics.FLOAT32, budget).verdict, Holds):
                self.float32 = radius

    def _checked(self, radius: float, semantics: Semantics, budget: Budget) -> PropertyCheck:
        """The answer about one ball; a witness is taken, wherever it lies. Raises OutOfTimeError."""
        self.settings.budget.check()
        # One that ends the search has to be nearer than what is known by most of the precision.
        asked = self.asked.within(radius, radius + POLISH_SHARE * self.asked.precision, semantics, budget)
        answer = asked.answer(replace(self.settings, budget=budget))
        if (found := asked.judge.nearest) is not None and found.distance < self.upper:
            self.witness = found
        if (cost := answer.search) is not None:
            engine = cost.engine if cost.nodes else self.search.engine
            nodes, seconds = self.search.nodes + cost.nodes, self.search.seconds + cost.seconds
            self.search = Search(engine, nodes, 0, seconds)
        return answer

    @property
    def _target(self) -> int | None:
        """The target asked for, else the one that was reached."""
        return self.target if self.target is not None or self.witness is None else self.witness.target

    def _bracket(self) -> Bracket:
        status = Status.BRACKETED
        if self.upper == 0.0:
            status = Status.ALREADY_ADVERSARIAL
        elif math.isinf(self.lower):
            status = Status.UNREACHABLE
        elif self._closed:
            status = Status.MINIMAL
        return Bracket(
            self.lower,
            self.upper,
            self.witness,
            self.evidence,
            self.asked.precision,
            status,
            self.initial,
            self._target,
            self.settings.budget.spent,
            self.reason if status is Status.BRACKETED else "",
            search=self.search,
            float32=self.float32 if self.asked.charges else None,
        )
