"""The graph under construction, with the steps that the rules share; each keeps the weights of the file unrounded."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Affine, Array, frozen
from encoders.network.linear_maps import LinearMap, Scale, Select, identity, select
from encoders.onnx_io.ops.call import Variable
from encoders.onnx_io.ops.endings import Ending
from encoders.onnx_io.ops.room import Allowance, BoundedBuilder, entries

Index = npt.NDArray[np.intp]


class Draft:
    """A GraphBuilder with shapes: node values are flat, tensors are Variables.

    `uses[name]` counts the nodes that read a tensor (a graph output counts once); `names[i]` are the tensors that node
    i stands for. `ending` says which tensors stand behind the scores. `transformed` names a tensor of the file that
    holds probabilities where the graph has the scores they were made from.
    """

    def __init__(self, input_size: int, ending: Ending, uses: Mapping[str, int], room: Allowance) -> None:
        self.builder = BoundedBuilder(input_size, room)
        self.uses = Counter(uses)
        self.names: defaultdict[int, list[str]] = defaultdict(list)
        self.ending = ending
        self.logits_name = ending.read
        self.transformed: str | None = None
        self.notes: list[str] = []
        self.drops: list[str] = []

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def dropped(self, scores: str, what: str) -> None:
        """Note that what follows the tensor `scores` at the network's end is left out; the first such step counts."""
        if self.logits_name == self.ending.read:
            self.logits_name = scores
        self.drops.append(what)
        self.note(f"final {what} dropped: the order of the logits is the same")

    def linear(self, linear: LinearMap, x: Variable, shape: Iterable[int], bias: Array | None = None) -> Variable:
        """linear · x + bias, seen with `shape`; bias broadcasts to that shape."""
        return self.affine([(linear, x)], shape, bias)

    def affine(
        self, terms: list[tuple[LinearMap, Variable]], shape: Iterable[int], bias: Array | None = None
    ) -> Variable:
        """Σ map · x + bias, seen with `shape`; bias broadcasts to that shape."""
        full = tuple(shape)
        for linear, x in terms:
            if (linear.in_size, linear.out_size) != (x.size, entries(full)):
                raise ValueError(f"shape {list(x.shape)} does not become {list(full)}")
        offset = None if bias is None else np.broadcast_to(bias, full).reshape(-1)
        node = self.builder.affine([(linear, x.node) for linear, x in terms], offset)
        return Variable(node, full, terms[0][1].dtype)

    def constant(self, values: Array, like: Variable) -> Variable:
        """A node whose value is constant, for where a graph node needs a source."""
        nothing = select(np.full(values.size, -1), self.builder.size(0))
        node = self.builder.affine([(nothing, 0)], values.reshape(-1))
        return Variable(node, values.shape, like.dtype)

    def scaled(self, x: Variable, factor: float | Array, divisor: float | Array | None = None) -> Variable:
        """factor · x / divisor, entry by entry; both broadcast to the shape of x."""
        return self.linear(scale(x.shape, factor, divisor), x, x.shape)

    def shifted(self, x: Variable, offset: Array) -> Variable:
        """x + offset, merged into the affine step that gives x where that has no bias and no other reader."""
        values = np.broadcast_to(offset, x.shape)
        node = self.builder.node(x.node)
        if isinstance(node, Affine) and not np.any(node.bias) and self._read_once(x.node):
            return Variable(self.builder.add(Affine(node.terms, frozen(values))), x.shape, x.dtype)
        return self.linear(identity(x.size), x, x.shape, values)

    def _read_once(self, node: int) -> bool:
        # A tensor that only re-shapes another shares its node; reading one by the other is no reader of the node.
        names = self.names[node]
        return sum(self.uses[name] for name in names) - (len(names) - 1) <= 1

    def moved(self, x: Variable, index: npt.NDArray[np.integer], fill: Array | None = None) -> Variable:
        """y[i] = x[index[i]] in the shape of `index`; where index is −1, `fill` (zero without it)."""
        if fill is None and index.size == x.size and np.array_equal(index.reshape(-1), np.arange(x.size)):
            return Variable(x.node, index.shape, x.dtype)
        node, origin = self.origin(x, index)
        bias = None if fill is None else np.where(index < 0, fill, 0.0).reshape(-1)
        place = self.builder.affine([(select(origin, self.builder.size(node)), node)], bias)
        return Variable(place, index.shape, x.dtype)

    def origin(self, x: Variable, index: npt.NDArray[np.integer]) -> tuple[int, Index]:
        """The node from which x[index] can be selected directly, and the index into it: selections are composed."""
        flat = np.asarray(index, dtype=np.intp).reshape(-1)
        node = self.builder.node(x.node)
        if isinstance(node, Affine) and len(node.terms) == 1 and not np.any(node.bias):
            inner = node.terms[0].map
            if isinstance(inner, Select):
                return node.terms[0].source, np.where(flat < 0, -1, inner.index[np.maximum(flat, 0)])
        return x.node, flat

    def broadcast(self, x: Variable, shape: tuple[int, ...]) -> Variable:
        """x repeated to `shape` by numpy's rules."""
        entries(shape)
        return self.moved(x, np.broadcast_to(x.index(), shape))


def scale(shape: tuple[int, ...], factor: float | Array, divisor: float | Array | None = None) -> Scale:
    """The map x ↦ factor · x / divisor for a tensor of that shape."""
    divisors = None if divisor is None else frozen(np.broadcast_to(divisor, shape))
    return Scale(frozen(np.broadcast_to(factor, shape)), divisors)
