"""Exact refutation of a system of linear rows by given multipliers (Farkas' lemma).

For any multipliers y, every solution v has yᵀ(A v) within the sum of the rows' ends taken with the signs of y, and also
within the sum of the columns' ends taken with the signs of yᵀA. If these two ranges do not meet, there is no solution.
Floats choose y. The ranges are first evaluated in floats with every rounding error covered (`proof.rounding`); where
the gap between them is smaller than that, in integers. Either way no tolerance enters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from encoders.formulations.to_rows import Ends, Rows
from encoders.lazy import Lazy
from encoders.network.graph import Array
from verifier.problem.rounding import UNDERFLOW, gamma

if TYPE_CHECKING:
    import scipy.sparse as sp
else:
    sp = Lazy("scipy.sparse")

MULTIPLIER_BITS = 40
"""Multipliers are rounded to this many bits below the largest: enough for any margin a float LP can see, and short."""


@dataclass(frozen=True)
class Refutation:
    """No solution exists while the splits in `needed` keep their phases."""

    needed: frozenset[int]


class Refuter:
    """Holds a system's rows as floats and as integers, to check many multipliers against it."""

    def __init__(self, system: Rows) -> None:
        self._system = system
        self._scale = math.lcm(*(c.denominator for row in system.rows for _, c in row.terms), 1)
        self._rows = [
            [(number, int(coefficient * self._scale)) for number, coefficient in row.terms] for row in system.rows
        ]
        matrix = sp.lil_array((len(system.rows), len(system.columns)))
        for number, row in enumerate(system.rows):
            for column, coefficient in row.terms:
                matrix[number, column] = float(coefficient)
        self._transpose = sp.csr_array(matrix.T)
        self._transpose_size = abs(self._transpose)
        self._row_ends = _float_ends([row.ends for row in system.rows])
        self._column_ends = _float_ends(list(system.columns))
        self._gamma = gamma(len(system.rows) + len(system.columns))

    def refute(self, multipliers: Array, phases: Mapping[int, bool]) -> Refutation | None:
        """The refutation that `multipliers` (one per row) give under `phases` (split → active?), or None."""
        largest = float(np.max(np.abs(multipliers), initial=0.0))
        if not np.isfinite(largest) or largest == 0.0:
            return None
        scaled = multipliers / largest
        for sign in (1.0, -1.0):
            if (found := self._refute_in_floats(sign * scaled, phases)) is not None:
                return found
        integers = np.rint(scaled * 2.0**MULTIPLIER_BITS).astype(np.int64).tolist()
        for sign in (1, -1):
            if (exact := self._refute([sign * y for y in integers], phases)) is not None:
                return exact
        return None

    def _refute_in_floats(self, y: Array, phases: Mapping[int, bool]) -> Refutation | None:
        """As `_refute`, in float64: the two ranges must be apart by more than all rounding errors together."""
        row_changes, column_changes, reasons = self._phase_ends(phases)
        row_low, row_high = self._changed(self._row_ends, row_changes)
        low, high = self._changed(self._column_ends, column_changes)
        end = np.where(y > 0, row_low, row_high)
        y = np.where(np.isfinite(end), y, 0.0)  # a multiplier of the wrong sign is rounding noise
        end = np.where(y != 0, end, 0.0)
        sums = self._transpose @ y
        error = self._gamma * (self._transpose_size @ np.abs(y)) + UNDERFLOW
        far = np.maximum(np.abs(low), np.abs(high))
        with np.errstate(invalid="ignore"):
            most = np.where(sums > 0, sums * high, sums * low)
            # A column without an end is only harmless where nothing at all is added up for it.
            untouched = (sums == 0) & (error <= UNDERFLOW)
            most = np.where(untouched, 0.0, most + error * far)
        size = np.abs(most).sum() + np.abs(y * end).sum()
        gap = (y * end).sum() - most.sum() - self._gamma * size - UNDERFLOW
        if not gap > 0:
            return None
        needed = {reasons["row", number] for number in row_changes if y[number] < 0}
        for column in column_changes:
            if untouched[column]:
                continue
            own_low, own_high = self._column_ends[0][column], self._column_ends[1][column]
            uses_high = sums[column] > -error[column] and high[column] != own_high
            uses_low = sums[column] < error[column] and low[column] != own_low
            if uses_high or uses_low:
                needed.add(reasons["column", column])
        return Refutation(frozenset(needed))

    @staticmethod
    def _changed(ends: tuple[Array, Array], changes: Mapping[int, Ends]) -> tuple[Array, Array]:
        low, high = ends[0].copy(), ends[1].copy()
        for number, (least, most) in changes.items():
            low[number] = -np.inf if least is None else float(least)
            high[number] = np.inf if most is None else float(most)
        return low, high

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


def _float_ends(ends: list[Ends]) -> tuple[Array, Array]:
    """The ends as floats (rounded to nearest: γ covers it), infinite where there is none."""
    low = [-np.inf if least is None else float(least) for least, _ in ends]
    high = [np.inf if most is None else float(most) for _, most in ends]
    return np.array(low), np.array(high)


def phase_columns(system: Rows, number: int, active: bool) -> dict[int, Ends]:
    """The column ends that fixing split `number` changes: a ≥ 0 when active; a ≤ 0 and h ≤ 0 when inactive.

    A column that stands for the argument of several splits keeps the ends of the last: weaker, still true.
    """
    split = system.splits[number]
    if active:
        return {split.a: (Fraction(0), system.columns[split.a][1])}
    return {split.a: (system.columns[split.a][0], Fraction(0)), split.h: (Fraction(0), Fraction(0))}
