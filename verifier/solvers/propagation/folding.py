"""What is left of rows once something holds without any decision, as SAT solvers simplify their clauses.

Variables that are fixed are constants from then on, and a row that nothing violates says nothing any more. Of a neuron
that is off for good only one of its definition's two rows says something, without its argument: as free as that is
below 0, the other one would look like a clause of its own, and the first like one that no literal satisfies.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.problem.rounding import up
from verifier.solvers.propagation.propagate import RATE, peak
from verifier.solvers.propagation.rows import RowSystem, reading

STILL = 1e-9
"""A term that swings by less counts as fixed, a row that can be violated by less as satisfied: rounding leaves such."""


def folded(rows: RowSystem, known: Array, inputs: int, little: float) -> RowSystem:
    """The rows, with the same numbers, where `known` (ends,) holds without any decision: each is implied by its own.

    Fixed variables and ReLU arguments of at most `little` > 0 are folded into constants, by the largest value of their
    terms, rounded up; rows that nothing violates are left empty.
    """
    variables, count = known.size // 2, rows.constant.size
    low, high = known[:variables], -known[variables:]
    owner = np.repeat(np.arange(count), np.diff(rows.start))
    gone = ((low == high) | ((high <= little) & (np.arange(variables) >= inputs)))[rows.variable]
    term = rows.above, rows.below, low[rows.variable], high[rows.variable]
    most, least = peak(*term), -peak(-rows.above, -rows.below, *term[2:])
    size = np.bincount(owner, np.where(gone, np.abs(most), 0.0), count)
    terms = np.bincount(owner, gone, count)
    error = np.asarray(RATE * (terms + 4) * (size + np.abs(rows.constant)), dtype=np.float64)
    moved = up(rows.constant + np.bincount(owner, np.where(gone, most, 0.0), count), error)
    constant = np.where(terms > 0, moved, rows.constant)
    violable = np.bincount(owner, np.where(gone, 0.0, least), count) + constant < -STILL
    kept: npt.NDArray[np.bool_] = ~gone & violable[owner]
    left = owner[kept], rows.variable[kept], rows.above[kept], rows.below[kept]
    return reading(*left, np.where(violable, constant, 0.0), variables)
