"""The judge of witnesses to a property near an input: as that of counterexamples, with distances.

A point becomes a witness when it is representable in the model's dtype and satisfies the property, its box included,
twice: with the outputs of exact arithmetic, and with those that ONNX Runtime gives. No tolerance is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from encoders.network.exact import exact_outputs
from verifier.problem.budget import Budget
from verifier.problem.properties.formula import Property
from verifier.problem.query import Halfspaces, distance_exact
from verifier.problem.verdict import Counterexample, Witness
from verifier.runtime.model import Model
from verifier.runtime.real_outputs import towards_zero
from verifier.runtime.witness import Judge, rounded_down, rounded_up

MISSED = -2
"""The class of outputs that lie in no goal; those in one have the goal's place as their class."""


class PropertyRuntime:
    """The model as it is shipped, its inputs behind its outputs where goals are `mixed`, read as places of goals."""

    rounds = False

    def __init__(self, model: Model, goals: Sequence[Halfspaces], *, mixed: bool) -> None:
        self._model, self._goals, self._mixed = model, goals, mixed

    def logits(self, points: npt.ArrayLike) -> npt.NDArray[np.floating]:
        """What goals speak of at points (B, n), rounded to the dtype: (B, K)."""
        with np.errstate(over="ignore"):
            rounded = np.atleast_2d(np.asarray(points)).astype(self._model.dtype)
        values: npt.NDArray[np.floating] = self._model.replay.logits(rounded)
        return np.hstack([values, rounded]) if self._mixed else values

    def outputs(self, points: npt.ArrayLike) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
        """The same twice: nothing stands behind the outputs that a property speaks of."""
        found = self.logits(points)
        return found, found

    def classes(self, scores: npt.NDArray[np.floating]) -> tuple[int, ...]:
        """The place of the first goal that they lie in, as floats see it."""
        values = np.asarray(scores, dtype=np.float64)
        return (next((place for place, goal in enumerate(self._goals) if goal.margin(values)[0] >= 0), MISSED),)


@dataclass(frozen=True, eq=False)
class DistanceJudge(Judge):
    """`graph` and `lowered` give what the disjuncts speak of; the model's outputs begin at `first` among it.

    A witness's target is the place of the disjunct that it lies deepest in; its exact margin is that disjunct's,
    infinite where that asks nothing.
    """

    prop: Property | None = None
    first: int = 0
    found: dict[bytes, Counterexample] = field(default_factory=dict)
    """The witnesses' outputs, by their points."""

    def witness(self, point: npt.ArrayLike, budget: Budget) -> Witness | None:
        """The witness that `point` (n,) gives after rounding into the box, or None. Raises OutOfTimeError."""
        budget.check()
        rounded = self._rounded(np.asarray(point, dtype=np.float64))
        given = self.runtime.logits(rounded[np.newaxis])[0]
        if not np.all(np.isfinite(given)) or not self._satisfied(rounded, [Fraction(y) for y in given.tolist()]):
            return None
        budget.check()
        exact = exact_outputs(self.graph, rounded.astype(np.float64), budget.check)
        if not self._satisfied(rounded, exact):
            return None
        own = slice(self.first, self.first + (self.prop.outputs if self.prop is not None else 0))
        self.found[rounded.tobytes()] = Counterexample(rounded, given[own], towards_zero(exact[own], exact[own]))
        values = np.asarray(given, dtype=np.float64)
        margins = [(float(goal.margin(values)[0]), place) for place, (_, goal) in enumerate(self.disjuncts)]
        margin, place = max(margins)
        target, goal = self.disjuncts[place]
        exactly = rounded_down(goal.margin_exact(exact)) if len(goal.offset) else math.inf
        distance = rounded_up(distance_exact(self.ball.norm, rounded.astype(np.float64), self.ball.centre))
        return Witness(rounded, distance, target, exactly, margin, target, (target,))

    def _satisfied(self, x: npt.NDArray[np.floating], values: list[Fraction]) -> bool:
        assert self.prop is not None
        outputs = values[self.first : self.first + self.prop.outputs]
        return self.prop.satisfied([Fraction(entry) for entry in x.tolist()], outputs)

    def counterexample(self, witness: Witness) -> Counterexample:
        """One of this judge's witnesses with the outputs that make it one."""
        return self.found[witness.point.tobytes()]
