"""Linear maps between flat vectors: Dense, Conv, Select, Scale, Sparse.

Each has `apply` (M·x), `adjoint` (Mᵀ·y), `magnitude` (the map |M|), `rows` (the matrix itself, sparse), `fan_in` (most
nonzeros in a row) and `fan_out` (most nonzeros in a column). `apply` and `adjoint` work on the last axis of a batch
(shape (batch, size)). They keep the dtype of their argument, object arrays of Python integers included, so that exact
evaluation runs through the same code (see `exact`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from encoders.lazy import Lazy

if TYPE_CHECKING:
    import scipy.sparse as sp
else:
    sp = Lazy("scipy.sparse")

Values = npt.NDArray[Any]


class LinearMap(Protocol):
    """A matrix M of shape (out_size, in_size), never formed unless `rows` is asked for."""

    @property
    def in_size(self) -> int: ...
    @property
    def out_size(self) -> int: ...
    @property
    def fan_in(self) -> int: ...
    @property
    def fan_out(self) -> int: ...
    def apply(self, x: Values) -> Values:
        """M·x for each row of x: (batch, in_size) → (batch, out_size)."""

    def adjoint(self, y: Values) -> Values:
        """Mᵀ·y for each row of y: (batch, out_size) → (batch, in_size)."""

    def magnitude(self) -> LinearMap:
        """The map with every entry replaced by its absolute value."""

    def rows(self) -> sp.csr_array:
        """M as a sparse float64 matrix of shape (out_size, in_size)."""


def readonly(values: npt.ArrayLike, dtype: Any = np.float64) -> Values:
    """A private, read-only copy."""
    array = np.array(values, dtype=dtype, copy=True)
    array.flags.writeable = False
    return array


def sealed(values: Values) -> Values:
    """The array itself, read-only: for one that nobody else holds."""
    values.flags.writeable = False
    return values


@dataclass(frozen=True, eq=False)
class Dense:
    """y[l, :, r] = weight · x[l, :, r] for l < left, r < right: a matrix product along one axis of a tensor.

    `weight` has shape (m, k); in_size = left·k·right, out_size = left·m·right. left = right = 1 is the plain matrix.
    """

    weight: Values
    left: int = 1
    right: int = 1

    @property
    def in_size(self) -> int:
        return self.left * int(self.weight.shape[1]) * self.right

    @property
    def out_size(self) -> int:
        return self.left * int(self.weight.shape[0]) * self.right

    @property
    def fan_in(self) -> int:
        return int(self.weight.shape[1])

    @property
    def fan_out(self) -> int:
        return int(self.weight.shape[0])

    def apply(self, x: Values) -> Values:
        return self._product(self.weight, x)

    def adjoint(self, y: Values) -> Values:
        return self._product(self.weight.T, y)

    def _product(self, matrix: Values, x: Values) -> Values:
        if self.left == self.right == 1:
            return x @ matrix.T
        blocks = x.reshape(len(x), self.left, matrix.shape[1], self.right)
        product: Values = np.matmul(matrix, blocks)
        return product.reshape(len(x), -1)

    def magnitude(self) -> Dense:
        return replace(self, weight=sealed(np.abs(self.weight)))

    def rows(self) -> sp.csr_array:
        core = sp.csr_array(self.weight)
        if self.right > 1:
            core = sp.csr_array(sp.kron(core, sp.eye_array(self.right)))
        if self.left > 1:
            core = sp.csr_array(sp.kron(sp.eye_array(self.left), core))
        return core


@dataclass(frozen=True, eq=False)
class Conv:
    """Cross-correlation as ONNX Conv computes it, in any number of spatial dimensions, without bias.

    weight: (M, C/groups, k₁, …, k_d); input (C, *spatial), output (M, *out_spatial), both flattened row-major;
    `pads` = (begin₁ … begin_d, end₁ … end_d), zeros outside.
    """

    weight: Values
    spatial: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    groups: int = 1

    @property
    def channels(self) -> int:
        return int(self.weight.shape[1]) * self.groups

    @cached_property
    def padded(self) -> tuple[int, ...]:
        d = len(self.spatial)
        return tuple(n + self.pads[i] + self.pads[d + i] for i, n in enumerate(self.spatial))

    @cached_property
    def out_spatial(self) -> tuple[int, ...]:
        reach = (dilation * (k - 1) + 1 for dilation, k in zip(self.dilations, self.weight.shape[2:], strict=True))
        return tuple((n - r) // s + 1 for n, r, s in zip(self.padded, reach, self.strides, strict=True))

    @property
    def in_size(self) -> int:
        return self.channels * int(np.prod(self.spatial))

    @property
    def out_size(self) -> int:
        return int(self.weight.shape[0]) * int(np.prod(self.out_spatial))

    @property
    def fan_in(self) -> int:
        return int(np.prod(self.weight.shape[1:]))

    @property
    def fan_out(self) -> int:
        return int(self.weight.shape[0] // self.groups * np.prod(self.weight.shape[2:]))

    def _taps(self) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
        """Each kernel position with the slice of the padded input that it meets."""
        for tap in itertools.product(*(range(k) for k in self.weight.shape[2:])):
            starts = [t * dilation for t, dilation in zip(tap, self.dilations, strict=True)]
            yield (
                tap,
                tuple(
                    slice(start, start + (n - 1) * stride + 1, stride)
                    for start, n, stride in zip(starts, self.out_spatial, self.strides, strict=True)
                ),
            )

    def _grouped_tap(self, tap: tuple[int, ...]) -> Values:
        """The weight at one kernel position: (groups, M/groups, C/groups)."""
        place: tuple[Any, ...] = (slice(None), slice(None), *tap)
        matrix: Values = self.weight[place]
        return matrix.reshape(self.groups, -1, matrix.shape[1])

    def _inner(self) -> tuple[slice, ...]:
        return tuple(slice(self.pads[i], self.pads[i] + n) for i, n in enumerate(self.spatial))

    def apply(self, x: Values) -> Values:
        batch = len(x)
        padded = np.zeros((batch, self.channels, *self.padded), dtype=np.result_type(x, self.weight))
        padded[(slice(None), slice(None), *self._inner())] = x.reshape(batch, self.channels, *self.spatial)
        total: Values | None = None
        for tap, window in self._taps():
            patch = padded[(slice(None), slice(None), *window)].reshape(
                batch, self.groups, -1, int(np.prod(self.out_spatial))
            )
            part = np.matmul(self._grouped_tap(tap), patch)
            total = part if total is None else total + part
        assert total is not None
        return total.reshape(batch, -1)

    def adjoint(self, y: Values) -> Values:
        batch = len(y)
        grouped = y.reshape(batch, self.groups, -1, int(np.prod(self.out_spatial)))
        padded = np.zeros((batch, self.channels, *self.padded), dtype=np.result_type(y, self.weight))
        for tap, window in self._taps():
            part = np.matmul(self._grouped_tap(tap).swapaxes(1, 2), grouped)
            padded[(slice(None), slice(None), *window)] += part.reshape(batch, self.channels, *self.out_spatial)
        return padded[(slice(None), slice(None), *self._inner())].reshape(batch, -1)

    def magnitude(self) -> Conv:
        return replace(self, weight=sealed(np.abs(self.weight)))

    def rows(self) -> sp.csr_array:
        # Entry (o, i) is found by pushing input numbers through each tap, with -1 for padding.
        numbers = np.full((self.channels, *self.padded), -1)
        numbers[(slice(None), *self._inner())] = np.arange(self.in_size).reshape(self.channels, *self.spatial)
        places = int(np.prod(self.out_spatial))
        out = np.arange(self.out_size).reshape(self.groups, -1, 1, places)
        data, row, column = [], [], []
        for tap, window in self._taps():
            source = numbers[(slice(None), *window)].reshape(self.groups, 1, -1, places)
            value = self._grouped_tap(tap)[..., np.newaxis]
            value, source, target = np.broadcast_arrays(value, source, out)
            keep = (source >= 0) & (value != 0)
            data.append(value[keep])
            row.append(target[keep])
            column.append(source[keep])
        shape = (self.out_size, self.in_size)
        return sp.csr_array((np.concatenate(data), (np.concatenate(row), np.concatenate(column))), shape=shape)


@dataclass(frozen=True, eq=False)
class Select:
    """y[i] = x[index[i]], or 0 where index[i] = −1: reshapes, transposes, slices, gathers, padding."""

    index: npt.NDArray[np.intp]
    in_size: int

    @property
    def out_size(self) -> int:
        return int(self.index.size)

    @property
    def fan_in(self) -> int:
        return 1

    @cached_property
    def fan_out(self) -> int:
        used = self.index[self.index >= 0]
        return int(np.bincount(used).max()) if used.size else 0

    def apply(self, x: Values) -> Values:
        return np.where(self.index >= 0, x[:, np.maximum(self.index, 0)], _zero(x.dtype))

    def adjoint(self, y: Values) -> Values:
        result = np.zeros((len(y), self.in_size), dtype=y.dtype)
        kept = np.flatnonzero(self.index >= 0)
        np.add.at(result.T, self.index[kept], y[:, kept].T)
        return result

    def magnitude(self) -> Select:
        return self

    def rows(self) -> sp.csr_array:
        kept = np.flatnonzero(self.index >= 0)
        data = np.ones(kept.size)
        return sp.csr_array((data, (kept, self.index[kept])), shape=(self.out_size, self.in_size))


@dataclass(frozen=True, eq=False)
class Scale:
    """y[i] = factor[i] · x[i] / divisor[i].

    The divisor (absent = 1) keeps quotients such as 1/3 exact: no float is formed where exact arithmetic is asked for.
    """

    factor: Values
    divisor: Values | None = field(default=None)

    @property
    def in_size(self) -> int:
        return int(self.factor.size)

    @property
    def out_size(self) -> int:
        return int(self.factor.size)

    @property
    def fan_in(self) -> int:
        return 1

    @property
    def fan_out(self) -> int:
        return 1

    @cached_property
    def quotient(self) -> Values:
        """factor / divisor, rounded once to float64."""
        return self.factor if self.divisor is None else self.factor / self.divisor

    def apply(self, x: Values) -> Values:
        return x * self.quotient

    def adjoint(self, y: Values) -> Values:
        return y * self.quotient

    def magnitude(self) -> Scale:
        divisor = None if self.divisor is None else sealed(np.abs(self.divisor))
        return Scale(sealed(np.abs(self.factor)), divisor)

    def rows(self) -> sp.csr_array:
        return sp.csr_array(sp.diags_array(self.quotient))


@dataclass(frozen=True, eq=False)
class Sparse:
    """y = M · x for any sparse matrix, row by row as `scipy.sparse.csr_array` holds it, without duplicates.

    Row i has the entries data[indptr[i] : indptr[i + 1]] in the columns indices[indptr[i] : indptr[i + 1]].
    """

    data: Values
    indices: npt.NDArray[np.intp]
    indptr: npt.NDArray[np.intp]
    in_size: int

    @property
    def out_size(self) -> int:
        return int(self.indptr.size) - 1

    @cached_property
    def fan_in(self) -> int:
        return int(np.diff(self.indptr).max(initial=0))

    @cached_property
    def fan_out(self) -> int:
        return int(np.bincount(self.indices).max(initial=0))

    def apply(self, x: Values) -> Values:
        if not (x.dtype.hasobject or self.data.dtype.hasobject):
            return np.ascontiguousarray((self._matrix @ x.T).T)
        products = x[:, self.indices] * self.data
        result = np.zeros((len(x), self.out_size), dtype=products.dtype)
        filled = np.flatnonzero(np.diff(self.indptr))
        if filled.size:
            result[:, filled] = np.add.reduceat(products, self.indptr[filled], axis=1)
        return result

    def adjoint(self, y: Values) -> Values:
        return self.transposed.apply(y)

    @cached_property
    def transposed(self) -> Sparse:
        """The map Mᵀ."""
        order = np.argsort(self.indices, kind="stable")
        rows = np.repeat(np.arange(self.out_size), np.diff(self.indptr))[order]
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.indices, minlength=self.in_size))])
        return Sparse(self.data[order], rows.astype(np.intp), starts.astype(np.intp), self.out_size)

    def magnitude(self) -> Sparse:
        return replace(self, data=sealed(np.abs(self.data)))

    @cached_property
    def _matrix(self) -> sp.csr_array:
        return sp.csr_array((self.data, self.indices, self.indptr), shape=(self.out_size, self.in_size))

    def rows(self) -> sp.csr_array:
        return self._matrix.copy()


LINEAR_MAPS: tuple[type, ...] = (Dense, Conv, Select, Scale, Sparse)


def sparse(matrix: Any) -> Sparse:
    """The map of a matrix, `scipy.sparse` or dense, of shape (out_size, in_size); zeros are left out."""
    rows = sp.csr_array(matrix, dtype=np.float64)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    indices, indptr = (readonly(part, np.intp) for part in (rows.indices, rows.indptr))
    return Sparse(readonly(rows.data), indices, indptr, int(rows.shape[1]))


def identity(size: int, factor: float = 1.0) -> Scale:
    """The map x ↦ factor · x on vectors of `size` entries."""
    return Scale(readonly(np.full(size, factor)))


def select(index: npt.ArrayLike, in_size: int) -> Select:
    """The map y[i] = x[index[i]] (0 where index[i] is −1)."""
    return Select(readonly(np.asarray(index).reshape(-1), np.intp), in_size)


def _zero(dtype: np.dtype[Any]) -> Any:
    return 0 if dtype.hasobject else dtype.type(0)
