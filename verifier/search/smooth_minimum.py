"""How far is the nearest point at which a property of a network with Sigmoids breaks, in any norm?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from verifier.problem.arguments import above_zero
from verifier.problem.budget import Budget
from verifier.problem.properties.formula import Property
from verifier.problem.query import Ball, Norm
from verifier.problem.verdict import Bracket, Counterexample, Semantics, Witness
from verifier.runtime.model import Model
from verifier.runtime.near_judge import Near, NearJudge
from verifier.search.property_question import property_question
from verifier.search.question import semantics_of
from verifier.search.settings import Settings
from verifier.search.smooth_balls import BallSearch, InBall, within_box


@dataclass(frozen=True, eq=False)
class SmoothNearest:
    """How far from the centre of `ball`, in the model's dtype, does a point satisfy `prop`?"""

    model: Model
    prop: Property
    ball: Ball
    semantics: Semantics
    precision: float
    found: dict[bytes, Counterexample] = field(default_factory=dict)
    """The witnesses' outputs, by their points."""

    @property
    def norm(self) -> Norm:
        return self.ball.norm

    @property
    def charges(self) -> bool:
        return self.model.charges(self.semantics)

    def counterexample(self, witness: Witness) -> Counterexample:
        """One of its witnesses with the outputs that make it one."""
        return self.found[witness.point.tobytes()]

    def within(self, radius: float, most: float, semantics: Semantics, budget: Budget) -> InBall:
        """The question about one ball, which is closed."""
        near = Near(self.ball.with_radius(radius), most, self.found)
        prop = within_box(self.prop, self.ball.centre, radius)
        question = property_question(self.model, prop, budget, semantics, near=near)
        assert isinstance(question.judge, NearJudge)
        return InBall(question, question.judge)

    def brackets(self, settings: Settings) -> Iterator[Bracket]:
        """Shrinking brackets on d*; the last one has `final` set. Raises InputError."""
        if settings.workers is not None:
            raise InputError("jobs explore trees of networks of ReLUs; this one has Sigmoids: leave them out")
        return BallSearch(self, settings).brackets()


def smooth_nearest(
    model: Model, x: npt.ArrayLike, prop: Property, budget: Budget, norm: str, precision: float, semantics: str
) -> SmoothNearest:
    """Check everything that the question needs; raises InputError, one line."""
    width = above_zero(precision, "the precision", -math.inf)
    property_question(model, prop, budget, semantics)
    centre = model.vector(x).astype(np.float64)
    ball = Ball(Norm(norm), centre, math.inf, np.full_like(centre, -np.inf), np.full_like(centre, np.inf))
    return SmoothNearest(model, prop, ball, semantics_of(semantics, model), width)
