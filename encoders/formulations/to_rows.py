"""Graph and bounds to exact linear rows plus case splits: the shared ground of the Z3 formula and of exact LP proofs.

Each float of the graph is the rational number that it stands for. For h = relu(a), l ≤ a ≤ u: h is a itself where
l ≥ 0 and 0 where u ≤ 0; else 0 ≤ h, 0 ≤ h − a, and, where something pulls h upwards (see `polarity`), a case split:
active (h − a ≤ 0 ≤ a) or inactive (h ≤ 0, a ≤ 0), with the triangle's third side as a redundant row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Affine, Graph, Relu, forward
from encoders.network.linear_maps import LinearMap, Scale
from encoders.network.node_bounds import NodeBounds
from encoders.network.relu_lines import chord_slope, intercepts
from encoders.passes.polarity import wanted_large

GRID = 1 << 12
"""Upper sides of triangles are rounded outwards to multiples of 1/GRID: short numbers keep exact sums fast."""


@dataclass(frozen=True)
class Column:
    """A variable by its number."""

    number: int


@dataclass(frozen=True)
class Short:
    """A sum of few variables that gets no name of its own: Σ coefficient · column + constant."""

    terms: tuple[tuple[int, Fraction], ...]
    constant: Fraction


Entry = Column | Short | Fraction
"""An entry of a node: a variable, a short sum, or a number where the bounds leave only one value."""

INLINE_TERMS = 2
"""Sums of at most this many variables stay short sums: an equation less for every LP."""

Ends = tuple[Fraction | None, Fraction | None]
"""Lower and upper end; None where there is none."""


@dataclass(frozen=True)
class Row:
    """ends[0] ≤ Σ coefficient · column ≤ ends[1]; at most one term per column."""

    terms: tuple[tuple[int, Fraction], ...]
    ends: Ends


@dataclass(frozen=True)
class Split:
    """h = relu(a) for the columns `a` and `h`; `rows[order]` of the system is 0 ≤ h − a, `side` the upper side."""

    a: int
    h: int
    order: int
    side: int


@dataclass(frozen=True, eq=False)
class Rows:
    """{v : each column and each row within its ends, each split in one of its cases}; `inputs` are the entries of x."""

    columns: tuple[Ends, ...]
    rows: tuple[Row, ...]
    splits: tuple[Split, ...]
    inputs: tuple[Column | Fraction, ...]


def to_rows(graph: Graph, bounds: NodeBounds, matrix: npt.ArrayLike, offset: npt.ArrayLike) -> Rows:
    """The rows of {x : matrix · z(x) + offset ≥ 0} for a lowered graph's output z over the region of `bounds`.

    matrix (m, K), offset (m,); the goal's rows come last. Raises ValueError unless `bounds.proved`: the rows are no
    more exact than the bounds.
    """
    if not bounds.proved:
        raise ValueError("exact rows need proved bounds; these rest on a solver's tolerance")
    goal, offsets = np.atleast_2d(np.asarray(matrix, dtype=np.float64)), np.asarray(offset, dtype=np.float64)
    system = _System(bounds, wanted_large(graph, goal))
    inputs = [system.entry(low, high) for low, high in system.ends(0)]
    first: list[Entry] = [*inputs]
    values = forward(graph, {Affine: system.affine, Relu: system.relu}, first)
    for row, constant in zip(goal.tolist(), offsets.tolist(), strict=True):
        parts = [(Fraction(c), value) for c, value in zip(row, values[graph.output], strict=True) if c]
        terms, rest = _collected(parts, Fraction(constant))
        system.rows.append(Row(terms, (-rest, None)))
    return Rows(tuple(system.columns), tuple(system.rows), tuple(system.splits), tuple(inputs))


def exact_rows(linear: LinearMap) -> Iterator[list[tuple[int, Fraction]]]:
    """The rows of a linear map as lists of (column, exact entry), zeros left out."""
    if isinstance(linear, Scale):
        divisors = np.ones(linear.in_size) if linear.divisor is None else linear.divisor
        for place, (factor, divisor) in enumerate(zip(linear.factor.tolist(), divisors.tolist(), strict=True)):
            yield [(place, Fraction(factor) / Fraction(divisor))] if factor else []
        return
    matrix = linear.rows()
    columns, data = matrix.indices.tolist(), matrix.data.tolist()
    for begin, end in pairwise(matrix.indptr.tolist()):
        yield [(columns[k], Fraction(data[k])) for k in range(begin, end) if data[k]]


class _System:
    """The rows while they are collected; `affine` and `relu` are the rules for the forward walker."""

    def __init__(self, bounds: NodeBounds, large: dict[int, npt.NDArray[np.bool_]]) -> None:
        self.columns: list[Ends] = []
        self.rows: list[Row] = []
        self.splits: list[Split] = []
        self._bounds, self._large = bounds, large

    def ends(self, index: int) -> Iterator[tuple[float, float]]:
        return zip(self._bounds.lower[index].tolist(), self._bounds.upper[index].tolist(), strict=True)

    def entry(self, low: float, high: float) -> Column | Fraction:
        """A new column within float ends, or the number when they meet."""
        return Fraction(low) if low == high else self._column(_exact_end(low), _exact_end(high))

    def _column(self, low: Fraction | None, high: Fraction | None) -> Column:
        self.columns.append((low, high))
        return Column(len(self.columns) - 1)

    def affine(self, index: int, node: Affine, values: list[list[Entry]]) -> list[Entry]:
        parts: list[list[tuple[Fraction, Entry]]] = [[] for _ in range(node.size)]
        for term in node.terms:
            source = values[term.source]
            for entry, row in zip(parts, exact_rows(term.map), strict=True):
                entry.extend((coefficient, source[column]) for column, coefficient in row)
        return [
            self._named(entry, Fraction(bias), ends)
            for entry, bias, ends in zip(parts, node.bias.tolist(), self.ends(index), strict=True)
        ]

    def _named(self, parts: list[tuple[Fraction, Entry]], bias: Fraction, ends: tuple[float, float]) -> Entry:
        """The number, the one column itself, a short sum, or a new column tied to the sum by an equation."""
        terms, rest = _collected(parts, bias)
        if not terms:
            return rest
        if rest == 0 and len(terms) == 1 and terms[0][1] == 1:
            return Column(terms[0][0])
        if len(terms) <= INLINE_TERMS:
            return Short(terms, rest)
        return self._equated(terms, rest, ends)

    def _equated(self, terms: tuple[tuple[int, Fraction], ...], rest: Fraction, ends: tuple[float, float]) -> Column:
        named = self._column(_exact_end(ends[0]), _exact_end(ends[1]))
        self.rows.append(Row((*terms, (named.number, Fraction(-1))), (-rest, -rest)))
        return named

    def relu(self, index: int, node: Relu, values: list[list[Entry]]) -> list[Entry]:
        large = self._large[index]
        return [
            self._relu_entry(argument, *ends, split=bool(large[place]))
            for place, (argument, ends) in enumerate(zip(values[node.source], self.ends(node.source), strict=True))
        ]

    def _relu_entry(self, a: Entry, low: float, high: float, *, split: bool) -> Entry:
        if isinstance(a, Fraction):
            return max(a, Fraction(0))
        if low >= 0:
            return a
        if high <= 0:
            return Fraction(0)
        if isinstance(a, Short):
            a = self._equated(a.terms, a.constant, (low, high))
        h = self._column(Fraction(0), _exact_end(high))
        one = Fraction(1)
        self.rows.append(Row(((h.number, one), (a.number, -one)), (Fraction(0), None)))
        if split:
            self.splits.append(Split(a.number, h.number, len(self.rows) - 1, len(self.rows)))
            self.rows.append(_upper_side(h, a, low, high))
        return h


def _upper_side(h: Column, a: Column, low: float, high: float) -> Row:
    """h ≤ s·a + t over low ≤ a ≤ high, t large enough at both ends; h − a ≤ −low where `high` is infinite."""
    if math.isinf(low) or math.isinf(high):
        return Row(((h.number, Fraction(1)),), (None, _exact_end(high)))
    bottom, top = Fraction(low), Fraction(high)
    slope = Fraction(round(chord_slope(bottom, top) * GRID), GRID)
    intercept = Fraction(math.ceil(max(intercepts(slope, bottom, top)) * GRID), GRID)
    terms = ((h.number, Fraction(1)), (a.number, -slope))
    return Row(terms if slope else terms[:1], (None, intercept))


def _collected(
    parts: list[tuple[Fraction, Entry]], constant: Fraction
) -> tuple[tuple[tuple[int, Fraction], ...], Fraction]:
    """Σ coefficient · entry + constant as (terms with distinct columns, constant)."""
    sums: dict[int, Fraction] = {}
    for coefficient, entry in parts:
        if isinstance(entry, Fraction):
            constant += coefficient * entry
        elif isinstance(entry, Short):
            constant += coefficient * entry.constant
            for number, own in entry.terms:
                sums[number] = sums.get(number, Fraction(0)) + coefficient * own
        else:
            sums[entry.number] = sums.get(entry.number, Fraction(0)) + coefficient
    return tuple((number, total) for number, total in sums.items() if total), constant


def _exact_end(end: float) -> Fraction | None:
    return Fraction(end) if math.isfinite(end) else None
