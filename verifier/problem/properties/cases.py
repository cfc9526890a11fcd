"""A property's disjunctive form, made one case at a time: a box of inputs, and rows that all have to hold there.

Formulas whose disjunctions multiply have more cases than fit anywhere, so none is made before it is asked for. Choices
that narrow the box come first: what they leave empty ends there, and the cases of one box stand together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import groupby, islice

import numpy as np

from encoders.errors import InputError
from verifier.problem.properties.formula import Formula, LinearRow, Or, Property
from verifier.problem.properties.linear import LONGEST
from verifier.problem.quantities import directed
from verifier.problem.query import Ball, Halfspaces

TOGETHER = 64
"""Cases of one box that are handed out together: they share its bounds, and take turns."""


@dataclass(frozen=True, eq=False)
class ExactBox:
    """{x : lower_i ≤ x_i ≤ upper_i} in exact numbers; an entry that neither names has no end."""

    lower: Mapping[int, Fraction] = field(default_factory=dict)
    upper: Mapping[int, Fraction] = field(default_factory=dict)

    def region(self, size: int) -> Ball:
        """The smallest box with float64 ends that holds it."""
        lo, hi = np.full(size, -math.inf), np.full(size, math.inf)
        for place, end in self.lower.items():
            lo[place] = directed(end, -math.inf)
        for place, end in self.upper.items():
            hi[place] = directed(end, math.inf)
        return Ball.of_box(lo, hi)


@dataclass(frozen=True, eq=False)
class Conjunction:
    """A box and rows over the outputs, and over several inputs: the closure of one disjunct."""

    box: ExactBox
    rows: tuple[LinearRow, ...]

    @property
    def mixed(self) -> bool:
        """Do rows read inputs as well?"""
        return any(row.inputs for row in self.rows)

    def goal(self, outputs: int, inputs: int = 0) -> Halfspaces:
        """The rows over (y, x), x left out where `inputs` is 0; each holds the exact row, by at most a unit in d's
        last place more.

        Raises InputError where the exact coefficients have no common multiple that float64 holds.
        """
        matrix, offset = np.zeros((len(self.rows), outputs + inputs)), np.zeros(len(self.rows))
        for place, row in enumerate(self.rows):
            scale = _scale(row)
            for first, terms in ((0, row.outputs), (outputs, row.inputs)):
                for entry, factor in terms:
                    matrix[place, first + entry] = float(factor * scale)
            offset[place] = directed(row.constant * scale, math.inf)
            if not math.isfinite(offset[place]):
                raise InputError("a constant of the property is too large for float64")
        return Halfspaces(matrix, offset)


def _scale(row: LinearRow) -> Fraction:
    """What makes the row's coefficients float64 numbers: 1, or what makes them coprime integers."""
    factors = [factor for _, factor in (*row.outputs, *row.inputs)]
    if all(_is_float(factor) for factor in factors):
        return Fraction(1)
    common = math.lcm(*(factor.denominator for factor in factors))
    scale = Fraction(common, math.gcd(*(int(factor * common) for factor in factors)))
    if not all(_is_float(factor * scale) for factor in factors):
        raise InputError("the coefficients of a row of the property cannot be written in float64, in no common unit")
    return scale


def _is_float(number: Fraction) -> bool:
    try:
        return Fraction(float(number)) == number
    except OverflowError:
        return False


@dataclass(frozen=True, eq=False)
class Part:
    """Some cases of one box: the region, in float64 and exactly."""

    box: ExactBox
    cases: tuple[Conjunction, ...]


def parts(prop: Property, look: Callable[[], None] = lambda: None) -> Iterator[Part]:
    """The cases of a property, those of one box that follow each other together. look: called between two steps."""
    for _, same in groupby(cases(prop, look), key=lambda case: case.box):
        while together := tuple(islice(same, TOGETHER)):
            yield Part(together[0].box, together)


@dataclass(frozen=True, eq=False)
class _Pending:
    """A disjunction that is to be chosen from, and the others."""

    choice: Or
    others: _Pending | None


@dataclass(frozen=True, eq=False)
class _Partial:
    """What has been chosen so far; choices that read inputs come before the `later` ones. settled: there are no more of
    them, and the box has the ends that rows imply."""

    box: ExactBox = ExactBox()
    rows: tuple[LinearRow, ...] = ()
    first: _Pending | None = None
    later: _Pending | None = None
    settled: bool = False


def cases(prop: Property, look: Callable[[], None] = lambda: None) -> Iterator[Conjunction]:
    """Boxes with rows whose union is the property, its borders included; those that are empty at sight are left out."""
    stack: list[tuple[_Partial, Formula]] = [(_Partial(), prop.formula)]
    while stack:
        look()
        partial, chosen = stack.pop()
        taken = _taken(partial, chosen)
        if taken is not None and taken.first is None and not taken.settled:
            box = _ImpliedEnds(taken.box, taken.rows, look).found()
            taken = None if box is None else replace(taken, box=box, settled=True)
        if taken is None:
            continue
        if taken.first is not None:
            pending, taken = taken.first, replace(taken, first=taken.first.others)
        elif taken.later is not None:
            pending, taken = taken.later, replace(taken, later=taken.later.others)
        else:
            yield Conjunction(taken.box, taken.rows)
            continue
        stack += [(taken, part) for part in reversed(pending.choice.parts)]


def _taken(partial: _Partial, formula: Formula) -> _Partial | None:
    """The choices with a formula more; None where nothing satisfies them."""
    lower: dict[int, Fraction] = {}
    upper: dict[int, Fraction] = {}
    rows, first, later = list(partial.rows), partial.first, partial.later
    waiting: list[Formula] = [formula]
    while waiting:
        match waiting.pop():
            case LinearRow() as row:
                if not _absorbed(row, lower, upper, rows):
                    return None
            case Or(parts) as choice:
                if len(parts) == 1:
                    waiting.append(parts[0])
                elif not parts:
                    return None
                elif choice.reads_inputs:
                    first = _Pending(choice, first)
                else:
                    later = _Pending(choice, later)
            case both:
                waiting += reversed(both.parts)
    box = _narrowed(partial.box, lower, upper)
    return None if box is None else _Partial(box, tuple(rows), first, later, partial.settled)


def _absorbed(row: LinearRow, lower: dict[int, Fraction], upper: dict[int, Fraction], rows: list[LinearRow]) -> bool:
    """Take a row over as an end of the box, or as it is. False where it is a constant that is wrong."""
    if not row.inputs and not row.outputs:
        return row.holds((), ())
    if row.outputs or len(row.inputs) > 1:
        rows.append(row)
        return True
    ((place, factor),) = row.inputs
    end = -row.constant / factor
    if factor > 0:
        lower[place] = max(end, lower.get(place, end))
    else:
        upper[place] = min(end, upper.get(place, end))
    return True


def _narrowed(box: ExactBox, lower: dict[int, Fraction], upper: dict[int, Fraction]) -> ExactBox | None:
    """The box within more ends, the same one where they change nothing; None where that is empty."""
    low = {place: end for place, end in lower.items() if place not in box.lower or end > box.lower[place]}
    high = {place: end for place, end in upper.items() if place not in box.upper or end < box.upper[place]}
    if not low and not high:
        return box
    found = ExactBox({**box.lower, **low}, {**box.upper, **high})
    changed = {*low, *high}
    if any(found.lower[i] > found.upper[i] for i in changed if i in found.lower and i in found.upper):
        return None
    return found


class _ImpliedEnds:
    """Ends that rows over inputs imply where a box has none, as of a network's input that equals another's.

    Σ a·x + c ≥ 0 bounds an entry by the most that the other a·x attain. A row is looked at when it lacks one of these
    at most, so that all of them cost what reading them does.
    """

    def __init__(self, box: ExactBox, rows: tuple[LinearRow, ...], look: Callable[[], None]) -> None:
        self._box, self._look = box, look
        self._lower, self._upper = dict(box.lower), dict(box.upper)
        self._rows = [row for row in rows if not row.outputs]
        self._lacks: list[set[int]] = []
        self._readers: dict[tuple[int, bool], list[int]] = {}
        for number, row in enumerate(self._rows):
            look()
            lacks = [(place, factor > 0) for place, factor in row.inputs if self._most(place, factor) is None]
            self._lacks.append({place for place, _ in lacks})
            for end in lacks:
                self._readers.setdefault(end, []).append(number)

    def found(self) -> ExactBox | None:
        """The box with them, the same one where there are none; None where it is empty."""
        waiting, before = [number for number, lacks in enumerate(self._lacks) if len(lacks) <= 1], len(self)
        while waiting:
            for place, factor, end in self._ends(self._rows[waiting.pop()]):
                (self._lower if factor > 0 else self._upper)[place] = end
                if place in self._lower and place in self._upper and self._lower[place] > self._upper[place]:
                    return None
                for number in self._readers.pop((place, factor < 0), ()):
                    self._lacks[number].discard(place)
                    waiting += [number] if len(self._lacks[number]) <= 1 else []
        return ExactBox(self._lower, self._upper) if len(self) > before else self._box

    def __len__(self) -> int:
        return len(self._lower) + len(self._upper)

    def _most(self, place: int, factor: Fraction) -> Fraction | None:
        """The end where factor · x is largest."""
        return (self._upper if factor > 0 else self._lower).get(place)

    def _ends(self, row: LinearRow) -> list[tuple[int, Fraction, Fraction]]:
        """Entries with their coefficients and the ends, below where that is positive, which the row gives first."""
        known, lacking, total = list[tuple[int, Fraction, Fraction]](), list[tuple[int, Fraction]](), row.constant
        for place, factor in row.inputs:
            self._look()
            most = self._most(place, factor)
            if most is None:
                lacking.append((place, factor))
                continue
            known.append((place, factor, most))
            above = _outward(total + factor * most, math.inf)
            if above is None:
                return []
            total = above
        asked = [(*one, Fraction(0)) for one in lacking] or known
        ends = [
            (place, factor, _outward(most - total / factor, -math.inf if factor > 0 else math.inf))
            for place, factor, most in asked
            if self._most(place, -factor) is None
        ]
        return [(place, factor, end) for place, factor, end in ends if end is not None]


def _outward(number: Fraction, direction: float) -> Fraction | None:
    """The number, or the next of float64 in that direction where it has more digits than are read; None: infinite."""
    if max(number.numerator.bit_length(), number.denominator.bit_length()) <= LONGEST:
        return number
    end = directed(number, direction)
    return Fraction(end) if math.isfinite(end) else None
