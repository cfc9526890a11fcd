"""Graph and bounds to a formula of linear rational arithmetic: exact, no tolerance anywhere.

Each float of the graph is the rational number that it stands for. For h = relu(a), l ≤ a ≤ u: h = a where l ≥ 0; h = 0
where u ≤ 0; else h ≥ 0 ∧ h ≥ a, and, where something pulls h upwards (see `polarity`), (h ≤ 0 ∨ h ≤ a).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import z3

from encoders.graph import Affine, Graph, Relu, forward
from encoders.linear_maps import LinearMap, Scale
from encoders.node_bounds import NodeBounds
from encoders.polarity import wanted_large

Scalar = z3.ArithRef | Fraction
"""An entry of a node in the formula: a term, or a number where the bounds leave only one value."""

GRID = 1 << 12
"""Redundant upper lines of unstable ReLUs are rounded outwards to multiples of 1/GRID: short numbers pivot faster."""


@dataclass(frozen=True, eq=False)
class Z3Model:
    """The conjunction of `assertions`; `inputs` are the entries of x; `splits` counts the disjunctions."""

    assertions: tuple[z3.BoolRef, ...]
    inputs: tuple[Scalar, ...]
    splits: int


def to_z3(graph: Graph, bounds: NodeBounds, matrix: npt.ArrayLike, offset: npt.ArrayLike) -> Z3Model:
    """The formula of {x : matrix · z(x) + offset ≥ 0} for a lowered graph's output z over the region of `bounds`.

    matrix (m, K), offset (m,). It is exact if `bounds.proved`; raises ValueError if they are not.
    """
    if not bounds.proved:
        raise ValueError("an exact formula needs proved bounds; these rest on a solver's tolerance")
    rows, offsets = np.atleast_2d(np.asarray(matrix, dtype=np.float64)), np.asarray(offset, dtype=np.float64)
    formula = _Formula(graph, bounds, wanted_large(graph, rows))
    first = formula.inputs()
    values = forward(graph, {Affine: formula.affine, Relu: formula.relu}, first)
    for row, constant in zip(rows.tolist(), offsets.tolist(), strict=True):
        parts = [(Fraction(c), value) for c, value in zip(row, values[graph.output], strict=True) if c]
        formula.require(_sum(parts, Fraction(constant)), ">=")
    return Z3Model(tuple(formula.assertions), tuple(first), formula.splits)


def exact_rows(linear: LinearMap) -> Iterator[list[tuple[int, Fraction]]]:
    """The rows of the map as lists of (column, exact entry), zeros left out."""
    if isinstance(linear, Scale):
        divisors = np.ones(linear.in_size) if linear.divisor is None else linear.divisor
        for place, (factor, divisor) in enumerate(zip(linear.factor.tolist(), divisors.tolist(), strict=True)):
            yield [(place, Fraction(factor) / Fraction(divisor))] if factor else []
        return
    matrix = linear.rows()
    columns, data = matrix.indices.tolist(), matrix.data.tolist()
    for begin, end in pairwise(matrix.indptr.tolist()):
        yield [(columns[k], Fraction(data[k])) for k in range(begin, end) if data[k]]


class _Formula:
    """The assertions while they are collected; `affine` and `relu` are the rules for the forward walker."""

    def __init__(self, graph: Graph, bounds: NodeBounds, large: dict[int, npt.NDArray[np.bool_]]) -> None:
        self.assertions: list[z3.BoolRef] = []
        self.splits = 0
        self._graph, self._bounds, self._large = graph, bounds, large

    def _ends(self, index: int) -> Iterator[tuple[float, float]]:
        return zip(self._bounds.lower[index].tolist(), self._bounds.upper[index].tolist(), strict=True)

    def require(self, value: Scalar, relation: str) -> None:
        """Assert value ≥ 0 or value = 0."""
        if isinstance(value, Fraction):
            true = value >= 0 if relation == ">=" else value == 0
            if not true:
                self.assertions.append(z3.BoolVal(False))
        else:
            self.assertions.append(value >= 0 if relation == ">=" else value == 0)

    def inputs(self) -> list[Scalar]:
        entries: list[Scalar] = []
        for place, (low, high) in enumerate(self._ends(0)):
            if low == high:
                entries.append(Fraction(low))
                continue
            x = z3.Real(f"x_{place}")
            self._within(x, low, high)
            entries.append(x)
        return entries

    def _within(self, term: z3.ArithRef, low: float, high: float) -> None:
        if math.isfinite(low):
            self.assertions.append(term >= _number(Fraction(low)))
        if math.isfinite(high):
            self.assertions.append(term <= _number(Fraction(high)))

    def affine(self, index: int, node: Affine, values: list[list[Scalar]]) -> list[Scalar]:
        parts: list[list[tuple[Fraction, Scalar]]] = [[] for _ in range(node.size)]
        for term in node.terms:
            source = values[term.source]
            for entry, row in zip(parts, exact_rows(term.map), strict=True):
                entry.extend((coefficient, source[column]) for column, coefficient in row)
        return [
            self._named(f"z_{index}_{place}", _sum(entry, Fraction(bias)))
            for place, (entry, bias) in enumerate(zip(parts, node.bias.tolist(), strict=True))
        ]

    def _named(self, name: str, value: Scalar) -> Scalar:
        if isinstance(value, Fraction) or z3.is_const(value):
            return value
        named = z3.Real(name)
        self.assertions.append(named == value)
        return named

    def relu(self, index: int, node: Relu, values: list[list[Scalar]]) -> list[Scalar]:
        large = self._large[index]
        return [
            self._relu_entry(f"h_{index}_{place}", a, low, high, split=bool(large[place]))
            for place, (a, (low, high)) in enumerate(zip(values[node.source], self._ends(node.source), strict=True))
        ]

    def _relu_entry(self, name: str, a: Scalar, low: float, high: float, *, split: bool) -> Scalar:
        if isinstance(a, Fraction):
            return max(a, Fraction(0))
        if low >= 0:
            return a
        if high <= 0:
            return Fraction(0)
        h = z3.Real(name)
        self.assertions += [h >= 0, h >= a]
        if split:
            self.splits += 1
            self.assertions.append(z3.Or(h <= 0, h <= a))
            if math.isfinite(low) and math.isfinite(high):
                self._upper_line(h, a, Fraction(low), Fraction(high))
        return h

    def _upper_line(self, h: z3.ArithRef, a: z3.ArithRef, low: Fraction, high: Fraction) -> None:
        """The redundant h ≤ s·a + t over l ≤ a ≤ u, with s and t on a coarse grid, t large enough at both ends."""
        slope = Fraction(round(high / (high - low) * GRID), GRID)
        intercept = Fraction(math.ceil(max(-slope * low, high - slope * high) * GRID), GRID)
        self.assertions.append(h <= _number(slope) * a + _number(intercept))


def _sum(parts: list[tuple[Fraction, Scalar]], constant: Fraction) -> Scalar:
    terms = []
    for coefficient, value in parts:
        if isinstance(value, Fraction):
            constant += coefficient * value
        elif coefficient == 1:
            terms.append(value)
        else:
            terms.append(_number(coefficient) * value)
    if not terms:
        return constant
    if constant:
        terms.append(_number(constant))
    return terms[0] if len(terms) == 1 else z3.Sum(terms)


def _number(value: Fraction) -> z3.RatNumRef:
    return z3.RealVal(f"{value.numerator}/{value.denominator}")
