"""The checker's reader of VNN-LIB 1.0 against the engine's, and texts that it refuses."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from encoders.errors import InputError
from verifier.certificates import checker
from verifier.certificates.checker import InvalidError, PropertyCase, PropertyText, property_cases
from verifier.problem.properties.formula import And, Formula, LinearRow, Or, Property
from verifier.problem.properties.from_vnnlib import property_of
from verifier.problem.properties.s_expressions import Text
from verifier.problem.properties.to_vnnlib import to_vnnlib

NAMES = "(declare-const X_0 Real)\n(declare-fun X_1 () Real) ; two\n(declare-const Y_0 Real)(declare-const Y_1 Real)\n"
BOX = "(assert (>= X_0 -1))(assert (<= X_0 1e0))(assert (and (<= -1.5 X_1) (< X_1 (/ 3 2))))"
READ = (
    "(assert (>= Y_0 Y_1))",
    "(assert (or (and (<= Y_0 Y_1) (>= X_0 0.25)) (and (>= (+ Y_0 (* 2 Y_1) -0.5) 0) (= X_1 0.5))))",
    "(assert (or (<= X_0 -0.5) (>= X_0 .5)))(assert (or (> Y_0 1) (< Y_1 -1) (> (- Y_0) (* X_0 3))))",
    "(assert (>= (- Y_0 Y_1 (/ X_1 4)) +1.25))",
    "(assert (or))",
    "(assert (and))",
)


def closed(formula: Formula) -> Formula:
    """Strict rows as the others."""
    if isinstance(formula, LinearRow):
        return LinearRow(formula.inputs, formula.outputs, formula.constant)
    return type(formula)(tuple(map(closed, formula.parts)))


def cases_of(text: str) -> list[PropertyCase]:
    return property_cases(PropertyText(text.encode()))


def satisfied(cases: list[PropertyCase], x: list[Fraction], y: list[Fraction]) -> bool:
    """Does one of the checker's cases hold there? Its boxes' ends are floats here."""
    values = {**{("X", i): v for i, v in enumerate(x)}, **{("Y", i): v for i, v in enumerate(y)}, ("", 0): Fraction(1)}
    return any(
        all(lo <= v <= hi for lo, v, hi in zip(case.lo.tolist(), x, case.hi.tolist(), strict=True))
        and all(sum(values[key] * factor for key, factor in row.items()) >= 0 for row in case.rows)
        for case in cases
    )


@pytest.mark.parametrize("row", READ)
def test_the_cases_are_the_property(row: str) -> None:
    text = NAMES + BOX + row
    prop = property_of(Text("p", text))
    again = property_of(Text("q", to_vnnlib(prop)))
    cases, cases_again = cases_of(text), cases_of(to_vnnlib(prop))
    halves = [Fraction(k, 2) for k in range(-3, 4)]
    rng, seen = np.random.default_rng(0), set()
    every = [*itertools.product(halves, repeat=4)]
    for place in rng.choice(len(every), 300, replace=False):
        *x, y0, y1 = every[place]
        truth = Property(2, 2, closed(prop.formula)).satisfied(x, [y0, y1])
        assert satisfied(cases, x, [y0, y1]) is truth
        assert satisfied(cases_again, x, [y0, y1]) is truth
        assert again.satisfied(x, [y0, y1]) is prop.satisfied(x, [y0, y1])
        seen.add(truth)
    assert seen == ({False} if row == "(assert (or))" else {True, False})


def test_ends_are_rounded_outwards() -> None:
    (case,) = property_cases(PropertyText(f"{NAMES}{BOX}(assert (>= X_0 0.1))(assert (<= X_1 0.1))".encode()))
    assert Fraction(float(case.lo[0])) <= Fraction(1, 10) < Fraction(float(np.nextafter(case.lo[0], 1)))
    assert Fraction(float(case.hi[1])) >= Fraction(1, 10) > Fraction(float(np.nextafter(case.hi[1], 0)))


REFUSED = {
    "(assert (not (>= Y_0 1)))": "not read here: not",
    "(assert (=> (>= Y_0 1) (>= Y_1 1)))": "not read here",
    "(assert (>= Y_0 1 2))": "not read here",
    "(assert (>= Y_2 1))": "neither a number nor declared",
    "(assert (>= (* Y_0 Y_1) 1))": "not linear",
    "(assert (>= (/ 1 Y_0) 1))": "not linear",
    "(assert (>= (/ Y_0 0) 1))": "divides by zero",
    "(assert (>= Y_0 0x10))": "neither a number",
    "(assert (>= Y_0 nan))": "neither a number",
    "(assert (>= Y_0 1e9999))": "neither a number",
    f"(assert (>= Y_0 {'1' * 1300}))": "cannot be read",
    "(assert (>= Y_0 (* " + " ".join(["1e999"] * 12) + ")))": "too long",
    "(assert (or (>= Y_0 1) ; or\r(>= Y_1 1)\n))": "ends a line otherwise",
    "(assert (or (>= Y_0 1) ; or\u2028(>= Y_1 1)\n))\n": "ends a line otherwise",
    "(assert (>= (/ 1 2 X_0) 1))": "not linear",
    "(assert (>= (/ X_0) 1))": "quotient of one term",
    "(assert (>= Y_0 1": "cut off",
    "(assert (>= Y_0 1)))": "closes a list",
    "assert": "outside lists",
    '(assert "x")': "cannot be read",
    "(assert |x|)": "cannot be read",
    "(assert)": "not read here",
    "(assert true)": "empty formula",
    "()": "not read here",
    "(check-sat)": "not read here",
    "(declare-const X_0 Real)": "or one twice",
    "(declare-const X_3 Real)": "leaves out a variable",
    "(declare-const X_2 Int)": "not read here",
    "(declare-const x Real)": "declares no variable",
    "(" * 200 + ")" * 200: "too many lists within each other",
    "(assert (or " + "(and (or (>= Y_0 1) (>= Y_1 1)) (or (>= Y_0 2) (>= Y_1 2)))" * 2000 + "))": "too many cases",
    "(assert (and " + "(or (>= Y_0 1) (>= Y_1 1))" * 40 + "))": "too many cases",
}


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[:40])
def test_what_two_readers_could_differ_on_is_refused(row: str) -> None:
    with pytest.raises(InvalidError, match=REFUSED[row]):
        property_cases(PropertyText((NAMES + BOX + row).encode()))


def test_lines_may_end_as_windows_writes_them() -> None:
    assert len(property_cases(PropertyText((NAMES + BOX).replace("\n", " ; x\r\n").encode()))) == 1


def test_long_terms_take_time_in_proportion() -> None:
    """Products by 4,000 numbers of a sum of 4,000 variables took two minutes, many cases in many parts gigabytes."""
    many = range(4_000)
    names = "".join(f"(declare-const X_{i} Real)" for i in many) + "(declare-const Y_0 Real)"
    total = "(+ " + " ".join(f"X_{i}" for i in many) + ")"
    term = f"(- (* {total}{' 1' * len(many)})" + "".join(f" X_{i}" for i in many) + ")"
    assert PropertyText(f"{names}(assert (>= Y_0 {term}))".encode()).formula[1][0][1] == {("Y", 0): 1}
    part = "(and " + "(or (>= Y_0 1) (>= Y_0 2))" * 12 + ")"
    with pytest.raises(InvalidError, match="too many cases"):
        property_cases(PropertyText((NAMES + BOX + f"(assert (and {part * 200}))").encode()))


def random_term(rng: np.random.Generator, depth: int) -> str:
    if depth == 0 or rng.random() < 0.3:
        return str(rng.choice(["X_0", "X_1", "Y_0", "Y_1", "1", "-2.5", "+.5", "1e-1", "Y_2", "."]))
    parts = [random_term(rng, depth - 1) for _ in range(rng.integers(1, 4))]
    return f"({rng.choice(['+', '-', '*', '/'])} {' '.join(parts)})"


def random_formula(rng: np.random.Generator, depth: int) -> str:
    if depth == 0:
        return f"({rng.choice(['<=', '>=', '<', '>', '='])} {random_term(rng, 2)} {random_term(rng, 1)})"
    parts = [random_formula(rng, depth - 1) for _ in range(rng.integers(0, 4))]
    return f"({rng.choice(['and', 'or', 'not'], p=[0.45, 0.45, 0.1])} {' '.join(parts)})"


def test_no_random_text_is_read_otherwise_than_by_the_engine() -> None:
    """What the checker reads, the engine reads, and they mean the same."""
    rng, read = np.random.default_rng(1), 0
    points = [([0, 0], [0, 1]), ([1, 1], [-2, 3]), ([-1, 0], [2, -3]), ([0, 1], [1, 0])]
    for _ in range(400):
        text = f"{NAMES}{BOX}(assert {random_formula(rng, int(rng.integers(0, 3)))})"
        try:
            cases = cases_of(text)
        except InvalidError:
            continue
        prop = property_of(Text("p", text))
        whole = Property(2, 2, closed(prop.formula))
        for x, y in points:
            exact = [Fraction(v) for v in x], [Fraction(v) for v in y]
            assert satisfied(cases, *exact) is whole.satisfied(*exact)
        read += 1
    assert read > 50


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(InvalidError, match="no text"):
        PropertyText(b"\xff")
    with pytest.raises((InvalidError, InputError)):
        property_of(Text("p", "(assert"))
    assert isinstance(And(()), And)
    assert isinstance(Or(()), Or)
    assert checker.MOST_CASES > 0
