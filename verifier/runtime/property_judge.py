"""The judge of counterexamples to a property: nobody's word is trusted, and no tolerance is known.

A point counts when it is representable in the model's own input type, lies inside the property's box as exact numbers,
and satisfies the property twice: with the outputs of exact arithmetic, and with those that ONNX Runtime gives. (A query
of VNN-LIB 2 asks about one world only: the real numbers, or float32.) Where a Sigmoid leaves no exact outputs, all that
lie between proved bounds have to satisfy it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from encoders.errors import InputError
from encoders.network.graph import Array, Graph
from encoders.onnx_io.from_onnx import SEVERAL
from verifier.problem.budget import Budget
from verifier.problem.properties.behind_ending import BehindEnding, before_ending
from verifier.problem.properties.cases import ExactBox
from verifier.problem.properties.formula import Property
from verifier.problem.quantities import directed
from verifier.problem.query import Ball, Halfspaces
from verifier.problem.verdict import Counterexample, Semantics
from verifier.runtime.activation_region import deepest, region_of
from verifier.runtime.model import Model
from verifier.runtime.real_outputs import RealOutputs, real_outputs
from verifier.runtime.replay import FloatArray

DEEPER = (2.0**-10, 2.0**-5, 0.125, 0.5, 1.0)
"""Shares of the way from a point to the deepest one of its activation region at which a witness is looked for: at 1 it
lies on the region's border, where rounding may have another pattern."""

DOUBTS = 4
"""Points that ONNX Runtime refuses and exact arithmetic is asked about all the same, to say what holds there alone: of
large networks that takes a second each."""

ONLY_RUNTIME = "a point satisfies the property in ONNX Runtime, but not in exact arithmetic"
ONLY_EXACT = "a point satisfies the property in exact arithmetic, but not in ONNX Runtime"
TIE = "a point is so near to a tie over the reals that no bounds of its Sigmoids decide it"


class InwardBox:
    """The points of an exact box that are numbers of the model's dtype: lo ≤ x ≤ hi, each (n,).

    torn: there are none, although another point of the box satisfies the property; then there is nothing to look for.
    """

    def __init__(self, box: ExactBox, size: int, dtype: np.dtype[np.floating]) -> None:
        self.exact, self.torn = box, False
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
        """The point (…, n) in the dtype, moved into the box; where that holds no number, the nearest one beside it."""
        with np.errstate(over="ignore"):
            rounded = point.astype(self.lo.dtype)
        inside = np.minimum(np.maximum(rounded, self.lo), self.hi)
        found: FloatArray = np.where(self.lo <= self.hi, inside, rounded)
        return found

    def within(self, point: Array) -> list[Fraction]:
        """The nearest point of the exact box."""
        found = [Fraction(entry) for entry in point.tolist()]
        for ends, choose in ((self.exact.lower, max), (self.exact.upper, min)):
            for place, end in ends.items():
                found[place] = choose(found[place], end)
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


def plain_output(model: Model) -> None:
    """Raise InputError unless the model's output is what the graph gives."""
    if model.replay.rounds:
        raise InputError(
            f"{model.path}: a Softmax, Sigmoid or the like makes its output, which is not piecewise linear; what is "
            "asked is about the output itself: export the model without it"
        )


def of_logits(model: Model, prop: Property) -> BehindEnding:
    """A property of the model's output as one of what its graph gives. Raises InputError where it is none.

    Behind one Softmax, LogSoftmax or Sigmoid comparisons of two outputs are linear, and what else `before_ending` says.
    """
    if not model.replay.rounds:
        return BehindEnding(prop, prop)
    if model.network.ending == SEVERAL:
        plain_output(model)
    return before_ending(prop, model.network.ending)


class PropertyJudge:
    """Judges points for one property of one model; `remark` says in words what held in one world only, if anything.

    world: where a point has to satisfy the property. BOTH: in exact arithmetic and in ONNX Runtime; FLOAT32: in ONNX
    Runtime; REAL: in exact arithmetic, and then it need be no number of the model's dtype. inner: what implies the
    property of exact logits, where an ending stands between them and the outputs.
    """

    def __init__(self, model: Model, prop: Property, inner: Property, world: Semantics = Semantics.BOTH) -> None:
        self._model, self._property, self._inner, self._world = model, prop, inner, world
        self.remark = ""
        self._doubts = DOUBTS

    def witness(self, point: Array, box: InwardBox, budget: Budget) -> Counterexample | None:
        """What the point (n,) gives after rounding into the box, or None. Raises OutOfTimeError."""
        budget.check()
        if self._world is Semantics.REAL:
            return self._real(point, box, budget)
        if box.gap is not None:
            self._beside(point, box, budget)
            return None
        rounded = box.nearest(point)
        given = self._model.replay.scores(rounded)[0]
        if not (np.all(np.isfinite(given)) and np.all(np.isfinite(rounded))):
            return None
        x = [Fraction(entry) for entry in rounded.tolist()]
        reached = self._property.satisfied(x, [Fraction(entry) for entry in given.tolist()])
        if not reached:
            self._doubts -= 1
            if self.remark or self._doubts < 0:
                return None
        budget.check()
        exact = self._real_outputs(x, budget)
        agree = exact.satisfied is reached
        if not agree:
            self.remark = TIE if exact.satisfied is None else ONLY_RUNTIME if reached else ONLY_EXACT
        if not reached or not (agree or self._world is Semantics.FLOAT32):
            return None
        if agree:
            self.remark = ""
        return Counterexample(rounded, given, self._shown(exact))

    def _real_outputs(self, x: list[Fraction], budget: Budget) -> RealOutputs:
        return real_outputs(self._model, self._inner, x, budget.check)

    def _shown(self, exact: RealOutputs) -> Array:
        """The outputs as float64: behind an ending to within its rounding, else rounded towards 0."""
        values = exact.towards_zero()
        if not self._model.replay.rounds:
            return values
        if self._model.network.ending == "Sigmoid":
            return np.asarray(np.exp(-np.logaddexp(0.0, -values)))
        logs = values - np.logaddexp.reduce(values)
        return np.asarray(np.exp(logs) if self._model.network.ending == "Softmax" else logs)

    def _real(self, point: Array, box: InwardBox, budget: Budget) -> Counterexample | None:
        """The same over the reals: the number of the dtype that is nearest, moved into the box, or the point itself."""
        rounded = box.nearest(point)
        for start in (rounded.astype(np.float64), point):
            if not np.all(np.isfinite(start)):
                continue
            inside = box.within(start)
            exact = self._real_outputs(inside, budget)
            if exact.satisfied:
                given = self._model.replay.scores(rounded)[0]
                own = inside != [Fraction(entry) for entry in rounded.tolist()]
                return Counterexample(rounded, given, self._shown(exact), tuple(inside) if own else None)
        return None

    def _beside(self, point: Array, box: InwardBox, budget: Budget) -> None:
        """Say what becomes of a box that holds no number of the dtype, at its point nearest to this one."""
        dtype = box.lo.dtype.name
        told = f"no {dtype} number is a value of X_{box.gap} in the box"
        inside = box.within(point)
        box.torn = self._real_outputs(inside, budget).satisfied is True
        if box.torn:
            told += "; a point of it that is none satisfies the property over the reals"
            rounded = box.nearest(point)
            off = max(abs(Fraction(value) - entry) for value, entry in zip(rounded.tolist(), inside, strict=True))
            given = self._model.replay.scores(rounded)[0]
            finite = bool(np.all(np.isfinite(given)))
            if finite and self._property.satisfied(inside, [Fraction(entry) for entry in given.tolist()]):
                told += f", and with the outputs of ONNX Runtime {float(off):.1g} beside it"
        self.remark = told

    def secured(self, point: Array, target: GoalInBox, budget: Budget) -> Counterexample | None:
        """A witness at the point (n,) or near it, deeper in its activation region. Raises OutOfTimeError."""
        for candidate in self._candidates(point, target, budget):
            found = self.witness(candidate, target.box, budget)
            if found is not None or target.box.torn:
                return found
        return None

    def _candidates(self, point: Array, target: GoalInBox, budget: Budget) -> Iterator[Array]:
        yield point
        if target.graph.smooth:
            return
        region = region_of(target.graph, point, target.goal)
        budget.check()
        inner = deepest(region, target.region, budget) if region is not None and len(target.goal.offset) else None
        if inner is not None:
            yield from (point + share * (inner - point) for share in DEEPER)
