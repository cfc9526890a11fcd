"""Exact evaluation against fractions worked out by hand, and against float64 where that rounds little."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.network import exact
from encoders.network.exact import EXACT, exact_outputs, exact_outputs_of, exact_values, rational
from encoders.network.graph import (
    NODE_KINDS,
    SMOOTH_KINDS,
    Clip,
    GraphBuilder,
    Input,
    LeakyRelu,
    Sigmoid,
    frozen,
    outputs,
)
from encoders.network.linear_maps import Conv, Dense, Scale, identity, readonly, select

from .conftest import MAPS

ROUNDING = 1e-9  # float64 evaluation of two layers with values of size 1 to 100

RNG = np.random.default_rng(0)

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(FLOATS, max_size=5))
def test_rational_is_the_float(values: list[float]) -> None:
    made = rational(values)
    assert made.fractions() == [Fraction(value) for value in values]
    assert made.denominator > 0
    assert all(type(n) is int for n in made.numerators)


@pytest.mark.parametrize("value", [0.0, -0.0, 5e-324, -2.2250738585072014e-308, 1.7976931348623157e308, 0.1])
def test_rational_at_the_ends_of_float64(value: float) -> None:
    assert rational([[value, 1.0]]).fractions() == [Fraction(value), 1]
    assert rational([[value, 1.0]]).numerators.shape == (1, 2)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_only_finite_numbers_are_rational(value: float) -> None:
    with pytest.raises(ValueError, match="only finite numbers"):
        rational([value])


@pytest.mark.parametrize("name", MAPS)
def test_looks_divide_a_map_and_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks so many integers are made or multiplied, or one output's."""
    linear, looks = MAPS[name], 0

    def look() -> None:
        nonlocal looks
        looks += 1

    def evaluated() -> list[Fraction]:
        builder = GraphBuilder(linear.in_size)
        copy = replace(linear)  # one whose integers nobody keeps yet
        graph = builder.graph(builder.affine([(copy, 0)]))
        return exact_outputs(graph, np.linspace(-1, 1, linear.in_size), look)

    whole = evaluated()
    before, looks = looks, 0
    monkeypatch.setattr(exact, "PIECE", 8)
    assert evaluated() == whole
    pieces = 1 if name == "blocks" else len(linear.weight)
    assert looks - before >= pieces - 1 + linear.weight.size // 8 - 1


def test_every_kind_has_a_rule() -> None:
    assert set(EXACT) == set(NODE_KINDS) - {Input, *SMOOTH_KINDS}


def test_a_sigmoid_has_no_exact_value() -> None:
    builder = GraphBuilder(1)
    with pytest.raises(TypeError, match="no rule for Sigmoid nodes here"):
        exact_outputs(builder.graph(builder.add(Sigmoid(0, 1))), [0.5])


def test_tiny_network_by_hand() -> None:
    """x = (1/2, -1/4): hidden = relu(x₀ + 2·x₁ + 1/8, −x₀ + x₁) = (1/8, 0), out = 0.1·h₀ − 3·h₁ + 1."""
    builder = GraphBuilder(2)
    hidden = builder.relu(builder.affine([(Dense(readonly([[1, 2], [-1, 1]])), 0)], [0.125, 0.0]))
    graph = builder.graph(builder.affine([(Dense(readonly([[0.1, -3.0]])), hidden)], [1.0]))
    assert exact_outputs(graph, [0.5, -0.25]) == [Fraction(0.1) / 8 + 1]
    values = exact_values(graph, [0.5, -0.25])
    assert [value.fractions() for value in values] == [
        [Fraction(1, 2), Fraction(-1, 4)],
        [Fraction(1, 8), Fraction(-3, 4)],
        [Fraction(1, 8), 0],
        [Fraction(0.1) / 8 + 1],
    ]


def test_a_third_is_a_third() -> None:
    builder = GraphBuilder(3)
    scale = Scale(readonly([1.0, 2.0, -0.5]), readonly([3.0, -7.0, 0.75]))
    graph = builder.graph(builder.affine([(scale, 0)], [0.5, 0.0, 0.0]))
    assert exact_outputs(graph, [1.0, 1.0, 1.0]) == [Fraction(5, 6), Fraction(-2, 7), Fraction(-2, 3)]


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda builder: builder.abs(0), [Fraction(3, 2), Fraction(0.1)]),
        (lambda builder: builder.relu(0), [0, Fraction(0.1)]),
        (
            lambda builder: builder.add(LeakyRelu(0, frozen([0.1, 5.0]))),
            [Fraction(0.1) * Fraction(-3, 2), Fraction(0.1)],
        ),
        (lambda builder: builder.add(Clip(0, 2, -0.1, 0.05)), [Fraction(-0.1), Fraction(0.05)]),
        (lambda builder: builder.add(Clip(0, 2, -math.inf, 0.05)), [Fraction(-3, 2), Fraction(0.05)]),
        (lambda builder: builder.add(Clip(0, 2, -0.1, math.inf)), [Fraction(-0.1), Fraction(0.1)]),
        (
            lambda builder: builder.max([0, builder.affine([(Scale(readonly([1, 1]), readonly([3, 3])), 0)])]),
            [Fraction(-1, 2), Fraction(0.1)],
        ),
        (
            lambda builder: builder.affine([(select([1, -1], 2), 0), (identity(2, 2.0), 0)]),
            [Fraction(0.1) - 3, 2 * Fraction(0.1)],
        ),
    ],
)
def test_each_kind_by_hand(build: Any, expected: list[Fraction]) -> None:
    builder = GraphBuilder(2)
    graph = builder.graph(build(builder))
    assert exact_outputs(graph, [-1.5, 0.1]) == expected


def test_convolution_agrees_with_float64() -> None:
    rng = np.random.default_rng(2)
    weight = readonly(rng.normal(size=(4, 1, 3, 3)))
    conv = Conv(weight, (5, 5), (2, 1), (1, 1), (1, 1, 1, 1), groups=2)
    builder = GraphBuilder(50)
    hidden = builder.relu(builder.affine([(conv, 0)], rng.normal(size=conv.out_size)))
    graph = builder.graph(builder.affine([(Dense(readonly(rng.normal(size=(3, conv.out_size)))), hidden)]))
    x = rng.normal(size=50)
    exact = [float(value) for value in exact_outputs(graph, x)]
    np.testing.assert_allclose(exact, outputs(graph, x)[0], rtol=ROUNDING, atol=ROUNDING)


@given(st.integers(0, 10**6))
def test_integer_networks_are_exact_in_float64_too(seed: int) -> None:
    rng = np.random.default_rng(seed)
    builder = GraphBuilder(3)
    first = builder.relu(builder.affine([(Dense(readonly(rng.integers(-9, 10, (4, 3)))), 0)], rng.integers(-9, 10, 4)))
    graph = builder.graph(builder.affine([(Dense(readonly(rng.integers(-9, 10, (2, 4)))), first)]))
    x = rng.integers(-9, 10, 3) / 8
    assert [float(value) for value in exact_outputs(graph, x)] == outputs(graph, x)[0].tolist()


def test_points_of_rational_numbers() -> None:
    builder = GraphBuilder(2)
    hidden = builder.relu(builder.affine([(Dense(readonly([[1.0, -2.0], [0.5, 0.25]])), 0)], [0.125, -1.0]))
    graph = builder.graph(builder.affine([(Dense(readonly([[3.0, -1.0]])), hidden)]))
    x = [Fraction(1, 3), Fraction(-2, 7)]
    first = max(x[0] - 2 * x[1] + Fraction(1, 8), Fraction(0))
    second = max(x[0] / 2 + x[1] / 4 - 1, Fraction(0))
    assert exact_outputs_of(graph, x) == [3 * first - second]
