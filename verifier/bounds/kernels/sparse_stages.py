"""A query's stages as the arrays that kernels read for bounds of ReLU arguments: sparse rows, over kept ReLUs only.

Stages are added one after another, each once those that it reads are bounded: a ReLU that is fixed at 0 is 0, so that
no later row reads it. Rows of a stage that read the same are told: kernels go through several of them at once, those of
a full layer, or of one place of an image in all channels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.lazy import Lazy
from encoders.network.graph import Array
from verifier.bounds.lagrangian import CHARGE
from verifier.bounds.relu_lines import lower_slope, upper_intercept, upper_slope
from verifier.problem.norms.geometry import Floats, Geometry
from verifier.problem.rounding import evaluation_error, gamma, underflow

if TYPE_CHECKING:
    import scipy.sparse as sp
else:
    sp = Lazy("scipy.sparse")


FULL = 0.5
"""Share of a dense matrix's entries that are not 0 from which on its rows hold all of them, so that all read the same:
eight rows at once take a third of the time for each entry that one by itself takes."""

_Piece = tuple[Any, int, npt.NDArray[np.bool_]]
"""A matrix, dense or sparse, the place of its first column, and which columns are kept."""


class SparseRows(NamedTuple):
    """Sparse rows: row j has values[begin[j] : end[j]] in those columns."""

    begin: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int32]
    values: npt.NDArray[Any]


class SparseNetwork(NamedTuple):
    """Row j is a ReLU's argument, hidden · (the ReLUs before it) + inputs · x + constant; in float32 or in float64.

    alike: the first of the rows of its stage that read what it does; order: all ReLUs, stage by stage, rows that are
    alike one behind another. slope, intercept: of its upper line; open: is its sign? sizes, charge: what a unit of it
    is charged as the row that is bounded, and as one that is passed on, in multiples of `SparseStages.rate`.
    """

    hidden: SparseRows
    inputs: SparseRows
    alike: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]
    constant: npt.NDArray[Any]
    slope: npt.NDArray[Any]
    intercept: npt.NDArray[Any]
    open: npt.NDArray[np.bool_]
    sizes: npt.NDArray[Any]
    charge: npt.NDArray[Any]


class SparseStages:
    """The stages that are bounded so far: as `safe` in float64, as `quick` in float32.

    lower, upper (relu_count,): bounds of arguments, 0 where there are none yet; alpha: CROWN's own lower slopes.
    """

    def __init__(self, stages: Stages, geometry: Geometry) -> None:
        self.stages, self.geometry = stages, geometry
        count = stages.relu_count
        self.lower, self.upper, self.alpha = np.zeros(count), np.zeros(count), np.zeros(count)
        # A constant is a sum over all ReLUs.
        self.rate = CHARGE * gamma(stages.operations + stages.input_size + count)
        self._largest = float(np.max(np.abs(geometry.interval), initial=0.0))
        slope, intercept, sizes, charge = np.zeros((4, count))
        constant = np.concatenate([*(stage.constant for stage in stages.hidden), np.zeros(0)])
        hidden, inputs = (_space(stages, first=first) for first in (False, True))
        open_, alike, order = np.zeros(count, np.bool_), np.arange(count), np.arange(count)
        self.safe = SparseNetwork(hidden, inputs, alike, order, constant, slope, intercept, open_, sizes, charge)
        self.quick = SparseNetwork(
            hidden._replace(values=np.zeros(hidden.values.size, np.float32)),
            inputs._replace(values=np.zeros(inputs.values.size, np.float32)),
            alike,
            order,
            single(constant),
            single(slope),
            single(intercept),
            open_,
            single(sizes),
            single(charge),
        )
        self._filled = [0, 0]
        """Entries so far, in ReLUs and in the input."""

    @property
    def slack(self) -> float:
        """What sums may lose to underflow, in all."""
        return math.inf if self.stages.underflows else underflow(self._largest)

    def part(self, number: int) -> slice:
        """Where the arguments of a stage are."""
        starts = self.stages.starts
        return slice(starts[number - 1], starts[number])

    def add(self, number: int) -> None:
        """The rows of a stage: all that they read is bounded."""
        stage, part = self.stages.stages[number - 1], self.part(number)
        sizes = np.array(stage.magnitude)
        hidden, inputs = [], []
        for source, block in sorted(stage.blocks.items()):
            if source == 0:
                sizes = sizes + self.geometry.sizes(block.magnitude)
                inputs.append((block.matrix, 0, np.ones(self.stages.input_size, np.bool_)))
            else:
                before = self.part(source)
                heights = np.maximum(self.upper[before], 0.0)
                sizes = sizes + block.magnitude @ heights
                hidden.append((block.matrix, before.start, heights > 0))
        safe, quick = self.safe, self.quick
        self._filled[0] = _fill(part, hidden, safe.hidden, quick.hidden, self._filled[0])
        self._filled[1] = _fill(part, inputs, safe.inputs, quick.inputs, self._filled[1])
        safe.alike[part] = _alike(part, (safe.hidden, safe.inputs))
        safe.order[part] = part.start + np.argsort(safe.alike[part], kind="stable")
        self._largest = max(self._largest, float(sizes.max(initial=0.0)))
        error = evaluation_error(stage.operations, self.stages.unit)
        self._set(part, sizes=sizes * (1.0 + error / self.rate) if error else sizes)

    def bound(self, number: int, lower: Array, upper: Array) -> None:
        """The bounds of an added stage's arguments."""
        part = self.part(number)
        self.lower[part], self.upper[part], self.alpha[part] = lower, upper, lower_slope(lower, upper)
        # Both have this array.
        self.safe.open[part] = (lower < 0) & (upper > 0)
        slope, magnitude = upper_slope(lower, upper), np.maximum(np.abs(lower), np.abs(upper))
        self._largest = max(self._largest, float(magnitude.max(initial=0.0)))
        charge = self.safe.sizes[part] + magnitude
        self._set(part, slope=slope, intercept=upper_intercept(slope, lower, upper), charge=charge)

    def _set(self, part: slice, **values: Array) -> None:
        for name, value in values.items():
            getattr(self.safe, name)[part], getattr(self.quick, name)[part] = value, single(value)


def _space(stages: Stages, *, first: bool) -> SparseRows:
    """Rows without entries, with space for all in the input, or in ReLUs, which costs no memory until it is filled."""
    blocks = (pair for stage in stages.hidden for pair in stage.blocks.items())
    most = sum(
        block.matrix.size if isinstance(block.matrix, np.ndarray) else block.matrix.nnz
        for source, block in blocks
        if (source == 0) == first
    )
    begin, end = np.zeros((2, stages.relu_count), np.int64)
    return SparseRows(begin, end, np.zeros(most, np.int32), np.zeros(most))


def _fill(part: slice, pieces: list[_Piece], safe: SparseRows, quick: SparseRows, begin: int) -> int:
    """A stage's rows, behind the entries up to `begin`: where they end."""
    counts = np.zeros(part.stop - part.start, np.int64)
    found = []
    for matrix, start, kept in pieces:
        row, column, value = _entries(matrix, kept)
        counts += np.bincount(row, minlength=counts.size)
        found.append((row, column + start, value))
    quick.end[part] = safe.end[part] = begin + np.cumsum(counts)
    quick.begin[part] = safe.begin[part] = safe.end[part] - counts
    if not found:
        return begin
    row, column, value = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(row, kind="stable") if len(found) > 1 else slice(None)
    to = slice(begin, begin + row.size)
    safe.columns[to], safe.values[to] = column[order], value[order]
    quick.values[to] = single(safe.values[to])
    return to.stop


def _entries(matrix: Any, kept: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Array]:
    """Row, column and value of the entries in kept columns, row by row: of a full matrix all, else those that are not
    0."""
    if isinstance(matrix, np.ndarray) and np.count_nonzero(matrix) >= FULL * matrix.size:
        columns, count = np.flatnonzero(kept), len(matrix)
        return np.repeat(np.arange(count), columns.size), np.tile(columns, count), matrix[:, columns].ravel()
    rows = sp.csr_array(matrix)
    on = np.flatnonzero(kept[rows.indices] & (rows.data != 0))
    return np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))[on], rows.indices[on], rows.data[on]


def _alike(part: slice, spaces: tuple[SparseRows, SparseRows]) -> npt.NDArray[np.int64]:
    """For each row of a stage the first one that reads the same columns of both spaces."""
    first: dict[tuple[bytes, ...], int] = {}
    return np.array(
        [
            first.setdefault(tuple(space.columns[space.begin[j] : space.end[j]].tobytes() for space in spaces), j)
            for j in range(part.start, part.stop)
        ],
        np.int64,
    )


def single(values: Array) -> Floats:
    """In float32, infinite where it is too large for that: what is proposed then proves nothing."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
