"""A property of probabilities → the same of logits before a final Softmax, LogSoftmax or Sigmoid, where it is linear.

With p = softmax(z), Σ p = 1 and p_i = e^(z_i) / Σ e^(z), so that c·p + d ≥ 0 says Σ (c_i + d) e^(z_i) ≥ 0: always true
without a negative coefficient, never without a positive one, and with one of each, at i and j, a bound on z_i − z_j by
the logarithm of their ratio. A Sigmoid is the Softmax of (z, 0). Differences of a LogSoftmax's outputs are those of z.
All else is refused by name.

Logarithms of rational numbers other than 1 are irrational: `outer` has a bound just below them, for proofs, `inner` one
just above, which points are judged by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from fractions import Fraction

from encoders.errors import InputError
from verifier.problem.properties.formula import And, Formula, LinearRow, Or, Property

DIGITS = 60
"""Of logarithms, each rounded to nearest."""

ROOM = Fraction(1, 10**50)
"""More than two such roundings of logarithms of numbers that readers take, which are below 10⁵."""

ZERO_LOGIT = -1
"""Stands for the logit 0 beside that of a Sigmoid."""

TRUE, FALSE = And(()), Or(())


@dataclass(frozen=True, eq=False)
class BehindEnding:
    """A property of the outputs as properties of the logits: `outer` holds it, `inner` implies it."""

    outer: Property
    inner: Property


def before_ending(prop: Property, ending: str) -> BehindEnding:
    """ending: Softmax, LogSoftmax or Sigmoid. Raises InputError for a row that is not linear in the logits."""
    outer, inner = (replace(prop, formula=_formula(prop, prop.formula, ending, outer)) for outer in (True, False))
    return BehindEnding(outer, inner)


def _formula(prop: Property, formula: Formula, ending: str, outer: bool) -> Formula:
    match formula:
        case LinearRow():
            return _row(prop, formula, ending, outer) if formula.outputs else formula
        case Or(parts):
            return Or(tuple(_formula(prop, part, ending, outer) for part in parts))
        case both:
            return And(tuple(_formula(prop, part, ending, outer) for part in both.parts))


def _row(prop: Property, row: LinearRow, ending: str, outer: bool) -> Formula:
    if row.inputs:
        raise InputError(f"{prop.source}: a row speaks of inputs and of outputs behind a {ending}, {_not_linear(row)}")
    terms = dict(row.outputs)
    if ending == "LogSoftmax":
        if sum(terms.values()) == 0:
            return row
    elif ending == "Softmax":
        found = _homogeneous(
            {place: terms.get(place, Fraction(0)) + row.constant for place in range(prop.outputs)}, row, outer
        )
        if found is not None:
            return found
    elif len(terms) == 1:
        ((place, factor),) = terms.items()
        found = _homogeneous({place: factor + row.constant, ZERO_LOGIT: row.constant}, row, outer)
        if found is not None:
            return found
    elif len(terms) == 2 and sum(terms.values()) == 0 == row.constant:
        return row
    raise InputError(f"{prop.source}: a row of outputs behind a {ending} {_not_linear(row)}")


def _not_linear(row: LinearRow) -> str:
    told = " + ".join(f"{float(factor):g} Y_{place}" for place, factor in row.outputs[:3])
    more = " + …" if len(row.outputs) > 3 else ""
    return f"is not linear in the scores before it: {told}{more}; comparisons of two outputs are"


def _homogeneous(factors: Mapping[int, Fraction], row: LinearRow, outer: bool) -> Formula | None:
    """Σ factors · e^z ≥ 0, or > 0, as a row of z; None where it is none."""
    above = [place for place, factor in factors.items() if factor > 0]
    below = [place for place, factor in factors.items() if factor < 0]
    if not below:
        return TRUE if above or not row.strict else FALSE
    if not above:
        return FALSE
    if len(above) > 1 or len(below) > 1:
        return None
    (i,), (j,) = above, below
    ratio = -factors[j] / factors[i]
    terms = tuple(sorted((place, sign) for place, sign in ((i, Fraction(1)), (j, Fraction(-1))) if place != ZERO_LOGIT))
    if ratio == 1:
        return LinearRow((), terms, Fraction(0), row.strict)
    return LinearRow((), terms, -(_log(ratio) + (-ROOM if outer else ROOM)))


def _log(ratio: Fraction) -> Fraction:
    """ln ratio, to within ROOM."""
    context = Context(prec=DIGITS)
    above, below = (Fraction(context.ln(Decimal(number))) for number in (ratio.numerator, ratio.denominator))
    return above - below
