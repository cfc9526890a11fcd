"""Between what values does each output lie over a box? Proved ends outside, attained ones inside, until they meet.

Linear bounds prove the first ends, random points and steps uphill attain the first values. Where a precision is asked
for, search trees decide whether an output gets beyond a threshold between the two: each answer moves one of them. The
ends whose gap is widest come first, and a threshold that took too long moves towards the proved end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError, SolverError
from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.exact import exact_outputs
from encoders.network.graph import Array, Graph
from encoders.network.node_bounds import NodeBounds
from verifier.bounds.alpha_crown import Effort, optimised_lower
from verifier.bounds.crown import LinearRelaxation
from verifier.problem.answer import Answer, PropertySubject
from verifier.problem.arguments import above_zero, whole
from verifier.problem.blas import single_threaded_blas
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.properties.cases import ExactBox
from verifier.problem.quantities import directed
from verifier.problem.query import Ball, Halfspaces, Query
from verifier.problem.rounding import REAL, Arithmetic
from verifier.problem.verdict import LINEAR_BOUNDS, Search, Semantics
from verifier.runtime.activation_region import deepest, region_of
from verifier.runtime.model import Model
from verifier.runtime.property_judge import InwardBox, plain_output
from verifier.search.float32_lower import float32_arithmetic
from verifier.search.property_attack import Sampler, points_of_a_round, promising, uphill
from verifier.search.property_track import TOLERANCE, endless, whole_box
from verifier.search.question import Box, box_of, semantics_of
from verifier.search.settings import Settings
from verifier.solvers.root_bounds import root_bounds
from verifier.solvers.tree.goal_ascent import GoalAscent

EFFORT = Effort()
"""Of the slopes behind the first proved ends."""

ROWS_TOGETHER = 32
"""Outputs bounded in one pass."""

BOUNDS_PART = 2.0
"""One part of so many of the time is for bounds inside the network: what reads its outputs comes after."""

POLISHES = 4
"""Activation regions in a row whose highest point is looked for, each from the last one's."""

CLOSING = 0.99
"""The share of the precision above an attained value at which the last threshold stands."""

ROUNDED = "charges for rounding keep ends apart that no split brings together{}"
"""Why a gap stays although there is time."""


@dataclass(frozen=True, eq=False)
class OutputRange:
    """lower ≤ y ≤ upper for every input of the box, proved; y takes the values `least` and `largest` at points of it.

    Both are exact values at points (n,) of the model's dtype where the box holds such, rounded inwards; None where the
    time did not suffice for any.
    """

    output: int
    lower: float
    upper: float
    least: float | None
    largest: float | None
    least_at: npt.NDArray[np.floating] | None
    largest_at: npt.NDArray[np.floating] | None

    @property
    def gap(self) -> float:
        """How far a proved end is from an attained value, at most."""
        if self.least is None or self.largest is None:
            return math.inf
        return max(self.least - self.lower, self.upper - self.largest)


@dataclass(frozen=True, eq=False, repr=False)
class OutputRanges(Answer):
    """The range of each output. float32: do the proved ends hold for every float32 evaluation as well? reason: why
    the search ended early, or some gap is wider than the precision that was asked for, "" where neither is."""

    ranges: tuple[OutputRange, ...]
    precision: float | None
    float32: bool
    reason: str
    seconds: float
    search: Search
    about: PropertySubject


@dataclass(eq=False)
class _End:
    """max of sign · y over the box: `attained` ≤ max ≤ `proved`."""

    place: int
    sign: float
    proved: float = math.inf
    best: tuple[float, npt.NDArray[np.floating] | None] = (-math.inf, None)
    """The largest value, and where: one attribute, so that another thread sees both or neither."""
    share: float = 0.5
    """Of the gap, where the next threshold stands."""
    stuck: bool = False

    @property
    def attained(self) -> float:
        return self.best[0]

    @property
    def gap(self) -> float:
        return self.proved - self.attained

    def threshold(self, precision: float) -> float:
        """Where the next tree decides."""
        least = CLOSING * precision
        return self.attained + (least if self.gap <= 2.0 * precision else max(least, self.share * self.gap))


def output_ranges(
    model: Model,
    region: Box,
    settings: Settings,
    outputs: Sequence[int] | None = None,
    precision: float | None = None,
    semantics: str = Semantics.BOTH,
    begun: Callable[[Callable[[], OutputRanges]], None] | None = None,
) -> OutputRanges:
    """The ranges of `outputs` (None: all) over a box. precision: None for linear bounds and attained values alone.

    begun: given, before the search, what tells at any time, to any thread, what is known. Raises InputError, one line.
    """
    search = _RangeSearch.of(model, region, settings, outputs, precision, semantics)
    if begun is not None:
        begun(lambda: search.answer(settings.budget.reason))
    reason = ""
    try:
        with single_threaded_blas(), settings.budget.within_memory():
            search.run()
    except (OutOfTimeError, SolverError) as error:
        reason = str(error)
    return search.answer(reason)


def _range(low: _End, high: _End) -> OutputRange:
    (least, least_at), (largest, largest_at) = low.best, high.best
    return OutputRange(
        low.place,
        -low.proved,
        high.proved,
        None if least_at is None else -least,
        None if largest_at is None else largest,
        least_at,
        largest_at,
    )


@dataclass(eq=False)
class _RangeSearch:
    model: Model
    ball: Ball
    settings: Settings
    precision: float | None
    arithmetic: Arithmetic
    ends: tuple[_End, ...]
    nodes: int = 0
    engine: str = field(default=LINEAR_BOUNDS)
    seconds: float = 0.0
    """Of the search trees."""

    @classmethod
    def of(
        cls,
        model: Model,
        region: Box,
        settings: Settings,
        outputs: Sequence[int] | None,
        precision: float | None,
        semantics: str,
    ) -> _RangeSearch:
        """Raises InputError for what cannot be asked."""
        meaning = semantics_of(semantics, model)
        plain_output(model)
        if settings.decider.trees is None:
            raise InputError(f"ranges are proved by the method tree, not by {settings.method}")
        width = None if precision is None else above_zero(precision, "the precision", -math.inf)
        lo, hi = box_of(region, model.graph.input_size)
        ball = Ball.of_box(lo, hi)
        if (entry := endless(ball)) is not None:
            raise InputError(f"the box has no end at entry {entry}, and ranges are those of a bounded one")
        ball = whole_box(ball)
        places = range(model.outputs) if outputs is None else [whole(place, "an output") for place in outputs]
        for place in places:
            if not 0 <= place < model.outputs:
                raise InputError(f"there is no output {place}: they are 0 to {model.outputs - 1}")
        model.comparison.at_question(ball.centre.astype(model.dtype), lo, hi, settings.budget)
        arithmetic = REAL
        if model.charges_logits(meaning):
            arithmetic = float32_arithmetic(model.graph, ball, rounds=False) or REAL
        if meaning is Semantics.FLOAT32 and arithmetic is REAL:
            raise InputError("nothing can be proved for float32: somewhere in this box its sums may overflow")
        ends = tuple(_End(place, sign) for place in dict.fromkeys(places) for sign in (-1.0, 1.0))
        return cls(model, ball, settings, width, arithmetic, ends)

    @property
    def graph(self) -> Graph:
        return self.model.graph

    @cached_property
    def bounds(self) -> NodeBounds:
        budget = self.settings.budget.share(BOUNDS_PART)
        return root_bounds(self.graph, self.ball, budget, self.arithmetic, lambda: self.stages)

    @cached_property
    def stages(self) -> Stages:
        """Raises OutOfTimeError."""
        floors = self.arithmetic.floors(self.graph)
        return to_stages(self.graph, self.arithmetic.unit, floors, self.settings.budget.check)

    @cached_property
    def box(self) -> InwardBox:
        lower, upper = (dict(enumerate(map(Fraction, end.tolist()))) for end in (self.ball.lo, self.ball.hi))
        return InwardBox(ExactBox(lower, upper), self.ball.lo.size, self.model.dtype)

    @property
    def _asked(self) -> str:
        """The box in words: its ends, or between what they lie."""
        ends = self.ball.lo, self.ball.hi
        least, largest = float(np.min(ends[0])), float(np.max(ends[1]))
        alike = all(np.all(end == end[0]) for end in ends)
        return f"inputs in [{least:.9g}, {largest:.9g}]{'' if alike else ', each between ends of its own'}"

    def answer(self, reason: str) -> OutputRanges:
        """What is known, by any thread at any time; reason: why the search ended before all was answered."""
        model, ends = self.model, self.ends
        shape, method = model.network.input_shape, self.settings.method
        about = PropertySubject("bounds", model.file.name, model.sha256, self._asked, shape, method)
        exact = self.arithmetic is REAL
        told = reason
        if self.precision is not None:
            closed = all(end.gap <= self.precision for end in ends)
            told = "" if closed else reason or ROUNDED.format("" if exact else ": ask for semantics real")
        ranges = tuple(_range(low, high) for low, high in zip(ends[0::2], ends[1::2], strict=True))
        search = Search(self.engine, self.nodes, 0, self.seconds)
        return OutputRanges(ranges, self.precision, not exact, told, self.settings.budget.spent, search, about)

    def run(self) -> None:
        """Move the ends together. Raises OutOfTimeError; what is known by then is kept."""
        self._prove()
        self._attain()
        if self.precision is None:
            return
        while wide := [end for end in self.ends if end.gap > self.precision and not end.stuck]:
            self.settings.budget.check()
            end = max(wide, key=lambda one: one.gap)
            self._decide(end, self.settings.budget.share(2.0 * len(wide)), self.precision)

    def _goal(self, end: _End, threshold: float) -> Halfspaces:
        """sign · y_place ≥ threshold."""
        row = np.zeros((1, self.graph.output_size))
        row[0, end.place + self.model.first_output] = end.sign
        return Halfspaces(row, np.array([-threshold]))

    def _prove(self) -> None:
        """The ends that intervals and linear bounds prove."""
        bounds, output = self.bounds, self.graph.output
        for end in self.ends:
            side = bounds.upper[output] if end.sign > 0 else -bounds.lower[output]
            end.proved = float(side[end.place + self.model.first_output])
        budget = self.settings.budget
        relaxation = LinearRelaxation(self.graph, self.ball, bounds, budget, self.arithmetic)
        for start in range(0, len(self.ends), ROWS_TOGETHER):
            some = self.ends[start : start + ROWS_TOGETHER]
            rows = -np.vstack([self._goal(end, 0.0).matrix for end in some])
            least = optimised_lower(relaxation, output, rows, np.zeros(len(some)), EFFORT.goal_iterations, budget)
            for end, value in zip(some, least.tolist(), strict=True):
                end.proved = min(end.proved, -value)

    def _attain(self) -> None:
        """The values at random points, and uphill from the best of them."""
        sampler, budget = Sampler(self.ball, self.settings.seed), self.settings.budget
        points = sampler.draw(points_of_a_round(self.graph))
        values = self.model.values(points)
        starts = [(end, promising(values, points, [self._goal(end, 0.0)])[0][2]) for end in self.ends]
        for step in (self._take, self._climb):
            for end, point in starts:
                budget.check()
                step(end, point)

    def _climb(self, end: _End, point: Array) -> None:
        """Steps uphill from the point, then to the highest point of the activation region, again from there."""
        budget, unreached = self.settings.budget, self._goal(end, max(end.proved, end.attained) + 1.0)
        ascent = GoalAscent(self.stages, self.ball, unreached)
        best, height = uphill(ascent, point, budget)
        for _ in range(POLISHES):
            region = region_of(self.graph, best, unreached)
            found = deepest(region, self.ball, budget) if region is not None and not budget.ended else None
            if found is None or (margin := ascent.margin(found)) <= height:
                break
            best, height = found, margin
        self._take(end, best)

    def _take(self, end: _End, point: Array) -> bool:
        """The exact values at the point, where they are the largest so far: is that of `end`? Raises OutOfTimeError."""
        inside = self.box.nearest(point) if self.box.gap is None else np.clip(point, self.ball.lo, self.ball.hi)
        exact = exact_outputs(self.model.network.graph, inside.astype(np.float64), self.settings.budget.check)
        before = end.attained
        for one in self.ends:
            value = exact[one.place + self.model.first_output]
            attained = directed(value if one.sign > 0 else -value, -math.inf)
            if attained > one.attained:
                one.best = (attained, inside)
        return end.attained > before

    def _decide(self, end: _End, budget: Budget, precision: float) -> None:
        """Does the output get beyond the next threshold? Raises OutOfTimeError where the whole time is up."""
        threshold = end.threshold(precision)
        goal = self._goal(end, threshold)
        maker = self.settings.decider.trees
        assert maker is not None, "methods without trees have been refused"
        query = Query(self.graph, self.ball, goal)
        tree = maker.tree(
            query,
            self.stages,
            self.bounds,
            floor=0.0,
            slack=0.0,
            tolerance=TOLERANCE,
            memory=self.settings.budget.memory,
        )
        self.engine, began = tree.engine, self.settings.budget.spent
        try:
            while tree.open_nodes and not tree.stuck:
                point = tree.explore(budget)
                if point is None:
                    continue
                if self._take(end, point):
                    self._climb(end, point)
                    return
                tree.refuse()
        except OutOfTimeError:
            self.settings.budget.check()
            end.share = 0.5 * (1.0 + end.share)
            return
        finally:
            self.nodes += tree.nodes
            self.seconds += self.settings.budget.spent - began
        if tree.open_nodes:
            end.share = 0.5 * (1.0 + end.share)
            end.stuck = end.gap <= 2.0 * precision or end.share > 1.0 - 2.0**-20
        else:
            end.proved, end.share = min(end.proved, threshold), 0.5
