"""K copies of a network that share one input: x ↦ (f(T₁x), …, f(T_K x)) for linear maps T_k, as one graph.

The copies stay side by side in each node: a node of f that has s entries has K·s here, those of copy 1 first. So the
graph has f's nodes and depth, and every linear map becomes the block diagonal of K times itself, which its own kind can
say: a matrix product along one axis, groups of a convolution, a selection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.lazy import Lazy
from encoders.network.graph import Affine, Graph, GraphBuilder, Input, LeakyRelu, Node, Term, frozen, renumbered
from encoders.network.linear_maps import Conv, Dense, LinearMap, Scale, Select, Sparse, readonly, select, sparse

if TYPE_CHECKING:
    import scipy.sparse as sp
else:
    sp = Lazy("scipy.sparse")


def copies(graph: Graph, maps: Sequence[LinearMap]) -> Graph:
    """The graph x ↦ (f(T₁x), …, f(T_K x)), copies one after the other; `maps` are T₁ … T_K, all of one size.

    Each T_k is the matrix of its float64 `rows`, in an Affine node of its own: nothing is multiplied out, so nothing is
    rounded.
    """
    builder = GraphBuilder(maps[0].in_size)
    place = [builder.affine([(stacked(maps), 0)])]
    for node in graph.nodes[1:]:
        place.append(builder.add(renumbered(_times(node, len(maps)), dict(enumerate(place)))))
    return builder.graph(place[graph.output])


def stacked(maps: Sequence[LinearMap]) -> Sparse:
    """x ↦ (T₁x, …, T_K x)."""
    return sparse(sp.vstack([linear.rows() for linear in maps], format="csr"))


def with_rivals(graph: Graph, count: int, label: int) -> Graph:
    """The graph of `count` copies with u_k = max_{j≠label} z_kj − z_k,label after its logits z: (count·m + count,).

    u ≥ 0 in every entry: in every copy some class reaches the label, each its own. One polyhedron instead of the union
    over all (m − 1)^count choices of classes.
    """
    classes = graph.output_size // count
    builder = GraphBuilder(graph.input_size)
    place = [0]
    for node in graph.nodes[1:]:
        place.append(builder.add(renumbered(node, dict(enumerate(place)))))
    logits = place[graph.output]

    def of_class(number: int) -> Select:
        return select([copy * classes + number for copy in range(count)], graph.output_size)

    rivals = [builder.affine([(of_class(other), logits)]) for other in range(classes) if other != label]
    own = builder.affine([(of_class(label), logits)])
    highest = builder.max(rivals)
    first = select([*range(graph.output_size), *[-1] * count], graph.output_size)
    last = select([*[-1] * graph.output_size, *range(count)], count)
    behind = sparse(-last.rows())
    return builder.graph(builder.affine([(first, logits), (last, highest), (behind, own)]))


def _times(node: Node, count: int) -> Node:
    """The node with everything `count` times, its sources as they are."""
    match node:
        case Affine():
            terms = tuple(Term(_map_times(term.map, count), term.source) for term in node.terms)
            return Affine(terms, frozen(np.tile(node.bias, count)))
        case LeakyRelu():
            return LeakyRelu(node.source, frozen(np.tile(node.slope, count)))
        case Input():
            raise TypeError("the input is what copies share")
    return replace(node, size=node.size * count)


def _map_times(linear: LinearMap, count: int) -> LinearMap:
    try:
        rule = TIMES[type(linear)]
    except KeyError:
        raise TypeError(f"no copies of the linear map {type(linear).__name__}") from None
    return rule(linear, count)


def _conv(linear: Conv, count: int) -> Conv:
    """Copies as groups: the channels of a copy are read by its own filters only."""
    weight = np.tile(linear.weight, (count, *[1] * (linear.weight.ndim - 1)))
    return replace(linear, weight=readonly(weight), groups=linear.groups * count)


def _select(linear: Select, count: int) -> Select:
    index = np.arange(count)[:, np.newaxis] * linear.in_size + linear.index
    return select(np.where(linear.index >= 0, index, -1), count * linear.in_size)


def _scale(linear: Scale, count: int) -> Scale:
    divisor = None if linear.divisor is None else readonly(np.tile(linear.divisor, count))
    return Scale(readonly(np.tile(linear.factor, count)), divisor)


TIMES: Mapping[type, Callable[[Any, int], LinearMap]] = {
    Dense: lambda linear, count: replace(linear, left=linear.left * count),
    Conv: _conv,
    Select: _select,
    Scale: _scale,
    Sparse: lambda linear, count: sparse(sp.kron(sp.eye_array(count), linear.rows())),
}
