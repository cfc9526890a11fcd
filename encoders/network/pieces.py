"""Dense maps and convolutions in pieces of some of their outputs, so that long work on one can be looked at between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from encoders.lazy import Lazy
from encoders.network.linear_maps import Conv, Dense, LinearMap

if TYPE_CHECKING:
    import scipy.sparse as sp
else:
    sp = Lazy("scipy.sparse")

ENTRIES = 1 << 20
"""Entries of rows that are made between two looks: a tenth of a second, about."""


def pieces(linear: LinearMap, most: int) -> Iterator[tuple[LinearMap, slice]]:
    """Maps whose outputs, one behind the other, are this one's, each with the entries of the input that it reads; of so
    many products each at most, or of one row of the weights. Blocks of a dense map (`left`) are left together."""
    read = slice(0, linear.in_size)
    if not isinstance(linear, Dense | Conv) or (isinstance(linear, Dense) and linear.left > 1):
        yield linear, read
        return
    rows, groups = len(linear.weight), linear.groups if isinstance(linear, Conv) else 1
    step = most // max(1, linear.fan_in * (linear.out_size // max(1, rows)))
    if step >= rows:
        yield linear, read
        return
    alone = replace(linear, groups=1) if isinstance(linear, Conv) else linear
    each, width = rows // groups, linear.in_size // groups
    for group in range(groups):
        end = (group + 1) * each
        for begin in range(group * each, end, max(1, step)):
            weight = linear.weight[begin : min(begin + max(1, step), end)]
            yield replace(alone, weight=weight), slice(group * width, (group + 1) * width)


def rows_of(linear: LinearMap, look: Callable[[], None] = lambda: None) -> sp.csr_array:
    """`LinearMap.rows`, with looks between pieces of it."""
    made = []
    for piece, read in pieces(linear, ENTRIES):
        look()
        rows = piece.rows()
        if piece is linear:
            return rows
        shape = piece.out_size, linear.in_size
        made.append(sp.csr_array((rows.data, rows.indices + read.start, rows.indptr), shape=shape))
    look()
    return sp.csr_array(sp.vstack(made, format="csr"))


def matrix_of(linear: LinearMap, look: Callable[[], None] = lambda: None) -> Any:
    """M, sparse unless the map is a dense matrix as it stands: then that, not a copy."""
    if isinstance(linear, Dense) and linear.left == linear.right == 1:
        return linear.weight
    return rows_of(linear, look)
