"""Rows Σ T_k(v_k) + c ≥ 0 that every point of a query satisfies, T_k linear on either side of 0.

Variables v are the inputs x, then all ReLU arguments z. A neuron's definition z_k = B h + c with h = max(z, 0) makes
two rows, a row of the goal one, and multipliers (λ, ν) of a `Lagrangian` another: goal rows and definitions added up.
No row depends on bounds of a node, so each holds everywhere; constants are charged for rounding as in `Lagrangian`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.lazy import Lazy
from encoders.network.graph import Array
from verifier.bounds.box_part import Places
from verifier.bounds.lagrangian import Lagrangian
from verifier.problem.rounding import up

if TYPE_CHECKING:
    import scipy.sparse as sp
else:
    sp = Lazy("scipy.sparse")

STEP_BITS = 12
"""Multipliers are rounded to this many bits below the largest one: sums of coarse data then stay exact, and what should
cancel does."""


class RowSystem(NamedTuple):
    """SignedRow r has the entries start[r] … start[r + 1]: variable, slope above and below 0; constant (rows,).

    `readers[reads[v]: reads[v + 1]]` are the rows that read variable v. `narrow` (rows,): is the row a short one?
    """

    start: Places
    variable: Places
    above: Array
    below: Array
    constant: Array
    reads: Places
    readers: Places
    narrow: npt.NDArray[np.bool_]


WIDE = 32
"""Entries of a row from which it counts as wide: wide rows wait until narrow ones have nothing more to say."""


@dataclass(frozen=True, eq=False)
class SignedRow:
    """One row before it is put with others: entries at `variable`, ascending, none with both slopes 0."""

    variable: Places
    above: Array
    below: Array
    constant: float


def rows_of(made: Sequence[SignedRow], variables: int) -> RowSystem:
    """The rows put together."""
    lengths = np.array([len(row.variable) for row in made], dtype=np.int64)
    empty = np.zeros(0)
    return reading(
        np.repeat(np.arange(len(made)), lengths),
        np.concatenate([np.zeros(0, dtype=np.int64), *(row.variable for row in made)]),
        np.concatenate([empty, *(row.above for row in made)]),
        np.concatenate([empty, *(row.below for row in made)]),
        np.array([row.constant for row in made], dtype=np.float64),
        variables,
    )


def reading(owner: Places, variable: Places, above: Array, below: Array, constant: Array, variables: int) -> RowSystem:
    """Rows by their entries, each with the row that owns it, ascending: who reads which variable."""
    lengths = np.bincount(owner, minlength=constant.size)
    order = np.argsort(variable, kind="stable")
    return RowSystem(
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        variable,
        above,
        below,
        constant,
        np.searchsorted(variable[order], np.arange(variables + 1)).astype(np.int64),
        owner[order].astype(np.int64),
        lengths < WIDE,
    )


class RowMaker:
    """Makes the rows of one query from its Lagrangian, whose ball, goal and charges it takes."""

    def __init__(self, stages: Stages, lagrangian: Lagrangian) -> None:
        self._stages, self._lagrangian = stages, lagrangian
        self._slices = [slice(a, b) for a, b in pairwise(stages.starts)]
        self.variables = stages.input_size + stages.relu_count

    def definitions(self, look: Callable[[], None] = lambda: None) -> list[SignedRow]:
        """Two rows for each ReLU: its argument is at most, and at least, what its definition says.

        look: called between two ReLUs; what it raises ends the work.
        """
        made, lagrangian = [], self._lagrangian
        for number, stage in enumerate(self._stages.hidden):
            place = self._stages.input_size + self._slices[number].start
            charged = lagrangian.rate * lagrangian.sizes[number] + lagrangian.slack
            blocks = [(source, sp.csr_array(block.matrix)) for source, block in stage.blocks.items()]
            for k in range(stage.size):
                look()
                parts = [(source, *_row_of(matrix, k)) for source, matrix in blocks]
                for sign in (1.0, -1.0):
                    row = self._row(parts, sign, {place + k: -sign})
                    constant = float(up(np.array(sign * stage.constant[k]), charged[k]))
                    made.append(SignedRow(*row, constant))
        return made

    def goal_rows(self) -> list[SignedRow]:
        """One for each row of the goal."""
        lagrangian, output = self._lagrangian, self._stages.output
        matrix, offset = lagrangian.goal.matrix, lagrangian.goal.offset
        made = []
        blocks = [(source, sp.csr_array(matrix @ block.matrix)) for source, block in output.blocks.items()]
        constants = matrix @ output.constant + offset
        charged = lagrangian.rate * lagrangian.goal_size + lagrangian.slack
        for number in range(len(offset)):
            parts = [(source, *_row_of(rows, number)) for source, rows in blocks]
            made.append(SignedRow(*self._row(parts, 1.0, {}), float(up(constants[number], charged[number]))))
        return made

    def _row(
        self, parts: Sequence[tuple[int, Places, Array]], sign: float, others: dict[int, float]
    ) -> tuple[Places, Array, Array]:
        """Entries for sign · Σ B h, by source, and for `others`: variables with one slope."""
        variable, above, below = [], [], []
        for source, columns, values in parts:
            first = self._stages.input_size + self._slices[source - 1].start if source else 0
            variable.append(first + columns)
            above.append(sign * values)
            below.append(np.zeros_like(values) if source else sign * values)
        places, slopes = np.array(list(others), dtype=np.int64), np.array(list(others.values()))
        return _ordered(
            np.concatenate([*variable, places]), np.concatenate([*above, slopes]), np.concatenate([*below, slopes])
        )

    def aggregated(self, weights: Array, nu: Array) -> SignedRow:
        """λ · goal + Σ ν_k (B h + c − z)_k ≥ 0 for weights λ (m,) ≥ 0 and ν (relu_count,), which is rounded first."""
        stages, lagrangian = self._stages, self._lagrangian
        goal, nu = lagrangian.goal, -in_steps(nu)
        message = goal.matrix.T @ weights
        constant = goal.offset @ weights + stages.output.constant @ message
        slopes, row = np.zeros(stages.relu_count), np.zeros(stages.input_size)
        for number in range(len(stages.stages), 0, -1):
            if number < len(stages.stages):
                part = self._slices[number - 1]
                message = nu[part]
                constant = constant + stages.hidden[number - 1].constant @ message
            for source, block in stages.stages[number - 1].blocks.items():
                sent = block.adjoint @ message
                if source:
                    slopes[self._slices[source - 1]] += sent
                else:
                    row += sent
        charged = lagrangian.rate * (lagrangian.charge @ np.abs(nu) + lagrangian.goal_size @ weights) + lagrangian.slack
        above, below = np.concatenate([row, slopes - nu]), np.concatenate([row, -nu])
        return SignedRow(*_ordered(np.arange(self.variables), above, below), float(up(np.array(constant), charged)))


def in_steps(values: Array) -> Array:
    """Rounded to STEP_BITS bits below the largest."""
    most = float(np.abs(values).max(initial=0.0))
    if not most or not np.isfinite(most):
        return values
    step = 2.0 ** (np.frexp(most)[1] - STEP_BITS)
    rounded: Array = np.round(values / step) * step
    return rounded


def _ordered(variable: Places, above: Array, below: Array) -> tuple[Places, Array, Array]:
    """Entries by variable, those of one variable added up, without empty ones."""
    places, inverse = np.unique(variable, return_inverse=True)
    up_slopes = np.bincount(inverse, above, places.size)
    down_slopes = np.bincount(inverse, below, places.size)
    kept = (up_slopes != 0) | (down_slopes != 0)
    return places[kept].astype(np.int64), up_slopes[kept], down_slopes[kept]


def _row_of(matrix: Any, k: int) -> tuple[Places, Array]:
    part = slice(matrix.indptr[k], matrix.indptr[k + 1])
    return matrix.indices[part].astype(np.int64), matrix.data[part]
