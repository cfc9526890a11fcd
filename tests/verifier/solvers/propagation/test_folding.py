"""What is left of rows: no point is lost that kept them within what is known, and what decides nothing is gone."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from tests.verifier.solvers.propagation.test_propagate import term
from verifier.solvers.propagation.folding import folded
from verifier.solvers.propagation.rows import RowSystem, SignedRow, rows_of

Entries = list[tuple[int, float, float]]


def drawn(rng: np.random.Generator, variables: int) -> RowSystem:
    made = []
    for _ in range(6):
        size = int(rng.integers(1, variables + 1))
        above, below = rng.integers(-30, 31, (2, size)) / 10.0
        variable = np.sort(rng.choice(variables, size, replace=False))
        made.append(SignedRow(variable, np.where(above == 0, 0.1, above), below, float(rng.integers(-20, 40)) / 10.0))
    return rows_of(made, variables)


def entries(rows: RowSystem, row: int) -> Entries:
    part = slice(rows.start[row], rows.start[row + 1])
    columns = rows.variable[part], rows.above[part], rows.below[part]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def value(rows: RowSystem, row: int, point: list[Fraction]) -> Fraction:
    slopes = ((point[v], Fraction(above if point[v] > 0 else below)) for v, above, below in entries(rows, row))
    return Fraction(rows.constant[row]) + sum(at * slope for at, slope in slopes)


def test_rows_grow_weaker_by_no_more_than_what_is_folded_away() -> None:
    rng = np.random.default_rng(0)
    shorter = emptied = 0
    for _ in range(300):
        variables, inputs = 5, 2
        rows = drawn(rng, variables)
        low, high = np.sort(rng.integers(-30, 31, (2, variables)) / 10.0, axis=0)
        high = np.where(rng.random(variables) < 0.3, low, high)
        left = folded(rows, np.concatenate([low, -high]), inputs, 1e-6)
        gone = (low == high) | ((high <= 1e-6) & (np.arange(variables) >= inputs))
        points = rng.uniform(low, high, (20, variables))
        for row in range(rows.constant.size):
            kept = entries(left, row)
            assert kept in ([], [one for one in entries(rows, row) if not gone[one[0]]])
            for point in np.vstack([points, low, high]).tolist():
                exact = [Fraction(entry) for entry in point]
                if kept:
                    assert value(left, row, exact) >= value(rows, row, exact)
                elif value(rows, row, exact) < 0:
                    # Where an emptied row is violated, what is folded away is what does it.
                    assert gone[[one[0] for one in entries(rows, row)]].any()
            shorter += 0 < len(kept) < len(entries(rows, row))
            emptied += not kept
        assert left.constant.size == rows.constant.size
        readers = [left.readers[left.reads[v] : left.reads[v + 1]].tolist() for v in range(variables)]
        assert readers == [
            [row for row in range(left.constant.size) if v in [one[0] for one in entries(left, row)]]
            for v in range(variables)
        ]
    assert min(shorter, emptied) >= 100


def test_of_a_neuron_that_is_off_one_row_is_left_without_it() -> None:
    """z = 1 − x0 − x1 ≤ 0 is a clause: x0 + x1 ≥ 1."""
    above = np.array([-1.0, -1.0, -1.0])
    definition = [SignedRow(np.arange(3), above, above, 1.0), SignedRow(np.arange(3), -above, -above, -1.0)]
    known = np.array([0.0, 0.0, -1.0, -1.0, -1.0, 0.0])
    left = folded(rows_of(definition, 3), known, 2, 1e-6)
    assert entries(left, 0) == []
    assert entries(left, 1) == [(0, 1.0, 1.0), (1, 1.0, 1.0)]
    assert -1.0 <= left.constant[1] <= -1.0 + 1e-12
    assert not left.readers[left.reads[2] :].size


def test_a_term_that_is_folded_away_is_counted_at_its_largest() -> None:
    row = SignedRow(np.arange(2), np.array([1.0, 3.0]), np.array([1.0, -0.1]), -0.3)
    left = folded(rows_of([row], 2), np.array([-4.0, -0.7, -4.0, 0.1]), 1, 1e-6)
    largest = float(term(np.array(3.0), np.array(-0.1), np.array(-0.7)))
    assert Fraction(left.constant[0]) >= Fraction(-0.3) + Fraction(-0.1) * Fraction(-0.7)
    assert left.constant[0] <= -0.3 + largest + 1e-12
