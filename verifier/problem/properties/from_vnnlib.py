"""VNN-LIB 1.0 → a property: declarations of X_i and Y_j, and assertions about them, in exact numbers.

An assertion is a comparison of linear terms (<=, >=, <, >, =; chained ones too) under and, or, not and =>, in any
nesting. Decimals are taken as the rationals that they are written as. Whatever else stands in a file is refused by
name. (VNN-LIB 1.0: Barrett, Demarchi, Tacchella et al. 2023, vnnlib.org; a subset of SMT-LIB's QF_LRA.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from encoders.errors import InputError
from encoders.files.packed import plain
from encoders.files.regular_file import regular_size, size_text
from verifier.problem.properties.formula import And, Formula, Or, Property
from verifier.problem.properties.linear import (
    COMPARISONS,
    CONSTANT,
    OPERATIONS,
    TOO_LONG,
    Linear,
    NotLinearError,
    comparison,
    short,
)
from verifier.problem.properties.s_expressions import Atom, Expression, Nested, Text, shown

LARGEST_TEXT = 2**26
"""Bytes of a file, unpacked: the largest of VNN-COMP's has 4 MB. A .gz of 64 kB may unpack to 64 MB."""

MOST_VARIABLES = 2**20
"""Of either kind: one more than any image has pixels, but X_4000000000 does not fill the memory."""

NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
VARIABLE = re.compile(r"([XY])_(0|[1-9]\d{0,6})", re.ASCII)

SILENT = frozenset({"set-logic", "set-info", "set-option", "check-sat", "get-model", "exit"})
"""Commands of SMT-LIB that say nothing about the property."""

CONNECTIVES = ("and", "or", "not", "=>")


def read_vnnlib(path: Path, look: Callable[[], None] = lambda: None) -> Property:
    """The property of a file, which may be packed by gzip. Raises InputError, one line with line and column.

    look: called between two commands of the file; what it raises ends the reading.
    """
    return property_of(read_text(path), look)


def read_text(path: Path) -> Text:
    """A file's text, unpacked where it is packed by gzip. Raises InputError, one line."""
    regular_size(path, LARGEST_TEXT)
    try:
        with path.open("rb") as stream:
            content = plain(stream.read(LARGEST_TEXT + 1), LARGEST_TEXT)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > LARGEST_TEXT:
        raise InputError(f"{path} unpacks to more than {size_text(LARGEST_TEXT)}")
    try:
        return Text(str(path), content.decode())
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text: byte {error.start} is no UTF-8") from None


def property_of(text: Text, look: Callable[[], None] = lambda: None) -> Property:
    """The property that a text of VNN-LIB 1.0 describes. Raises InputError."""
    return property_of_commands(text, text.groups(look), look)


def property_of_commands(text: Text, commands: Iterable[Nested], look: Callable[[], None] = lambda: None) -> Property:
    """The property that these commands of the text describe. Raises InputError."""
    reader = _Reader(text)
    assertions: list[Formula] = []
    for command in commands:
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
            raise text.error(command.at, "this is VNN-LIB 2, whose networks `verifier verify` takes by name")
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
        if not self._declared:
            raise InputError(f"{self._text.name} declares no variables: (declare-const X_0 Real) and such are expected")
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
                rows.append(comparison(name, left, right, wanted))
            except NotLinearError as error:
                raise self._text.error(whole.at, str(error)) from None
        if len(rows) == 1:
            return rows[0]
        return And(tuple(rows)) if wanted else Or(tuple(rows))

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
        except NotLinearError as error:
            raise self._text.error(expression.at, str(error)) from None
        return found

    def _atom(self, atom: Atom) -> Linear:
        variable = self._declared.get(atom.text)
        if variable is not None:
            return {variable: Fraction(1)}
        if NUMBER.fullmatch(atom.text):
            try:
                return {CONSTANT: short(Fraction(atom.text))}
            except (ValueError, NotLinearError):  # ValueError: more digits than Python turns into a number
                raise self._text.error(atom.at, TOO_LONG) from None
        why = "is not declared" if VARIABLE.fullmatch(atom.text) else "is neither a number nor a declared variable"
        raise self._text.error(atom.at, f"{shown(atom)} {why}")
