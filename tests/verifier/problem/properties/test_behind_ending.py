"""Properties of probabilities as properties of logits, against probabilities with 80 digits; refusals by name."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

from encoders.errors import InputError
from verifier.problem.properties.behind_ending import before_ending
from verifier.problem.properties.formula import And, LinearRow, Or, Property

NEAR = Fraction(1, 10**40)
"""How near to a tie `outer` and `inner` may differ."""


def outputs(ending: str, z: list[Fraction]) -> list[Fraction]:
    with localcontext(prec=80):
        powers = [(Decimal(a.numerator) / Decimal(a.denominator)).exp() for a in z]
        if ending == "Sigmoid":
            return [Fraction(a / (1 + a)) for a in powers]
        total = sum(powers, Decimal(0))
        found = [a / total for a in powers]
        return [Fraction(a.ln() if ending == "LogSoftmax" else a) for a in found]


def row(terms: dict[int, object], constant: object, strict: bool = False) -> LinearRow:
    pairs = tuple((place, Fraction(str(factor))) for place, factor in terms.items())
    return LinearRow((), pairs, Fraction(str(constant)), strict)


ROWS = [
    ("Softmax", 3, row({0: 1, 2: -1}, 0)),
    ("Softmax", 3, row({0: 3, 2: -3}, 0, strict=True)),
    ("Softmax", 3, row({1: 2, 2: -1}, 0)),
    ("Softmax", 2, row({0: 1}, "-0.1")),
    ("Softmax", 2, row({0: -1}, "0.75", strict=True)),
    ("Softmax", 2, row({0: 1, 1: -1}, "0.25")),
    ("Softmax", 3, row({0: 1}, 0)),
    ("Softmax", 3, row({0: 1}, "-1.01")),
    ("Softmax", 3, row({0: 1}, -1)),
    ("Softmax", 3, row({0: -1}, 1, strict=True)),
    ("Softmax", 2, row({0: 1, 1: 1}, -1)),
    ("Softmax", 2, row({0: 1, 1: 1}, -1, strict=True)),
    ("Softmax", 4, row({0: 1, 1: 1}, "-1.01")),
    ("Sigmoid", 2, row({1: 1}, "-0.5")),
    ("Sigmoid", 2, row({1: -2}, "1.9")),
    ("Sigmoid", 2, row({1: 1, 0: -1}, 0)),
    ("Sigmoid", 2, row({1: 1}, -1)),
    ("Sigmoid", 2, row({1: 1}, 0, strict=True)),
    ("LogSoftmax", 3, row({0: 1, 1: "-0.5", 2: "-0.5"}, "0.3")),
]


@pytest.mark.parametrize(("ending", "size", "asked"), ROWS)
def test_it_says_the_same_of_logits(ending: str, size: int, asked: LinearRow) -> None:
    made = before_ending(Property(1, size, asked), ending)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        z = [Fraction(int(n), 4) for n in rng.integers(-12, 13, size)]
        y = outputs(ending, z)
        value = asked.constant + sum((factor * y[place] for place, factor in asked.outputs), Fraction(0))
        outer, inner = (prop.satisfied([Fraction(0)], z) for prop in (made.outer, made.inner))
        assert outer >= inner
        if abs(value) > NEAR:
            assert outer is inner is (value > 0)
        else:  # a tie of equal logits, or Σ p = 1
            assert outer is inner is not asked.strict


def test_it_goes_through_formulas_and_leaves_inputs_alone() -> None:
    of_x = LinearRow(((0, Fraction(1)),), (), Fraction(-1))
    prop = Property(1, 3, And((of_x, Or((row({0: 1, 1: -1}, 0), row({2: 1}, 0))))), "p")
    assert before_ending(prop, "Softmax").outer.formula == And((of_x, Or((row({0: 1, 1: -1}, 0), And(())))))


@pytest.mark.parametrize(
    ("ending", "asked"),
    [
        ("Softmax", row({0: 1}, "-0.5")),
        ("Softmax", row({0: 1, 1: 1}, "-0.5")),
        ("Sigmoid", row({0: 1, 1: 1}, -1)),
        ("Sigmoid", row({0: 1, 1: -1}, "0.1")),
        ("LogSoftmax", row({0: 1}, 1)),
        ("Softmax", LinearRow(((0, Fraction(1)),), ((0, Fraction(1)),), Fraction(0))),
    ],
)
def test_what_is_not_linear_is_refused_by_name(ending: str, asked: LinearRow) -> None:
    with pytest.raises(
        InputError, match=f"p: a row .*behind a {ending}.* is not linear in the scores before it: 1 Y_0"
    ):
        before_ending(Property(1, 3, asked, "p"), ending)
