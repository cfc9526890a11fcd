"""How far is the nearest point at which a property of a network with Sigmoids breaks? In L∞, where balls are boxes.

Trees of distances live on ReLUs. Here the property itself is asked of one ball around the input after the other: what
holds raises the lower end to the ball's radius, a counterexample lowers the upper end to its own distance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from verifier.problem.arguments import above_zero
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.properties.formula import And, LinearRow, Property
from verifier.problem.query import Norm, distance_exact
from verifier.problem.verdict import (
    LINEAR_BOUNDS,
    Bracket,
    Counterexample,
    Evidence,
    Holds,
    Initial,
    Search,
    Semantics,
    Status,
    Violated,
    Witness,
)
from verifier.runtime.model import Model
from verifier.runtime.witness import rounded_up
from verifier.search.bisection import BISECT_FACTOR
from verifier.search.closing import closing_radius
from verifier.search.float32_lower import SHARES
from verifier.search.property_check import PropertyCheck, check_property
from verifier.search.property_question import property_question
from verifier.search.question import semantics_of
from verifier.search.settings import Settings
from verifier.search.state import FIRST_RADIUS, LAST_RADIUS

PARTS = 3.0
"""One part of so many of the time that is left is for a ball: one that stays open is followed by smaller ones."""

FLOAT32_PATIENCE = 5.0
"""Seconds at most for a ball of which only float32 is open."""

PATIENCE, MORE = 0.25, 4.0
"""Without a time limit: seconds for a ball in the first round, and how many times as long in each that follows."""


@dataclass(frozen=True, eq=False)
class SmoothNearest:
    """How far from `centre` (n,), in the model's dtype, does a point satisfy `prop`, in L∞?"""

    model: Model
    prop: Property
    centre: npt.NDArray[np.floating]
    semantics: str
    precision: float
    found: dict[bytes, Counterexample] = field(default_factory=dict)
    """The witnesses' outputs, by their points."""

    @property
    def norm(self) -> Norm:
        return Norm.LINF

    def counterexample(self, witness: Witness) -> Counterexample:
        """One of its witnesses with the outputs that make it one."""
        return self.found[witness.point.tobytes()]

    def within(self, radius: float) -> Property:
        """The property of the ball of this radius, which is closed."""
        if math.isinf(radius):
            return self.prop
        far, one = Fraction(radius), Fraction(1)
        rows: list[LinearRow] = []
        for place, entry in enumerate(self.centre.tolist()):
            rows.append(LinearRow(((place, one),), (), far - Fraction(entry)))
            rows.append(LinearRow(((place, -one),), (), far + Fraction(entry)))
        return replace(self.prop, formula=And((*rows, self.prop.formula)))

    def brackets(self, settings: Settings) -> Iterator[Bracket]:
        """Shrinking brackets on d*; the last one has `final` set. Raises InputError."""
        if settings.workers is not None:
            raise InputError("jobs explore trees of networks of ReLUs; this one has Sigmoids: leave them out")
        return _SmoothSearch(self, settings).brackets()


def smooth_nearest(
    model: Model, x: npt.ArrayLike, prop: Property, budget: Budget, norm: str, precision: float, semantics: str
) -> SmoothNearest:
    """Check everything that the question needs; raises InputError, one line."""
    width = above_zero(precision, "the precision", -math.inf)
    if norm != Norm.LINF:
        raise InputError(f"{model.path.name} has a Sigmoid or Tanh inside: distances are asked in linf, not in {norm}")
    asked = SmoothNearest(model, prop, model.vector(x), semantics_of(semantics, model), width)
    property_question(model, prop, budget, semantics)
    return asked


@dataclass(eq=False)
class _SmoothSearch:
    """lower ≤ d* ≤ upper; float32: the lower end for every float32 evaluation.

    left: the smallest ball for which this round had too little time, late: is there any? stuck: the smallest ball that
    no time decides, and `reason`, why.
    """

    asked: SmoothNearest
    settings: Settings
    lower: float = 0.0
    upper: float = math.inf
    float32: float = 0.0
    late: bool = False
    left: float = math.inf
    stuck: float = math.inf
    reason: str = ""
    witness: Witness | None = None
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
    def _closed(self) -> bool:
        return math.isinf(self.lower) or self.upper - self.lower <= self.asked.precision

    def _radii(self) -> Iterator[float]:
        """Of the balls that are asked: the input alone, then all of the box and smaller ones, round by round."""
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
        elif isinstance(answer.verdict, Violated) and answer.witness is not None:
            self._take(answer.witness)
        elif budget.ended:
            self.late, self.left = True, min(self.left, radius)
        elif radius > 0.0:
            self.stuck, self.reason = min(self.stuck, radius), answer.remark or answer.reason

    def _ask_float32(self) -> None:
        """Where rounding leaves the last ball open in float32, whether a smaller one is. Raises OutOfTimeError."""
        balls = [math.inf] if math.isinf(self.lower) else [self.lower * (1.0 - share) for share in SHARES]
        for radius in balls if self.asked.model.charges(self.asked.semantics) and self.lower > 0 else ():
            if radius <= self.float32:
                return
            budget = self.settings.budget.share(PARTS).first_of(Budget(FLOAT32_PATIENCE))
            if isinstance(self._checked(radius, Semantics.FLOAT32, budget).verdict, Holds):
                self.float32 = radius

    def _checked(self, radius: float, semantics: str, budget: Budget) -> PropertyCheck:
        """The property in one ball. Raises OutOfTimeError."""
        self.settings.budget.check()
        question = property_question(self.asked.model, self.asked.within(radius), budget, semantics)
        answer = check_property(question, replace(self.settings, budget=budget))
        if (cost := answer.search) is not None:
            engine = cost.engine if cost.nodes else self.search.engine
            nodes, seconds = self.search.nodes + cost.nodes, self.search.seconds + cost.seconds
            self.search = Search(engine, nodes, 0, seconds)
        return answer

    def _take(self, found: Counterexample) -> None:
        point = found.point
        exactly = distance_exact(Norm.LINF, point.astype(np.float64), self.asked.centre.astype(np.float64))
        distance = rounded_up(exactly)
        if distance < self.upper:
            self.asked.found[point.tobytes()] = found
            self.upper, self.witness = distance, Witness(point, distance, 0, 0.0, 0.0, 0, (0,))

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
            Initial("none", math.inf),
            None,
            self.settings.budget.spent,
            self.reason if status is Status.BRACKETED else "",
            search=self.search,
            float32=self.float32 if self.asked.model.charges(self.asked.semantics) else None,
        )
