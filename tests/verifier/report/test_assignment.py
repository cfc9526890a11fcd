"""Assignments as the standard prints them, read back by a reader of our own; numbers without loss."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from verifier.problem.properties.formula import And, Property
from verifier.problem.properties.network_query import DeclaredNetwork, DeclaredTensor, NetworkQuery, TensorKind
from verifier.problem.verdict import Counterexample, Holds, Unknown, Violated
from verifier.report.assignment import decimal_text, query_arrays, query_text, query_word
from verifier.search.property_check import PropertyCheck


def query(dtype: str) -> NetworkQuery:
    tensors = (
        DeclaredTensor("A", TensorKind.INPUT, dtype, (1, 2), "", 0),
        DeclaredTensor("H", TensorKind.HIDDEN, dtype, (2,), "h", 0),
        DeclaredTensor("B", TensorKind.OUTPUT, dtype, (), "", 2),
    )
    return NetworkQuery((DeclaredNetwork("f", tensors),), Property(2, 3, And(()), "q"))


def answer(exact: tuple[Fraction, ...] | None = None) -> PropertyCheck:
    x, y = np.array([0.1, -3], np.float32), np.array([1e-20, 2, 0.5], np.float32)
    witness = Counterexample(x, y, np.array([1e-20, 2.5, 0.25]), exact)
    return PropertyCheck(Violated(x.astype(float)), witness, "", None, 1.0)


def test_float32_assignments_have_the_values_of_onnx_runtime() -> None:
    lines = query_text(answer(), query("float32")).splitlines()
    assert [lines[0], lines[3], lines[6]] == ["A float32 [1,2]", "H float32 [2]", "B float32 []"]
    told = [Fraction(line) for line in (*lines[1:3], *lines[4:6], lines[7])]
    assert told == [Fraction(float(np.float32(number))) for number in (0.1, -3, 1e-20, 2, 0.5)]
    assert "e" not in "".join(lines[1:3])
    arrays = dict(query_arrays(answer(), query("float32")))
    assert {name: (array.shape, array.dtype.name) for name, array in arrays.items()} == {
        "A": ((1, 2), "float32"), "H": ((2,), "float32"), "B": ((), "float32"),
    }  # fmt: skip


def test_real_assignments_are_exact() -> None:
    lines = query_text(answer((Fraction(1, 10), Fraction(-3))), query("real")).splitlines()
    assert lines[:3] == ["A real [1,2]", "0.1", "-3.0"]
    assert [Fraction(lines[5]), Fraction(lines[7])] == [Fraction(5, 2), Fraction(1, 4)]
    assert dict(query_arrays(answer(), query("real")))["A"].dtype == np.float64


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (Fraction(0), "0.0"),
        (Fraction(1000), "1000.0"),
        (Fraction(-7, 200), "-0.035"),
        (Fraction(1, 3), "0." + "3" * 50),
        (Fraction(1, 2**149), str(5**149).rjust(149, "0").join(["0.", ""])),
    ],
)
def test_decimals(number: Fraction, told: str) -> None:
    assert decimal_text(number) == told


def test_whole_numbers_have_no_point() -> None:
    tensors = (
        DeclaredTensor("A", TensorKind.INPUT, "float32", (2,), "", 0),
        DeclaredTensor("B", TensorKind.OUTPUT, "int64", (1,), "", 1),
    )
    asked = NetworkQuery((DeclaredNetwork("f", tensors),), Property(2, 2, And(()), "q"))
    assert query_text(answer(), asked).splitlines()[3:] == ["B int64 [1]", "2"]
    assert dict(query_arrays(answer(), asked))["B"].dtype == np.int64


def test_words() -> None:
    assert query_word(answer(), timed_out=True) == "sat"
    for verdict, late, word in (
        (Holds(None), True, "unsat"),
        (Unknown("r"), False, "unknown"),
        (Unknown("r"), True, "timed-out"),
    ):  # type: ignore[arg-type]
        assert query_word(PropertyCheck(verdict, None, "", None, 1.0), timed_out=late) == word
