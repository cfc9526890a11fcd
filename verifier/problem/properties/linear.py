"""Linear terms in exact numbers, as readers of every syntax build them: coefficients by variable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from verifier.problem.properties.formula import And, Formula, LinearRow, Or, Terms

LONGEST = 2**14
"""Bits of a numerator or denominator: 4,900 decimal digits, far beyond float64's 1,075 bits below the point."""

TOO_LONG = "a number of so many digits is not read"

Linear = dict[tuple[str, int], Fraction]
"""Coefficients by variable, ("X", i) or ("Y", j); the constant under ("", 0)."""

CONSTANT = ("", 0)

COMPARISONS = ("<=", ">=", "<", ">", "=")


def comparison(name: str, left: Linear, right: Linear, wanted: bool = True) -> Formula:
    """left name right, or its negation where it is not `wanted`. Raises NotLinearError for too long numbers."""
    if name == "=":
        pair = tuple(_row(minus(ends), strict=not wanted) for ends in ([right, left], [left, right]))
        return And(pair) if wanted else Or(pair)
    # not (left ≤ right) is left > right, and so on.
    upwards = (name in ("<=", "<")) is wanted
    return _row(minus([right, left] if upwards else [left, right]), strict=(name in ("<", ">")) is wanted)


class NotLinearError(Exception):
    """Why not."""


def added(parts: Sequence[Linear], sign: int = 1) -> Linear:
    """The first part + sign · the others."""
    total = dict(parts[0])
    for part in parts[1:]:
        for key, value in part.items():
            signed = value if sign > 0 else -value
            total[key] = short(total[key] + signed) if key in total else signed
    return total


def minus(parts: Sequence[Linear]) -> Linear:
    """The first part less the others; of one part, its negative."""
    return added(parts, -1) if len(parts) > 1 else {key: -value for key, value in parts[0].items()}


def product(parts: Sequence[Linear]) -> Linear:
    """At most one part reads variables. Raises NotLinearError where more do."""
    total: Linear = {CONSTANT: Fraction(1)}
    for part in parts:
        number, other = _number(part), total
        if number is None:
            number, other = _number(total), part
        if number is None:
            raise NotLinearError("a product of two variables is not linear")
        total = {key: short(number * value) for key, value in other.items()}
    return total


def quotient(parts: Sequence[Linear]) -> Linear:
    """The first part over the others, which are numbers. Raises NotLinearError where they are not, or 0."""
    if len(parts) < 2:
        raise NotLinearError("'/' takes two terms")
    total = parts[0]
    for part in parts[1:]:
        number = _number(part)
        if not number:
            raise NotLinearError("a quotient by 0" if number is not None else "a quotient by a variable is not linear")
        total = {key: short(value / number) for key, value in total.items()}
    return total


def short(number: Fraction) -> Fraction:
    """The number. Raises NotLinearError where it has grown too long."""
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > LONGEST:
        raise NotLinearError(TOO_LONG)
    return number


def _number(form: Linear) -> Fraction | None:
    """The value of a form that reads no variable; None of another."""
    constant = all(key == CONSTANT or not value for key, value in form.items())
    return form.get(CONSTANT, Fraction(0)) if constant else None


OPERATIONS: dict[str, Callable[[Sequence[Linear]], Linear]] = {
    "+": added,
    "-": minus,
    "*": product,
    "/": quotient,
}
"""What a term that is no atom makes of its parts."""


def _row(form: Linear, *, strict: bool) -> LinearRow:
    def terms(letter: str) -> Terms:
        return tuple(sorted((number, value) for (kind, number), value in form.items() if kind == letter and value))

    return LinearRow(terms("X"), terms("Y"), form.get(CONSTANT, Fraction(0)), strict)
