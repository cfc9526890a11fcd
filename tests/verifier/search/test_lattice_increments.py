"""Every point of a lattice within a radius has increments in the ball that stands for it, in exact arithmetic."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import numpy as np
import pytest

from encoders.network.graph import Array, GraphBuilder, evaluate
from encoders.network.linear_maps import sparse
from verifier import Columns
from verifier.problem.inputs.lattice import Lattice, Whole, lattice_of
from verifier.problem.query import Ball, Norm, distance_exact
from verifier.problem.rounding import FLOAT32, REAL
from verifier.problem.verdict import Semantics
from verifier.search.lattice_increments import LatticeIncrements, increments_within
from verifier.search.state import Problem


class _Asked:
    """As much of a problem as increments read."""

    def __init__(self, size: int) -> None:
        builder, rng = GraphBuilder(size), np.random.default_rng(size)
        self.graph = builder.graph(builder.affine([(sparse(rng.standard_normal((3, size))), 0)], rng.random(3)))
        self.arithmetic, self.semantics = REAL, Semantics.BOTH


def lattices(norm: Norm) -> Iterator[Lattice]:
    """Grids with and without rounding; whole numbers, one-hot groups, units, entries that take any value."""
    rng = np.random.default_rng(0)
    for steps, size in ((4, 3), (255, 2), (10, 3)):
        centre = (rng.integers(0, steps + 1, size) / steps).astype(np.float32).astype(float)
        yield lattice_of(Columns(grid=steps), centre, np.zeros(size), np.ones(size), np.dtype(np.float32), norm)
    offset, scale = np.array([1.5, -0.25, 0.375, 0.1, 0.0]), np.array([2.0, 0.7, 1.9, 1.3, 1.0])
    for units in (None, (offset, scale)):
        columns = Columns(integer=(0, 1), one_hot=((2, 3, 4),), units=units)
        start, per = (np.zeros(5), np.ones(5)) if units is None else units
        numbers, low, high = np.array([1, -1, 0, 1, 0]), np.array([-2, -2, 0, 0, 0]), np.array([3, 3, 1, 1, 1])
        x = ((numbers - start) / per).astype(np.float32).astype(float)
        box = (low - start) / per - 0.01, (high - start) / per + 0.01
        yield lattice_of(columns, x, *box, np.dtype(np.float32), norm)
    if norm is Norm.L1:
        columns = Columns(integer=(0,), one_hot=((1, 2),))
        yield lattice_of(columns, np.array([1, 0, 1, 0.3]), np.zeros(4), np.full(4, 3.0), np.dtype(np.float32), norm)


def numbers_of(lattice: Lattice) -> Iterator[Whole]:
    """The whole numbers of all points of a lattice."""
    ranges = [range(a, min(b, a + 7) + 1) for a, b in zip(lattice.first.tolist(), lattice.last.tolist(), strict=True)]
    for found in itertools.product(*ranges):
        numbers = np.array(found, dtype=np.int64)
        if all(numbers[group].sum() == 1 for group in lattice.groups):
            yield numbers


def least_cost(increments: LatticeIncrements, ball: Ball, point: Array, lattice: Lattice) -> Fraction | None:
    """The length of the shortest step from the ball's centre within its box to u with x(u) = point, for u of whole
    categories; None where no such u is in the box."""
    graph = increments.graph
    matrix = cast(Any, graph.nodes[1]).terms[0].map.rows().toarray()
    missed = [Fraction(a) - Fraction(b) for a, b in zip(point.tolist(), lattice.centre.tolist(), strict=True)]
    centre, low, high = ([Fraction(v) for v in end.tolist()] for end in (ball.centre, ball.lo, ball.hi))
    spent = Fraction(0)
    single = np.count_nonzero(matrix, axis=0) == 1
    taken = list(centre)
    for column in np.flatnonzero(~single).tolist():
        gaining = int(np.argmax(matrix[:, column]))
        price = Fraction(1.0 / float(matrix[gaining, column])) / Fraction(float(lattice.per[gaining]))
        taken[column] = Fraction(0)
        if point[gaining] != lattice.centre[gaining]:
            near = [end for end in (low[column], high[column]) if abs(end - price) <= price / 100]
            inside = low[column] <= price <= high[column]
            if not (near or inside):
                return None
            taken[column] = price if inside else near[0]
        if not low[column] <= taken[column] <= high[column]:
            return None
        spent += abs(taken[column] - centre[column])
    for entry, want in enumerate(missed):
        columns = np.flatnonzero(matrix[entry]).tolist()
        rate = {column: Fraction(float(matrix[entry, column])) for column in columns}
        left = want - sum((rate[column] * taken[column] for column in columns), Fraction(0))
        for column in sorted((c for c in columns if single[c]), key=lambda c: -rate[c]):
            move = left / rate[column]
            move = max(low[column] - taken[column], min(high[column] - taken[column], move))
            left -= rate[column] * move
            spent += abs(taken[column] + move - centre[column])
        if left != 0:
            return None
    return spent


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2])
def test_every_point_of_a_part_within_the_radius_has_increments_in_its_ball(norm: Norm) -> None:
    rng, tried, outside = np.random.default_rng(1), 0, 0
    for lattice in lattices(norm):
        asked = cast(Problem, _Asked(lattice.centre.size))
        every = list(numbers_of(lattice))
        points = {numbers.tobytes(): lattice.values(numbers) for numbers in every}
        distances = {key: distance_exact(norm, point, lattice.centre) for key, point in points.items()}
        far = float(max(distances.values()))
        for _ in range(12):
            radius = (
                float(rng.choice([float(away) for away in distances.values()]))
                * float(rng.choice([1.0, 1.0 + 1e-12, 1.1]))
                or 0.1 * far
            )
            increments = LatticeIncrements(asked, lattice, radius * (1.0 + rng.random()))
            one, other = (every[place] for place in rng.integers(0, len(every), 2))
            first, last = np.minimum(one, other), np.maximum(one, other)
            for group in lattice.groups if rng.random() < 0.5 else ():
                first[group], last[group] = lattice.first[group], lattice.last[group]
            narrowed = increments.narrowed(first, last, radius)
            ball = None if narrowed is None else increments.ball(*narrowed, radius)
            for numbers in every:
                key = numbers.tobytes()
                if np.any((numbers < first) | (numbers > last)) or distances[key] > Fraction(radius):
                    outside += 1
                    continue
                tried += 1
                assert narrowed is not None
                assert ball is not None
                assert np.all((narrowed[0] <= numbers) & (numbers <= narrowed[1]))
                cost = least_cost(increments, ball, points[key], lattice)
                assert cost is not None
                assert cost <= Fraction(ball.radius)
                end = float(cost) * (1.0 - 1e-15)
                assert Fraction(increments.away(ball, end)) <= distances[key]
                assert increments.away(ball, end) >= float(distances[key]) * (1.0 - 1e-3)
    assert tried > 500
    assert outside > 500


def test_a_box_without_one_end_keeps_the_other() -> None:
    """Of an entry that takes any value from 0 upwards: otherwise points that are none of the box keep parts open."""
    ends, columns = (np.zeros(4), np.array([3.0, 1.0, 1.0, math.inf])), Columns(integer=(0,), one_hot=((1, 2),))
    lattice = lattice_of(columns, np.array([1, 0, 1, 0.25]), *ends, np.dtype(np.float32), Norm.L1)
    increments = LatticeIncrements(cast(Problem, _Asked(4)), lattice, 2.0)
    ball = increments.ball(lattice.first, lattice.last, 2.0)
    assert ball is not None
    place = int(np.argmax(np.isinf(ball.hi)))
    assert np.isinf(ball.hi).sum() == 1
    assert ball.lo[place] == pytest.approx(-0.25, abs=1e-12)


def test_a_ball_in_increments_holds_little_between_whole_numbers() -> None:
    """The form Σ x_i within √7 steps of 16 entries: seven steps, where the round ball has √(7·16) > 10."""
    centre = np.full(16, 0.5)
    lattice = lattice_of(Columns(grid=8), centre, np.zeros(16), np.ones(16), np.dtype(np.float32), Norm.L2)
    increments = LatticeIncrements(cast(Problem, _Asked(16)), lattice, math.sqrt(7) / 8 * (1 + 1e-12))
    ball = increments.ball(lattice.first, lattice.last, math.sqrt(7) / 8 * (1 + 1e-12))
    assert ball is not None
    form = cast(Any, increments.graph.nodes[1]).terms[0].map.adjoint(np.ones((1, 16)))
    assert ball.geometry.fall(form[0], ball.radius) == pytest.approx(7 / 8, abs=1e-9)
    whole = Ball(Norm.L2, centre, math.sqrt(7) / 8, lattice.lo, lattice.hi)
    assert whole.geometry.fall(np.ones(16), whole.radius) == pytest.approx(math.sqrt(7 * 16) / 8)


def test_the_graph_is_the_network_behind_the_points_of_increments() -> None:
    for lattice in lattices(Norm.L2):
        asked = _Asked(lattice.centre.size)
        increments = LatticeIncrements(cast(Problem, asked), lattice, 2.0)
        u = np.random.default_rng(0).standard_normal(increments.size)
        there = evaluate(increments.graph, u)[increments.graph.output]
        assert there == pytest.approx(evaluate(asked.graph, increments.point(u))[asked.graph.output], abs=1e-12)


def test_losses_of_float32_belong_to_the_nodes_that_they_belonged_to() -> None:
    lattice = next(lattices(Norm.L2))
    asked = _Asked(lattice.centre.size)
    asked.arithmetic = type(REAL)(FLOAT32.unit, FLOAT32.floor, {1: 0.5})
    arithmetic = LatticeIncrements(cast(Problem, asked), lattice, 1.0).arithmetic
    assert arithmetic.unit == FLOAT32.unit
    assert dict(arithmetic.losses) == {2: 0.5}


def test_where_increments_are_of_use() -> None:
    found = {}
    for norm in Norm:
        for number, lattice in enumerate(lattices(norm)):
            found[norm, number] = increments_within(cast(Problem, _Asked(lattice.centre.size)), lattice, 1.0, None)
    assert not any(found[Norm.LINF, number] for number in range(5))
    assert all(found[Norm.L2, number] for number in range(5))
    assert [bool(found[Norm.L1, number]) for number in range(6)] == [False, False, False, True, True, True]
    before = found[Norm.L2, 0]
    assert before is not None
    lattice = next(lattices(Norm.L2))
    assert increments_within(cast(Problem, _Asked(3)), lattice, 0.99, before) is before
    assert increments_within(cast(Problem, _Asked(3)), lattice, 0.25, before) is not before
    assert increments_within(cast(Problem, _Asked(3)), lattice, 1.25, before) is not before
