"""Exact rows: every true evaluation satisfies them, and what satisfies them in some phases is a true evaluation."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from encoders.formulations.to_rows import Column, Rows, Short, exact_rows, to_rows
from encoders.network.exact import exact_values
from encoders.network.graph import Affine, Graph, GraphBuilder, Relu, forward
from encoders.network.linear_maps import (
    LINEAR_MAPS,
    Conv,
    Dense,
    LinearMap,
    Scale,
    Sparse,
    identity,
    readonly,
    select,
    sparse,
)
from encoders.network.node_bounds import NodeBounds
from encoders.network.norm import Norm
from encoders.passes.distance import DISTANCES, with_distance
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.interval import interval_bounds
from verifier.problem.budget import Budget
from verifier.problem.query import Ball

F = Fraction

MAPS: dict[type, LinearMap] = {
    Dense: Dense(readonly([[1.5, 0.0, -2.0], [0.1, 3.0, 0.0]])),
    Conv: Conv(readonly([[[[1.0, -0.5], [0.0, 0.3]]]]), (2, 2), (1, 1), (1, 1), (1, 0, 0, 1)),
    Scale: Scale(readonly([1.0, 0.0, -2.0]), readonly([3.0, 7.0, 0.1])),
    type(select([0], 1)): select([2, -1, 0, 2], 3),
    Sparse: sparse([[0.0, 0.1, -2.0], [0.0, 0.0, 0.0], [3.0, 0.0, 0.0]]),
}


def test_every_linear_map_has_exact_rows() -> None:
    assert set(MAPS) == set(LINEAR_MAPS)


@pytest.mark.parametrize("kind", LINEAR_MAPS, ids=lambda kind: kind.__name__)
def test_rows_are_the_map(kind: type) -> None:
    linear = MAPS[kind]
    builder = GraphBuilder(linear.in_size)
    graph = builder.graph(builder.affine([(linear, 0)]))
    rows = list(exact_rows(linear))
    assert len(rows) == linear.out_size
    for place in range(linear.in_size):
        unit = np.zeros(linear.in_size)
        unit[place] = 1.0
        column = exact_values(graph, unit)[1].fractions()
        assert column == [sum((c for j, c in row if j == place), F(0)) for row in rows]
    assert all(coefficient for row in rows for _, coefficient in row)


def shapes(seed: int) -> Graph:
    """Dense, residual, divisors, ReLUs of one node, a ReLU of the input, a select."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder(3)
    thirds = Scale(readonly(rng.integers(-3, 4, 3)), readonly([3.0, 7.0, 0.1]))
    first = builder.affine([(Dense(readonly(rng.normal(size=(3, 3)))), 0), (thirds, 0)], rng.normal(size=3))
    mixed = [(identity(3), builder.relu(first)), (identity(3, -0.5), builder.relu(first)), (thirds, builder.relu(0))]
    second = builder.relu(builder.affine(mixed, rng.normal(size=3)))
    same = builder.relu(builder.affine([(select([2, 0, 1], 3), second)]))
    return builder.graph(builder.affine([(Dense(readonly(rng.normal(size=(2, 3)))), same), (select([0, -1], 3), 0)]))


def columns_at(graph: Graph, bounds: NodeBounds, goal: tuple[Any, Any], x: np.ndarray) -> list[Fraction]:
    """The true value of each column at x, by walking the graph as the encoder does: by names, not by numbers."""
    exact = exact_values(graph, x)
    names: dict[int, Fraction] = {}
    system = _Recorder(graph, bounds, goal)
    for index, entries in enumerate(system.values):
        for entry, value in zip(entries, exact[index].fractions(), strict=True):
            if isinstance(entry, Column):
                assert names.setdefault(entry.number, value) == value
            elif isinstance(entry, Short):
                assert sum((c * names[number] for number, c in entry.terms), entry.constant) == value
            else:
                assert entry == value
    for node, entries in zip(graph.nodes, system.values, strict=True):
        if isinstance(node, Relu):
            for place, entry in enumerate(entries):
                for row in system.rows:
                    # 0 ≤ h − a names the argument of h: a column of its own where the graph has a short sum.
                    match row.terms:
                        case ((h, 1), (a, -1)) if entry == Column(h) and row.ends == (0, None):
                            true = exact[node.source].fractions()[place]
                            assert names.setdefault(a, true) == true
    return [names[number] for number in range(len(names))]


class _Recorder:
    """The encoder's own entries, node by node."""

    def __init__(self, graph: Graph, bounds: NodeBounds, goal: tuple[Any, Any]) -> None:
        from encoders.formulations.to_rows import _System  # noqa: PLC0415
        from encoders.passes.polarity import wanted_large  # noqa: PLC0415

        system = _System(bounds, wanted_large(graph, goal[0]))
        inputs = [system.entry(low, high) for low, high in system.ends(0)]
        self.values = forward(graph, {Affine: system.affine, Relu: system.relu}, inputs)
        self.rows = system.rows


def within(ends: tuple[Fraction | None, Fraction | None], value: Fraction) -> bool:
    low, high = ends
    return (low is None or low <= value) and (high is None or value <= high)


def settings() -> list[tuple[Graph, Ball]]:
    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        graph, centre = shapes(seed), rng.random(3)
        norm = list(DISTANCES)[seed % 2]
        lo, hi = np.zeros(3), np.ones(3)
        if seed % 4 == 1:
            lo[1] = hi[1] = centre[1]
        if norm is Norm.L1:
            graph = with_distance(graph, norm, centre)
        found.append((graph, Ball(norm, centre, 0.4, lo, hi)))
    return found


@pytest.mark.parametrize("make", [interval_bounds, lambda graph, region: linear_bounds(graph, region, Budget())])
def test_true_values_satisfy_every_row(make: Any) -> None:
    splits = 0
    for graph, region in settings():
        bounds = make(graph, region)
        rng = np.random.default_rng(1)
        goal = (rng.normal(size=(2, graph.output_size)), rng.normal(size=2))
        system = to_rows(graph, bounds, *goal)
        splits += len(system.splits)
        lower, upper = region.interval
        for _ in range(12):
            x = np.clip(region.centre + 0.13 * rng.uniform(-1, 1, 3), lower, upper)
            values = columns_at(graph, bounds, goal, x)
            assert len(values) == len(system.columns)
            assert all(within(ends, value) for ends, value in zip(system.columns, values, strict=True))
            sums = [sum((c * values[j] for j, c in row.terms), F(0)) for row in system.rows]
            assert all(within(row.ends, total) for row, total in zip(system.rows[:-2], sums[:-2], strict=True))
            # The goal's rows come last, and say what they should: c·z + d ≥ 0.
            logits = exact_values(graph, x)[graph.output].fractions()
            for row, total, c, d in zip(system.rows[-2:], sums[-2:], goal[0], goal[1], strict=True):
                margin = sum((F(a) * z for a, z in zip(c.tolist(), logits, strict=True)), F(float(d)))
                assert total - row.ends[0] == margin
                assert row.ends[1] is None
            for split in system.splits:
                assert values[split.h] == max(values[split.a], F(0))
                check_split(system, split)
    assert splits > 10


def check_split(system: Rows, split: Any) -> None:
    order, side = system.rows[split.order], system.rows[split.side]
    assert dict(order.terms) == {split.h: F(1), split.a: F(-1)}
    assert order.ends == (F(0), None)
    assert dict(side.terms)[split.h] == 1
    assert side.ends[0] is None


def test_terms_name_each_column_once() -> None:
    for graph, region in settings():
        system = to_rows(graph, interval_bounds(graph, region), np.ones((1, graph.output_size)), [0.0])
        for row in system.rows:
            numbers = [number for number, _ in row.terms]
            assert len(set(numbers)) == len(numbers)
            assert all(coefficient for _, coefficient in row.terms)


def test_stable_relus_and_saved_splits() -> None:
    """relu(x − 2), relu(x + 2), relu(x − 1/2) on [0, 1]: only the last is open, and only upwards needs its split."""
    builder = GraphBuilder(1)
    hidden = builder.relu(builder.affine([(Dense(readonly([[1.0], [1.0], [1.0]])), 0)], [-2.0, 2.0, -0.5]))
    graph = builder.graph(builder.affine([(Dense(readonly([[1.0, 1.0, 2.0]])), hidden)]))
    bounds = interval_bounds(graph, Ball(Norm.LINF, np.array([0.5]), math.inf, np.zeros(1), np.ones(1)))
    assert len(to_rows(graph, bounds, [[1.0]], [0.0]).splits) == 1
    assert to_rows(graph, bounds, [[-1.0]], [0.0]).splits == ()


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (-1e-9, 1.0), (-1.0, 1e-9), (-1e9, 3.0), (-0.1, 0.3)])
def test_the_upper_side_is_above_the_relu(low: float, high: float) -> None:
    builder = GraphBuilder(1)
    graph = builder.graph(builder.relu(0))
    bounds = NodeBounds((np.array([low]), np.zeros(1)), (np.array([high]), np.array([high])), proved=True)
    system = to_rows(graph, bounds, [[1.0]], [0.0])
    (split,) = system.splits
    side = system.rows[split.side]
    slope = -dict(side.terms).get(split.a, F(0))
    for a in (F(low), F(0), F(high)):
        assert max(a, F(0)) <= slope * a + side.ends[1]
    grid = F(1, 4096)
    assert side.ends[1] <= max(-slope * F(low), F(high) - slope * F(high)) + grid


def test_open_ends() -> None:
    builder = GraphBuilder(1)
    graph = builder.graph(builder.relu(0))
    for low, high in ((-math.inf, 1.0), (-1.0, math.inf), (-math.inf, math.inf)):
        bounds = NodeBounds((np.array([low]), np.zeros(1)), (np.array([high]), np.array([high])), proved=True)
        system = to_rows(graph, bounds, [[1.0]], [-0.5])
        for a in (F(max(low, -50.0)), F(0), F(min(high, 50.0))):
            values = [a, max(a, F(0))]
            assert all(within(ends, value) for ends, value in zip(system.columns, values, strict=True))
            for row in system.rows[:-1]:
                assert within(row.ends, sum((c * values[j] for j, c in row.terms), F(0)))


def test_unproved_bounds_are_refused() -> None:
    graph, region = settings()[0]
    bounds = interval_bounds(graph, region)
    with pytest.raises(ValueError, match="proved bounds"):
        to_rows(graph, NodeBounds(bounds.lower, bounds.upper, proved=False), [[1.0, 1.0]], [0.0])
