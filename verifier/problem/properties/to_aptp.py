"""A property's case and a split tree of ReLUs, or of boxes → the text of a proof in APTP, as `from_aptp` reads it.

Rows are written as the format's own checker takes them where they are such: an input or output against a number, or
one output against another. All numbers are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from verifier.problem.properties.linear import CONSTANT, Linear
from verifier.problem.properties.pattern_tree import Path

MOST_DIGITS = 40
"""Behind the point of a decimal: more than any box has that people write; the rest are quotients."""


def relus_to_aptp(inputs: int, outputs: int, rows: Sequence[Linear], leaves: Sequence[Path]) -> str:
    """The proof that nothing satisfies all rows Σ factor · variable ≥ 0, by a tree of ReLUs with these leaves."""
    neurons = 1 + max((neuron for path in leaves for neuron, _ in path), default=0)
    signs = {False: "<", True: ">="}
    told = [" ".join(f"({signs[active]} N_{neuron + 1} 0)" for neuron, active in path) for path in leaves]
    declared = [f"(declare-pwl N_{number + 1} ReLU)" for number in range(neurons)]
    return _text(inputs, outputs, declared, rows, [f"(and {leaf})" if leaf else "(and)" for leaf in told])


def boxes_to_aptp(
    inputs: int, outputs: int, rows: Sequence[Linear], leaves: Sequence[Sequence[tuple[Fraction, Fraction]]]
) -> str:
    """The same by a tree of boxes, of which each leaf gives both ends of every input."""
    rest = [row for row in rows if not of_one_input(row)]
    told = [
        " ".join(f"(>= X_{place} {_number(lo)}) (<= X_{place} {_number(hi)})" for place, (lo, hi) in enumerate(box))
        for box in leaves
    ]
    return _text(inputs, outputs, [], rest, [f"(and {leaf})" for leaf in told])


def _text(inputs: int, outputs: int, declared: Sequence[str], rows: Iterable[Linear], leaves: Sequence[str]) -> str:
    sizes = (("X", inputs), ("Y", outputs))
    variables = [f"(declare-const {kind}_{number} Real)" for kind, size in sizes for number in range(size)]
    asserted = [f"(assert {_row(row)})" for row in rows]
    return "\n".join([*variables, *declared, *asserted, "(assert (or", *(f"    {leaf}" for leaf in leaves), "))", ""])


def of_one_input(row: Linear) -> bool:
    """Is the row an end of the box?"""
    names = row.keys() - {CONSTANT}
    return len(names) == 1 and next(iter(names))[0] == "X"


def _row(row: Linear) -> str:
    """Σ factor · variable ≥ 0 as a comparison."""
    constant = row.get(CONSTANT, Fraction(0))
    factors = sorted((name, factor) for name, factor in row.items() if name != CONSTANT and factor)
    if len(factors) == 1:
        ((kind, place), factor) = factors[0]
        return f"({'>=' if factor > 0 else '<='} {kind}_{place} {_number(-constant / factor)})"
    if not constant and len(factors) == 2 and sum(factor for _, factor in factors) == 0:
        (least, *_), (most, *_) = sorted(factors, key=lambda pair: pair[1])
        return f"(<= {least[0]}_{least[1]} {most[0]}_{most[1]})"
    terms = [f"(* {_number(factor)} {kind}_{place})" for (kind, place), factor in factors]
    left = "0" if not terms else terms[0] if len(terms) == 1 else f"(+ {' '.join(terms)})"
    return f"(>= {left} {_number(-constant)})"


def _number(value: Fraction) -> str:
    """A decimal where that is exact and short, else a quotient."""
    for digits in range(MOST_DIGITS + 1):
        if 10**digits % value.denominator == 0:
            whole = abs(value.numerator) * (10**digits // value.denominator)
            sign, text = "-" if value < 0 else "", str(whole).zfill(digits + 1)
            return f"{sign}{text[: len(text) - digits]}.{text[len(text) - digits :] or '0'}"
    return f"(/ {value.numerator} {value.denominator})"
