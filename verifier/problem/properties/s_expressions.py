"""S-expressions with their places: atoms and lists, one after the other, from a text that may be hostile."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from encoders.errors import InputError

DEEPEST = 100
"""Lists within lists: formulas of people and of generators have five."""

LOOK_EVERY = 1 << 14
"""Tokens between two looks at the budget: some 20 ms."""

TOKEN = re.compile(r"""[\s]+|;[^\n\r]*|([()])|(\|[^|]*\||"(?:[^"]|"")*"|[^\s();"|]+)|(.)""")
"""Blanks and comments, ended by line feed or carriage return (SMT-LIB 2.6, section 3.1); a bracket; an atom; what
begins none of them, such as a quote that does not end."""


@dataclass(frozen=True, slots=True)
class Atom:
    """A symbol or number as it is written; `at`: where it begins in the text."""

    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Nested:
    """( … )"""

    items: tuple[Expression, ...]
    at: int


Expression = Atom | Nested


@dataclass(frozen=True)
class Text:
    """A text and what it is called in complaints."""

    name: str
    content: str

    def error(self, at: int, why: str) -> InputError:
        """One line that says where in the text."""
        line = self.content.count("\n", 0, at) + 1
        column = at - self.content.rfind("\n", 0, at)
        return InputError(f"{self.name}: line {line}, column {column}: {why}")

    def groups(self, look: Callable[[], None] = lambda: None) -> Iterator[Nested]:
        """The lists of the outermost level. Raises InputError where brackets do not match or go too deep.

        look: called now and then within a list too; what it raises ends the reading.
        """
        open_lists: list[tuple[int, list[Expression]]] = []
        for number, found in enumerate(TOKEN.finditer(self.content)):
            if number % LOOK_EVERY == 0:
                look()
            kind = found.lastindex
            if kind is None:
                continue
            at, text = found.start(), found.group()
            if kind == 3:
                raise self.error(at, f"{text} begins something that does not end")
            if text == "(":
                if len(open_lists) == DEEPEST:
                    raise self.error(at, f"more than {DEEPEST} lists within each other")
                open_lists.append((at, []))
            elif not open_lists:
                raise self.error(at, "')' closes nothing" if text == ")" else f"'{_short(text)}' stands in no list")
            elif text != ")":
                open_lists[-1][1].append(Atom(text, at))
            else:
                begun, items = open_lists.pop()
                done = Nested(tuple(items), begun)
                if open_lists:
                    open_lists[-1][1].append(done)
                else:
                    yield done
        if open_lists:
            raise self.error(open_lists[-1][0], "this '(' is not closed")


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def shown(expression: Expression) -> str:
    """The expression in complaints: an atom as it is written, of a list its first atom."""
    if isinstance(expression, Atom):
        return f"'{_short(expression.text)}'"
    first = expression.items[0] if expression.items else None
    return f"a list that begins with '{_short(first.text)}'" if isinstance(first, Atom) else "a list"
