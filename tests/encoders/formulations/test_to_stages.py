"""Stages against the graph that they were made from: values, ReLU arguments, and the rounding that was charged."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

import encoders.formulations.to_stages
from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.exact import exact_outputs, integer_map
from encoders.network.graph import Affine, Graph, GraphBuilder, evaluate, outputs
from encoders.network.linear_maps import Conv, Dense, LinearMap, Scale, identity, readonly, select
from encoders.onnx_io.from_onnx import network_from_model
from encoders.passes.lower import lower

SUM_TOLERANCE = 1e-11
"""Relative to the largest value: float64 sums of some hundred products, in another order than the graph's."""

UNIT = Fraction(1, 2**53)
"""The relative error of one rounded operation."""

Fractions = npt.NDArray[np.object_]


def dense(rng: np.random.Generator) -> Graph:
    builder, last = GraphBuilder(4), 0
    for n, m in ((4, 6), (6, 5), (5, 3)):
        source = builder.relu(last) if last else last
        last = builder.affine([(Dense(readonly(rng.normal(size=(m, n)))), source)], rng.normal(size=m))
    return builder.graph(last)


def residual(rng: np.random.Generator) -> Graph:
    """Skips over one and two ReLUs, a source that occurs twice, a ReLU of the input, runs of affine nodes, divisors."""
    builder = GraphBuilder(4)
    thirds = Scale(readonly(rng.normal(size=4)), readonly([3.0, -7.0, 0.1, 11.0]))
    mixed = Dense(readonly(rng.normal(size=(4, 4))))
    first = builder.relu(builder.affine([(mixed, 0), (thirds, 0)], np.full(4, 0.1)))
    bent = builder.relu(0)
    joined = builder.affine([(identity(4), first), (identity(4, -0.3), first), (thirds, bent)], rng.normal(size=4))
    turned = builder.affine([(mixed, joined), (thirds, 0)], rng.normal(size=4))
    last = builder.relu(builder.affine([(mixed, turned), (identity(4), first)]))
    return builder.graph(builder.affine([(Dense(readonly(rng.normal(size=(2, 4)))), last), (select([1, 3], 4), bent)]))


def cancelling(rng: np.random.Generator) -> Graph:
    """Products of matrices in which nearly everything cancels: 10⁸·(1 + ε) − 10⁸."""
    builder = GraphBuilder(3)
    big = rng.normal(size=(3, 3)) * 1e8
    first = builder.affine([(Dense(readonly(big)), 0)], rng.normal(size=3) * 1e8)
    second = builder.affine([(Dense(readonly(np.linalg.inv(big))), first), (identity(3, -1.0), 0)], rng.normal(size=3))
    hidden = builder.relu(builder.affine([(Dense(readonly(big)), second)]))
    third = builder.affine([(Dense(readonly([[1.0, -1.0, 1e8], [0.1, 0.2, 0.3]])), hidden)])
    return builder.graph(builder.affine([(Dense(readonly([[0.1, 0.3], [1.0, -1e8]])), third)]))


def no_relu(rng: np.random.Generator) -> Graph:
    builder = GraphBuilder(3)
    first = builder.affine([(Dense(readonly(rng.normal(size=(4, 3)))), 0)], rng.normal(size=4))
    return builder.graph(builder.affine([(Dense(readonly(rng.normal(size=(2, 4)))), first)]))


def shared(rng: np.random.Generator) -> Graph:
    """Two ReLUs of one argument, a ReLU of a ReLU, and an output that is one."""
    builder = GraphBuilder(3)
    argument = builder.affine([(Dense(readonly(rng.normal(size=(3, 3)))), 0)], rng.normal(size=3))
    twice = builder.affine([(identity(3), builder.relu(argument)), (identity(3, 0.5), builder.relu(argument))])
    return builder.graph(builder.relu(builder.relu(builder.affine([(identity(3), twice), (identity(3, -1.0), 0)]))))


def pooled(rng: np.random.Generator, build: Callable[..., Any]) -> Graph:
    """Convolution, max-pool and average-pool as the reader and the lowering make them."""
    constants = {
        "k": rng.normal(size=(2, 1, 2, 2)).astype(np.float32),
        "b": rng.normal(size=2).astype(np.float32),
        "w": rng.normal(size=(8, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "k", "b"], ["c"], pads=[1, 1, 0, 0]),
        helper.make_node("Relu", ["c"], ["h"]),
        helper.make_node("MaxPool", ["h"], ["m"], kernel_shape=[2, 2], strides=[1, 1]),
        helper.make_node("AveragePool", ["m"], ["a"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["a"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    graph = lower(network_from_model(build(nodes, (1, 1, 4, 4), constants)).graph)
    assert any(isinstance(t.map, Conv) for node in graph.nodes if isinstance(node, Affine) for t in node.terms)
    return graph


NETS: dict[str, Callable[[np.random.Generator], Graph]] = {
    "dense": dense,
    "residual": residual,
    "cancelling": cancelling,
    "no relu": no_relu,
    "shared": shared,
}


@pytest.fixture(params=[*NETS, "pooled"])
def graph(request: pytest.FixtureRequest, onnx_model: Callable[..., Any]) -> Graph:
    rng = np.random.default_rng(4)
    return pooled(rng, onnx_model) if request.param == "pooled" else NETS[request.param](rng)


def assert_same_values(graph: Graph, stages: Stages, tolerance: float) -> None:
    """Outputs and ReLU arguments, at points of both signs."""
    points = np.random.default_rng(5).normal(size=(40, graph.input_size))
    arguments, found = stages.values(points)
    values = evaluate(graph, points)
    scale = max(float(np.abs(value).max()) for value in values)
    np.testing.assert_allclose(found, outputs(graph, points), rtol=0, atol=tolerance * scale)
    assert arguments.shape == (40, stages.relu_count)
    for node, start, stage in zip(stages.nodes[:-1], stages.starts, stages.hidden, strict=False):
        part = arguments[:, start : start + stage.size]
        np.testing.assert_allclose(part, values[node], rtol=0, atol=tolerance * scale)


def test_values_are_those_of_the_graph(graph: Graph) -> None:
    assert_same_values(graph, to_stages(graph), SUM_TOLERANCE)


def test_each_argument_of_a_relu_is_one_stage(graph: Graph) -> None:
    stages = to_stages(graph)
    assert set(stages.nodes[:-1]) == {graph.nodes[relu].sources[0] for relu in graph.relus()}
    assert len(set(stages.nodes[:-1])) == len(stages.hidden)
    assert stages.nodes[-1] == graph.output
    for number, stage in enumerate(stages.stages, start=1):
        assert set(stage.blocks) <= set(range(number))


def exact_forms(graph: Graph, stages: Stages) -> list[tuple[dict[int, Fractions], Fractions]]:
    """(matrices, constant) of each stage in fractions, by walking the graph once more."""
    numbers = {node: number for number, node in enumerate(stages.nodes[:-1], start=1)}
    zero = np.vectorize(Fraction, otypes=[object])

    def unit(number: int, size: int) -> tuple[dict[int, Fractions], Fractions]:
        return {number: zero(np.eye(size, dtype=int))}, zero(np.zeros(size, dtype=int))

    def matrix(linear: LinearMap) -> Fractions:
        whole, denominator = integer_map(linear)
        columns = whole.apply(np.array(np.eye(linear.in_size, dtype=int), dtype=object))
        return zero(columns.T) / denominator

    forms = [unit(0, graph.input_size)]
    for node in graph.nodes[1:]:
        if not isinstance(node, Affine):
            forms.append(unit(numbers[node.sources[0]], node.size))
            continue
        blocks: dict[int, Fractions] = {}
        constant = zero(node.bias)
        for term in node.terms:
            entries, (sources, offset) = matrix(term.map), forms[term.source]
            constant = constant + entries.dot(offset)
            for source, block in sources.items():
                blocks[source] = blocks.get(source, 0) + entries.dot(block)
        forms.append((blocks, constant))
    return [forms[node] for node in stages.nodes]


def full(matrix: Any) -> npt.NDArray[np.float64]:
    return np.asarray(matrix if isinstance(matrix, np.ndarray) else matrix.toarray())


def assert_covered(found: Any, exact: Any, magnitude: Any, operations: int) -> None:
    """|found − exact| ≤ γ · magnitude, entry by entry, in fractions."""
    gamma = operations * UNIT / (1 - operations * UNIT)
    for value, truth, size in zip(found.flat, exact.flat, magnitude.flat, strict=True):
        assert abs(Fraction(float(value)) - truth) <= gamma * Fraction(float(size))


def test_magnitudes_cover_the_rounding(graph: Graph) -> None:
    stages = to_stages(graph)
    for stage, (matrices, constant) in zip(stages.stages, exact_forms(graph, stages), strict=True):
        assert set(stage.blocks) == set(matrices)
        assert np.all(stage.magnitude >= np.abs(stage.constant))
        assert_covered(stage.constant, constant, stage.magnitude, stages.operations)
        for source, block in stage.blocks.items():
            found, magnitude = full(block.matrix), full(block.magnitude)
            assert found.shape == magnitude.shape == matrices[source].shape
            assert np.all(magnitude >= np.abs(found))
            assert_covered(found, matrices[source], magnitude, stages.operations)


def test_products_are_rounded_and_cancel() -> None:
    """The rounding that the magnitudes have to cover is there: far more than that of the entries themselves."""
    graph = cancelling(np.random.default_rng(4))
    stages = to_stages(graph)
    worst = Fraction(0)
    for stage, (matrices, _) in zip(stages.stages, exact_forms(graph, stages), strict=True):
        for source, block in stage.blocks.items():
            for value, truth in zip(full(block.matrix).flat, matrices[source].flat, strict=True):
                worst = max(worst, abs(Fraction(float(value)) - truth) / max(abs(truth), UNIT))
    assert worst > 1000 * UNIT


def test_a_single_matrix_is_taken_over_as_it_is() -> None:
    graph = dense(np.random.default_rng(4))
    weights = [node.terms[0].map for node in graph.nodes if isinstance(node, Affine)]
    for number, (stage, linear) in enumerate(zip(to_stages(graph).stages, weights, strict=True)):
        assert isinstance(linear, Dense)
        assert list(stage.blocks) == [number]
        np.testing.assert_array_equal(full(stage.blocks[number].matrix), linear.weight)
        assert np.shares_memory(stage.blocks[number].matrix, linear.weight)


@pytest.mark.parametrize("share", [0.0, 2.0])
def test_dense_or_sparse_is_the_same(graph: Graph, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders.formulations.to_stages, "DENSE_SHARE", share)
    stages, kinds = to_stages(graph), set()
    assert_same_values(graph, stages, SUM_TOLERANCE)
    for block in (block for stage in stages.stages for block in stage.blocks.values()):
        kinds.add(isinstance(block.matrix, np.ndarray))
        assert isinstance(block.magnitude, np.ndarray) == isinstance(block.matrix, np.ndarray)
        np.testing.assert_array_equal(full(block.adjoint), full(block.matrix).T)
    assert kinds == {share == 0.0}


def drawn_graph(seed: int) -> Graph:
    """Eight nodes, each over random earlier ones; weights in quarters, so that float64 rounds nothing."""
    rng = np.random.default_rng(seed)
    builder, places = GraphBuilder(3), [0]
    for _ in range(8):
        if rng.random() < 0.4:
            places.append(builder.relu(int(rng.choice(places))))
            continue
        maps: list[LinearMap] = [
            Dense(readonly(rng.integers(-3, 4, (3, 3)) / 4)),
            Scale(readonly(rng.integers(-3, 4, 3) / 4)),
            select(rng.integers(-1, 3, 3), 3),
        ]
        terms = [(maps[int(rng.integers(3))], int(rng.choice(places))) for _ in range(rng.integers(1, 4))]
        places.append(builder.affine(terms, rng.integers(-3, 4, 3) / 4))
    return builder.graph(places[-1])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_graphs_without_rounding_agree_exactly(seed: int) -> None:
    graph = drawn_graph(seed)
    stages = to_stages(graph)
    assert_same_values(graph, stages, 1e-15)
    point = np.random.default_rng(seed).integers(-8, 9, 3) / 8
    assert [Fraction(float(z)) for z in stages.values(point)[1][0]] == exact_outputs(graph, point)
