"""Each pass: text before, text after, equal values on random points, and equal exactly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from encoders.network.exact import exact_outputs
from encoders.network.graph import LOWERED_KINDS, NODE_KINDS, Clip, Graph, GraphBuilder, LeakyRelu, frozen, outputs
from encoders.network.linear_maps import Dense, readonly
from encoders.network.text import graph_to_text
from encoders.passes.lower import PASSES, apply_passes, lower

SUM_TOLERANCE = 1e-12  # float64 sums of a handful of numbers of size 1 to 10


def of_sources(count: int, kind: Any) -> Graph:
    """`count` affine nodes of size 2 over an input of size 2, and then what `kind` builds from them."""
    builder = GraphBuilder(2)
    rng = np.random.default_rng(count)
    sources = [
        builder.affine([(Dense(readonly(rng.integers(-3, 4, (2, 2)))), 0)], rng.integers(-2, 3, 2))
        for _ in range(count)
    ]
    return builder.graph(kind(builder, sources))


def leaky(slope: list[float]) -> Any:
    return lambda builder, sources: builder.add(LeakyRelu(sources[0], frozen(slope)))


def clip(low: float, high: float) -> Any:
    return lambda builder, sources: builder.add(Clip(sources[0], 2, low, high))


HEAD = ["v0 = input : 2", "v1 = dense[2x2] v0 + b : 2"]
TWO = [*HEAD, "v2 = dense[2x2] v0 + b : 2"]
THREE = [*TWO, "v3 = dense[2x2] v0 + b : 2"]

CONTRACTS: dict[str, tuple[Graph, list[str], list[str]]] = {
    "max of one": (
        of_sources(1, lambda builder, sources: builder.max(sources)),
        [*HEAD, "v2 = max(v1) : 2  <- output"],
        ["v0 = input : 2", "v1 = dense[2x2] v0 + b : 2  <- output"],
    ),
    "max of two": (
        of_sources(2, lambda builder, sources: builder.max(sources)),
        [*TWO, "v3 = max(v1, v2) : 2  <- output"],
        [*TWO, "v3 = 1 v1 + -1 v2 : 2", "v4 = relu(v3) : 2", "v5 = 1 v4 + 1 v2 : 2  <- output"],
    ),
    "max of three": (
        of_sources(3, lambda builder, sources: builder.max(sources)),
        [*THREE, "v4 = max(v1, v2, v3) : 2  <- output"],
        [
            *THREE,
            "v4 = 1 v1 + -1 v2 : 2",
            "v5 = relu(v4) : 2",
            "v6 = 1 v5 + 1 v2 : 2",
            "v7 = 1 v6 + -1 v3 : 2",
            "v8 = relu(v7) : 2",
            "v9 = 1 v8 + 1 v3 : 2  <- output",
        ],
    ),
    "abs": (
        of_sources(1, lambda builder, sources: builder.abs(sources[0])),
        [*HEAD, "v2 = abs(v1) : 2  <- output"],
        [*HEAD, "v2 = relu(v1) : 2", "v3 = -1 v1 : 2", "v4 = relu(v3) : 2", "v5 = 1 v2 + 1 v4 : 2  <- output"],
    ),
    "leaky": (
        of_sources(1, leaky([0.1, 3.0])),
        [*HEAD, "v2 = leaky(v1, [0.1..3]) : 2  <- output"],
        [*HEAD, "v2 = relu(v1) : 2", "v3 = [0.1..3] v1 + 1 v2 + [-3..-0.1] v2 : 2  <- output"],
    ),
    "clip": (
        of_sources(1, clip(-1.0, 2.0)),
        [*HEAD, "v2 = clip(v1, -1, 2) : 2  <- output"],
        [
            *HEAD,
            "v2 = 1 v1 + b : 2",
            "v3 = relu(v2) : 2",
            "v4 = 1 v1 + b : 2",
            "v5 = relu(v4) : 2",
            "v6 = 1 v5 + -1 v3 + b : 2  <- output",
        ],
    ),
    "clip below": (
        of_sources(1, clip(0.0, math.inf)),
        [*HEAD, "v2 = clip(v1, 0, inf) : 2  <- output"],
        [*HEAD, "v2 = 1 v1 : 2", "v3 = relu(v2) : 2", "v4 = 1 v3 : 2  <- output"],
    ),
    "clip above": (
        of_sources(1, clip(-math.inf, 1.0)),
        [*HEAD, "v2 = clip(v1, -inf, 1) : 2  <- output"],
        [*HEAD, "v2 = 1 v1 + b : 2", "v3 = relu(v2) : 2", "v4 = 1 v1 + -1 v3 : 2  <- output"],
    ),
    "clip nowhere": (
        of_sources(1, clip(-math.inf, math.inf)),
        [*HEAD, "v2 = clip(v1, -inf, inf) : 2  <- output"],
        ["v0 = input : 2", "v1 = dense[2x2] v0 + b : 2  <- output"],
    ),
}


def test_there_is_a_pass_for_each_kind_that_must_go() -> None:
    assert set(PASSES) == set(NODE_KINDS) - set(LOWERED_KINDS)
    tested = {type(graph.nodes[graph.output]) for graph, _, _ in CONTRACTS.values()}
    assert tested == set(PASSES)


@pytest.mark.parametrize("name", CONTRACTS)
def test_pass(name: str) -> None:
    graph, before, after = CONTRACTS[name]
    assert graph_to_text(graph).splitlines() == before
    lowered = lower(graph)
    assert graph_to_text(lowered).splitlines() == after
    assert lowered.lowered
    points = np.random.default_rng(1).normal(scale=2.0, size=(50, 2))
    np.testing.assert_allclose(outputs(lowered, points), outputs(graph, points), rtol=SUM_TOLERANCE, atol=SUM_TOLERANCE)
    for point in points[:10]:
        assert exact_outputs(lowered, point) == exact_outputs(graph, point)


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_pass_touches_its_kind_only(name: str) -> None:
    graph, before, _ = CONTRACTS[name]
    kind = type(graph.nodes[graph.output])
    others = {other: rule for other, rule in PASSES.items() if other is not kind}
    assert graph_to_text(apply_passes(graph, others)).splitlines() == before


def test_a_lowered_graph_is_left_alone() -> None:
    graph = lower(CONTRACTS["abs"][0])
    assert lower(graph) is graph


def random_graph(seed: int) -> Graph:
    """Ten nodes of size 3 of random kinds, each over random earlier ones; weights are small dyadic numbers."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder(3)
    places = [0]
    for _ in range(10):
        a, b = (int(place) for place in rng.choice(places, 2))
        dense = Dense(readonly(rng.integers(-4, 5, (3, 3)) / 4))
        match rng.integers(6):
            case 0:
                made = builder.affine([(dense, a), (dense, b)], rng.integers(-4, 5, 3) / 8)
            case 1:
                made = builder.relu(a)
            case 2:
                made = builder.abs(a)
            case 3:
                made = builder.max([a, b, 0])
            case 4:
                made = builder.add(LeakyRelu(a, frozen(rng.integers(-4, 8, 3) / 4)))
            case _:
                low = float(rng.integers(-4, 1))
                made = builder.add(Clip(a, 3, low, low + float(rng.integers(0, 5))))
        places.append(made)
    return builder.graph(places[-1])


@pytest.mark.parametrize("seed", range(20))
def test_lowering_is_exact_on_random_graphs(seed: int) -> None:
    graph = random_graph(seed)
    lowered = lower(graph)
    points = np.random.default_rng(seed).normal(size=(5, 3))
    for point in points:
        assert exact_outputs(lowered, point) == exact_outputs(graph, point)
    assert outputs(lowered, points).shape == (5, 3)
