"""Which ReLUs need a case split: those that something pulls upwards, and no distance from above does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from encoders.network.graph import Affine, Graph, GraphBuilder, Relu, forward, outputs
from encoders.network.linear_maps import Dense, identity, readonly, select
from encoders.network.norm import Norm
from encoders.passes.distance import DISTANCES, with_distance
from encoders.passes.lower import lower
from encoders.passes.polarity import wanted_large


def linear_with_distance(norm: Norm, size: int = 5) -> Graph:
    builder = GraphBuilder(size)
    network = builder.graph(builder.affine([(Dense(readonly(np.ones((1, size)))), 0)]))
    return with_distance(network, norm, np.full(size, 0.5))


@pytest.mark.parametrize("size", [1, 2, 5, 8])
@pytest.mark.parametrize("norm", DISTANCES)
def test_a_distance_bounded_from_above_needs_no_split(norm: Norm, size: int) -> None:
    graph = linear_with_distance(norm, size)
    masks = wanted_large(graph, [[3.0, -1.0], [-2.0, 0.0]])
    assert set(masks) == set(graph.relus())
    assert len(masks) >= 2
    assert not any(mask.any() for mask in masks.values())


@pytest.mark.parametrize("size", [1, 2, 5, 8])
@pytest.mark.parametrize("norm", DISTANCES)
def test_a_distance_bounded_from_below_needs_every_split(norm: Norm, size: int) -> None:
    masks = wanted_large(linear_with_distance(norm, size), [[0.0, 1.0]])
    assert all(mask.all() for mask in masks.values())


@pytest.mark.parametrize("norm", DISTANCES)
def test_a_distance_that_nobody_reads_needs_no_split(norm: Norm) -> None:
    masks = wanted_large(linear_with_distance(norm), [[1.0, 0.0]])
    assert not any(mask.any() for mask in masks.values())


def two_layers() -> Graph:
    """h = relu(x) (3 entries), g = relu(h₀ − h₁, −h₁ + h₂), z = (g₀, −g₁, h₂)."""
    builder = GraphBuilder(3)
    h = builder.relu(0)
    g = builder.relu(builder.affine([(Dense(readonly([[1.0, -1.0, 0.0], [0.0, -1.0, 1.0]])), h)]))
    z = builder.affine([(Dense(readonly([[1.0, 0.0], [0.0, -1.0], [0.0, 0.0]])), g), (select([-1, -1, 2], 3), h)])
    return builder.graph(z)


@pytest.mark.parametrize(
    ("wants", "h", "g"),
    [
        ([[1, 0, 0]], [True, False, False], [True, False]),
        ([[-1, 0, 0]], [False, True, False], [False, False]),
        ([[0, 1, 0]], [False, True, False], [False, False]),
        ([[0, -1, 0]], [False, False, True], [False, True]),
        ([[0, 0, 1]], [False, False, True], [False, False]),
        ([[0, 1, 1]], [False, True, True], [False, False]),
        ([[1, 0, 0], [-1, 0, 0]], [True, True, False], [True, False]),
        ([[0, 0, 0]], [False] * 3, [False] * 2),
    ],
)
def test_signs_pass_through_layers(wants: list[list[float]], h: list[bool], g: list[bool]) -> None:
    graph = two_layers()
    first, second = graph.relus()
    masks = wanted_large(graph, wants)
    assert masks[first].tolist() == h
    assert masks[second].tolist() == g


def test_a_lowered_maximum_is_monotone() -> None:
    """max(a, b) wanted small wants both small: without that reading, b in relu(a − b) would be wanted large too."""
    builder = GraphBuilder(2)
    a = builder.relu(builder.affine([(Dense(readonly([[1.0, 1.0]])), 0)]))
    b = builder.relu(builder.affine([(Dense(readonly([[1.0, -1.0]])), 0)]))
    graph = lower(builder.graph(builder.max([a, b])))
    assert not any(mask.any() for mask in wanted_large(graph, [[-1.0]]).values())
    assert all(mask.all() for mask in wanted_large(graph, [[1.0]]).values())


def test_what_only_looks_like_a_maximum_is_not_one() -> None:
    """relu(a − b) + 2b, and relu(a − b) + a: the pull on b, wanted small from outside, is upwards inside."""
    for mix in (lambda h, a, b: [(identity(1), h), (identity(1, 2.0), b)], lambda h, a, b: [(identity(1), h), (identity(1), a)]):  # fmt: skip  # noqa: E501
        builder = GraphBuilder(2)
        a = builder.relu(builder.affine([(Dense(readonly([[1.0, 1.0]])), 0)]))
        b = builder.relu(builder.affine([(Dense(readonly([[1.0, -1.0]])), 0)]))
        h = builder.relu(builder.affine([(identity(1), a), (identity(1, -1.0), b)]))
        graph = builder.graph(builder.affine(mix(h, a, b)))
        assert wanted_large(graph, [[-1.0]])[b].all()


def random_graph(seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    builder, places = GraphBuilder(3), [0]
    for _ in range(8):
        a, b = (int(place) for place in rng.choice(places[-4:], 2))
        dense = Dense(readonly(rng.integers(-2, 3, (3, 3)).astype(np.float64)))
        match rng.integers(4):
            case 0:
                places.append(builder.affine([(dense, a), (identity(3), b)], rng.integers(-2, 3, 3)))
            case 1 | 2:
                places.append(builder.relu(builder.affine([(dense, a)], rng.integers(-2, 3, 3))))
            case _:
                places.append(builder.max([a, b]))
    return lower(builder.graph(places[-1]))


def overestimated(graph: Graph, x: np.ndarray, free: dict[int, Any], rng: np.random.Generator) -> np.ndarray:
    """The output when each entry marked in `free` may be any number that is at least its ReLU's value."""

    def affine(_: int, node: Affine, values: list[np.ndarray]) -> np.ndarray:
        return sum((term.map.apply(values[term.source]) for term in node.terms), node.bias[np.newaxis])

    def relu(index: int, node: Relu, values: list[np.ndarray]) -> np.ndarray:
        lift = rng.exponential(size=node.size) * (rng.random(node.size) < 0.5)
        return np.maximum(values[node.source], 0.0) + lift * free[index]

    return forward(graph, {Affine: affine, Relu: relu}, x[np.newaxis])[graph.output][0]


@pytest.mark.parametrize("seed", range(40))
def test_what_is_not_wanted_large_may_be_too_large(seed: int) -> None:
    """No row that is to be large grows when such ReLUs are overestimated: dropping their splits changes no answer."""
    graph, rng = random_graph(seed), np.random.default_rng(seed)
    wants = rng.integers(-1, 2, (rng.integers(1, 3), 3)).astype(np.float64)
    free = {index: ~mask for index, mask in wanted_large(graph, wants).items()}
    for _ in range(20):
        x = rng.normal(size=3)
        true = wants @ outputs(graph, x)[0]
        assert np.all(wants @ overestimated(graph, x, free, rng) <= true + 1e-9 * (1.0 + np.abs(true)))


def test_random_graphs_have_both_kinds() -> None:
    masks = [wanted_large(random_graph(seed), [[-1.0, 0.0, 0.0]]) for seed in range(40)]
    entries = np.concatenate([mask for found in masks for mask in found.values()])
    assert 20 < entries.sum() < entries.size - 20
