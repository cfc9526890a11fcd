"""Multiples of a neuron go, exactly, and searches that go on without them answer as before."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.network.exact import exact_outputs
from encoders.network.graph import Graph, GraphBuilder
from encoders.network.linear_maps import Conv, Dense, identity, readonly
from encoders.network.text import graph_to_text
from encoders.passes.merged import MERGED, merged
from verifier.problem.query import Ball, Halfspaces
from verifier.problem.verdict import Holds, Violated


def dyadic(rng: np.random.Generator, *shape: int) -> Any:
    """Numbers of few bits: their threefold is exact, a tenth of it is not."""
    return rng.integers(-64, 65, shape) / 16


def layered(*layers: tuple[Any, Any]) -> Graph:
    builder = GraphBuilder(np.asarray(layers[0][0]).shape[1])
    place = 0
    for number, (weight, bias) in enumerate(layers):
        place = builder.affine([(Dense(readonly(weight)), place)], bias)
        place = builder.relu(place) if number < len(layers) - 1 else place
    return builder.graph(place)


def same(one: Graph, other: Graph, rng: np.random.Generator) -> bool:
    points = [dyadic(rng, one.input_size) for _ in range(8)]
    return all(exact_outputs(one, point) == exact_outputs(other, point) for point in points)


def line(neuron: list[float]) -> tuple[Fraction, ...]:
    """What multiples have in common."""
    lead = Fraction(next(entry for entry in neuron if entry))
    return tuple(Fraction(entry) / lead for entry in neuron)


FACTORS = [1.0, 2.0, 0.25, 3.0, -1.0, -0.5, -3.0, 0.0]
"""0: a neuron of its own."""


@pytest.mark.parametrize("seed", range(12))
def test_random_multiples_go_and_the_function_stays(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight, bias = dyadic(rng, 3, 4), dyadic(rng, 3)
    rows, biases, factors = [*weight], [*bias], rng.choice(FACTORS, 6)
    for factor in factors:
        of = rng.integers(3)
        rows.append(factor * weight[of] if factor else dyadic(rng, 4))
        biases.append(factor * bias[of] if factor else 1.0)
    order = rng.permutation(len(rows))
    layer = np.array(rows)[order], np.array(biases)[order]
    graph = layered(layer, (dyadic(rng, 5, 9), dyadic(rng, 5)), (dyadic(rng, 2, 5), dyadic(rng, 2)))
    found = merged(graph)
    lines = 5 + len({line([*row, bias]) for row, bias in zip(*layer, strict=True)})
    assert lines <= found.relu_count <= lines + np.sum(np.abs(factors) == 3), "a third is no float64"
    assert (found is graph) is (found.relu_count == graph.relu_count)
    assert same(graph, found, rng)


def test_what_is_nearly_a_multiple_stays() -> None:
    rng = np.random.default_rng(0)
    row = np.array([1.0, 3.0, -7.0])
    tiny = np.array([2.0**-1060, 3 * 2.0**-1060, 1.0])
    for other, bias in ((0.1 * row, 0.1), (np.nextafter(row, 9), 1.0), (row, 1.0 + 2**-50), (row * [1, 1, -1], 1.0)):
        graph = layered(([row, other], [1.0, bias]), (dyadic(rng, 2, 2), [0.0, 0.0]))
        assert merged(graph) is graph
    graph = layered(([tiny, tiny * 2.0**-20], [1.0, 2.0**-20]), (dyadic(rng, 2, 2), [0.0, 0.0]))
    assert merged(graph) is graph, "what underflows is no multiple"
    zeros = layered(([[0.0] * 3] * 2, [1.0, 1.0]), (dyadic(rng, 2, 2), [0.0, 0.0]))
    assert merged(zeros) is zeros


def split(weight: Any, bias: Any, offsets: Any, by: float = 1.0) -> list[tuple[Any, Any]]:
    """z = Wx + b as relu(c·(z − t))/c − relu(−(z − t)) + t: what Relusplitter makes of a layer, c = 1 there."""
    weight, bias = np.asarray(weight), np.asarray(bias)
    rows, size = np.repeat(weight, 2, axis=0), len(bias)
    signs = np.tile([by, -1.0], size)
    joint = np.zeros((size, 2 * size))
    joint[np.arange(size), 2 * np.arange(size)], joint[np.arange(size), 2 * np.arange(size) + 1] = 1 / by, -1
    return [(rows * signs[:, np.newaxis], np.repeat(bias - offsets, 2) * signs), (joint, np.asarray(offsets))]


def test_a_split_layer_is_whole_again() -> None:
    rng = np.random.default_rng(1)
    weight, bias, last = dyadic(rng, 3, 2), dyadic(rng, 3), (dyadic(rng, 2, 3), dyadic(rng, 2))
    for by in (1.0, 4.0):
        graph = layered(*split(weight, bias, dyadic(rng, 3), by), last)
        found = merged(graph)
        assert (graph.relu_count, found.relu_count) == (9, 3)
        assert same(layered((weight, bias), last), found, rng)
    tiny = ([[1.0, 0.0], [-(2.0**-60), 0.0]], [0.5, -(2.0**-61)]), ([[0.0, 2.0**-1074]], [0.0])
    assert merged(layered(*tiny)).relu_count == 1, "2^-1134 is not nothing"
    other = layered(*split(weight, bias, dyadic(rng, 3), 3.0), last)
    assert merged(other) is other, "1/3 is no float64: what is left of the ReLUs is not nothing"


def test_the_text_before_and_after() -> None:
    layer = [[1.0, 2.0], [-1.0, -2.0], [2.0, 4.0]], [0.5, -0.5, 1.0]
    graph = layered(layer, ([[1.0, -1.0, 0.0], [1.0, 1.0, 1.0]], [0.0, 0.0]))
    assert graph_to_text(graph).splitlines() == [
        "v0 = input : 2",
        "v1 = dense[3x2] v0 + b : 3",
        "v2 = relu(v1) : 3",
        "v3 = dense[2x3] v2 : 2  <- output",
    ]
    assert graph_to_text(merged(graph)).splitlines() == [
        "v0 = input : 2",
        "v1 = dense[3x2] v0 + b : 3",
        "v2 = select v1 : 1",
        "v3 = relu(v2) : 1",
        "v4 = sparse[3x1, 3 entries] v3 + sparse[3x3, 1 entries] v1 : 3",
        "v5 = dense[2x3] v4 : 2  <- output",
    ]


@pytest.mark.parametrize("cancelled", [False, True])
def test_channels_of_a_convolution(cancelled: bool) -> None:
    rng = np.random.default_rng(2)
    kernel = dyadic(rng, 2, 1, 2, 2)
    conv = Conv(readonly(np.concatenate([kernel, -kernel])), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
    places = conv.out_size // 4
    bias = np.repeat(dyadic(rng, 2), places)
    builder = GraphBuilder(9)
    relu = builder.relu(builder.affine([(conv, 0)], np.concatenate([bias, -bias])))
    if cancelled:
        joint = np.hstack([np.eye(2), -np.eye(2)]).reshape(2, 4, 1, 1)
        out = builder.affine([(Conv(readonly(joint), conv.out_spatial, (1, 1), (1, 1), (0, 0, 0, 0)), relu)])
    else:
        out = builder.affine([(Dense(readonly(dyadic(rng, 3, 4 * places))), relu)])
    graph = builder.graph(out)
    found = merged(graph)
    assert found.relu_count == (0 if cancelled else 2 * places)
    assert same(graph, found, rng)
    uneven = np.concatenate([bias, -bias + np.eye(2 * places)[0]])
    builder = GraphBuilder(9)
    graph = builder.graph(builder.affine([(identity(4 * places), builder.relu(builder.affine([(conv, 0)], uneven)))]))
    assert merged(graph).relu_count == 3 * places, "of channels whose biases differ anywhere nothing goes"
    assert same(graph, merged(graph), rng)


def test_what_else_reads_a_neuron_keeps_it() -> None:
    """The output itself, another layer beside, the same layer twice."""
    rng = np.random.default_rng(3)
    first = Dense(readonly([[1.0, 2.0], [-1.0, -2.0]]))
    difference = Dense(readonly([[1.0, -1.0]]))
    for case in range(3):
        builder = GraphBuilder(2)
        relu = builder.relu(builder.affine([(first, 0)], [0.5, -0.5]))
        terms: list[Any] = [(difference, relu)]
        terms += [(Dense(readonly([[1.0, 0.0]])), relu)] if case == 1 else []
        out = relu if case == 0 else builder.affine(terms)
        if case == 2:
            out = builder.affine([(identity(1), out), (Dense(readonly([[0.0, 1.0]])), relu)])
        graph = builder.graph(out)
        assert merged(graph).relu_count == 1
        assert same(graph, merged(graph), rng)


@pytest.mark.parametrize("seed", range(4))
def test_searches_answer_as_of_the_whole_net(seed: int, truth: Any, save_net: Callable[..., Any]) -> None:
    rng = np.random.default_rng(seed)
    weight, bias, last = dyadic(rng, 4, 2), dyadic(rng, 4), (dyadic(rng, 2, 4), dyadic(rng, 2))
    net = truth.of_layers((weight, bias), last)
    made = save_net(truth.of_layers(*split(weight, bias, dyadic(rng, 4)), last))
    assert merged(made.graph, share=MERGED).relu_count == 4
    x = np.float32([0.5, 0.5])
    whole, found = verifier.minimal(save_net(net), x), verifier.minimal(made, x)
    assert found.status is whole.status
    assert found.lower <= whole.upper
    assert whole.lower <= found.upper
    if found.lower > 0:
        for radius, kind in ((found.lower, Holds), (found.upper + 1e-3, Violated)):
            if np.isfinite(radius):
                assert isinstance(verifier.check(made, x, radius).verdict, kind)
        proved = verifier.certificate(made, x, found.lower, None if found.witness is None else found.witness.point)
        assert proved.result.lower == found.lower, "of the file's own neurons"
        assert found.float32 is not None
        assert found.float32 <= found.lower
    best = net.largest_margin(Ball.of_box(np.zeros(2), np.ones(2)), Halfspaces(np.array([[-1.0, 1.0]]), np.zeros(1)))
    for level, kind in ((best + 0.01, Holds), (best - 0.01, Violated)):
        goal = Halfspaces(np.array([[-1.0, 1.0]]), np.array([-level]))
        for semantics in ("both", "real", "float32"):
            answer = verifier.check(made, property=goal, region=(0.0, 1.0), semantics=semantics)
            assert isinstance(answer.verdict, kind)
