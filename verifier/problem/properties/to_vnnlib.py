"""A property → its text in VNN-LIB 1.0, in exact numbers: what certificates are about where there is no such text."""

from __future__ import annotations

from fractions import Fraction

from verifier.problem.properties.formula import Formula, LinearRow, Or, Property


def to_vnnlib(prop: Property) -> str:
    """Declarations, and one assertion a line."""
    lines = [
        f"(declare-const {kind}_{n} Real)"
        for kind, size in (("X", prop.inputs), ("Y", prop.outputs))
        for n in range(size)
    ]
    parts = (prop.formula,) if isinstance(prop.formula, LinearRow | Or) else prop.formula.parts
    return "\n".join([*lines, *(f"(assert {_formula(part)})" for part in parts), ""])


def _formula(formula: Formula) -> str:
    match formula:
        case LinearRow():
            sums = [_term(f"X_{place}", factor) for place, factor in formula.inputs]
            sums += [_term(f"Y_{place}", factor) for place, factor in formula.outputs]
            left = "0" if not sums else sums[0] if len(sums) == 1 else f"(+ {' '.join(sums)})"
            return f"({'>' if formula.strict else '>='} {left} {_number(-formula.constant)})"
        case Or(parts):
            return f"(or {' '.join(map(_formula, parts))})" if parts else "(>= 0 1)"
        case both:
            return f"(and {' '.join(map(_formula, both.parts))})" if both.parts else "(>= 0 0)"


def _term(name: str, factor: Fraction) -> str:
    return name if factor == 1 else f"(* {_number(factor)} {name})"


def _number(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"(/ {value.numerator} {value.denominator})"
