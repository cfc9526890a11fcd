"""Products of sparse rows with several nodes side by side, in float32 or float64: each entry is read once for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from verifier.bounds.kernels.jit import Integers, inner

LANES = 32
"""Nodes side by side at most. What kernels read of a ReLU lies that far apart in one array: it is known when compiling,
so that nobody asks at each row whether what is written is something that is read."""

EIGHT = 8
"""Of these, what loops are rounded up to."""


class CompressedRows(NamedTuple):
    """A sparse matrix by rows: entries ends[i] to ends[i + 1] of `places` and `entries` are those of row i."""

    ends: Integers
    places: npt.NDArray[np.int32]
    entries: npt.NDArray[Any]


@inner
def rounded(width: int) -> int:
    """Lanes that loops go over where so many are at work."""
    return min(LANES, (width + EIGHT - 1) // EIGHT * EIGHT)


@inner
def product(rows: CompressedRows, i: int, sources: npt.NDArray[Any], target: npt.NDArray[Any], wide: int) -> None:
    """target += row i times the sources."""
    gather(rows.ends[i], rows.ends[i + 1], rows.places, rows.entries, sources, target, wide)


@inner
def gather(
    begin: int,
    end: int,
    places: npt.NDArray[np.int32],
    entries: npt.NDArray[Any],
    sources: npt.NDArray[Any],
    target: npt.NDArray[Any],
    wide: int,
) -> None:
    """target += entries · sources[places], four entries at a time, in the first lanes."""
    whole = end - (end - begin) % 4
    for k in range(begin, whole, 4):
        a, b, c, d = entries[k], entries[k + 1], entries[k + 2], entries[k + 3]
        p, q, r, s = sources[places[k]], sources[places[k + 1]], sources[places[k + 2]], sources[places[k + 3]]
        for j in range(wide):
            target[j] += a * p[j] + b * q[j] + c * r[j] + d * s[j]
    for k in range(whole, end):
        a, p = entries[k], sources[places[k]]
        for j in range(wide):
            target[j] += a * p[j]


def compressed(blocks: Sequence[tuple[Any, int, int]], count: int, kind: type[np.floating[Any]]) -> CompressedRows:
    """One matrix of so many rows, of blocks, each with its first row and column."""
    rows, places, entries = [], [], []
    for matrix, first_row, first_column in blocks:
        if isinstance(matrix, np.ndarray):
            row, place = np.nonzero(matrix)
            entry = matrix[row, place]
        else:
            found = matrix.tocoo()
            row, place, entry = found.row, found.col, found.data
        rows.append(row + first_row)
        places.append((place + first_column).astype(np.int32))
        entries.append(entry)
    row = np.concatenate(rows)
    # Each block's rows are in order already: what is left to do is to merge those of several sources.
    order = np.argsort(row, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=count))]).astype(np.int64)
    return CompressedRows(ends, np.concatenate(places)[order], np.concatenate(entries)[order].astype(kind))
