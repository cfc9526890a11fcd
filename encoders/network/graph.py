"""The constraint graph: eight node kinds, one frozen graph, one forward and one reverse walker.

Every node has one value, a flat vector (row-major order of the tensor that it stands for). Anything linear is one kind,
`Affine`: value = Σ_j M_j · value(source_j) + bias. After `lower.lower` only `Input`, `Affine` and `Relu` remain, and
`Sigmoid`, the one kind that is not piecewise linear.

A walker takes a table {node kind: rule}. Evaluating a graph, bounding it, encoding it for a solver and differentiating
it are each one table; a kind that the table lacks raises at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from encoders.network.linear_maps import LinearMap

Array = npt.NDArray[np.float64]
Value = TypeVar("Value")
Message = TypeVar("Message")


def frozen(values: npt.ArrayLike) -> Array:
    """Return `values` as a read-only float64 vector that shares no memory with a writable array."""
    array = np.array(values, dtype=np.float64, copy=True).reshape(-1)
    array.flags.writeable = False
    return array


@dataclass(frozen=True)
class Input:
    """The variables: a flat vector of `size` entries. A graph has exactly one, its node 0."""

    size: int

    @property
    def sources(self) -> tuple[int, ...]:
        return ()


@dataclass(frozen=True)
class Term:
    """One summand M · value(source) of an affine node."""

    map: LinearMap
    source: int


@dataclass(frozen=True, eq=False)
class Affine:
    """value = Σ_j terms[j].map · value(terms[j].source) + bias; bias has shape (size,). A source may occur twice."""

    terms: tuple[Term, ...]
    bias: Array

    @property
    def size(self) -> int:
        return int(self.bias.size)

    @property
    def sources(self) -> tuple[int, ...]:
        return tuple(term.source for term in self.terms)


@dataclass(frozen=True)
class Relu:
    """value = max(0, value(source)), entry by entry."""

    source: int
    size: int

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)


@dataclass(frozen=True)
class Abs:
    """value = |value(source)|, entry by entry."""

    source: int
    size: int

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)


@dataclass(frozen=True)
class Max:
    """value = the entrywise maximum of the values of its `sources`, at least one, all of one size."""

    sources: tuple[int, ...]
    size: int


@dataclass(frozen=True, eq=False)
class LeakyRelu:
    """value = v where v ≥ 0, slope · v elsewhere, with v = value(source); `slope` has shape (size,)."""

    source: int
    slope: Array

    @property
    def size(self) -> int:
        return int(self.slope.size)

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)


@dataclass(frozen=True)
class Clip:
    """value = min(max(v, low), high), v = value(source). low ≤ high; either may be infinite, and then does not bind."""

    source: int
    size: int
    low: float
    high: float

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)


@dataclass(frozen=True)
class Sigmoid:
    """value = 1 / (1 + e^−v), v = value(source), entry by entry. Of a rational v ≠ 0 it is irrational."""

    source: int
    size: int

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)


Node = Input | Affine | Relu | Abs | Max | LeakyRelu | Clip | Sigmoid
NODE_KINDS: tuple[type, ...] = (Input, Affine, Relu, Abs, Max, LeakyRelu, Clip, Sigmoid)
SMOOTH_KINDS: tuple[type, ...] = (Sigmoid,)
"""Those that are not piecewise linear: no rational evaluation, no LP and no MILP says them."""
LOWERED_KINDS: tuple[type, ...] = (Input, Affine, Relu, *SMOOTH_KINDS)

ForwardTable = Mapping[type, Callable[[int, Any, list[Value]], Value]]
ReverseTable = Mapping[type, Callable[[int, Any, Message], list[tuple[int, Message]]]]


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order; node 0 is the input; `output` is the index of the node whose value is the result.

    Raises ValueError when an index points forward, a size does not fit, or the input is not node 0.
    """

    nodes: tuple[Node, ...]
    output: int

    def __post_init__(self) -> None:
        if not self.nodes or not isinstance(self.nodes[0], Input):
            raise ValueError("node 0 of a graph must be its Input")
        if not 0 <= self.output < len(self.nodes):
            raise ValueError(f"output index {self.output} is outside 0..{len(self.nodes) - 1}")
        for index, node in enumerate(self.nodes):
            if index > 0 and isinstance(node, Input):
                raise ValueError(f"node {index} is a second Input")
            for source in node.sources:
                if not 0 <= source < index:
                    raise ValueError(f"node {index} reads node {source}, which does not come before it")
            self._check_sizes(index, node)

    def _check_sizes(self, index: int, node: Node) -> None:
        if isinstance(node, Affine):
            for term in node.terms:
                if term.map.in_size != self.nodes[term.source].size or term.map.out_size != node.size:
                    raise ValueError(
                        f"node {index}: a {type(term.map).__name__} of {term.map.in_size} -> {term.map.out_size} "
                        f"stands between sizes {self.nodes[term.source].size} -> {node.size}"
                    )
        elif any(self.nodes[source].size != node.size for source in node.sources):
            raise ValueError(f"node {index}: a {type(node).__name__} must have the size of what it reads")

    @property
    def input_size(self) -> int:
        return self.nodes[0].size

    @property
    def output_size(self) -> int:
        return self.nodes[self.output].size

    @property
    def lowered(self) -> bool:
        """True when only Input, Affine, Relu and Sigmoid nodes are left."""
        return all(isinstance(node, LOWERED_KINDS) for node in self.nodes)

    @property
    def smooth(self) -> bool:
        """True when some node is not piecewise linear."""
        return any(isinstance(node, SMOOTH_KINDS) for node in self.nodes)

    def relus(self) -> tuple[int, ...]:
        """The indices of the Relu nodes, in order."""
        return tuple(index for index, node in enumerate(self.nodes) if isinstance(node, Relu))

    @property
    def relu_count(self) -> int:
        """The number of scalar ReLUs."""
        return sum(self.nodes[index].size for index in self.relus())


def forward(graph: Graph, table: ForwardTable[Value], first: Value) -> list[Value]:
    """Walk from the input to the last node: values[i] = table[kind](i, node, values before i); values[0] = `first`."""
    values = [first]
    for index, node in enumerate(graph.nodes[1:], start=1):
        values.append(_rule(table, node)(index, node, values))
    return values


def reverse(
    graph: Graph,
    table: ReverseTable[Message],
    start: int,
    seed: Message,
    add: Callable[[Message, Message], Message],
) -> dict[int, Message]:
    """Walk from node `start` back to the input.

    table[kind](i, node, message) sends messages to the node's sources; messages that meet are combined by `add`.
    Returns the message that arrives at the Input, under key 0 (no entry if none arrives).
    """
    pending: dict[int, Message] = {start: seed}
    for index in range(start, 0, -1):
        message = pending.pop(index, None)
        if message is None:
            continue
        node = graph.nodes[index]
        for source, part in _rule(table, node)(index, node, message):
            pending[source] = add(pending[source], part) if source in pending else part
    return pending


def _rule(table: Mapping[type, Any], node: Node) -> Any:
    try:
        return table[type(node)]
    except KeyError:
        known = ", ".join(kind.__name__ for kind in table)
        raise TypeError(f"no rule for {type(node).__name__} nodes here; there are rules for: {known}") from None


def evaluate(graph: Graph, x: npt.ArrayLike) -> list[Array]:
    """Every node's value in float64 for a batch of inputs.

    x has shape (batch, input_size); entry i of the result has shape (batch, size of node i).
    """
    return forward(graph, EVALUATE, np.atleast_2d(np.asarray(x, dtype=np.float64)))


def outputs(graph: Graph, x: npt.ArrayLike) -> Array:
    """The output node's value in float64: shape (batch, output_size) for x of shape (batch, input_size)."""
    return evaluate(graph, x)[graph.output]


def _affine(_: int, node: Affine, values: list[Array]) -> Array:
    batch = values[0].shape[0]
    total = np.broadcast_to(node.bias, (batch, node.size))
    for term in node.terms:
        total = term.map.apply(values[term.source]) + total
    return total


def sigmoid(values: Array) -> Array:
    """σ(v) = 1 / (1 + e^−v) in float64, off by a few units in the last place; no exponential overflows."""
    small = np.exp(-np.abs(values))
    found: Array = np.where(values >= 0, 1.0, small) / (1.0 + small)
    return found


EVALUATE: ForwardTable[Array] = {
    Affine: _affine,
    Relu: lambda _, node, values: np.maximum(values[node.source], 0.0),
    Abs: lambda _, node, values: np.abs(values[node.source]),
    Max: lambda _, node, values: np.maximum.reduce([values[source] for source in node.sources]),
    LeakyRelu: lambda _, node, values: np.where(
        values[node.source] >= 0, values[node.source], node.slope * values[node.source]
    ),
    Clip: lambda _, node, values: np.clip(values[node.source], node.low, node.high),
    Sigmoid: lambda _, node, values: sigmoid(values[node.source]),
}


class GraphBuilder:
    """Collects nodes in order; each method returns the new node's index."""

    def __init__(self, input_size: int) -> None:
        self._nodes: list[Node] = [Input(input_size)]

    def size(self, index: int) -> int:
        return self._nodes[index].size

    def node(self, index: int) -> Node:
        return self._nodes[index]

    def add(self, node: Node) -> int:
        self._nodes.append(node)
        return len(self._nodes) - 1

    def affine(self, terms: list[tuple[LinearMap, int]], bias: npt.ArrayLike | None = None) -> int:
        """Σ map · source + bias; without a bias, zeros."""
        size = terms[0][0].out_size
        offset = np.zeros(size) if bias is None else np.broadcast_to(np.asarray(bias, dtype=np.float64), (size,))
        return self.add(Affine(tuple(Term(linear, source) for linear, source in terms), frozen(offset)))

    def relu(self, source: int) -> int:
        return self.add(Relu(source, self.size(source)))

    def abs(self, source: int) -> int:
        return self.add(Abs(source, self.size(source)))

    def max(self, sources: list[int]) -> int:
        return self.add(Max(tuple(sources), self.size(sources[0])))

    def graph(self, output: int) -> Graph:
        """The frozen graph, without the nodes that `output` does not need (the input always stays)."""
        needed = {0, output}
        for index in range(output, 0, -1):
            if index in needed:
                needed.update(self._nodes[index].sources)
        order = sorted(needed)
        place = {old: new for new, old in enumerate(order)}
        return Graph(tuple(renumbered(self._nodes[old], place) for old in order), place[output])


def renumbered(node: Node, place: Mapping[int, int] | Sequence[int]) -> Node:
    """The same node with each source s replaced by place[s]."""
    match node:
        case Input():
            return node
        case Affine():
            return Affine(tuple(Term(term.map, place[term.source]) for term in node.terms), node.bias)
        case Relu():
            return Relu(place[node.source], node.size)
        case Abs():
            return Abs(place[node.source], node.size)
        case Max():
            return Max(tuple(place[source] for source in node.sources), node.size)
        case LeakyRelu():
            return LeakyRelu(place[node.source], node.slope)
        case Clip():
            return Clip(place[node.source], node.size, node.low, node.high)
        case Sigmoid():
            return Sigmoid(place[node.source], node.size)
