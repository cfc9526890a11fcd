"""The answer to a query of VNN-LIB 2, as the standard's solver interface has it: a word, then each declared tensor."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from verifier.problem.properties.network_query import REAL_TYPE, WHOLE, DeclaredTensor, NetworkQuery, TensorKind
from verifier.problem.verdict import Counterexample, Holds, Unknown, Verdict, Violated
from verifier.report.property_result import PropertyAnswer

WORDS: dict[type[Verdict], str] = {Holds: "unsat", Violated: "sat", Unknown: "unknown"}

DIGITS = 50
"""Of a real number that no decimal is, such as 1/3."""


def query_word(answer: PropertyAnswer, *, timed_out: bool) -> str:
    """sat, unsat, unknown or timed-out."""
    word = WORDS[type(answer.verdict)]
    return "timed-out" if timed_out and word == "unknown" else word


def query_text(answer: PropertyAnswer, query: NetworkQuery) -> str:
    """The tensors of the assignment in the order of their declarations: a line NAME type [shape], then a number a line.

    Numbers have all their digits and no exponent; "" without a witness.
    """
    lines: list[str] = []
    for tensor, values in _assigned(answer.witness, query):
        shape = ",".join(str(size) for size in tensor.shape)
        told = [str(int(value)) if tensor.dtype in WHOLE else decimal_text(value) for value in values]
        lines += [f"{tensor.name} {tensor.dtype} [{shape}]", *told]
    return "".join(f"{line}\n" for line in lines)


def query_arrays(answer: PropertyAnswer, query: NetworkQuery) -> Iterator[tuple[str, npt.NDArray[np.floating]]]:
    """Each tensor by its name, in its shape; real numbers as the nearest float64."""
    for tensor, values in _assigned(answer.witness, query):
        dtype = np.float64 if tensor.dtype == REAL_TYPE else np.dtype(tensor.dtype)
        yield tensor.name, np.array([float(value) for value in values], dtype).reshape(tensor.shape)


def _assigned(witness: Counterexample | None, query: NetworkQuery) -> Iterator[tuple[DeclaredTensor, list[Fraction]]]:
    """Over the reals the exact values, else those of ONNX Runtime."""
    if witness is None:
        return
    point = witness.exact_point or [Fraction(value) for value in witness.point.tolist()]
    outputs = [Fraction(y) for y in (witness.exact_outputs if query.real else witness.outputs).tolist()]
    for tensor in query.tensors:
        yield tensor, list((point if tensor.kind is TensorKind.INPUT else outputs)[tensor.places])


def decimal_text(number: Fraction) -> str:
    """The number in decimals without an exponent; one that has no end is cut.

    >>> decimal_text(Fraction(-1, 8)), decimal_text(Fraction(3))
    ('-0.125', '3.0')
    """
    places = max(number.denominator.bit_length(), 1)
    if 10**places % number.denominator == 0:
        digits = number.numerator * (10**places // number.denominator)
        whole = format(Decimal(digits).scaleb(-places, Context(prec=len(str(abs(digits))) + 1)), "f")
        whole = whole.rstrip("0") if "." in whole else whole
        return whole + "0" if whole.endswith(".") else whole
    context = Context(prec=DIGITS)
    return format(context.divide(Decimal(number.numerator), Decimal(number.denominator)), "f")
