"""Judges of counterexamples near an input: those beyond a radius are refused, but the nearest of all is kept.

One asks a property, the other the classes that a question about an input is about, by that question's own judge.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from encoders.network.graph import Array
from verifier.problem.budget import Budget
from verifier.problem.properties.formula import Property
from verifier.problem.query import Ball, distance_exact
from verifier.problem.verdict import Counterexample, Witness
from verifier.runtime.model import Model
from verifier.runtime.property_judge import GoalInBox, InwardBox, PropertyJudge
from verifier.runtime.witness import Judge, rounded_up


@dataclass(frozen=True, eq=False)
class Near:
    """The ball in which is looked for counterexamples, and how far from its centre one may be that ends the search;
    `found`: the outputs of those that were the nearest, by their points."""

    ball: Ball
    most: float
    found: dict[bytes, Counterexample] = field(default_factory=dict)


class NearJudge(PropertyJudge):
    """As `PropertyJudge`; `nearest`: the nearest witness of all."""

    def __init__(self, model: Model, prop: Property, inner: Property, near: Near) -> None:
        super().__init__(model, prop, inner)
        self._near = near
        self.nearest: Witness | None = None

    def witness(self, point: Array, box: InwardBox, budget: Budget) -> Counterexample | None:
        """As `PropertyJudge.witness`. Raises OutOfTimeError."""
        found = super().witness(point, box, budget)
        if found is None:
            return None
        ball = self._near.ball
        distance = rounded_up(distance_exact(ball.norm, found.point.astype(np.float64), ball.centre))
        return self._kept(found, Witness(found.point, distance, 0, 0.0, 0.0, 0, (0,)))

    def _kept(self, found: Counterexample, witness: Witness) -> Counterexample | None:
        if self.nearest is None or witness.distance < self.nearest.distance:
            self.nearest = witness
            self._near.found[witness.point.tobytes()] = found
        return found if witness.distance <= self._near.most else None


class ClassJudge(NearJudge):
    """Judges by the judge of a question about classes; slack: what securing a witness may add to its distance."""

    def __init__(self, model: Model, prop: Property, near: Near, judge: Judge, slack: float) -> None:
        super().__init__(model, prop, prop, near)
        self._judge, self._slack = judge, slack

    def witness(self, point: Array, box: InwardBox, budget: Budget) -> Counterexample | None:
        """As `Judge.witness`. Raises OutOfTimeError."""
        return self._told(self._judge.witness(point, budget))

    def secured(self, point: Array, target: GoalInBox, budget: Budget) -> Counterexample | None:
        """As `Judge.secured`."""
        return self._told(self._judge.secured(point, self._slack, budget))

    def _told(self, witness: Witness | None) -> Counterexample | None:
        if witness is None:
            return None
        # Whoever asks about classes reads the witness alone.
        given = self._model.replay.scores(witness.point)[0]
        return self._kept(Counterexample(witness.point, given, np.zeros(0)), witness)
