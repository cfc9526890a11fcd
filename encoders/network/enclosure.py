"""Rational bounds of a graph's values at a rational point, where a Sigmoid leaves no exact ones.

Up to the first Sigmoid the values are exact. Behind it each is an interval with rational ends: M·m ± |M|·r for
midpoints m and radii r, in exact arithmetic, and nothing is rounded but each σ, outwards, to so many bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from encoders.network.exact import EXACT, BigIntegers, Look, Rational
from encoders.network.graph import (
    Abs,
    Affine,
    Clip,
    Graph,
    LeakyRelu,
    Max,
    Node,
    Relu,
    Sigmoid,
    Term,
    forward,
    frozen,
)
from encoders.network.sigmoid_enclosure import sigmoid_bounds

LOOKED = 32
"""Values of σ, a tenth of a millisecond each, between two looks at the time."""


@dataclass(frozen=True, eq=False)
class Enclosure:
    """lower ≤ value ≤ upper, entry by entry; one object twice where the value is exact."""

    lower: Rational
    upper: Rational

    @property
    def exact(self) -> bool:
        return self.lower is self.upper

    @cached_property
    def middle(self) -> Rational:
        """(lower + upper) / 2."""
        return self.lower if self.exact else self._halved(1)

    @cached_property
    def radius(self) -> Rational:
        """(upper − lower) / 2."""
        return self._halved(-1)

    def _halved(self, sign: int) -> Rational:
        (low, high), common = _common(self.lower, self.upper)
        return Rational(high + sign * low, 2 * common)

    def ends(self) -> tuple[list[Fraction], list[Fraction]]:
        """The lower and the upper ends, one for each entry."""
        return self.lower.fractions(), self.upper.fractions()


def enclosed_outputs(
    graph: Graph, x: Sequence[Fraction], bits: int, look: Look = lambda: None
) -> tuple[list[Fraction], list[Fraction]]:
    """Lower and upper ends of the output node's value at a point of rational numbers, each σ to so many bits.

    look: called between two steps; what it raises ends the work.
    """
    common = math.lcm(*(entry.denominator for entry in x))
    first = Rational(np.array([[entry.numerator * (common // entry.denominator) for entry in x]], dtype=object), common)
    table = {kind: _looked(rule, bits, look) for kind, rule in ENCLOSED.items()}
    return forward(graph, table, Enclosure(first, first))[graph.output].ends()


EnclosingRule = Callable[[int, Any, list[Enclosure], int, Look], Enclosure]


def _looked(rule: EnclosingRule, bits: int, look: Look) -> Callable[[int, Any, list[Enclosure]], Enclosure]:
    def at(index: int, node: Any, values: list[Enclosure]) -> Enclosure:
        look()
        return rule(index, node, values, bits, look)

    return at


def _common(*values: Rational) -> tuple[list[BigIntegers], int]:
    """The numerators over one denominator, and that."""
    common = math.lcm(*(value.denominator for value in values))
    return [value.numerators * (common // value.denominator) for value in values], common


def _at(node: Node, index: int, values: dict[int, Rational]) -> Rational:
    """The exact value of a node from its sources'."""
    rule: Any = EXACT[type(node)]
    found: Rational = rule(index, node, values)
    return found


def _affine(index: int, node: Affine, values: list[Enclosure], _: int, __: Look) -> Enclosure:
    middle = _at(node, index, {source: values[source].middle for source in node.sources})
    wide = [term for term in node.terms if not values[term.source].exact]
    if not wide:
        return Enclosure(middle, middle)
    spread = Affine(tuple(Term(term.map.magnitude(), term.source) for term in wide), frozen(np.zeros(node.size)))
    radius = _at(spread, index, {term.source: values[term.source].radius for term in wide})
    (centre, reach), common = _common(middle, radius)
    return Enclosure(Rational(centre - reach, common), Rational(centre + reach, common))


def _rising(index: int, node: Max | Clip, values: list[Enclosure], _: int, __: Look) -> Enclosure:
    """A function that falls nowhere: its values at both ends."""
    lower = _at(node, index, {source: values[source].lower for source in node.sources})
    if all(values[source].exact for source in node.sources):
        return Enclosure(lower, lower)
    return Enclosure(lower, _at(node, index, {source: values[source].upper for source in node.sources}))


def _bent(index: int, node: Relu | Abs | LeakyRelu, values: list[Enclosure], _: int, __: Look) -> Enclosure:
    """A function that is a line on either side of 0: extreme at an end or as near to 0 as the value gets."""
    source = values[node.source]
    if source.exact:
        value = _at(node, index, {node.source: source.lower})
        return Enclosure(value, value)
    (low, high), common = _common(source.lower, source.upper)
    points = (low, high, np.minimum(np.maximum(low, 0), high))
    found = [_at(node, index, {node.source: Rational(point, common)}) for point in points]
    numerators, shared = _common(*found)
    return Enclosure(Rational(np.minimum.reduce(numerators), shared), Rational(np.maximum.reduce(numerators), shared))


def _sigmoid(_: int, node: Sigmoid, values: list[Enclosure], bits: int, look: Look) -> Enclosure:
    source, found = values[node.source], np.empty((2, 1, node.size), dtype=object)
    ends = (source.lower, source.upper)
    for place in range(node.size):
        if place % LOOKED == 0:
            look()
        for side, end in enumerate(ends[: 1 if source.exact else 2]):
            pair = sigmoid_bounds(int(end.numerators[0, place]), end.denominator, bits)
            found[side:, 0, place] = pair[side:] if side else pair
    return Enclosure(Rational(found[0], 1 << bits), Rational(found[1], 1 << bits))


ENCLOSED: Mapping[type, EnclosingRule] = {
    Affine: _affine,
    Relu: _bent,
    Abs: _bent,
    Max: _rising,
    LeakyRelu: _bent,
    Clip: _rising,
    Sigmoid: _sigmoid,
}
