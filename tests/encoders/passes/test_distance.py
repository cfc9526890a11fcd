"""The distance as a graph: the norm's value exactly, lowered kinds only, appended to the network's output."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from encoders.network.exact import exact_outputs
from encoders.network.graph import LOWERED_KINDS, Graph, GraphBuilder, outputs
from encoders.network.linear_maps import Dense, readonly
from encoders.network.norm import Norm
from encoders.passes.distance import DISTANCES, with_distance


def network(size: int) -> Graph:
    """Two outputs, an Abs and a Max among the nodes."""
    rng = np.random.default_rng(size)
    builder = GraphBuilder(size)
    first = builder.affine([(Dense(readonly(rng.normal(size=(2, size)))), 0)], rng.normal(size=2))
    return builder.graph(builder.max([builder.abs(first), builder.relu(first), first]))


def norm_of(norm: Norm, x: np.ndarray, centre: np.ndarray) -> Fraction:
    gaps = [abs(Fraction(a) - Fraction(b)) for a, b in zip(x.tolist(), centre.tolist(), strict=True)]
    return sum(gaps, Fraction(0)) if norm is Norm.L1 else max(gaps)


def test_every_norm_has_a_graph() -> None:
    assert set(DISTANCES) == set(Norm) - {Norm.L2}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("norm", DISTANCES)
def test_the_value_is_the_norm_exactly(norm: Norm, size: int) -> None:
    rng = np.random.default_rng(size)
    centre = rng.random(size)
    graph = network(size)
    combined = with_distance(graph, norm, centre)
    points = [centre, *rng.normal(size=(6, size)), *(centre + 1e-9 * rng.normal(size=(3, size)))]
    for x in points:
        *logits, distance = exact_outputs(combined, x)
        assert distance == norm_of(norm, x, centre)
        assert logits == exact_outputs(graph, x)
    assert outputs(combined, np.array(points)).shape == (10, 3)


@pytest.mark.parametrize("norm", DISTANCES)
def test_one_coordinate_decides_whichever_it_is(norm: Norm) -> None:
    centre = np.full(6, 0.5)
    combined = with_distance(network(6), norm, centre)
    for place in range(6):
        for step in (-0.25, 0.125):
            x = centre.copy()
            x[place] += step
            assert exact_outputs(combined, x)[-1] == abs(Fraction(step))


@pytest.mark.parametrize("norm", DISTANCES)
def test_only_lowered_kinds_with_the_network_first(norm: Norm) -> None:
    builder = GraphBuilder(4)
    hidden = builder.relu(builder.affine([(Dense(readonly(np.ones((3, 4)))), 0)]))
    graph = builder.graph(builder.affine([(Dense(readonly(np.ones((2, 3)))), hidden)]))
    combined = with_distance(graph, norm, np.zeros(4))
    assert combined.lowered
    assert all(isinstance(node, LOWERED_KINDS) for node in combined.nodes)
    assert combined.output_size == graph.output_size + 1
    # Bounds of the network's own nodes are taken over by their index.
    x = np.array([0.5, -1.0, 0.25, 2.0])
    for index, node in enumerate(graph.nodes):
        assert combined.nodes[index].size == node.size
        assert combined.nodes[index].sources == node.sources
        assert exact_outputs(Graph(combined.nodes[: index + 1], index), x) == exact_outputs(
            Graph(graph.nodes[: index + 1], index), x
        )
