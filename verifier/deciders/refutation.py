"""Exact refutation of a system of linear rows by given multipliers (Farkas' lemma).

For any multipliers y, every solution v has yᵀ(A v) within the sum of the rows' ends taken with the signs of y, and also
within the sum of the columns' ends taken with the signs of yᵀA. If these two ranges do not meet, there is no solution.
Floats choose y; the sums are of integers, so nothing is rounded and no tolerance enters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from encoders.graph import Array
from encoders.to_rows import Ends, Rows

MULTIPLIER_BITS = 40
"""Multipliers are rounded to this many bits below the largest: enough for any margin a float LP can see, and short."""


@dataclass(frozen=True)
class Refutation:
    """No solution exists while the splits in `needed` keep their phases."""

    needed: frozenset[int]


class Refuter:
    """Holds a system's rows as integers, to check many multipliers against it."""

    def __init__(self, system: Rows) -> None:
        self._system = system
        self._scale = math.lcm(*(c.denominator for row in system.rows for _, c in row.terms), 1)
        self._rows = [
            [(number, int(coefficient * self._scale)) for number, coefficient in row.terms] for row in system.rows
        ]

    def refute(self, multipliers: Array, phases: Mapping[int, bool]) -> Refutation | None:
        """The refutation that `multipliers` (one per row) give under `phases` (split → active?), or None."""
        largest = float(np.max(np.abs(multipliers), initial=0.0))
        if not np.isfinite(largest) or largest == 0.0:
            return None
        integers = np.rint(multipliers / largest * 2.0**MULTIPLIER_BITS).astype(np.int64).tolist()
        for sign in (1, -1):
            found = self._refute([sign * y for y in integers], phases)
            if found is not None:
                return found
        return None

    def _refute(self, multipliers: list[int], phases: Mapping[int, bool]) -> Refutation | None:
        """Is max over the columns of yᵀA v below the least value that the rows allow it?"""
        row_ends, column_ends, reasons = self._phase_ends(phases)
        least, needed = Fraction(0), set()
        sums: dict[int, int] = {}
        for number, y in enumerate(multipliers):
            if y == 0:
                continue
            low, high = row_ends.get(number, self._system.rows[number].ends)
            end = low if y > 0 else high
            if end is None:
                continue  # a multiplier of the wrong sign is rounding noise; without it the others are still valid
            least += y * end
            if y < 0 and number in row_ends:
                needed.add(reasons["row", number])
            for column, coefficient in self._rows[number]:
                sums[column] = sums.get(column, 0) + y * coefficient
        most = Fraction(0)
        for column, total in sums.items():
            if total == 0:
                continue
            low, high = column_ends.get(column, self._system.columns[column])
            end = high if total > 0 else low
            if end is None:
                return None
            most += total * end
            if column in column_ends and end != self._system.columns[column][1 if total > 0 else 0]:
                needed.add(reasons["column", column])
        return Refutation(frozenset(needed)) if most < least * self._scale else None

    def _phase_ends(
        self, phases: Mapping[int, bool]
    ) -> tuple[dict[int, Ends], dict[int, Ends], dict[tuple[str, int], int]]:
        rows: dict[int, Ends] = {}
        columns: dict[int, Ends] = {}
        reasons: dict[tuple[str, int], int] = {}
        for number, active in phases.items():
            split = self._system.splits[number]
            for column, ends in phase_columns(self._system, number, active).items():
                columns[column] = ends
                reasons["column", column] = number
            if active:
                rows[split.order] = (Fraction(0), Fraction(0))
                reasons["row", split.order] = number
        return rows, columns, reasons


def phase_columns(system: Rows, number: int, active: bool) -> dict[int, Ends]:
    """The column ends that fixing split `number` changes: a ≥ 0 when active; a ≤ 0 and h ≤ 0 when inactive.

    A column that stands for the argument of several splits keeps the ends of the last: weaker, still true.
    """
    split = system.splits[number]
    if active:
        return {split.a: (Fraction(0), system.columns[split.a][1])}
    return {split.a: (system.columns[split.a][0], Fraction(0)), split.h: (Fraction(0), Fraction(0))}
