"""Copies of a graph under linear maps: what they compute is the graph at the mapped points; folding changes little."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from encoders.network.exact import exact_outputs
from encoders.network.graph import NODE_KINDS, Clip, Graph, GraphBuilder, LeakyRelu, Sigmoid, frozen, outputs
from encoders.network.linear_maps import LINEAR_MAPS, Conv, Dense, Scale, identity, readonly, select, sparse
from encoders.passes.fold_affine import folded
from encoders.passes.goal_graph import REACHED, goal_graph
from encoders.passes.lower import lower
from encoders.passes.stacked_copies import TIMES, copies, with_rivals

RNG = np.random.default_rng(3)
TOLERANCE = 1e-11
"""Two orders of summation of a few dozen numbers of size 1."""


def r(*shape: int) -> np.ndarray:
    return readonly(RNG.integers(-8, 9, shape) / 8)


def every_kind() -> Graph:
    """A 3x4 picture through every kind of map and of node."""
    b = GraphBuilder(12)
    conv = Conv(r(2, 1, 2, 3), (3, 4), (1, 1), (1, 1), (1, 0, 0, 1))
    groups = Conv(r(4, 1, 2, 2), (3, 3), (2, 1), (1, 1), (0, 0, 1, 0), groups=2)
    first = b.relu(b.affine([(conv, 0)], r(conv.out_size)))
    second = b.add(LeakyRelu(b.affine([(groups, first)], r(groups.out_size)), frozen(r(groups.out_size))))
    size = b.size(second)
    mixed = b.affine([(Dense(r(3, size)), second), (select([5, -1, 2], 12), 0)], r(3))
    high = b.max([mixed, b.abs(mixed), b.add(Clip(mixed, 3, -0.25, 0.5)), b.add(Sigmoid(mixed, 3))])
    thirds = Scale(r(3), readonly([3.0, 1.0, 7.0]))
    wide = b.affine([(thirds, high), (sparse([[0, 1, 0], [0.5, 0, 0], [0, 0, 0]]), mixed)])
    return b.graph(b.affine([(Dense(r(2, 3), right=1), wide)], r(2)))


MAPS = [identity(12), sparse(np.roll(np.eye(12), 2, axis=0)), Dense(r(12, 12))]


def test_every_map_has_copies() -> None:
    graph = every_kind()
    assert {type(node) for node in graph.nodes} == set(NODE_KINDS)
    assert set(TIMES) == set(LINEAR_MAPS)


@pytest.mark.parametrize("graph", [every_kind(), lower(every_kind())], ids=["as read", "lowered"])
def test_copies_are_the_graph_at_the_mapped_points(graph: Graph) -> None:
    several = copies(graph, MAPS)
    x = RNG.normal(size=(5, 12))
    expected = np.hstack([outputs(graph, linear.apply(x)) for linear in MAPS])
    np.testing.assert_allclose(outputs(several, x), expected, atol=TOLERANCE)
    assert several.output_size == 3 * graph.output_size
    assert several.relu_count == 3 * graph.relu_count


def test_copies_are_exact() -> None:
    """0.1 · 3 is no float: a product that was rounded would show."""
    builder = GraphBuilder(1)
    graph = builder.graph(builder.affine([(identity(1, 3.0), builder.relu(0))]))
    several = copies(graph, [identity(1, 0.1), identity(1, 0.7)])
    assert exact_outputs(several, [0.3]) == [3 * Fraction(0.1) * Fraction(0.3), 3 * Fraction(0.7) * Fraction(0.3)]


@pytest.mark.parametrize("label", [0, 1, 2])
def test_rivals_are_the_best_other_classes(label: int) -> None:
    builder = GraphBuilder(4)
    graph = builder.graph(builder.affine([(Dense(r(3, 4)), builder.relu(0))], r(3)))
    maps = [identity(4), Dense(r(4, 4))]
    several = with_rivals(copies(graph, maps), 2, label)
    x = RNG.normal(size=(7, 4))
    logits = np.array([outputs(graph, linear.apply(x)) for linear in maps])
    gaps = np.delete(logits, label, axis=2).max(axis=2) - logits[:, :, label]
    for given in (several, lower(several)):
        np.testing.assert_allclose(outputs(given, x), np.hstack([*logits, gaps.T]), atol=TOLERANCE)


@pytest.mark.parametrize("graph", [every_kind(), lower(every_kind())], ids=["as read", "lowered"])
def test_folding_keeps_the_function(graph: Graph) -> None:
    several = copies(graph, MAPS)
    x = RNG.normal(size=(5, 12))
    np.testing.assert_allclose(outputs(folded(several), x), outputs(several, x), atol=TOLERANCE)


def test_folding_leaves_one_matrix_in_front_of_a_dense_layer() -> None:
    builder = GraphBuilder(12)
    graph = builder.graph(builder.relu(builder.affine([(Dense(r(5, 12)), 0)], r(5))))
    shorter = folded(copies(graph, MAPS))
    assert len(shorter.nodes) == 3
    assert shorter.nodes[1].size == 15


def test_a_goal_is_a_class() -> None:
    graph = copies(every_kind(), MAPS)
    matrix, offset = r(4, 6), r(4)
    logits = outputs(goal_graph(graph, matrix, offset), x := RNG.normal(size=(50, 12)))
    rows = outputs(graph, x) @ matrix.T + offset
    lead = logits[:, REACHED] - np.delete(logits, REACHED, axis=1).max(axis=1)
    np.testing.assert_allclose(lead, rows.min(axis=1), atol=TOLERANCE)
