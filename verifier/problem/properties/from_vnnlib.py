"""VNN-LIB 1.0 → a property: declarations of X_i and Y_j, and assertions about them, in exact numbers.

An assertion is a comparison of linear terms (<=, >=, <, >, =; chained ones too) under and, or, not and =>, in any
nesting. Decimals are taken as the rationals that they are written as. Whatever else stands in a file is refused by
name. (VNN-LIB 1.0: Barrett, Demarchi, Tacchella et al. 2023, vnnlib.org; a subset of SMT-LIB's QF_LRA.)
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from encoders.errors import InputError
from encoders.files.regular_file import regular_size, size_text
from verifier.problem.properties.formula import And, Formula, LinearRow, Or, Property, Terms
from verifier.problem.properties.s_expressions import Atom, Expression, Nested, Text, shown

LARGEST_TEXT = 2**26
"""Bytes of a file, unpacked: the largest of VNN-COMP's has 4 MB. A .gz of 64 kB may unpack to 64 MB."""

MOST_VARIABLES = 2**20
"""Of either kind: one more than any image has pixels, but X_4000000000 does not fill the memory."""

LONGEST = 2**14
"""Bits of a numerator or denominator: 4,900 decimal digits, far beyond float64's 1,075 bits below the point."""

TOO_LONG = "a number of so many digits is not read"

NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
VARIABLE = re.compile(r"([XY])_(0|[1-9]\d{0,6})", re.ASCII)
GZIP = b"\x1f\x8b"

SILENT = frozenset({"set-logic", "set-info", "set-option", "check-sat", "get-model", "exit"})
"""Commands of SMT-LIB that say nothing about the property."""

COMPARISONS = ("<=", ">=", "<", ">", "=")
CONNECTIVES = ("and", "or", "not", "=>")

Linear = dict[tuple[str, int], Fraction]
"""Coefficients by variable; the constant under ("", 0)."""

CONSTANT = ("", 0)


def read_vnnlib(path: Path, look: Callable[[], None] = lambda: None) -> Property:
    """The property of a file, which may be packed by gzip. Raises InputError, one line with line and column.

    look: called between two commands of the file; what it raises ends the reading.
    """
    return property_of(Text(str(path), _content(path)), look)


def _content(path: Path) -> str:
    regular_size(path, LARGEST_TEXT)
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == GZIP
        with gzip.open(path) if packed else path.open("rb") as stream:
            content = stream.read(LARGEST_TEXT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > LARGEST_TEXT:
        raise InputError(f"{path} unpacks to more than {size_text(LARGEST_TEXT)}")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text: byte {error.start} is no UTF-8") from None


def property_of(text: Text, look: Callable[[], None] = lambda: None) -> Property:
    """The property that a text of VNN-LIB 1.0 describes. Raises InputError."""
    reader = _Reader(text)
    assertions: list[Formula] = []
    for command in text.groups():
        look()
        if not command.items or not isinstance(command.items[0], Atom):
            raise text.error(command.at, "a command begins with its name, such as declare-const or assert")
        name = command.items[0].text
        if name in ("declare-const", "declare-fun"):
            reader.declare(command)
        elif name == "assert":
            if len(command.items) != 2:
                raise text.error(command.at, f"assert takes one formula, not {len(command.items) - 1}")
            assertions.append(reader.formula(command.items[1]))
        elif name == "vnnlib-version":
            raise text.error(command.at, "this is VNN-LIB 2; VNN-LIB 1.0 is read")
        elif name not in SILENT:
            raise text.error(
                command.at, f"{shown(command.items[0])} is no command of VNN-LIB 1.0: declare-const or assert is"
            )
    return Property(reader.count("X"), reader.count("Y"), And(tuple(assertions)), text.name)


class _Reader:
    """Knows the variables that have been declared."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._declared: dict[str, tuple[str, int]] = {}

    def declare(self, command: Nested) -> None:
        """(declare-const NAME Real), or (declare-fun NAME () Real)."""
        rest = command.items[1:]
        function = isinstance(command.items[0], Atom) and command.items[0].text == "declare-fun"
        if function and len(rest) == 3 and isinstance(rest[1], Nested) and not rest[1].items:
            rest = (rest[0], rest[2])
        if len(rest) != 2 or not all(isinstance(part, Atom) for part in rest) or rest[1] != Atom("Real", rest[1].at):
            raise self._text.error(command.at, "a declaration is (declare-const X_0 Real)")
        assert isinstance(rest[0], Atom)
        name = rest[0].text
        found = VARIABLE.fullmatch(name)
        if found is None or int(found[2]) >= MOST_VARIABLES:
            raise self._text.error(
                rest[0].at, f"{shown(rest[0])} is no variable: inputs are X_0, X_1, …, outputs Y_0, Y_1, …"
            )
        if name in self._declared:
            raise self._text.error(rest[0].at, f"{name} is declared twice")
        self._declared[name] = found[1], int(found[2])

    def count(self, kind: str) -> int:
        """How many variables of a kind there are. Raises InputError where a number is missing, or all are."""
        numbers = {number for letter, number in self._declared.values() if letter == kind}
        for number in range(max(numbers, default=0) + 1):
            if number not in numbers:
                raise InputError(f"{self._text.name}: {kind}_{number} is not declared")
        return len(numbers)

    def formula(self, expression: Expression, wanted: bool = True) -> Formula:
        """The expression, or its negation where it is not `wanted`, without any "not" inside."""
        if isinstance(expression, Atom):
            if expression.text in ("true", "false"):
                return And(()) if (expression.text == "true") is wanted else Or(())
            raise self._text.error(expression.at, f"{shown(expression)} is no formula")
        name, parts = self._applied(expression)
        if name in COMPARISONS:
            return self._comparison(name, parts, expression, wanted)
        if name == "not" and len(parts) == 1:
            return self.formula(parts[0], not wanted)
        if name == "=>" and len(parts) >= 2:
            *given, last = parts
            met = [*(self.formula(part, not wanted) for part in given), self.formula(last, wanted)]
            return Or(tuple(met)) if wanted else And(tuple(met))
        if name in ("and", "or"):
            met = [self.formula(part, wanted) for part in parts]
            return And(tuple(met)) if (name == "and") is wanted else Or(tuple(met))
        known = ", ".join((*CONNECTIVES, *COMPARISONS))
        if name in CONNECTIVES:
            raise self._text.error(expression.at, f"'{name}' does not take {len(parts)} formulas")
        raise self._text.error(expression.at, f"'{name}' cannot be read as a formula; what can: {known}")

    def _applied(self, expression: Nested) -> tuple[str, Sequence[Expression]]:
        if not expression.items or not isinstance(expression.items[0], Atom):
            raise self._text.error(expression.at, "a list begins with the name of what it applies")
        return expression.items[0].text, expression.items[1:]

    def _comparison(self, name: str, parts: Sequence[Expression], whole: Nested, wanted: bool) -> Formula:
        if len(parts) < 2:
            raise self._text.error(whole.at, f"'{name}' compares two terms or more, not {len(parts)}")
        terms = [self._linear(part) for part in parts]
        rows: list[Formula] = []
        for left, right in pairwise(terms):
            try:
                rows.append(self._pair(name, left, right, wanted))
            except _NotLinearError as error:
                raise self._text.error(whole.at, str(error)) from None
        if len(rows) == 1:
            return rows[0]
        return And(tuple(rows)) if wanted else Or(tuple(rows))

    @staticmethod
    def _pair(name: str, left: Linear, right: Linear, wanted: bool) -> Formula:
        if name == "=":
            pair = tuple(_row(_minus(ends), strict=not wanted) for ends in ([right, left], [left, right]))
            return And(pair) if wanted else Or(pair)
        # not (left ≤ right) is left > right, and so on.
        upwards = (name in ("<=", "<")) is wanted
        return _row(_minus([right, left] if upwards else [left, right]), strict=(name in ("<", ">")) is wanted)

    def _linear(self, expression: Expression) -> Linear:
        """The term as a linear form, or the complaint that it is none."""
        if isinstance(expression, Atom):
            return self._atom(expression)
        name, parts = self._applied(expression)
        if name not in OPERATIONS:
            raise self._text.error(
                expression.at, f"'{name}' is no linear term; sums (+, -), products and quotients by numbers are"
            )
        if not parts:
            raise self._text.error(expression.at, f"'{name}' takes a term")
        try:
            found = OPERATIONS[name]([self._linear(part) for part in parts])
        except _NotLinearError as error:
            raise self._text.error(expression.at, str(error)) from None
        return found

    def _atom(self, atom: Atom) -> Linear:
        variable = self._declared.get(atom.text)
        if variable is not None:
            return {variable: Fraction(1)}
        if NUMBER.fullmatch(atom.text):
            try:
                return {CONSTANT: _short(Fraction(atom.text))}
            except (ValueError, _NotLinearError):  # ValueError: more digits than Python turns into a number
                raise self._text.error(atom.at, TOO_LONG) from None
        why = "is not declared" if VARIABLE.fullmatch(atom.text) else "is neither a number nor a declared variable"
        raise self._text.error(atom.at, f"{shown(atom)} {why}")


class _NotLinearError(Exception):
    """Why not."""


def _sum(parts: Sequence[Linear], sign: int = 1) -> Linear:
    """The first part + sign · the others."""
    total = dict(parts[0])
    for part in parts[1:]:
        for key, value in part.items():
            added = value if sign > 0 else -value
            total[key] = _short(total[key] + added) if key in total else added
    return total


def _minus(parts: Sequence[Linear]) -> Linear:
    return _sum(parts, -1) if len(parts) > 1 else {key: -value for key, value in parts[0].items()}


def _product(parts: Sequence[Linear]) -> Linear:
    total: Linear = {CONSTANT: Fraction(1)}
    for part in parts:
        number, other = _number(part), total
        if number is None:
            number, other = _number(total), part
        if number is None:
            raise _NotLinearError("a product of two variables is not linear")
        total = {key: _short(number * value) for key, value in other.items()}
    return total


def _quotient(parts: Sequence[Linear]) -> Linear:
    if len(parts) < 2:
        raise _NotLinearError("'/' takes two terms")
    total = parts[0]
    for part in parts[1:]:
        number = _number(part)
        if not number:
            raise _NotLinearError("a quotient by 0" if number is not None else "a quotient by a variable is not linear")
        total = {key: _short(value / number) for key, value in total.items()}
    return total


def _short(number: Fraction) -> Fraction:
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > LONGEST:
        raise _NotLinearError(TOO_LONG)
    return number


def _number(form: Linear) -> Fraction | None:
    """The value of a form that reads no variable; None of another."""
    constant = all(key == CONSTANT or not value for key, value in form.items())
    return form.get(CONSTANT, Fraction(0)) if constant else None


OPERATIONS: dict[str, Callable[[Sequence[Linear]], Linear]] = {
    "+": _sum,
    "-": _minus,
    "*": _product,
    "/": _quotient,
}
"""What a term that is no atom makes of its parts."""


def _row(form: Linear, *, strict: bool) -> LinearRow:
    def terms(letter: str) -> Terms:
        return tuple(sorted((number, value) for (kind, number), value in form.items() if kind == letter and value))

    return LinearRow(terms("X"), terms("Y"), form.get(CONSTANT, Fraction(0)), strict)
