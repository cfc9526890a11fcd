"""The judge of counterexamples to a property: nobody's word is trusted, and no tolerance is known.

A point counts when it is representable in the model's own input type, lies inside the property's box as exact numbers,
and satisfies the property twice: with the outputs of exact arithmetic, and with those that ONNX Runtime gives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from encoders.errors import InputError
from encoders.network.exact import exact_outputs
from encoders.network.graph import Array, Graph
from verifier.problem.budget import Budget
from verifier.problem.properties.cases import ExactBox
from verifier.problem.properties.formula import Property
from verifier.problem.quantities import directed
from verifier.problem.query import Ball, Halfspaces
from verifier.problem.verdict import Counterexample
from verifier.runtime.activation_region import deepest, region_of
from verifier.runtime.model import Model
from verifier.runtime.replay import FloatArray

DEEPER = (2.0**-10, 2.0**-5, 0.125, 0.5, 1.0)
"""Shares of the way from a point to the deepest one of its activation region at which a witness is looked for: at 1 it
lies on the region's border, where rounding may have another pattern."""

ONLY_RUNTIME = "a point satisfies the property in ONNX Runtime, but not in exact arithmetic"
ONLY_EXACT = "a point satisfies the property in exact arithmetic, but not in ONNX Runtime"


class InwardBox:
    """The points of an exact box that are numbers of the model's dtype: lo ≤ x ≤ hi, each (n,)."""

    def __init__(self, box: ExactBox, size: int, dtype: np.dtype[np.floating]) -> None:
        self.lo, self.hi = np.full(size, -np.inf, dtype), np.full(size, np.inf, dtype)
        for ends, values, direction in ((box.lower, self.lo, math.inf), (box.upper, self.hi, -math.inf)):
            for place, end in ends.items():
                values[place] = _directed(end, direction, dtype)

    @property
    def gap(self) -> int | None:
        """The first entry for which the box holds no number of the dtype; None where there is none."""
        empty = np.flatnonzero(~(self.lo <= self.hi))
        return int(empty[0]) if empty.size else None

    def nearest(self, point: Array) -> FloatArray:
        """The point (…, n) in the dtype, moved into the box."""
        with np.errstate(over="ignore"):
            rounded = point.astype(self.lo.dtype)
        found: FloatArray = np.minimum(np.maximum(rounded, self.lo), self.hi)
        return found


def _directed(number: Fraction, direction: float, dtype: np.dtype[np.floating]) -> np.floating:
    """The number of the dtype nearest to a rational on its side of `direction`."""
    wide = directed(number, direction)
    with np.errstate(over="ignore"):
        near = dtype.type(wide)
        outside = float(near) < wide if direction > 0 else float(near) > wide
        return np.nextafter(near, dtype.type(direction)) if outside else near


@dataclass(frozen=True, eq=False)
class GoalInBox:
    """Where counterexamples are looked for: in `region` (float64, rounded outwards) and `box`, the outputs of the
    lowered `graph` in `goal`."""

    box: InwardBox
    region: Ball
    graph: Graph
    goal: Halfspaces


class PropertyJudge:
    """Judges points for one property of one model; `remark` says in words what held in one world only, if anything."""

    def __init__(self, model: Model, prop: Property) -> None:
        if model.replay.rounds:
            raise InputError(
                f"{model.path}: a Softmax, Sigmoid or the like makes its output, which is not piecewise linear; a "
                "property is about the output itself: export the model without it"
            )
        self._model, self._property = model, prop
        self.remark = ""

    def witness(self, point: Array, box: InwardBox, budget: Budget) -> Counterexample | None:
        """What the point (n,) gives after rounding into the box, or None. Raises OutOfTimeError."""
        budget.check()
        if box.gap is not None:
            self.remark = f"the box holds no {box.lo.dtype.name} number for X_{box.gap}"
            return None
        rounded = box.nearest(point)
        given = self._model.replay.scores(rounded)[0]
        if not (np.all(np.isfinite(given)) and np.all(np.isfinite(rounded))):
            return None
        x = [Fraction(entry) for entry in rounded.tolist()]
        reached = self._property.satisfied(x, [Fraction(entry) for entry in given.tolist()])
        if not reached and self.remark:
            return None
        budget.check()
        exact = exact_outputs(self._model.network.graph, rounded.astype(np.float64), budget.check)
        exact = exact[-len(given) :]  # a binary classifier's graph gives (0, z)
        if self._property.satisfied(x, exact) is not reached:
            self.remark = ONLY_RUNTIME if reached else ONLY_EXACT
            return None
        return Counterexample(rounded, given, np.array([float(entry) for entry in exact])) if reached else None

    def secured(self, point: Array, target: GoalInBox, budget: Budget) -> Counterexample | None:
        """A witness at the point (n,) or near it, deeper in its activation region. Raises OutOfTimeError."""
        for candidate in self._candidates(point, target, budget):
            found = self.witness(candidate, target.box, budget)
            if found is not None:
                return found
        return None

    def _candidates(self, point: Array, target: GoalInBox, budget: Budget) -> Iterator[Array]:
        yield point
        region = region_of(target.graph, point, target.goal)
        budget.check()
        inner = deepest(region, target.region, budget) if region is not None and len(target.goal.offset) else None
        if inner is not None:
            yield from (point + share * (inner - point) for share in DEEPER)
