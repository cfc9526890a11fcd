"""VNN-LIB 1.0 as it is read: exact, against the plainest evaluation of the text, and hostile files in one line."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.mnist import shared
from encoders.errors import InputError
from tests.verifier.problem.properties.formulas import declarations, meant, nested, random_formula
from verifier.problem.properties.from_vnnlib import LARGEST_TEXT, property_of, read_vnnlib
from verifier.problem.properties.s_expressions import DEEPEST, Text

DATA = shared("vnncomp")
NAMES = ("X_0", "X_1", "Y_0", "Y_1")


@pytest.mark.parametrize("seed", range(60))
def test_a_formula_means_what_its_text_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = random_formula(rng, NAMES, 4)
    prop = property_of(Text("p", f"{declarations(2, 2)}; a comment (\n(assert {text})"))
    (tree,) = nested(text)
    for _ in range(40):
        # Small numbers of few kinds, so that equations hold now and then.
        values = [Fraction(int(rng.integers(-4, 5)), int(rng.choice([1, 2, 4]))) for _ in NAMES]
        assert prop.satisfied(values[:2], values[2:]) is meant(tree, dict(zip(NAMES, values, strict=True)))


def test_decimals_are_the_numbers_that_they_are_written_as() -> None:
    prop = property_of(Text("p", declarations(1, 1) + "(assert (>= X_0 0.1)) (assert (<= (* 3 Y_0) -2.5e-3))"))
    tenth, third = Fraction(1, 10), Fraction(-25, 30000)
    assert prop.satisfied([tenth], [third])
    assert not prop.satisfied([tenth - Fraction(1, 10**40)], [third])
    assert not prop.satisfied([tenth], [third + Fraction(1, 10**40)])
    assert prop.satisfied([Fraction(0.1)], [third])  # 0.1 in float64 is above 1/10


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("(assert (<= X_9 1))", "line 3, column 13: 'X_9' is not declared"),
        ("(assert (<= (* X_0 Y_0) 1))", "line 3, column 13: a product of two variables is not linear"),
        ("(assert (<= (/ X_0 Y_0) 1))", "column 13: a quotient by a variable is not linear"),
        ("(assert (<= (/ X_0 (- 1 1)) 1))", "column 13: a quotient by 0"),
        ("(assert (<= (sin X_0) 1))", "column 13: 'sin' is no linear term"),
        ("(assert (xor (<= X_0 1) (<= Y_0 1)))", "column 9: 'xor' cannot be read as a formula"),
        ("(assert (<= X_0))", "column 9: '<=' compares two terms or more, not 1"),
        ("(assert (not))", "'not' does not take 0 formulas"),
        ("(assert X_0)", "'X_0' is no formula"),
        ("(assert)", "assert takes one formula, not 0"),
        ("(assert (<= X_0 1)", "column 1: this '(' is not closed"),
        ("(assert (<= X_0 1)))", "column 20: ')' closes nothing"),
        ("assert", "'assert' stands in no list"),
        ('(assert (<= X_0 "1))', 'column 17: " begins something that does not end'),
        ("(assert (<= X_0 0x10))", "'0x10' is neither a number nor a declared variable"),
        ("(assert (<= X_0 1e99999))", "'1e99999' is neither a number"),
        ("(assert (<= X_0 1e9999))", "a number of so many digits is not read"),
        (f"(assert (<= X_0 1{'0' * 9999}))", "a number of so many digits is not read"),
        (f"(assert (<= X_0 (* {'1e999 ' * 9})))", "a number of so many digits is not read"),
        (f"(assert (<= X_0 (+ {' '.join(f'(/ 1 {n})' for n in range(10**6, 10**6 + 2000))})))", "so many digits"),
        ("(declare-const X_0 Real)", "X_0 is declared twice"),
        ("(declare-const X_01 Real)", "'X_01' is no variable"),
        ("(declare-const Z_0 Real)", "'Z_0' is no variable: inputs are X_0"),
        ("(declare-const X_9999999 Real)", "'X_9999999' is no variable"),
        ("(declare-const X_1 Int)", "a declaration is (declare-const X_0 Real)"),
        ("(declare-const X_2 Real)", "X_1 is not declared"),
        ("(declare-network N)", "'declare-network' is no command of VNN-LIB 1.0"),
        ("(vnnlib-version <2.0>)", "this is VNN-LIB 2"),
        (f"{'(' * (DEEPEST + 1)}", f"more than {DEEPEST} lists within each other"),
        ("()", "a command begins with its name"),
        ("(assert ())", "a list begins with the name of what it applies"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_its_place(text: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        property_of(Text("p.vnnlib", declarations(1, 1) + text))
    assert told in str(error.value)
    assert str(error.value).startswith("p.vnnlib: ")
    assert "\n" not in str(error.value)


PIECES = (
    *("(", ")", "assert", "and", "or", "not", "=>", "<=", ">", "=", "+", "-", "*", "/", "X_0", "Y_0", "X_1", "()"),
    *("1", "0.5", "1e9", '"', "|", ";", "\n", "declare-const", "Real", "true", "\x00", "é"),
)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_stands_in_a_file_is_a_property_or_one_line(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(300):
        text = declarations(1, 1) + f"(assert {random_formula(rng, ('X_0', 'Y_0'), 3)})"
        place, length = int(rng.integers(len(text))), int(rng.integers(0, 8))
        text = text[:place] + " ".join(rng.choice(PIECES, int(rng.integers(0, 4)))) + text[place + length :]
        with suppress(InputError):
            property_of(Text("p", text)).satisfied([Fraction(1)], [Fraction(1)])


def test_products_within_each_other_are_read_once() -> None:
    deep = "X_0"
    for _ in range(DEEPEST - 4):
        deep = f"(* 1 {deep})"
    assert property_of(Text("p", declarations(1, 1) + f"(assert (<= {deep} 1))")).satisfied([Fraction(1)], [])


def test_a_file_may_be_packed(tmp_path: Path) -> None:
    text = declarations(1, 1) + "(assert (<= Y_0 X_0))"
    for name, content in (("a.vnnlib", text.encode()), ("a.vnnlib.gz", gzip.compress(text.encode()))):
        (tmp_path / name).write_bytes(content)
        assert read_vnnlib(tmp_path / name).satisfied([Fraction(1)], [Fraction(1)])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(lambda: gzip.compress(b" " * (LARGEST_TEXT + 1)), "unpacks to more than 64 MiB", id="bomb"),
        pytest.param(lambda: gzip.compress(b"(assert true)" * 99)[:-9], "cannot be read", id="cut"),
        pytest.param(lambda: b"\x1f\x8bnothing", "cannot be read", id="no gzip"),
        pytest.param(lambda: b"\xff\xfe(assert", "byte 0 is no UTF-8", id="no text"),
        pytest.param(lambda: b"; none", "declares no variables", id="empty"),
    ],
)
def test_hostile_files_are_one_line(tmp_path: Path, content: Callable[[], bytes], told: str) -> None:
    (tmp_path / "p.vnnlib").write_bytes(content())
    with pytest.raises(InputError, match=told):
        read_vnnlib(tmp_path / "p.vnnlib")


@pytest.mark.skipif(DATA is None, reason="the VNN-COMP files are not in ../shared/data/vnncomp")
@pytest.mark.parametrize("name", [] if DATA is None else sorted(path.name for path in DATA.iterdir()))
def test_the_competitions_files_are_read(name: str) -> None:
    """Of benchmarks with large inputs the largest and the smallest file: all would take a minute."""
    assert DATA is not None
    files = sorted((DATA / name / "vnnlib").rglob("*.vnnlib*"), key=lambda path: path.stat().st_size)
    for file in files if sum(path.stat().st_size for path in files) < 2**19 else [files[0], files[-1]]:
        prop = read_vnnlib(file)
        assert prop.inputs > 0
        assert prop.outputs > 0
