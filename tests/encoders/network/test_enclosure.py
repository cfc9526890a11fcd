"""Rational bounds of a graph's values: exact where they can be, else around decimal arithmetic, and narrow."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from encoders.network.enclosure import ENCLOSED, enclosed_outputs
from encoders.network.exact import exact_outputs_of
from encoders.network.graph import NODE_KINDS, Clip, Graph, GraphBuilder, Input, LeakyRelu, Sigmoid, frozen, outputs
from encoders.network.linear_maps import Conv, Dense, Scale, identity, readonly, select
from tests.encoders.network.test_sigmoid_enclosure import reference

FLOAT64 = 1e-12
"""What float64 sums of some dozen numbers below 10 are off by."""


def random_graph(seed: int, *, smooth: bool = True) -> Graph:
    """Every kind of node behind one another, those behind a Sigmoid bounded by intervals."""
    rng = np.random.default_rng(seed)

    def r(*shape: int) -> np.ndarray:
        return readonly(rng.normal(size=shape))

    b = GraphBuilder(6)
    first = b.affine([(Dense(r(6, 6)), 0)], r(6))
    last = b.add(Sigmoid(first, 6)) if smooth else b.relu(first)
    for kind in rng.permutation(5).tolist():
        conv = Conv(r(1, 1, 3), (6,), (1,), (1,), (1, 1))
        last = b.affine([(conv, last), (Scale(r(6), readonly(np.full(6, 3.0))), first)], r(6))
        size = b.size(last)
        match kind:
            case 0:
                last = b.relu(last)
            case 1:
                last = b.abs(last)
            case 2:
                last = b.max([last, b.affine([(select(np.roll(range(size), 1), size), last)])])
            case 3:
                last = b.add(LeakyRelu(last, frozen(r(size))))
            case 4:
                last = b.add(Clip(last, size, -0.5, 0.75))
        if smooth and kind == 2:
            last = b.add(Sigmoid(last, size))
    return b.graph(b.affine([(Dense(r(3, 6)), last)]))


def points(seed: int) -> list[Fraction]:
    return [Fraction(int(n), 7) for n in np.random.default_rng(seed).integers(-9, 10, 6)]


def test_every_kind_has_a_rule() -> None:
    assert set(ENCLOSED) == set(NODE_KINDS) - {Input}
    assert {type(node) for node in random_graph(0).nodes} == set(NODE_KINDS)


@pytest.mark.parametrize("seed", range(6))
def test_without_sigmoids_the_ends_are_the_exact_value(seed: int) -> None:
    graph, x = random_graph(seed, smooth=False), points(seed)
    exact = exact_outputs_of(graph, x)
    assert enclosed_outputs(graph, x, 8) == (exact, exact)


@pytest.mark.parametrize("seed", range(12))
def test_the_ends_close_around_float64s_value(seed: int) -> None:
    graph, x = random_graph(seed), points(seed)
    value = outputs(graph, [float(entry) for entry in x])[0]
    widths = []
    before: list[tuple[Fraction, Fraction]] = []
    for bits in (16, 64, 256):
        ends = list(zip(*enclosed_outputs(graph, x, bits), strict=True))
        widths.append(max(float(high - low) for low, high in ends))
        for (low, high), near in zip(ends, value.tolist(), strict=True):
            assert float(low) - FLOAT64 <= near <= float(high) + FLOAT64
        for (low, high), (wide_low, wide_high) in zip(ends, before, strict=False):
            assert wide_low <= low <= high <= wide_high
        before = ends
    # A clip at the end leaves no width.
    assert widths[2] <= 2.0**-180 * (widths[1] > 0) <= 2.0**-180
    assert widths[1] <= 2.0**-40
    assert widths[0] < 1.0


def test_a_network_by_decimal_arithmetic() -> None:
    """y = 3 σ(x/3) − |σ(x) − 1/2|, at x = −2/7."""
    b = GraphBuilder(1)
    third = b.add(Sigmoid(b.affine([(Scale(readonly([1.0]), readonly([3.0])), 0)]), 1))
    centred = b.abs(b.affine([(identity(1), b.add(Sigmoid(0, 1)))], [-0.5]))
    graph = b.graph(b.affine([(identity(1, 3.0), third), (identity(1, -1.0), centred)]))
    x = Fraction(-2, 7)
    expected = 3 * Fraction(reference(x / 3)) - abs(Fraction(reference(x)) - Fraction(1, 2))
    (low,), (high,) = enclosed_outputs(graph, [x], 300)
    assert low <= expected <= high
    assert high - low < Fraction(1, 2**290)


def test_the_look_may_end_it() -> None:
    class EndedError(Exception):
        pass

    def ended() -> None:
        raise EndedError

    with pytest.raises(EndedError):
        enclosed_outputs(random_graph(0), points(0), 64, ended)
