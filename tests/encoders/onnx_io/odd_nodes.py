"""Random nodes of every op that may depend on the input, odd attributes and all; legal or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

X = "x"  # where the variable stands among a node's inputs


@dataclass(frozen=True)
class Drawn:
    """A node: the shape of the variable, its inputs (X, an array, or None where one is left out), its attributes."""

    shape: tuple[int, ...]
    inputs: tuple[Any, ...] = (X,)
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1


class Draw:
    """What the generators draw from."""

    def __init__(self, seed: tuple[int, ...]) -> None:
        self.rng = np.random.default_rng(seed)

    def pick(self, *values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def chance(self, share: float = 0.5) -> bool:
        return bool(self.rng.random() < share)

    def int(self, low: int, high: int) -> int:
        """low ≤ n ≤ high."""
        return int(self.rng.integers(low, high + 1))

    def ints(self, count: int, low: int, high: int) -> list[int]:
        return [self.int(low, high) for _ in range(count)]

    def shape(self, low: int = 1, high: int = 4) -> tuple[int, ...]:
        return tuple(self.ints(self.int(low, high), 1, 4))

    def floats(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.rng.normal(size=shape).astype(np.float32)

    def broadcasting(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape that broadcasts with `shape`, mostly."""
        kept = [1 if self.chance(0.3) else n for n in shape[self.int(0, len(shape)) :]]
        return (*(self.ints(self.int(1, 2), 1, 3) if self.chance(0.2) else []), *kept)

    def axes(self, rank: int) -> list[int]:
        """Some axes in any order, negative ones among them, rarely one twice or outside."""
        axes = [int(a) for a in self.rng.permutation(rank)[: self.int(1, rank)]]
        axes = [a - rank if self.chance(0.4) else a for a in axes]
        if self.chance(0.05):
            axes.append(self.pick(axes[0], rank, -rank - 1))
        return axes


def i64(values: Any) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def number(value: float) -> np.ndarray:
    return np.array(value, dtype=np.float32)


def some(d: Draw, **attributes: Any) -> dict[str, Any]:
    """Each attribute, or (a third of the time) its default."""
    return {name: value for name, value in attributes.items() if d.chance(0.66)}


def binary(d: Draw, _: int) -> Drawn:
    shape = d.shape()
    other = d.floats(d.broadcasting(shape))
    return Drawn(shape, (X, other) if d.chance() else (other, X))


def variadic(d: Draw, _: int) -> Drawn:
    shape = d.shape()
    others = [X if d.chance(0.3) else d.floats(d.broadcasting(shape)) for _ in range(d.int(0, 2))]
    return Drawn(shape, (*others, X))


def unary(d: Draw, _: int) -> Drawn:
    return Drawn(d.shape())


def sloped(d: Draw, _: int) -> Drawn:
    return Drawn(d.shape(), (X,), some(d, alpha=d.pick(0.5, -0.5, 0.0, 1.0, 2.5)))


def hard_sigmoid(d: Draw, _: int) -> Drawn:
    return Drawn(d.shape(), (X,), some(d, alpha=d.pick(0.5, -0.5, 0.0, 2.0), beta=d.pick(0.3, -1.0, 2.0)))


def prelu(d: Draw, _: int) -> Drawn:
    shape = d.shape(2)
    return Drawn(shape, (X, d.floats(d.broadcasting(shape))))


def clip(d: Draw, opset: int) -> Drawn:
    low, high = (float(value) for value in d.rng.normal(size=2))
    low, high = d.pick((low, high), (min(low, high), max(low, high)), (low, low), (-np.inf, high), (low, np.inf))
    if opset < 11:
        return Drawn(d.shape(), (X,), some(d, min=low, max=high))
    ends = [number(value) if d.chance(0.7) else None for value in (low, high)]
    return Drawn(d.shape(), (X, *ends))


def batch_normalization(d: Draw, opset: int) -> Drawn:
    shape = d.shape(2)
    statistics = [d.floats((shape[1],)) for _ in range(3)]
    odd = {"spatial": d.pick(0, 1)} if opset < 9 else {"training_mode": d.pick(0, 0, 1)} if opset >= 14 else {}
    if odd.get("spatial") == 0 and d.chance():
        statistics = [d.floats(shape[1:]) for _ in range(3)]
    variance = np.abs(d.floats(statistics[0].shape)) + np.float32(0.1)
    outputs = 3 if odd.get("training_mode") else 1
    return Drawn(shape, (X, *statistics, variance), {**odd, **some(d, epsilon=0.25, momentum=0.5)}, outputs)


def gemm(d: Draw, opset: int) -> Drawn:
    m, k, n = d.ints(3, 1, 4)
    trans_a, trans_b = d.int(0, 1), d.int(0, 1)
    a, b = (k, m) if trans_a else (m, k), (n, k) if trans_b else (k, n)
    first = d.chance()
    pair = (X, d.floats(b)) if first else (d.floats(a), X)
    c = [] if opset >= 11 and d.chance(0.3) else [d.floats(d.pick((m, n), (n,), (1, n), (m, 1), (1,), ()))]
    numbers = some(d, alpha=d.pick(0.5, -2.0, 0.0), beta=d.pick(0.25, 0.0, -1.0))
    flags = {name: value for name, value in (("transA", trans_a), ("transB", trans_b)) if value}
    return Drawn(a if first else b, (*pair, *c), {**flags, **numbers})


def matmul(d: Draw, _: int) -> Drawn:
    m, k, n = d.ints(3, 1, 3)
    lead = tuple(d.ints(d.int(0, 2), 1, 3))
    a = d.pick((*lead, m, k), (*d.broadcasting(lead), m, k), (k,)) if lead else d.pick((m, k), (k,))
    b = d.pick((*lead, k, n), (k, n), (k,))
    return Drawn(a, (X, d.floats(b))) if d.chance() else Drawn(b, (d.floats(a), X))


def window(d: Draw, rank: int, *, dilated: bool) -> dict[str, Any]:
    """The geometry of a window: pads, or auto_pad, or (as some exporters write) both."""
    odd = some(d, strides=d.ints(rank, 1, 3))
    if dilated and d.chance(0.4):
        odd["dilations"] = d.ints(rank, 1, 2)
    if d.chance(0.5):
        odd["pads"] = d.ints(2 * rank, 0, 2)
    if d.chance(0.4):
        odd["auto_pad"] = d.pick("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    return odd


def conv(d: Draw, _: int) -> Drawn:
    rank, groups = d.int(1, 3), d.int(1, 2)
    spatial, kernel = d.ints(rank, 3, 6), d.ints(rank, 1, 3)
    channels, filters = groups * d.int(1, 2), groups * d.int(1, 2)
    weight = d.floats((filters, channels // groups, *kernel))
    odd = {**window(d, rank, dilated=True), **some(d, kernel_shape=kernel)}
    bias = [d.floats((filters,))] if d.chance() else []
    return Drawn((1, channels, *spatial), (X, weight, *bias), {**odd, **({"group": groups} if groups > 1 else {})})


def max_pool(d: Draw, opset: int) -> Drawn:
    rank = d.int(1, 3)
    odd = {"kernel_shape": d.ints(rank, 1, 3), **window(d, rank, dilated=opset >= 10)}
    if opset >= 10:
        odd |= some(d, ceil_mode=d.int(0, 1))
    if opset >= 8:
        odd |= some(d, storage_order=d.int(0, 1))
    return Drawn((1, 2, *d.ints(rank, 3, 7)), (X,), odd)


def average_pool(d: Draw, opset: int) -> Drawn:
    rank = d.int(1, 3)
    odd = {"kernel_shape": d.ints(rank, 1, 3), **window(d, rank, dilated=opset >= 19)}
    if opset >= 10:
        odd |= some(d, ceil_mode=d.int(0, 1))
    return Drawn((1, 2, *d.ints(rank, 3, 7)), (X,), {**odd, **some(d, count_include_pad=d.int(0, 1))})


def global_pool(d: Draw, _: int) -> Drawn:
    return Drawn((1, *d.ints(d.int(2, 4), 1, 4)))


def reduction(since: int) -> Callable[[Draw, int], Drawn]:
    def draw(d: Draw, opset: int) -> Drawn:
        shape = d.shape()
        axes = d.axes(len(shape))
        odd = some(d, keepdims=d.int(0, 1))
        if opset < since:
            return Drawn(shape, (X,), {**odd, **some(d, axes=axes)})
        given = d.pick((X,), (X, None), (X, i64(axes)), (X, i64(axes)), (X, i64([])))
        return Drawn(shape, given, {**odd, **some(d, noop_with_empty_axes=d.int(0, 1))})

    return draw


def cast(d: Draw, _: int) -> Drawn:
    return Drawn(d.shape(), (X,), {"to": d.pick(1, 1, 11, 7)})


def concat(d: Draw, _: int) -> Drawn:
    shape = d.shape()
    axis = d.int(-len(shape), len(shape) - 1)
    parts: list[Any] = [X]
    for _ in range(d.int(0, 2)):
        other = list(shape)
        other[axis] = d.int(1, 3)
        parts.append(X if d.chance(0.3) else d.floats(tuple(other)))
    return Drawn(shape, tuple(parts), {"axis": axis})


def dropout(d: Draw, opset: int) -> Drawn:
    if opset < 12:
        return Drawn(d.shape(), (X,), some(d, ratio=0.5))
    given = d.pick((X,), (X, number(0.5)), (X, None, np.array(False)), (X, number(0.0), np.array(True)))
    return Drawn(d.shape(), given)


def expand(d: Draw, _: int) -> Drawn:
    shape = d.shape()
    return Drawn(shape, (X, i64(d.broadcasting(shape))))


def flatten(d: Draw, _: int) -> Drawn:
    shape = d.shape()
    return Drawn(shape, (X,), some(d, axis=d.int(-len(shape) - 1, len(shape) + 1)))


def gather(d: Draw, _: int) -> Drawn:
    shape = d.shape()
    axis = d.int(-len(shape), len(shape) - 1)
    indices = i64(d.ints(d.int(1, 4), -shape[axis], shape[axis] - 1))
    return Drawn(shape, (X, d.pick(indices, indices.reshape(1, -1), indices[0])), {"axis": axis})


def pad(d: Draw, opset: int) -> Drawn:
    shape = d.shape(2, 4)
    mode = d.pick("constant", "constant", "reflect", "edge", *(("wrap",) if opset >= 19 else ()))
    axes = d.axes(len(shape)) if opset >= 18 and d.chance() else None
    pads = d.ints(2 * len(axes or shape), -1, 2)
    if opset < 11:
        return Drawn(shape, (X,), {"pads": pads, "mode": mode, **some(d, value=0.5)})
    value = d.pick(None, number(0.5))
    return Drawn(shape, (X, i64(pads), value, *([] if axes is None else [i64(axes)])), {"mode": mode})


def reshape(d: Draw, opset: int) -> Drawn:
    shape = d.shape()
    size = int(np.prod(shape))
    to = d.pick([-1], [size], [0, -1], [*shape, 1], [1, -1, shape[-1]], [*shape[::-1]], [-1, 2], [0, 0])
    return Drawn(shape, (X, i64(to)), some(d, allowzero=d.int(0, 1)) if opset >= 14 else {})


def sized(d: Draw, opset: int) -> Drawn:
    return Drawn(d.shape(), (X,), some(d, start=d.int(-5, 5), end=d.int(-5, 5)) if opset >= 15 else {})


def slices(d: Draw, opset: int) -> Drawn:
    shape = d.shape()
    axes = d.axes(len(shape))
    starts, ends = d.ints(len(axes), -5, 5), [d.pick(d.int(-5, 5), 2**31 - 1, -(2**31)) for _ in axes]
    if opset < 10:
        count = min(len(axes), len(shape))
        return Drawn(shape, (X,), {"starts": starts[:count], "ends": ends[:count], **some(d, axes=axes[:count])})
    steps = [d.pick(1, 1, 2, -1, -2, 0) for _ in axes]
    return Drawn(shape, (X, i64(starts), i64(ends), i64(axes), i64(steps)))


def depth(d: Draw, opset: int) -> Drawn:
    b = d.int(1, 2)
    return Drawn(
        (d.int(1, 2), b * b * d.int(1, 2), d.int(1, 3), d.int(1, 3)),
        (X,),
        {"blocksize": b, **(some(d, mode=d.pick("DCR", "CRD")) if opset >= 11 else {})},
    )


def space(d: Draw, _: int) -> Drawn:
    b = d.int(1, 2)
    return Drawn((d.int(1, 2), d.int(1, 3), b * d.int(1, 2), b * d.int(1, 2)), (X,), {"blocksize": b})


def split(d: Draw, opset: int) -> Drawn:
    shape = d.shape()
    axis, parts = d.int(-len(shape), len(shape) - 1), d.int(1, 3)
    cuts = [0, *sorted(d.ints(parts - 1, 0, shape[axis])), shape[axis]]
    sizes = [int(n) for n in np.diff(cuts)]
    odd = some(d, axis=axis)
    if opset < 13:
        return Drawn(shape, (X,), {**odd, **some(d, split=sizes)}, parts)
    if opset >= 18 and d.chance():
        return Drawn(shape, (X,), {**odd, "num_outputs": parts}, parts)
    return Drawn(shape, (X, i64(sizes)) if d.chance(0.7) else (X,), odd, parts)


def squeeze(d: Draw, opset: int) -> Drawn:
    shape = tuple(1 if d.chance(0.6) else n for n in d.shape())
    ones = [a for a in d.axes(len(shape)) if -len(shape) <= a < len(shape) and (shape[a] == 1 or d.chance(0.1))]
    if opset < 13:
        return Drawn(shape, (X,), {"axes": ones} if ones and d.chance(0.8) else {})
    return Drawn(shape, (X, i64(ones)) if d.chance(0.8) else (X,))


def unsqueeze(d: Draw, opset: int) -> Drawn:
    shape = d.shape(1, 3)
    axes = d.axes(len(shape) + 2)[: d.int(1, 2)]
    return Drawn(shape, (X,), {"axes": axes}) if opset < 13 else Drawn(shape, (X, i64(axes)))


def tile(d: Draw, _: int) -> Drawn:
    shape = d.shape()
    return Drawn(shape, (X, i64(d.ints(len(shape), 1, 2))))


def transpose(d: Draw, _: int) -> Drawn:
    shape = d.shape()
    return Drawn(shape, (X,), some(d, perm=[int(a) for a in d.rng.permutation(len(shape))]))


DRAWN: Mapping[str, Callable[[Draw, int], Drawn]] = {
    **dict.fromkeys(("Add", "Div", "Mul", "Sub"), binary),
    **dict.fromkeys(("Max", "Min", "Sum"), variadic),
    **dict.fromkeys(("Abs", "Identity", "Neg", "Relu"), unary),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), global_pool),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin"), reduction(18)),
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Cast": cast,
    "Clip": clip,
    "Concat": concat,
    "Conv": conv,
    "DepthToSpace": depth,
    "Dropout": dropout,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "Gemm": gemm,
    "HardSigmoid": hard_sigmoid,
    "LeakyRelu": sloped,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "PRelu": prelu,
    "Pad": pad,
    "ReduceSum": reduction(13),
    "Reshape": reshape,
    "Shape": sized,
    "Size": unary,
    "Slice": slices,
    "SpaceToDepth": space,
    "Split": split,
    "Squeeze": squeeze,
    "Tanh": unary,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
"""Op → a random node of it. Softmax, LogSoftmax and Sigmoid, left out at a network's end, have a test of their own."""
