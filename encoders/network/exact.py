"""Exact rational evaluation of a graph.

Floats are dyadic rationals: a vector is held as Python integers over one common denominator, and the linear maps run
on arrays of integers. Nothing is rounded. (BatchNormalization's factor γ/√(σ²+ε) is a float64 constant of the graph.)
A Sigmoid has no rational value and no rule here, which is a TypeError: `enclosure` has bounds of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Abs, Affine, Clip, ForwardTable, Graph, LeakyRelu, Max, Relu, forward
from encoders.network.linear_maps import Conv, Dense, LinearMap, Scale, Select, Sparse
from encoders.network.pieces import pieces

BigIntegers = npt.NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class Rational:
    """The vector numerators / denominator; numerators is an object array of Python integers, denominator > 0."""

    numerators: BigIntegers
    denominator: int

    def fractions(self) -> list[Fraction]:
        return [Fraction(int(n), self.denominator) for n in self.numerators.reshape(-1)]


Look = Callable[[], None]
"""Called between two steps of a long evaluation; what it raises ends it."""


PIECE = 1 << 18
"""Integers made, or multiplied, between two looks: a tenth of a second, about."""


def rational(values: npt.ArrayLike, look: Look = lambda: None) -> Rational:
    """Finite floats, exactly: each is m·2ᵉ; the denominator is the largest power of two that is needed."""
    array = np.asarray(values, dtype=np.float64)
    if not np.all(np.isfinite(array)):
        raise ValueError("only finite numbers have an exact rational value")
    mantissa, exponent = np.frexp(array.reshape(-1))
    # 53 bits hold every float64 mantissa, so the product is an integer; 2^53 is left of what has no bits below.
    integers = np.ldexp(mantissa, 53).astype(np.int64)
    zeros = np.frexp((integers & -integers).astype(np.float64))[1].astype(np.int64) - 1
    powers = exponent.astype(np.int64) - 53 + zeros
    filled = integers != 0
    lift = max(0, int(-powers[filled].min())) if filled.any() else 0
    odd, shifts = np.where(filled, integers >> np.maximum(zeros, 0), 0), np.where(filled, powers + lift, 0)
    made: list[BigIntegers] = []
    for begin in range(0, max(1, odd.size), PIECE):
        look()
        part = slice(begin, begin + PIECE)
        made.append(np.left_shift(odd[part].astype(object), shifts[part].astype(object)))
    return Rational(np.concatenate(made).reshape(array.shape), 1 << lift)


def exact_values(graph: Graph, x: npt.ArrayLike, look: Look = lambda: None) -> list[Rational]:
    """Every node's exact value at the point x, shape (input_size,)."""
    return _values(graph, rational(np.asarray(x, dtype=np.float64).reshape(1, -1)), look)


def _values(graph: Graph, first: Rational, look: Look) -> list[Rational]:

    def looked(rule: Any) -> Any:
        def at(index: int, node: Any, values: list[Rational]) -> Rational:
            look()
            found: Rational = rule(index, node, values)
            return found

        return at

    rules = {**EXACT, Affine: partial(_affine, look=look)}
    return forward(graph, {kind: looked(rule) for kind, rule in rules.items()}, first)


def exact_outputs(graph: Graph, x: npt.ArrayLike, look: Look = lambda: None) -> list[Fraction]:
    """The output node's exact value at the point x, shape (input_size,)."""
    return exact_values(graph, x, look)[graph.output].fractions()


def exact_outputs_of(graph: Graph, x: Sequence[Fraction], look: Look = lambda: None) -> list[Fraction]:
    """The output node's exact value at a point of rational numbers."""
    common = math.lcm(*(entry.denominator for entry in x))
    numerators = np.array([[entry.numerator * (common // entry.denominator) for entry in x]], dtype=object)
    return _values(graph, Rational(numerators, common), look)[graph.output].fractions()


MAPS_KEPT = 1 << 20
"""Entries of a map up to which its integer form is kept, some 60 bytes each, while the map lives."""

_integer_maps: WeakKeyDictionary[LinearMap, tuple[LinearMap, int]] = WeakKeyDictionary()


def integer_map(linear: LinearMap, look: Look = lambda: None) -> tuple[LinearMap, int]:
    """The map with integer entries, and the denominator that makes it the given one."""
    known = _integer_maps.get(linear)
    if known is None:
        known = _integer_map(linear, look)
        entries = linear.weight if isinstance(linear, Dense | Conv) else getattr(linear, "data", None)
        if entries is not None and entries.size <= MAPS_KEPT:
            _integer_maps[linear] = known
    return known


def _integer_map(linear: LinearMap, look: Look) -> tuple[LinearMap, int]:
    match linear:
        case Dense() | Conv():
            weight = rational(linear.weight, look)
            return replace(linear, weight=weight.numerators), weight.denominator
        case Scale():
            factor = rational(linear.factor)
            if linear.divisor is None:
                return Scale(factor.numerators), factor.denominator
            divisor = rational(linear.divisor)
            common = math.lcm(*(int(n) for n in divisor.numerators))
            quotient = factor.numerators * divisor.denominator * (common // divisor.numerators)
            return Scale(quotient), factor.denominator * common
        case Select():
            return linear, 1
        case Sparse():
            data = rational(linear.data, look)
            return replace(linear, data=data.numerators), data.denominator
    raise TypeError(f"no exact form for the linear map {type(linear).__name__}")


def _applied(linear: LinearMap, source: Rational, look: Look) -> Rational:
    """The map at a value, with looks between its pieces."""
    whole, denominator = integer_map(linear, look)
    found = []
    for piece, read in pieces(whole, PIECE):
        look()
        found.append(piece.apply(source.numerators[:, read]))
    return Rational(np.concatenate(found, axis=1), denominator * source.denominator)


def _over(value: Rational, denominator: int) -> BigIntegers:
    scaled: BigIntegers = value.numerators * (denominator // value.denominator)
    return scaled


def _affine(_: int, node: Affine, values: list[Rational], look: Look = lambda: None) -> Rational:
    parts = [Rational(rational(node.bias).numerators.reshape(1, -1), rational(node.bias).denominator)]
    parts += [_applied(term.map, values[term.source], look) for term in node.terms]
    common = math.lcm(*(part.denominator for part in parts))
    return Rational(sum((_over(part, common) for part in parts), np.array(0, dtype=object)), common)


def _leaky(_: int, node: LeakyRelu, values: list[Rational]) -> Rational:
    source, slope = values[node.source], rational(node.slope)
    numerators = np.where(
        source.numerators >= 0, source.numerators * slope.denominator, source.numerators * slope.numerators
    )
    return Rational(numerators, source.denominator * slope.denominator)


def _clip(_: int, node: Clip, values: list[Rational]) -> Rational:
    source = values[node.source]
    ends = [rational([end]) for end in (node.low, node.high) if math.isfinite(end)]
    common = math.lcm(source.denominator, *(end.denominator for end in ends))
    numerators = _over(source, common)
    for end, value in ((node.low, np.maximum), (node.high, np.minimum)):
        if math.isfinite(end):
            numerators = value(numerators, _over(rational([end]), common)[0])
    return Rational(numerators, common)


def _max(_: int, node: Max, values: list[Rational]) -> Rational:
    common = math.lcm(*(values[source].denominator for source in node.sources))
    return Rational(np.maximum.reduce([_over(values[source], common) for source in node.sources]), common)


def _entrywise(function: Any) -> Any:
    def rule(_: int, node: Relu | Abs, values: list[Rational]) -> Rational:
        source = values[node.source]
        return Rational(function(source.numerators), source.denominator)

    return rule


EXACT: ForwardTable[Rational] = {
    Affine: _affine,
    Relu: _entrywise(lambda numerators: np.maximum(numerators, 0)),
    Abs: _entrywise(np.abs),
    Max: _max,
    LeakyRelu: _leaky,
    Clip: _clip,
}
