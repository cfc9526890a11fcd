"""The graph's own rules: what its constructor refuses, what the walkers do, what the builder leaves out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from encoders.network.graph import (
    EVALUATE,
    NODE_KINDS,
    Abs,
    Affine,
    Clip,
    Graph,
    GraphBuilder,
    Input,
    LeakyRelu,
    Max,
    Node,
    Relu,
    Sigmoid,
    Term,
    evaluate,
    forward,
    frozen,
    outputs,
    renumbered,
    reverse,
    sigmoid,
)
from encoders.network.linear_maps import Dense, identity, readonly, select

SUM_TOLERANCE = 1e-15  # sums of five numbers below 30
GRADIENT_TOLERANCE = 1e-6  # a central difference with step 1e-6 of a piecewise linear function, in float64


def affine(size: int, source: int = 0) -> Affine:
    return Affine((Term(identity(size), source),), frozen(np.zeros(size)))


@pytest.mark.parametrize(
    ("nodes", "output", "message"),
    [
        ((), 0, "node 0 of a graph must be its Input"),
        ((Relu(0, 1),), 0, "node 0 of a graph must be its Input"),
        ((Input(1),), 1, r"output index 1 is outside 0\.\.0"),
        ((Input(1),), -1, "output index -1"),
        ((Input(1), Input(1)), 1, "node 1 is a second Input"),
        ((Input(1), Relu(1, 1)), 1, "node 1 reads node 1, which does not come before it"),
        ((Input(1), Relu(2, 1), Relu(0, 1)), 1, "node 1 reads node 2"),
        ((Input(1), Relu(-1, 1)), 1, "node 1 reads node -1"),
        ((Input(2), Relu(0, 3)), 1, "node 1: a Relu must have the size of what it reads"),
        ((Input(2), Max((0, 0), 3)), 1, "node 1: a Max must have the size"),
        ((Input(2), Clip(0, 3, 0.0, 1.0)), 1, "node 1: a Clip must have the size"),
        ((Input(2), affine(3)), 1, "node 1: a Scale of 3 -> 3 stands between sizes 2 -> 3"),
        ((Input(2), Affine((Term(identity(2), 0),), frozen(np.zeros(3)))), 1, "2 -> 2 stands between sizes 2 -> 3"),
    ],
)
def test_malformed_graphs_raise(nodes: tuple[Node, ...], output: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Graph(nodes, output)


def every_kind() -> Graph:
    """A graph with a node of each kind."""
    builder = GraphBuilder(3)
    first = builder.affine([(Dense(readonly([[1, -2, 3], [4, 5, -6.0]])), 0)], [0.5, -0.25])
    relu, absolute = builder.relu(first), builder.abs(first)
    largest = builder.max([relu, absolute, first])
    leaky = builder.add(LeakyRelu(largest, frozen([0.5, -2.0])))
    clip = builder.add(Clip(first, 2, -1.0, 1.5))
    curve = builder.add(Sigmoid(first, 2))
    terms = [(identity(2), leaky), (identity(2, 2.0), clip), (identity(2), leaky), (identity(2, 4.0), curve)]
    return builder.graph(builder.affine(terms))


def test_evaluate_every_kind() -> None:
    x = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, -1.0]])
    first = np.array([[3.0, 0.75], [-4.5, 10.75]])
    graph = every_kind()
    assert {type(node) for node in graph.nodes} == set(NODE_KINDS)
    largest = np.maximum(np.abs(first), first)
    expected = 2 * np.where(largest >= 0, largest, 0) + 2 * np.clip(first, -1.0, 1.5) + 4 / (1 + np.exp(-first))
    np.testing.assert_allclose(outputs(graph, x), expected, rtol=SUM_TOLERANCE)
    np.testing.assert_array_equal(outputs(graph, x[0])[0], outputs(graph, x)[0])


def test_a_sigmoid_at_the_ends_of_float64() -> None:
    with np.errstate(over="raise"):
        found = sigmoid(np.array([-np.inf, -1e308, -700.0, 0.0, 700.0, np.inf]))
    np.testing.assert_array_equal(found, [0.0, 0.0, np.exp(-700.0), 0.5, 1.0, 1.0])


def test_which_graphs_are_smooth() -> None:
    builder = GraphBuilder(1)
    assert not builder.graph(builder.relu(0)).smooth
    assert builder.graph(builder.relu(builder.add(Sigmoid(0, 1)))).smooth


@pytest.mark.parametrize("kind", [kind for kind in NODE_KINDS if kind is not Input])
def test_walkers_raise_on_a_missing_kind(kind: type) -> None:
    graph = every_kind()
    table: dict[type, Any] = {known: rule for known, rule in EVALUATE.items() if known is not kind}
    with pytest.raises(TypeError, match=f"no rule for {kind.__name__} nodes here; there are rules for: "):
        forward(graph, table, np.zeros((1, 3)))

    def pass_on(_: int, node: Any, message: int) -> list[tuple[int, int]]:
        return [(source, message) for source in node.sources]

    backward = {known: pass_on for known in NODE_KINDS if known is not kind}
    with pytest.raises(TypeError, match=f"no rule for {kind.__name__} nodes here"):
        reverse(graph, backward, graph.output, 1, lambda a, b: a + b)


def test_reverse_adds_what_meets() -> None:
    """Counting paths: each message is the number of ways from a node to the output."""
    builder = GraphBuilder(1)
    a = builder.relu(0)
    b = builder.affine([(identity(1), a), (identity(1), a), (identity(1), 0)])
    graph = builder.graph(builder.max([a, b]))

    def ways(_: int, node: Any, message: int) -> list[tuple[int, int]]:
        return [(source, message) for source in node.sources]

    table = dict.fromkeys(NODE_KINDS, ways)
    assert reverse(graph, table, graph.output, 1, lambda a, b: a + b) == {0: 4}
    assert reverse(graph, table, 0, 1, lambda a, b: a + b) == {0: 1}


def test_reverse_differentiates() -> None:
    rng = np.random.default_rng(5)
    builder = GraphBuilder(4)
    hidden = builder.relu(builder.affine([(Dense(readonly(rng.normal(size=(6, 4)))), 0)], rng.normal(size=6)))
    graph = builder.graph(builder.affine([(Dense(readonly(rng.normal(size=(1, 6)))), hidden), (select([2], 4), 0)]))
    x, step = rng.normal(size=(1, 4)), 1e-6
    values = evaluate(graph, x)
    table: dict[type, Any] = {
        Affine: lambda _, node, message: [(term.source, term.map.adjoint(message)) for term in node.terms],
        Relu: lambda _, node, message: [(node.source, message * (values[node.source] > 0))],
    }
    gradient = reverse(graph, table, graph.output, np.ones((1, 1)), np.add)[0][0]
    shifts = step * np.eye(4)
    difference = (outputs(graph, x + shifts) - outputs(graph, x - shifts))[:, 0] / (2 * step)
    np.testing.assert_allclose(gradient, difference, rtol=GRADIENT_TOLERANCE, atol=GRADIENT_TOLERANCE)


def test_builder_leaves_out_what_the_output_does_not_need() -> None:
    builder = GraphBuilder(2)
    unused = builder.relu(0)
    kept = builder.abs(0)
    builder.max([unused, kept])
    graph = builder.graph(builder.relu(kept))
    assert graph.nodes == (Input(2), Abs(0, 2), Relu(1, 2))
    assert graph.output == 2
    only_input = builder.graph(0)
    assert (only_input.nodes, only_input.output) == ((Input(2),), 0)


def test_sizes_and_counts() -> None:
    graph = every_kind()
    assert (graph.input_size, graph.output_size, graph.lowered) == (3, 2, False)
    assert (graph.relus(), graph.relu_count) == ((2,), 2)


@pytest.mark.parametrize("node", every_kind().nodes)
def test_renumbered_keeps_everything_else(node: Node) -> None:
    place = {source: source + 10 for source in range(10)}
    moved = renumbered(node, place)
    assert type(moved) is type(node)
    assert moved.size == node.size
    assert moved.sources == tuple(source + 10 for source in node.sources)


@pytest.mark.parametrize("node", [Input(3), Relu(0, 2), Abs(1, 2), Max((0, 1), 2), Clip(0, 2, -1.0, 1.0)])
def test_repr_pastes_back(node: Node) -> None:
    assert eval(repr(node)) == node


def test_arrays_are_private_and_readonly() -> None:
    source = np.zeros(2)
    copy = frozen(source)
    source[0] = 1.0
    assert copy[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        copy[0] = 1.0
