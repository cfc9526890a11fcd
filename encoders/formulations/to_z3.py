"""Graph and bounds to a Z3 formula of linear rational arithmetic: exact, no tolerance anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from encoders.formulations.to_rows import Column, Ends, Rows
from encoders.lazy import Lazy

if TYPE_CHECKING:
    import z3
else:
    z3 = Lazy("z3")


@dataclass(frozen=True, eq=False)
class Z3Model:
    """The conjunction of `assertions` over the real variables `columns`; `inputs` are the entries of x."""

    assertions: tuple[z3.BoolRef, ...]
    columns: tuple[z3.ArithRef, ...]
    inputs: tuple[Column | Fraction, ...]

    def point(self, model: z3.ModelRef) -> list[Fraction]:
        """The inputs' exact values in a model of the assertions."""
        return [
            _fraction(model.eval(self.columns[entry.number], model_completion=True))
            if isinstance(entry, Column)
            else entry
            for entry in self.inputs
        ]


def to_z3(system: Rows, phases: Mapping[int, bool] | None = None) -> Z3Model:
    """The formula of `system`: its rows and ends, and for each split (h ≤ 0 ∧ a ≤ 0) ∨ (h ≤ a ∧ a ≥ 0).

    `phases` fixes splits by number: True is active, False inactive.
    """
    columns = tuple(z3.Real(f"v{number}") for number in range(len(system.columns)))
    assertions: list[z3.BoolRef] = []
    for column, ends in zip(columns, system.columns, strict=True):
        assertions += _within(column, ends)
    for row in system.rows:
        terms = [_number(coefficient) * columns[number] for number, coefficient in row.terms]
        assertions += _within(z3.Sum(terms) if terms else z3.RealVal(0), row.ends)
    for number, split in enumerate(system.splits):
        a, h = columns[split.a], columns[split.h]
        cases = {True: z3.And(h <= a, a >= 0), False: z3.And(h <= 0, a <= 0)}
        fixed = (phases or {}).get(number)
        assertions.append(z3.Or(*cases.values()) if fixed is None else cases[fixed])
    return Z3Model(tuple(assertions), columns, system.inputs)


def _within(term: z3.ArithRef, ends: Ends) -> list[z3.BoolRef]:
    low, high = ends
    if low is not None and low == high:
        return [term == _number(low)]
    lower = [] if low is None else [term >= _number(low)]
    return lower if high is None else [*lower, term <= _number(high)]


def _number(value: Fraction) -> z3.RatNumRef:
    return z3.RealVal(f"{value.numerator}/{value.denominator}")


def _fraction(value: z3.RatNumRef) -> Fraction:
    return Fraction(value.numerator_as_long(), value.denominator_as_long())
