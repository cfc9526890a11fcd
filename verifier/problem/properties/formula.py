"""What is asked about inputs x and outputs y: rows Σ a·x + Σ b·y + c ≥ 0 under "and" and "or", in exact numbers.

A property describes what must not happen, as in VNN-LIB: it is violated by a point that satisfies the formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from encoders.errors import InputError
from encoders.network.graph import Array
from verifier.problem.query import Halfspaces

Terms = tuple[tuple[int, Fraction], ...]
"""Entries of a vector with their coefficients, none of them 0, by place."""


@dataclass(frozen=True, slots=True)
class LinearRow:
    """Σ inputs·x + Σ outputs·y + constant ≥ 0, or > 0 where it is strict."""

    inputs: Terms
    outputs: Terms
    constant: Fraction
    strict: bool = False

    @property
    def reads_inputs(self) -> bool:
        return bool(self.inputs)

    def value(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> Fraction:
        """The left side at these exact values."""
        value = self.constant
        for terms, values in ((self.inputs, x), (self.outputs, y)):
            for place, factor in terms:
                value += factor * values[place]
        return value

    def holds(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> bool:
        """Is it true at these exact values?"""
        value = self.value(x, y)
        return value > 0 if self.strict else value >= 0

    def decided(self, x: Sequence[Fraction], lower: Sequence[Fraction], upper: Sequence[Fraction]) -> bool | None:
        """Is it true at x for all outputs between these? False: for none of them; None: neither is known."""
        fixed = self.constant + sum(factor * x[place] for place, factor in self.inputs)
        ends = [(factor * lower[place], factor * upper[place]) for place, factor in self.outputs]
        least, most = (fixed + sum(choose(pair) for pair in ends) for choose in (min, max))
        if least > 0 or (least == 0 and not self.strict):
            return True
        return False if most < 0 or (most == 0 and self.strict) else None


@dataclass(frozen=True)
class _Parts:
    parts: tuple[Formula, ...]
    reads_inputs: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reads_inputs", any(part.reads_inputs for part in self.parts))


class And(_Parts):
    """All of the parts; true without any."""

    def holds(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> bool:
        return all(part.holds(x, y) for part in self.parts)

    def decided(self, x: Sequence[Fraction], lower: Sequence[Fraction], upper: Sequence[Fraction]) -> bool | None:
        """As of a row."""
        found = [part.decided(x, lower, upper) for part in self.parts]
        return False if False in found else None if None in found else True


class Or(_Parts):
    """One of the parts; false without any."""

    def holds(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> bool:
        return any(part.holds(x, y) for part in self.parts)

    def decided(self, x: Sequence[Fraction], lower: Sequence[Fraction], upper: Sequence[Fraction]) -> bool | None:
        """As of a row."""
        found = [part.decided(x, lower, upper) for part in self.parts]
        return True if True in found else None if None in found else False


Formula = LinearRow | And | Or


def renumbered(formula: Formula, inputs: Sequence[int], outputs: Sequence[int]) -> Formula:
    """The same formula of vectors in which entry i stands at inputs[i], or outputs[i]."""
    if isinstance(formula, LinearRow):
        given, gives = (
            tuple(sorted((places[place], factor) for place, factor in terms))
            for terms, places in ((formula.inputs, inputs), (formula.outputs, outputs))
        )
        return replace(formula, inputs=given, outputs=gives)
    return type(formula)(tuple(renumbered(part, inputs, outputs) for part in formula.parts))


@dataclass(frozen=True, eq=False)
class Property:
    """A formula over so many inputs and outputs; `source` names where it comes from, in one line."""

    inputs: int
    outputs: int
    formula: Formula
    source: str = "the property"

    def satisfied(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> bool:
        """Is the formula true at exact x (inputs,) and y (outputs,)? No tolerance."""
        return self.formula.holds(x, y)

    def decided(self, x: Sequence[Fraction], lower: Sequence[Fraction], upper: Sequence[Fraction]) -> bool | None:
        """Is the formula true at exact x for all outputs between lower and upper? False: for none; None: unknown."""
        return self.formula.decided(x, lower, upper)


def from_arrays(lo: Array, hi: Array, disjuncts: Sequence[Halfspaces]) -> Property:
    """lo ≤ x ≤ hi, and y in one of the half-spaces; lo, hi (n,), infinite ends allowed.

    Raises InputError: no half-spaces, some over another number of outputs than the others, or a number that is none.
    """
    if not disjuncts:
        raise InputError("the property has no half-spaces")
    sizes = sorted({goal.matrix.shape[1] if goal.matrix.ndim == 2 else -1 for goal in disjuncts})
    if sizes[0] < 0 or len(sizes) > 1:
        raise InputError("the property's matrices must have shape (rows, outputs), all with the same outputs")
    for goal in disjuncts:
        if goal.offset.shape != goal.matrix.shape[:1]:
            raise InputError(
                f"half-spaces have one offset a row: {goal.offset.size} offsets for {len(goal.matrix)} rows"
            )
        if not (np.all(np.isfinite(goal.matrix)) and np.all(np.isfinite(goal.offset))):
            raise InputError("the property holds NaN or infinity")
    ends: list[Formula] = []
    for place, (low, high) in enumerate(zip(lo.tolist(), hi.tolist(), strict=True)):
        if np.isfinite(low):
            ends.append(LinearRow(((place, Fraction(1)),), (), -Fraction(low)))
        if np.isfinite(high):
            ends.append(LinearRow(((place, Fraction(-1)),), (), Fraction(high)))
    goals = Or(tuple(And(tuple(_rows(goal))) for goal in disjuncts))
    return Property(lo.size, sizes[0], And((*ends, goals)))


def _rows(goal: Halfspaces) -> list[LinearRow]:
    pairs = zip(goal.matrix.tolist(), goal.offset.tolist(), strict=True)
    return [
        LinearRow((), tuple((place, Fraction(factor)) for place, factor in enumerate(row) if factor), Fraction(offset))
        for row, offset in pairs
    ]
