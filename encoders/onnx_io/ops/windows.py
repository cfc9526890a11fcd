"""Conv and the pooling ops: kernels that slide over spatial axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoders.network.linear_maps import Conv, readonly
from encoders.onnx_io.ops.call import Call, Tensor, Variable
from encoders.onnx_io.ops.draft import Draft, Index
from encoders.onnx_io.ops.room import MAX_WINDOW, entries


@dataclass(frozen=True)
class Window:
    """Where a kernel stands, axis by axis: at i·stride + t·dilation − begin for t < kernel, i < out."""

    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    out: tuple[int, ...]

    def positions(self, axis: int) -> npt.NDArray[np.intp]:
        """(kernel, out) → the place along the axis, outside 0..n−1 in the padding."""
        taps = np.arange(self.kernel[axis]) * self.dilations[axis]
        return taps[:, np.newaxis] + np.arange(self.out[axis]) * self.strides[axis] - self.begins[axis]

    def pads(self) -> tuple[int, ...]:
        """Pads with which a plain convolution has exactly `out` places: as far as the last window reaches."""
        reach = (int(self.positions(axis)[-1, -1]) + 1 - n for axis, n in enumerate(self.spatial))
        return (*self.begins, *(max(0, need) for need in reach))


def window(call: Call, spatial: tuple[int, ...], kernel: tuple[int, ...]) -> Window:
    """The geometry that the node's attributes ask for; raises InputError where they do not fit each other."""
    d = len(spatial)
    ones, zeros = (1,) * d, (0,) * d
    strides, dilations = call.attr_ints("strides", ones), call.attr_ints("dilations", ones)
    pads = call.attr_ints("pads", (*zeros, *zeros))
    if not len(kernel) == len(strides) == len(dilations) == d or len(pads) != 2 * d:
        raise call.error(f"kernel, strides, dilations and pads must be for {d} spatial axes")
    if min((*kernel, *strides, *dilations, 1)) < 1 or min((*pads, 0)) < 0:
        raise call.error("kernel, strides and dilations must be positive, and pads not negative")
    ceil = call.attr_int("ceil_mode", 0) != 0
    mode = call.attr_string("auto_pad", "NOTSET")
    if mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise call.error(f"auto_pad '{mode}' is unknown; known: NOTSET, VALID, SAME_UPPER, SAME_LOWER")
    begins, ends, out = [], [], []
    for axis, (n, k, stride, dilation) in enumerate(zip(spatial, kernel, strides, dilations, strict=True)):
        reach = dilation * (k - 1) + 1
        begin, end = (pads[axis], pads[d + axis]) if mode == "NOTSET" else (0, 0)
        if mode.startswith("SAME"):
            total = (-(-n // stride) - 1) * stride + reach - n
            if dilation > 1 or total < -1:
                raise call.error(f"runtimes disagree on auto_pad {mode} with dilations or with gaps; give pads instead")
            begin = max(0, total // 2 if mode == "SAME_UPPER" else total - total // 2)
            end = max(0, total) - begin
        begins.append(begin)
        ends.append(end)
        out.append(_places(n, begin, end, reach, stride, ceil))
    if min((*out, 1)) < 1:
        raise call.error(f"its window does not fit the spatial shape {list(spatial)}")
    if math.prod(kernel) > MAX_WINDOW:
        raise call.error(f"has a window of more than {MAX_WINDOW} places")
    entries((*out, *kernel))
    entries(tuple(n + begin + end for n, begin, end in zip(spatial, begins, ends, strict=True)))
    return Window(spatial, kernel, strides, dilations, tuple(begins), tuple(ends), tuple(out))


def _places(n: int, begin: int, end: int, reach: int, stride: int, ceil: bool) -> int:
    room = n + begin + end - reach
    if room < 0:
        return 0
    if not ceil:
        return room // stride + 1
    # A window that would start behind the input and its first padding is left out.
    places = -(-room // stride) + 1
    return places - 1 if (places - 1) * stride >= n + begin else places


def conv(draft: Draft, call: Call) -> list[Tensor]:
    """Cross-correlation with a constant kernel, in any number of spatial axes, with groups; batch 1."""
    x, weight = _spatial(call), call.weight(1)
    if weight.ndim != x.rank:
        raise call.error(f"weight of shape {list(weight.shape)} does not fit an input of shape {list(x.shape)}")
    if x.shape[0] != 1:
        raise call.error(f"works on a batch of {x.shape[0]}; only batch 1 can be read")
    groups, filters = call.attr_int("group", 1), weight.shape[0]
    if groups < 1 or x.shape[1] != groups * weight.shape[1] or filters % groups:
        raise call.error(
            f"weight of shape {list(weight.shape)} with {groups} groups does not fit {x.shape[1]} channels"
        )
    if call.attr_ints("kernel_shape", weight.shape[2:]) != weight.shape[2:]:
        raise call.error(f"kernel_shape differs from the shape {list(weight.shape)} of the weight")
    view = window(call, x.shape[2:], weight.shape[2:])
    bias = None
    if call.given(2) is not None:
        bias = call.weight(2)
        if bias.shape != (filters,):
            raise call.error(f"bias of shape {list(bias.shape)} does not fit {filters} filters")
        bias = bias.reshape(filters, *(1 for _ in view.out))
    linear = Conv(readonly(weight), view.spatial, view.strides, view.dilations, view.pads(), groups)
    return [draft.linear(linear, x, (1, filters, *view.out), bias)]


def _spatial(call: Call) -> Variable:
    x = call.variable(0)
    if x.rank < 3:
        raise call.error(f"needs spatial axes, but its input has shape {list(x.shape)}")
    return x


def average_pool(draft: Draft, call: Call) -> list[Tensor]:
    """The sum over each window, divided by the number of its places: an exact quotient."""
    x = _spatial(call)
    view = window(call, x.shape[2:], call.attr_ints("kernel_shape", ()))
    counts = np.ones(())
    for axis, n in enumerate(view.spatial):
        positions = view.positions(axis)
        low, high = (-view.begins[axis], n + view.ends[axis]) if call.attr_int("count_include_pad", 0) else (0, n)
        counts = np.multiply.outer(counts, ((positions >= low) & (positions < high)).sum(axis=0))
    if np.any(counts == 0):
        raise call.error("has a window that lies in the padding only")
    channels = math.prod(x.shape[:2])
    entries((channels, *view.kernel))
    ones = readonly(np.ones((channels, 1, *view.kernel)))
    linear = Conv(ones, view.spatial, view.strides, view.dilations, view.pads(), groups=channels)
    total = draft.linear(linear, x, (*x.shape[:2], *view.out))
    return [draft.scaled(total, 1.0, counts)]


def max_pool(draft: Draft, call: Call) -> list[Tensor]:
    """The maximum of one Select for each kernel place; where one is padding, another of the window stands in."""
    if len([name for name in call.proto.output if name]) > 1:
        raise call.error("gives the indices of the maxima; only the maxima can be read")
    x = _spatial(call)
    view = window(call, x.shape[2:], call.attr_ints("kernel_shape", ()))
    inside = [_stand_ins(call, view.positions(axis), n) for axis, n in enumerate(view.spatial)]
    channels = np.arange(math.prod(x.shape[:2]), dtype=np.intp)
    entries((*view.kernel, channels.size, *view.out))
    players = _places_of(view, channels, inside).reshape(-1, *x.shape[:2], *view.out)
    distinct = {player.tobytes(): place for place, player in reversed([*enumerate(players)])}
    return [entrywise_max(draft, x, players[sorted(distinct.values())])]


FEW = 9
"""So many players (a 3×3 window) meet in one Max node; more meet in rounds over halves, which takes fewer nodes."""


def entrywise_max(draft: Draft, x: Variable, indices: Index) -> Variable:
    """max_j x[indices[j]]."""
    shape = indices.shape[1:]
    if len(indices) > FEW:
        current = draft.moved(x, indices)
        while (count := current.shape[0]) > 1:
            half = (count + 1) // 2
            index = current.index()
            players = [draft.moved(current, index[:half]), draft.moved(current, index[count - half :])]
            current = Variable(draft.builder.max([player.node for player in players]), (half, *shape), x.dtype)
        return Variable(current.node, shape, x.dtype)
    players = [draft.moved(x, index) for index in indices]
    if len(players) == 1:
        return players[0]
    return Variable(draft.builder.max([player.node for player in players]), shape, x.dtype)


def _stand_ins(call: Call, positions: npt.NDArray[np.intp], n: int) -> npt.NDArray[np.intp]:
    valid = (positions >= 0) & (positions < n)
    if not np.all(valid.any(axis=0)):
        raise call.error("has a window that lies in the padding only")
    first = np.take_along_axis(positions, valid.argmax(axis=0)[np.newaxis], axis=0)
    return np.where(valid, positions, first)


def _places_of(view: Window, channels: Index, inside: list[npt.NDArray[np.intp]]) -> Index:
    """(k₁, …, k_d, channels, out₁, …, out_d) → the entry of the input that stands there; inside[i] is (k_i, out_i)."""
    d = len(inside)
    index = channels.reshape(-1, *(1 for _ in inside))
    for axis, (n, positions) in enumerate(zip(view.spatial, inside, strict=True)):
        shape = [1] * (2 * d + 1)
        shape[axis], shape[d + 1 + axis] = positions.shape
        index = index * n + positions.reshape(shape)
    return index
