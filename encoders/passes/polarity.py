"""Polarity: in which direction does pressure on the result push each node's value? (Plaisted & Greenbaum 1986)

A constraint c·z + d ≥ 0 wants the outputs with c > 0 large and those with c < 0 small; an objective that is minimised
wants its outputs with positive coefficients small. Pressure passes through W by the sign of its entries and through
monotone nodes unchanged. A ReLU on which nothing pulls upwards needs no case split: h ≥ a, h ≥ 0 already force the
result, since a larger h than relu(a) helps nobody. A maximum that was lowered to relu(a − b) + b is read as the
monotone node that it is: h ≥ a − b, h ≥ 0 give h + b ≥ max(a, b), also where b itself is estimated from above.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Affine, Graph, Relu, reverse
from encoders.network.linear_maps import Scale

Mask = Any  # a bool array of the node's size
Pressure = tuple[Mask, Mask]
"""(wanted large, wanted small), entry by entry."""


def wanted_large(graph: Graph, wants: npt.ArrayLike) -> dict[int, Mask]:
    """For each Relu node of a lowered graph, the entries that some row of `wants` pulls upwards.

    `wants` (m, output_size): each row is a combination of the outputs that is to be large.
    """
    rows = np.atleast_2d(np.asarray(wants, dtype=np.float64))
    result: dict[int, Mask] = {index: np.zeros(graph.nodes[index].size, dtype=bool) for index in graph.relus()}

    def affine(_: int, node: Affine, message: Pressure) -> list[tuple[int, Pressure]]:
        large, small = message
        if (players := _maximum(graph, node)) is not None:
            relu_index, a, b = players
            result[relu_index] = result[relu_index] | large
            return [(a, message), (b, message)]
        parts = []
        for term in node.terms:
            matrix = term.map.rows().T
            up, down = _touched(matrix > 0), _touched(matrix < 0)
            parts.append((term.source, (up(large) | down(small), up(small) | down(large))))
        return parts

    def relu(index: int, node: Relu, message: Pressure) -> list[tuple[int, Pressure]]:
        result[index] = result[index] | message[0]
        return [(node.source, message)]

    def both(one: Pressure, other: Pressure) -> Pressure:
        return one[0] | other[0], one[1] | other[1]

    seed = ((rows > 0).any(axis=0), (rows < 0).any(axis=0))
    reverse(graph, {Affine: affine, Relu: relu}, graph.output, seed, both)
    return result


def _maximum(graph: Graph, node: Affine) -> tuple[int, int, int] | None:
    """(index of the ReLU, a, b) when `node` is relu(a − b) + b entry by entry, else None."""
    summands = _entrywise(node)
    if summands is None or [factor for _, factor in summands] != [1.0, 1.0]:
        return None
    for (ahead, _), (b, _) in (summands, summands[::-1]):
        relu = graph.nodes[ahead]
        gap = graph.nodes[relu.source] if isinstance(relu, Relu) else None
        if isinstance(gap, Affine) and (parts := _entrywise(gap)) is not None:
            match sorted(parts, key=lambda part: -part[1]):
                case [(a, 1.0), (minus_b, -1.0)] if minus_b == b:
                    return ahead, a, b
    return None


def _entrywise(node: Affine) -> list[tuple[int, float]] | None:
    """[(source, factor), …] when `node` is Σ factor · source with one factor for all entries and no bias, else None."""
    parts = []
    for term in node.terms:
        if not isinstance(term.map, Scale) or np.ptp(term.map.quotient) != 0.0:
            return None
        parts.append((term.source, float(term.map.quotient[0])))
    return None if np.any(node.bias) else parts


def _touched(pattern: Any) -> Any:
    """The function mask ↦ which rows of the boolean matrix `pattern` meet the mask."""
    counts = pattern.astype(np.float64)
    return lambda mask: (counts @ mask.astype(np.float64)) > 0
