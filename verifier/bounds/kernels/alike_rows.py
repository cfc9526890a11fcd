"""Rows that read the same columns, eight at once: each entry of what they are added to is fetched and stored once.

A sum's terms are the same as row by row, in another order, but for rows of zeros where fewer are left: a bound of its
rounding by the number of its terms holds for either.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from verifier.bounds.kernels.jit import Integers, inner
from verifier.bounds.kernels.sparse_stages import SparseRows

TOGETHER = 8
"""Rows that are sent at once: a full 256 × 784 with 64 lanes takes a third of what row by row takes, four rows at once
40 %."""

SPAN = 64
"""Lanes at most: where the rows to be sent are in one array. It is known when compiling, so that one check says for all
eight that what is written is none of them."""

SINGLY = 2
"""Rows up to which each goes by itself: eight at once take as long as three."""


@inner
def sent_later(kind: npt.NDArray[Any]) -> tuple[Integers, npt.NDArray[Any]]:
    """Space for rows to be sent, of this kind of numbers: which they are, and what each is multiplied with."""
    return np.zeros(TOGETHER, dtype=np.int64), np.zeros(TOGETHER * SPAN, dtype=kind.dtype)


@inner
def send(
    hidden: SparseRows,
    inputs: SparseRows,
    among: Integers,
    count: int,
    waiting: npt.NDArray[Any],
    mu: npt.NDArray[Any],
    row: npt.NDArray[Any],
) -> None:
    """Add to mu and row the first `count` rows of `among`, which are alike, each times its part of `waiting`."""
    lanes = mu.shape[1]
    if count <= SINGLY:
        for r in range(count):
            j, own = among[r], waiting[r * SPAN : r * SPAN + lanes]
            _add_one(hidden.begin[j], hidden.end[j], hidden.columns, hidden.values, own, mu)
            _add_one(inputs.begin[j], inputs.end[j], inputs.columns, inputs.values, own, row)
        return
    for r in range(count, TOGETHER):
        among[r] = among[0]
        for lane in range(lanes):
            waiting[r * SPAN + lane] = 0
    _add_all(hidden.begin, hidden.end, among, hidden.columns, hidden.values, waiting, mu)
    _add_all(inputs.begin, inputs.end, among, inputs.columns, inputs.values, waiting, row)


@inner
def _add_one(
    begin: int,
    end: int,
    columns: npt.NDArray[np.int32],
    values: npt.NDArray[Any],
    nu: npt.NDArray[Any],
    out: npt.NDArray[Any],
) -> None:
    """out[columns] += values · nu, entry by entry."""
    for k in range(begin, end):
        target, weight = out[columns[k]], values[k]
        for lane in range(nu.size):
            target[lane] += weight * nu[lane]


@inner
def _add_all(
    begin: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    among: Integers,
    columns: npt.NDArray[np.int32],
    values: npt.NDArray[Any],
    nu: npt.NDArray[Any],
    out: npt.NDArray[Any],
) -> None:
    """The same for eight rows that are alike."""
    a, b, c, d = begin[among[0]], begin[among[1]], begin[among[2]], begin[among[3]]
    e, f, g, h = begin[among[4]], begin[among[5]], begin[among[6]], begin[among[7]]
    for k in range(end[among[0]] - a):
        target = out[columns[a + k]]
        p, q, r, s = values[a + k], values[b + k], values[c + k], values[d + k]
        t, u, v, w = values[e + k], values[f + k], values[g + k], values[h + k]
        for i in range(out.shape[1]):
            target[i] += (
                p * nu[i]
                + q * nu[SPAN + i]
                + r * nu[2 * SPAN + i]
                + s * nu[3 * SPAN + i]
                + t * nu[4 * SPAN + i]
                + u * nu[5 * SPAN + i]
                + v * nu[6 * SPAN + i]
                + w * nu[7 * SPAN + i]
            )
