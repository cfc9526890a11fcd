"""ReduceSum, ReduceMean, ReduceMax, ReduceMin and the global pools: one value for a set of axes."""

from __future__ import annotations

import math

import numpy as np

from encoders.network.linear_maps import Dense, readonly
from encoders.onnx_io.ops.call import Call, Tensor, Variable
from encoders.onnx_io.ops.draft import Draft
from encoders.onnx_io.ops.windows import entrywise_max

AXES_AS_INPUT = {"ReduceSum": 13, "ReduceMean": 18, "ReduceMax": 18, "ReduceMin": 18}
"""The opset since which an op takes its axes as an input instead of an attribute."""


def reduce_sum(draft: Draft, call: Call) -> list[Tensor]:
    """Σ over the axes."""
    x, axes = call.variable(0), _axes(call)
    return [_sum(draft, x, axes, _shape(call, x, axes))]


def reduce_mean(draft: Draft, call: Call) -> list[Tensor]:
    """Σ over the axes, divided by their number of entries: an exact quotient."""
    x, axes = call.variable(0), _axes(call)
    return [_mean(draft, x, axes, _shape(call, x, axes))]


def reduce_max(draft: Draft, call: Call) -> list[Tensor]:
    """The maximum over the axes."""
    x, axes = call.variable(0), _axes(call)
    return [_max(draft, x, axes, _shape(call, x, axes))]


def reduce_min(draft: Draft, call: Call) -> list[Tensor]:
    """min x = −max −x over the axes."""
    x, axes = call.variable(0), _axes(call)
    return [draft.scaled(_max(draft, draft.scaled(x, -1.0), axes, _shape(call, x, axes)), -1.0)]


def global_average_pool(draft: Draft, call: Call) -> list[Tensor]:
    """The mean over all spatial axes."""
    x, axes = call.variable(0), _spatial_axes(call)
    return [_mean(draft, x, axes, (*x.shape[:2], *(1 for _ in axes)))]


def global_max_pool(draft: Draft, call: Call) -> list[Tensor]:
    """The maximum over all spatial axes."""
    x, axes = call.variable(0), _spatial_axes(call)
    return [_max(draft, x, axes, (*x.shape[:2], *(1 for _ in axes)))]


def _spatial_axes(call: Call) -> tuple[int, ...]:
    rank = call.variable(0).rank
    if rank < 3:
        raise call.error(f"needs spatial axes, but its input has rank {rank}")
    return tuple(range(2, rank))


def _axes(call: Call) -> tuple[int, ...]:
    rank = call.variable(0).rank
    if call.opset < AXES_AS_INPUT[call.op]:
        given = call.attr_ints("axes", ())
    else:
        given = () if call.given(1) is None else call.integers(1)
    if not given:
        return () if call.attr_int("noop_with_empty_axes", 0) else tuple(range(rank))
    axes = sorted(call.axis(axis, rank) for axis in given)
    if len(set(axes)) != len(axes):
        raise call.error(f"names an axis twice: {list(given)}")
    return tuple(axes)


def _shape(call: Call, x: Variable, axes: tuple[int, ...]) -> tuple[int, ...]:
    if call.attr_int("keepdims", 1):
        return tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
    return tuple(n for axis, n in enumerate(x.shape) if axis not in axes)


def _sum(draft: Draft, x: Variable, axes: tuple[int, ...], shape: tuple[int, ...]) -> Variable:
    count = math.prod(x.shape[axis] for axis in axes)
    if count == 1:
        return Variable(x.node, shape, x.dtype)
    ones = readonly(np.ones((1, count)))
    if axes == tuple(range(axes[0], axes[-1] + 1)):
        left, right = math.prod(x.shape[: axes[0]]), math.prod(x.shape[axes[-1] + 1 :])
        return draft.linear(Dense(ones, left, right), x, shape)
    # The reduced axes are brought to the end.
    kept = [axis for axis in range(x.rank) if axis not in axes]
    turned = draft.moved(x, x.index().transpose(*kept, *axes))
    return draft.linear(Dense(ones, math.prod(shape)), turned, shape)


def _mean(draft: Draft, x: Variable, axes: tuple[int, ...], shape: tuple[int, ...]) -> Variable:
    count = math.prod(x.shape[axis] for axis in axes)
    total = _sum(draft, x, axes, shape)
    return total if count == 1 else draft.scaled(total, 1.0, float(count))


def _max(draft: Draft, x: Variable, axes: tuple[int, ...], shape: tuple[int, ...]) -> Variable:
    kept = [axis for axis in range(x.rank) if axis not in axes]
    return entrywise_max(draft, x, x.index().transpose(*axes, *kept).reshape(-1, *shape))
