"""Bounds through Sigmoids contain every sample, in exact arithmetic where it matters, and get tight in small boxes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from encoders.network.enclosure import enclosed_outputs
from encoders.network.graph import Affine, Array, Graph, GraphBuilder, Relu, Sigmoid, outputs, sigmoid
from encoders.network.linear_maps import Conv, Dense, Scale, identity, readonly, select
from verifier.bounds import smooth_crown
from verifier.bounds.box_part import BoxPart
from verifier.bounds.interval import interval_pairs
from verifier.bounds.smooth_crown import SmoothCrown
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Halfspaces
from verifier.problem.rounding import REAL, SIGMOID_UNITS
from verifier.search.float32_lower import float32_arithmetic

BITS = 128


def random_graph(seed: int, inputs: int = 5) -> Graph:
    """Dense, Sigmoid, convolution and a skip, Relu, Sigmoid of that, a Sigmoid of the input."""
    rng = np.random.default_rng(seed)

    def r(*shape: int) -> Array:
        return readonly(rng.normal(size=shape) * 1.5)

    b = GraphBuilder(inputs)
    first = b.add(Sigmoid(b.affine([(Dense(r(6, inputs)), 0)], r(6)), 6))
    conv = Conv(r(1, 1, 3), (6,), (1,), (1,), (1, 1))
    second = b.relu(b.affine([(conv, first), (Dense(r(6, inputs)), 0), (Scale(r(6), readonly([3.0] * 6)), first)]))
    third = b.add(Sigmoid(second, 6))
    of_input = b.add(Sigmoid(0, inputs))
    terms = [(Dense(r(3, 6)), third), (Dense(r(3, 6)), second), (Dense(r(3, inputs)), of_input)]
    return b.graph(b.affine([*terms, (select([0, 1, -1], inputs), 0)], r(3)))


def random_goal(seed: int, count: int = 2) -> Halfspaces:
    rng = np.random.default_rng(seed + 1000)
    return Halfspaces(rng.normal(size=(count, 3)), rng.normal(size=count))


def boxes(seed: int, low: Array, high: Array, count: int, share: float) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    begin = low + rng.random((count, low.size)) * (high - low) * (1.0 - share)
    return begin, np.minimum(begin + share * (high - low), high)


WAYS = {
    "first forms kept": {},
    "no forms kept": {"FEW": 0},
    "all forms kept": {"WIDE": 0},
    "in pieces": {"ENTRIES": 64},
}
"""By which ways rows come to the input."""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in WAYS[request.param].items():
        monkeypatch.setattr(smooth_crown, name, value)
    return str(request.param)


@pytest.mark.parametrize("share", [1.0, 0.3, 0.01])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.usefixtures("way")
def test_bounds_contain_every_sample(seed: int, share: float) -> None:
    graph, goal = random_graph(seed), random_goal(seed)
    low, high = np.full(5, -1.0), np.linspace(-0.5, 1.0, 5)
    low[2] = high[2] = 0.25
    crown = SmoothCrown(graph, (low, high), goal, Budget())
    assert crown.free.tolist() == [0, 1, 3, 4]
    begin, end = boxes(seed, low[crown.free], high[crown.free], 6, share)
    found = crown.bound(BoxPart.of_boxes(begin, end), Budget())
    rng = np.random.default_rng(seed)
    for place in range(6):
        x = np.tile(low, (200, 1))
        x[:, crown.free] = begin[place] + rng.random((200, 4)) * (end[place] - begin[place])
        x[:16, crown.free] = np.where(rng.random((16, 4)) < 0.5, begin[place], end[place])
        rows = -(outputs(graph, x) @ goal.matrix.T + goal.offset)
        assert np.all(rows >= found.values[place] - 1e-12)
        line = found.constants[place] + (x[:, crown.free] - 0.5 * (begin[place] + end[place])) @ found.rows[place].T
        assert np.all(rows >= line - 1e-12)
        if share == 0.01:
            assert np.all(rows.min(axis=0) - found.values[place] < 0.5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.usefixtures("way")
def test_the_bound_of_a_point_is_below_its_exact_value(seed: int) -> None:
    """A box of one number: nothing but rounding is between them, and that is charged."""
    graph, goal = random_graph(seed), random_goal(seed)
    x = np.random.default_rng(seed).normal(size=5)
    crown = SmoothCrown(graph, (x - 1.0, x + 1.0), goal, Budget())
    found = crown.bound(BoxPart.of_boxes(x[np.newaxis], x[np.newaxis]), Budget()).values[0]
    ends = enclosed_outputs(graph, [Fraction(entry) for entry in x.tolist()], BITS)
    for row, offset, value in zip(goal.matrix.tolist(), goal.offset.tolist(), found.tolist(), strict=True):
        least = -Fraction(offset) - sum(
            max(Fraction(factor) * low, Fraction(factor) * high) for factor, low, high in zip(row, *ends, strict=True)
        )
        assert Fraction(value) <= least
        assert float(least) - value < 1e-9


def in_float32(graph: Graph, point: Array, rng: np.random.Generator) -> Array:
    """One evaluation in float32: each row's terms in an order of its own, each σ off by up to SIGMOID_UNITS."""
    values = [point.astype(np.float32)]
    for node in graph.nodes[1:]:
        if isinstance(node, Affine):
            rows = np.hstack([term.map.rows().toarray() for term in node.terms]).astype(np.float32)
            read = np.concatenate([values[term.source] for term in node.terms])
            summands = np.hstack([rows * read, node.bias.astype(np.float32)[:, np.newaxis]])
            values.append(np.cumsum(rng.permuted(summands, axis=1), axis=1, dtype=np.float32)[:, -1])
        elif isinstance(node, Sigmoid):
            off = (SIGMOID_UNITS - 1.0) * rng.choice([-1.0, 1.0], node.size) * 2.0**-24
            values.append((sigmoid(values[node.source].astype(np.float64)) + off).astype(np.float32))
        else:
            assert isinstance(node, Relu)
            values.append(np.maximum(values[node.source], np.float32(0)))
    return values[graph.output].astype(np.float64)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.usefixtures("way")
def test_charged_bounds_hold_for_evaluations_in_float32_and_real_ones_do_not(seed: int) -> None:
    """At single points, where nothing but rounding is between them."""
    graph, goal = single(random_graph(seed)), random_goal(seed)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(8, 5)).astype(np.float32).astype(np.float64)
    arithmetic = float32_arithmetic(graph, Ball.of_box(x.min(axis=0), x.max(axis=0)), rounds=False)
    assert arithmetic is not None
    region = x.min(axis=0), x.max(axis=0)
    charged, real = (
        SmoothCrown(graph, region, goal, Budget(), each).bound(BoxPart.of_boxes(x, x), Budget()).values
        for each in (arithmetic, REAL)
    )
    given = np.array([[in_float32(graph, point, rng) for _ in range(20)] for point in x])
    rows = np.min(-(given @ goal.matrix.T + goal.offset), axis=1)
    assert np.all(rows >= charged)
    assert np.any(rows < real)
    assert np.all(real - charged < 2e-3)


def single(graph: Graph) -> Graph:
    """The same with constants that float32 has."""
    b = GraphBuilder(graph.input_size)
    for node in graph.nodes[1:]:
        if isinstance(node, Affine):
            rows = [term.map.rows().toarray().astype(np.float32) for term in node.terms]
            terms = zip(map(Dense, map(readonly, rows)), node.sources, strict=True)
            b.affine(list(terms), node.bias.astype(np.float32))
        else:
            b.add(node)
    return b.graph(graph.output)


@pytest.mark.usefixtures("way")
def test_what_decimals_between_two_floats_may_add_is_charged() -> None:
    """An input that moves by less than its own rounding is no free one, and is not forgotten."""
    b = GraphBuilder(2)
    steep = b.affine([(Dense(readonly([[1.0, 2.0**50]])), 0)])
    graph = b.graph(b.affine([(identity(1), b.add(Sigmoid(b.affine([(identity(1, 2.0**-3), steep)]), 1)))]))
    low, high = np.array([-1.0, 1.0]), np.array([1.0, np.nextafter(1.0, 2.0)])
    low[1] -= 2.0**-53
    goal = Halfspaces(np.array([[1.0]]), np.array([0.0]))
    shifted = Halfspaces(np.array([[-1.0]]), np.array([0.0]))
    for asked in (goal, shifted):
        crown = SmoothCrown(graph, (low, high), asked, Budget())
        assert crown.free.tolist() == [0]
        found = crown.bound(BoxPart.of_boxes(low[:1][np.newaxis], high[:1][np.newaxis]), Budget()).values[0, 0]
        corners = np.array([[one, other] for one in (-1.0, 1.0) for other in (low[1], high[1])])
        assert np.all(-(outputs(graph, corners) @ asked.matrix.T)[:, 0] >= found)


def test_intervals_of_every_node_contain_samples() -> None:
    graph = random_graph(3)
    low, high = np.full(5, -1.0), np.full(5, 0.5)
    pairs = interval_pairs(graph, (low, high))
    x = low + np.random.default_rng(0).random((300, 5)) * (high - low)
    values = outputs(graph, x)
    lower, upper = pairs[graph.output]
    assert np.all((values >= lower) & (values <= upper))


@pytest.mark.parametrize("kind", [Relu, Sigmoid])
def test_a_graph_without_affine_nodes(kind: type) -> None:
    b = GraphBuilder(2)
    graph = b.graph(b.add(kind(b.add(kind(0, 2)), 2)))
    goal = Halfspaces(np.array([[1.0, -1.0]]), np.array([0.0]))
    low, high = np.array([-1.0, 2.0]), np.array([0.0, 3.0])
    found = SmoothCrown(graph, (low, high), goal, Budget()).bound(
        BoxPart.of_boxes(low[np.newaxis], high[np.newaxis]), Budget()
    )
    x = low + np.random.default_rng(0).random((100, 2)) * (high - low)
    assert np.all(-(outputs(graph, x) @ goal.matrix.T)[:, 0] >= found.values[0, 0])
    assert found.values[0, 0] > 0


def test_values_without_bounds_prove_nothing() -> None:
    """Where sizes overflow, so does the charge."""
    b = GraphBuilder(1)
    huge = b.affine([(identity(1, 1e300), b.affine([(identity(1, 1e300), 0)]))])
    graph = b.graph(b.affine([(identity(1, 1e-300), huge), (identity(1), b.add(Sigmoid(huge, 1)))]))
    goal = Halfspaces(np.array([[1.0]]), np.array([5.0]))
    with np.errstate(over="ignore", invalid="ignore"):
        crown = SmoothCrown(graph, (np.array([-1.0]), np.array([1.0])), goal, Budget())
        found = crown.bound(BoxPart.of_boxes(np.array([[-1.0]]), np.array([[1.0]])), Budget())
    assert found.values[0, 0] == -np.inf


def test_the_budget_ends_it() -> None:
    graph, goal = random_graph(0), random_goal(0)
    region = np.full(5, -1.0), np.full(5, 1.0)
    with pytest.raises(OutOfTimeError):
        SmoothCrown(graph, region, goal, Budget(0.0))
    crown = SmoothCrown(graph, region, goal, Budget())
    with pytest.raises(OutOfTimeError):
        crown.bound(BoxPart.of_boxes(region[0][np.newaxis], region[1][np.newaxis]), Budget(0.0))


def test_in_pieces_and_at_once_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, goal = random_graph(5), random_goal(5)
    low, high = np.full(5, -0.5), np.full(5, 0.5)
    begin, end = boxes(5, low, high, 4, 0.2)
    values = []
    for entries in (1 << 20, 64):
        monkeypatch.setattr(smooth_crown, "ENTRIES", entries)
        values.append(
            SmoothCrown(graph, (low, high), goal, Budget()).bound(BoxPart.of_boxes(begin, end), Budget()).values
        )
    np.testing.assert_allclose(values[0], values[1], rtol=1e-9)
