"""Neurons of one layer that are multiples of each other become one, exactly over the reals: f = Σ c_j·relu(v).

    relu(c·v) = c·relu(v),   relu(−c·v) = c·relu(v) − c·v,   c > 0

Where what reads such a group cancels relu(v), as behind relu(v) − relu(−v) = v, no ReLU is left of it at all: so nets
are undone whose ReLUs were split to make them harder (Relusplitter, Huang et al. 2025).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from encoders.lazy import Lazy
from encoders.network.graph import Affine, Array, Graph, GraphBuilder, Relu, Term, frozen, renumbered
from encoders.network.linear_maps import Conv, Dense, select, sparse
from encoders.network.pieces import rows_of

if TYPE_CHECKING:
    import scipy.sparse as sp
else:
    sp = Lazy("scipy.sparse")

KEYS = 8
"""Entries of a row by which multiples are first looked for: rows that differ there are not compared whole."""

TRIED = 4
"""Neurons of the same direction that one is compared with: of more, factors are no float64 times each other."""

NEARLY = 1e-9
"""Relative: what is farther from a multiple is none, exactly; what is nearer is looked at in exact numbers."""

NeuronIndices = npt.NDArray[np.intp]


MERGED = 1 / 16
"""Of a network's ReLUs, the share that has to go before a search gives up what is proved of float32 evaluations beside
the reals."""


def merged(graph: Graph, look: Callable[[], None] = lambda: None, share: float = 0.0) -> Graph:
    """The same function with fewer ReLUs; the graph itself where no neurons are multiples of each other.

    Factors are float64 and their products exact, or neurons stay apart. Float32 evaluations are of the file's neurons,
    which round each for itself: of these nothing is said. share: of the ReLUs, that has to go, or the graph itself is
    given back. look: called between nodes; what it raises ends the work.
    """
    groups = {}
    for index in graph.relus():
        look()
        if (group := _groups(graph, index, look)) is not None:
            groups[index] = group
    if not groups:
        return graph
    builder, place = GraphBuilder(graph.input_size), [0]
    for index, node in enumerate(graph.nodes[1:], start=1):
        look()
        if isinstance(node, Relu) and index in groups:
            place.append(
                _without_multiples(builder, place[node.source], groups[index], _cancelled(graph, index, groups, look))
            )
        else:
            place.append(builder.add(renumbered(node, place)))
    found = builder.graph(place[graph.output])
    return found if graph.relu_count - found.relu_count >= share * graph.relu_count else graph


@dataclass(frozen=True, eq=False)
class _Groups:
    """Neuron j's argument is factor[j] ≠ 0 times that of first[j], exactly; first[j] = j where it is none's."""

    first: NeuronIndices
    factor: Array


def _groups(graph: Graph, index: int, look: Callable[[], None]) -> _Groups | None:
    """Which neurons of a ReLU node are multiples of others; None where none is, or its arguments are no plain rows."""
    node = graph.nodes[graph.nodes[index].sources[0]]
    if not isinstance(node, Affine) or len(node.terms) != 1:
        return None
    match node.terms[0].map:
        case Dense(weight, 1, 1):
            rows, biases = weight, node.bias[:, np.newaxis]
        case Conv(weight) as conv if conv.groups == 1:
            rows, biases = weight.reshape(len(weight), -1), node.bias.reshape(len(weight), -1)
        case _:
            return None
    first, factor = _multiples(np.asarray(rows, dtype=np.float64), biases, look)
    if np.array_equal(first, np.arange(first.size)):
        return None
    places = biases.shape[1]
    spread = first[:, np.newaxis] * places + np.arange(places)
    return _Groups(spread.reshape(-1), np.repeat(factor, places))


@np.errstate(over="ignore", invalid="ignore", under="ignore", divide="ignore")
def _multiples(rows: Array, biases: Array, look: Callable[[], None]) -> tuple[NeuronIndices, Array]:
    """(first, factor) of rows (n, k) with biases (n, p) behind them; rows of zeros are nobody's."""
    first, factor = np.arange(len(rows)), np.ones(len(rows))
    heads = np.argmax(rows != 0, axis=1)
    lead = rows[first, heads][:, np.newaxis]
    columns = np.unique(np.linspace(0, rows.shape[1] - 1, KEYS).astype(np.intp))
    # A quotient is rounded from the real one alone: rows that are multiples have the same.
    kept = np.flatnonzero(lead)
    for some in _alike(kept, np.hstack([rows[:, columns], biases[:, :1]])[kept] / lead[kept]):
        look()
        for alike in _alike(some, np.hstack([rows[some], biases[some]]) / lead[some]):
            known: list[int] = []
            for j in alike.tolist():
                for i in known[:TRIED]:
                    look()
                    c = float(lead[j, 0] / lead[i, 0])
                    if _times(c, rows[i], rows[j]) and _times(c, biases[i], biases[j]):
                        first[j], factor[j] = i, c
                        break
                else:
                    known.append(j)
    return first, factor


def _alike(places: NeuronIndices, keys: Array) -> list[NeuronIndices]:
    """Those of these places whose keys are equal, several each."""
    found: dict[bytes, list[int]] = {}
    for place, key in zip(places.tolist(), keys + 0.0, strict=True):
        found.setdefault(key.tobytes(), []).append(place)
    return [np.array(alike) for alike in found.values() if len(alike) > 1]


def _times(c: float, row: Array, other: Array) -> bool:
    """Is c · row the other row, exactly?"""
    if not (np.isfinite(c) and c != 0 and np.allclose(c * row, other, rtol=NEARLY, atol=0.0)):
        return False
    if abs(np.frexp(c)[0]) == 0.5:  # a power of two: nothing is rounded that does not underflow
        return bool(np.array_equal(c * row, other) and np.array_equal(other / c, row))
    exact = Fraction(c)
    return all(exact * Fraction(a) == Fraction(b) for a, b in zip(row.tolist(), other.tolist(), strict=True))


def _cancelled(graph: Graph, index: int, groups: dict[int, _Groups], look: Callable[[], None]) -> NeuronIndices:
    """The first neurons of a ReLU node's pairs v, −c·v whose relu(v) nothing that reads them is left with."""
    first, factor = groups[index].first, groups[index].factor
    readers = [node for node in graph.nodes if index in node.sources]
    if index == graph.output or not all(isinstance(node, Affine) for node in readers):
        return first[:0]
    exact = np.abs(np.frexp(factor)[0]) == 0.5  # then a float64 sum of two is 0 only where it is exactly
    two = (np.bincount(first, minlength=first.size) == 2) & (np.bincount(first, exact, first.size) == 2)
    pairs = np.flatnonzero(two & (np.bincount(first, factor < 0, first.size) == 1))
    shape, left, c = (first.size, first.size), np.zeros(pairs.size), np.ones(first.size)
    others = np.flatnonzero(first != np.arange(first.size))
    c[first[others]] = np.abs(factor[others])
    for size in (np.abs(factor), np.abs(factor) / c[first]):  # (1, c) and (1/c, 1): products of one do not underflow
        weights = sp.csr_array((size, (np.arange(first.size), first)), shape=shape)[:, pairs]
        for node in readers if pairs.size else ():
            assert isinstance(node, Affine)
            for term in node.terms:
                if term.source == index:
                    left += abs(rows_of(term.map, look) @ weights).sum(axis=0)
    found: NeuronIndices = pairs[left == 0]
    return found


def _without_multiples(builder: GraphBuilder, source: int, groups: _Groups, cancelled: NeuronIndices) -> int:
    """The node of the layer's values, made of one ReLU for each group; of cancelled ones only their sum is right."""
    first, factor, size = groups.first, groups.factor, groups.first.size
    gone, turned = np.isin(first, cancelled), np.flatnonzero(factor < 0)
    linear = sparse(sp.csr_array((factor[turned], (turned, first[turned])), shape=(size, size)))
    terms = [Term(linear, source)]
    if (kept := np.unique(first[~gone])).size:
        values = builder.relu(builder.affine([(select(kept, size), source)]))
        rows = np.flatnonzero(~gone)
        spread = np.abs(factor[rows]), (rows, np.searchsorted(kept, first[rows]))
        terms = [Term(sparse(sp.csr_array(spread, shape=(size, kept.size))), values), *(terms if turned.size else [])]
    return builder.add(Affine(tuple(terms), frozen(np.zeros(size))))
