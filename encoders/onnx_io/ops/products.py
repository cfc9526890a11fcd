"""Gemm and MatMul of a variable with a constant."""

from __future__ import annotations

import math

import numpy as np

from encoders.network.graph import Array
from encoders.network.linear_maps import Conv, Dense, LinearMap, identity, readonly, sealed
from encoders.onnx_io.ops.call import Call, Tensor, Variable
from encoders.onnx_io.ops.draft import Draft, scale
from encoders.onnx_io.ops.room import entries


def gemm(draft: Draft, call: Call) -> list[Tensor]:
    """α·A'·B' + β·C, A' = Aᵀ with transA, B' = Bᵀ with transB; one of A and B is a constant, C either."""
    a, b = call.tensor(0), call.tensor(1)
    trans_a, trans_b = call.attr_int("transA", 0) != 0, call.attr_int("transB", 0) != 0
    if isinstance(a, Variable) and isinstance(b, Variable):
        raise call.two_variables()
    if isinstance(a, Variable):
        weight = _matrix(call, 1, trans_b)
        product = _times(draft, call, _turned(draft, call, a, trans_a), weight)
    elif isinstance(b, Variable):
        product = _left_times(draft, call, _matrix(call, 0, trans_a), _turned(draft, call, b, trans_b))
    else:
        raise call.error("multiplies two constants and adds a variable; store the product as one constant")
    alpha, beta = call.attr_float("alpha", 1.0), call.attr_float("beta", 1.0)
    if alpha != 1.0:
        product = draft.scaled(product, alpha)
    c = call.given(2)
    if c is None or beta == 0.0:
        return [product]
    if isinstance(c, Variable):
        addend = draft.broadcast(c, product.shape)
    elif beta == 1.0:
        return [draft.shifted(product, call.weight(2))]
    else:
        addend = draft.constant(np.ascontiguousarray(np.broadcast_to(call.weight(2), product.shape)), product)
    terms: list[tuple[LinearMap, Variable]] = [
        (identity(product.size), product),
        (scale(product.shape, beta), addend),
    ]
    return [draft.affine(terms, product.shape)]


def _matrix(call: Call, i: int, transposed: bool) -> Array:
    weight = call.weight(i)
    if weight.ndim != 2:
        raise call.error(f"'{call.name(i)}' must be a matrix, but has shape {list(weight.shape)}")
    return weight.T if transposed else weight


def _turned(draft: Draft, call: Call, x: Variable, transposed: bool) -> Variable:
    if x.rank != 2:
        raise call.error(f"needs a matrix, but its variable has shape {list(x.shape)}")
    return draft.moved(x, x.index().T) if transposed else x


def _times(draft: Draft, call: Call, x: Variable, weight: Array) -> Variable:
    """x (…, k) · weight (k, n)."""
    _check_inner(call, x.shape[-1], weight.shape[0])
    left = math.prod(x.shape[:-1])
    return draft.linear(Dense(sealed(weight.T), left), x, (*x.shape[:-1], weight.shape[1]))


def _left_times(draft: Draft, call: Call, weight: Array, x: Variable) -> Variable:
    """weight (m, k) · x (…, k, n)."""
    _check_inner(call, weight.shape[1], x.shape[-2])
    left, right = math.prod(x.shape[:-2]), x.shape[-1]
    return draft.linear(Dense(sealed(weight), left, right), x, (*x.shape[:-2], weight.shape[0], right))


def _check_inner(call: Call, first: int, second: int) -> None:
    if first != second:
        raise call.error(f"cannot multiply: the inner sizes are {first} and {second}")


def matmul(draft: Draft, call: Call) -> list[Tensor]:
    """numpy.matmul of a variable and a constant, of any ranks ≥ 1."""
    a, b = call.tensor(0), call.tensor(1)
    if isinstance(a, Variable) and isinstance(b, Variable):
        raise call.two_variables()
    x = a if isinstance(a, Variable) else call.variable(1)
    variable_first = isinstance(a, Variable)
    weight = call.weight(1 if variable_first else 0)
    if x.rank == 0 or weight.ndim == 0:
        raise call.error("multiplies by a scalar; MatMul needs tensors of rank 1 or more")
    # As in numpy, a vector is a row on the left and a column on the right; its axis is dropped from the result.
    row, column = _rank(a) == 1, _rank(b) == 1
    if x.rank == 1:
        x = Variable(x.node, (1, x.size) if variable_first else (x.size, 1), x.dtype)
    if weight.ndim == 1:
        weight = weight[:, np.newaxis] if variable_first else weight[np.newaxis, :]
    product = _stacked(draft, call, x, weight, variable_first)
    shape = list(product.shape)
    if column:
        del shape[-1]
    if row:
        del shape[-1 if column else -2]
    return [Variable(product.node, tuple(shape), product.dtype)]


def _rank(value: Tensor) -> int:
    return value.rank if isinstance(value, Variable) else value.ndim


def _stacked(draft: Draft, call: Call, x: Variable, weight: Array, variable_first: bool) -> Variable:
    """The product for ranks ≥ 2: one matrix for the whole stack, or one matrix each."""
    lead = np.broadcast_shapes(x.shape[:-2], weight.shape[:-2])
    if math.prod(weight.shape[:-2]) == 1:
        matrix = weight.reshape(weight.shape[-2:])
        product = _times(draft, call, x, matrix) if variable_first else _left_times(draft, call, matrix, x)
        return Variable(product.node, (*lead, *product.shape[-2:]), product.dtype)
    if not variable_first:
        return _each(draft, call, weight, draft.broadcast(x, (*lead, *x.shape[-2:])))
    # x·W = (Wᵀ·xᵀ)ᵀ, matrix by matrix.
    entries((*lead, *x.shape[-2:]))
    index = np.broadcast_to(x.index(), (*lead, *x.shape[-2:]))
    product = _each(draft, call, weight.swapaxes(-1, -2), draft.moved(x, index.swapaxes(-1, -2)))
    return draft.moved(product, product.index().swapaxes(-1, -2))


def _each(draft: Draft, call: Call, weight: Array, x: Variable) -> Variable:
    """weight[s] (m, k) · x[s] (k, n) for each place s of the stack: a convolution of width 1, a group for each s."""
    m, k = weight.shape[-2:]
    lead, n = x.shape[:-2], x.shape[-1]
    _check_inner(call, k, x.shape[-2])
    entries((*lead, m, k))
    groups = math.prod(lead)
    kernel = np.broadcast_to(weight, (*lead, m, k)).reshape(groups * m, k, 1)
    linear = Conv(readonly(kernel), spatial=(n,), strides=(1,), dilations=(1,), pads=(0, 0), groups=groups)
    return draft.linear(linear, x, (*lead, m, n))
