"""Ops that only move entries: reshapes, transposes, slices, gathers, Concat, Pad, and identities such as Cast."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import helper

from encoders.network.linear_maps import LinearMap, select
from encoders.onnx_io.ops.call import FLOATS, Call, Constant, Tensor, Variable
from encoders.onnx_io.ops.draft import Draft, Index
from encoders.onnx_io.ops.folding import positions, sizes
from encoders.onnx_io.ops.room import entries


def movement(draft: Draft, call: Call) -> list[Tensor]:
    """Apply the node to the entry numbers of its first input: that gives the Select, and the shape, of each output."""
    x = call.variable(0)
    others = [None if value is None else call.constant(i) for i, value in enumerate(call.inputs[1:], start=1)]
    return [draft.moved(x, index) for index in positions(call, x, others)]


def shape_of(_: Draft, call: Call) -> list[Tensor]:
    """Shape and Size of a variable are constants: its shape is known, with batch 1."""
    return [sizes(call, call.variable(0).shape)]


def unchanged(_: Draft, call: Call) -> list[Tensor]:
    """Identity."""
    return [call.variable(0)]


def dropout(_: Draft, call: Call) -> list[Tensor]:
    """Dropout at inference is the identity; refuses training mode."""
    training = call.given(2)
    if isinstance(training, Variable) or (training is not None and bool(np.any(training))):
        raise call.error("is in training mode; export the network for inference")
    return [call.variable(0)]


def cast(draft: Draft, call: Call) -> list[Tensor]:
    """A cast between float types is the identity over real numbers; one that narrows is noted."""
    x = call.variable(0)
    target = helper.tensor_dtype_to_np_dtype(call.attr_int("to", 0))
    if target not in FLOATS:
        raise call.error(f"casts a variable to {target}; only casts between float16, float32 and float64 can be read")
    if target.itemsize < x.dtype.itemsize:
        draft.note(f"{call.op} to {target} is read as the identity")
    return [Variable(x.node, x.shape, target)]


def concat(draft: Draft, call: Call) -> list[Tensor]:
    """Variables and constants side by side along `axis`."""
    parts: list[Tensor] = [
        value if isinstance(value, Variable) else call.weight(i) for i, value in enumerate(call.inputs)
    ]
    like = next(part for part in parts if isinstance(part, Variable))
    axis = call.axis(call.attr_int("axis", 1), like.rank)
    lengths = [part.shape[axis] if len(part.shape) == like.rank else -1 for part in parts]
    shape = (*like.shape[:axis], sum(lengths), *like.shape[axis + 1 :])
    if any(
        part.shape != (*shape[:axis], length, *shape[axis + 1 :]) for part, length in zip(parts, lengths, strict=True)
    ):
        raise ValueError(f"shapes {[list(part.shape) for part in parts[:8]]}")
    entries((len({part.node for part in parts if isinstance(part, Variable)}), *shape))
    bias = np.zeros(shape)
    selected: dict[int, Index] = {}
    end = 0
    for part, length in zip(parts, lengths, strict=True):
        place = (*(slice(None) for _ in range(axis)), slice(end, end := end + length))
        if not isinstance(part, Variable):
            bias[place] = part
            continue
        node, origin = draft.origin(part, part.index())
        # Two parts never fill one place.
        if node not in selected:
            selected[node] = np.full(shape, -1, dtype=np.intp)
        selected[node][place] = origin.reshape(part.shape)
    terms: list[tuple[LinearMap, Variable]] = []
    for node, index in selected.items():
        size = draft.builder.size(node)
        terms.append((select(index, size), Variable(node, (size,), like.dtype)))
    return [draft.affine(terms, shape, bias)]


PAD_MODES: Mapping[str, str] = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def pad(draft: Draft, call: Call) -> list[Tensor]:
    """Entries added around a tensor (or cut off, where a pad is negative): constant, reflect, edge or wrap."""
    x = call.variable(0)
    mode = call.attr_string("mode", "constant")
    if mode not in PAD_MODES:
        raise call.error(f"mode '{mode}' is not supported; supported: {', '.join(PAD_MODES)}")
    pads, value = _pads_and_value(call)
    axes = [call.axis(axis, x.rank) for axis in call.integers(3)] if call.given(3) is not None else list(range(x.rank))
    if len(pads) != 2 * len(axes) or len(set(axes)) != len(axes):
        raise call.error(f"has {len(pads)} pads for {len(axes)} axes; it needs two for each")
    widths = [(0, 0)] * x.rank
    for place, axis in enumerate(axes):
        widths[axis] = (pads[place], pads[place + len(axes)])
    entries(tuple(n + max(0, low) + max(0, high) for n, (low, high) in zip(x.shape, widths, strict=True)))
    index = _cut(x.index(), widths)
    extra = [(max(0, low), max(0, high)) for low, high in widths]
    if mode == "constant":
        return [draft.moved(x, np.pad(index, extra, constant_values=-1), np.array(value) if value else None)]
    return [draft.moved(x, np.pad(index, extra, mode=PAD_MODES[mode]))]  # type: ignore[call-overload]


def _cut(index: Index, widths: list[tuple[int, int]]) -> Index:
    return index[
        tuple(slice(max(0, -low), n - max(0, -high)) for n, (low, high) in zip(index.shape, widths, strict=True))
    ]


def _pads_and_value(call: Call) -> tuple[tuple[int, ...], float]:
    if call.opset < 11:
        return call.attr_ints("pads", ()), call.attr_float("value", 0.0)
    value: Constant = np.zeros(1) if call.given(2) is None else call.weight(2)
    if value.size != 1:
        raise call.error("the padding value must be one number")
    return call.integers(1), float(value.reshape(-1)[0])
