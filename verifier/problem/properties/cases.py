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
from verifier.problem.properties.formula import Formula, LinearRow, Or, Property, Terms
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
    """What has been chosen so far; choices that read inputs come before the `later` ones."""

    box: ExactBox = ExactBox()
    rows: tuple[LinearRow, ...] = ()
    first: _Pending | None = None
    later: _Pending | None = None


def cases(prop: Property, look: Callable[[], None] = lambda: None) -> Iterator[Conjunction]:
    """Boxes with rows whose union is the property, its borders included; those that are empty at sight are left out."""
    stack: list[tuple[_Partial, Formula]] = [(_Partial(), prop.formula)]
    while stack:
        look()
        partial, chosen = stack.pop()
        taken = _taken(partial, chosen)
        if taken is not None and taken.first is None:
            box = _implied(taken.box, taken.rows, look)
            taken = None if box is None else replace(taken, box=box)
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
    return None if box is None else _Partial(box, tuple(rows), first, later)


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


def _implied(box: ExactBox, rows: tuple[LinearRow, ...], look: Callable[[], None]) -> ExactBox | None:
    """The box with ends that rows over inputs imply where it has none, as of a network's input that equals another's;
    the same one where none is found, None where it is empty. An end of Σ a·x + c ≥ 0 follows from those of the others.
    """
    within, found = [row.inputs for row in rows if not row.outputs], box
    constants = [row.constant for row in rows if not row.outputs]
    waiting = list(range(len(within)))
    while waiting:
        before, left = found, []
        for number in waiting:
            look()
            lower, upper, later = _ends(found, within[number], constants[number])
            narrowed = _narrowed(found, lower, upper)
            if narrowed is None:
                return None
            found = narrowed
            left += [number] if later else []
        waiting = left if found is not before else []
    return found


def _ends(box: ExactBox, terms: Terms, constant: Fraction) -> tuple[dict[int, Fraction], dict[int, Fraction], bool]:
    """The lower and upper end that Σ terms + constant ≥ 0 gives an entry without; and: may it give one later?"""
    tops = [(box.upper if factor > 0 else box.lower).get(place) for place, factor in terms]
    bare = [
        number for number, (place, factor) in enumerate(terms) if place not in (box.lower if factor > 0 else box.upper)
    ]
    unknown = [number for number, top in enumerate(tops) if top is None]
    lower: dict[int, Fraction] = {}
    upper: dict[int, Fraction] = {}
    for number in bare:
        if set(unknown) <= {number}:
            place, factor = terms[number]
            others = sum(
                (terms[other][1] * top for other, top in enumerate(tops) if other != number and top is not None),
                constant,
            )
            (lower if factor > 0 else upper)[place] = -others / factor
    return lower, upper, bool(bare) and bool(unknown)
