"""Lists and atoms with their places; brackets, quotes and comments as SMT-LIB has them."""

from __future__ import annotations

import pytest

from encoders.errors import InputError
from verifier.problem.properties.s_expressions import Atom, Nested, Text


def test_lists_come_with_their_places() -> None:
    first, second = Text("t", '(a (b) ) ; ( not read\n (|a b| "c;)")').groups()
    assert first == Nested((Atom("a", 1), Nested((Atom("b", 4),), 3)), 0)
    assert [item.text for item in second.items if isinstance(item, Atom)] == ["|a b|", '"c;)"']


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_either_line_breaking_character_ends_a_comment(end: str) -> None:
    (found,) = Text("t", f"(a ; (b{end} c)").groups()
    assert [item.text for item in found.items if isinstance(item, Atom)] == ["a", "c"]


def test_a_list_comes_before_the_text_is_read_to_its_end() -> None:
    groups = Text("t", "(a) (b").groups()
    assert next(groups).items == (Atom("a", 1),)
    with pytest.raises(InputError, match="t: line 1, column 5: this '\\(' is not closed"):
        next(groups)
