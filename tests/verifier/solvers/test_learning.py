"""Propagation and learning against the truth: formulas by all their assignments, dense nets by exact enumeration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from encoders.formulations.to_stages import to_stages
from encoders.network.exact import exact_outputs
from tests.traps.enumeration import Exact, Form, box_corners, clipped, combined
from tests.verifier.solvers.formulas import REACHED, Formula
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces
from verifier.problem.rounding import FLOAT32, REAL, Arithmetic
from verifier.solvers import learning
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.compiled_learning import CompiledEngine
from verifier.solvers.kernels import cache
from verifier.solvers.learning import LearningSearch, LearningSettings, NumpyEngine, pays
from verifier.solvers.propagation.folding import folded
from verifier.solvers.propagation.rows import SignedRow, rows_of
from verifier.solvers.propagation.trail import DECIDED, NONE, no_nogoods, trail_of

Point = tuple[Fraction, ...]

NUMPY = LearningSettings(kernels=False)


def searched(
    graph: Any, ball: Ball, goal: Halfspaces, arithmetic: Arithmetic = REAL, settings: LearningSettings = NUMPY
) -> LearningSearch:
    bounds = linear_bounds(graph, ball, Budget(), None, arithmetic)
    stages = to_stages(graph, arithmetic.unit, arithmetic.floors(graph))
    return LearningSearch(stages, ball, goal, *hidden_bounds(stages, bounds), settings)


def unit_box(size: int) -> Ball:
    ball = Ball.of_box(np.zeros(size), np.ones(size))
    return ball.with_radius(ball.reach)


def formulas(count: int) -> Iterator[Formula]:
    for seed in range(count):
        rng = np.random.default_rng(seed)
        variables, shortest = int(rng.integers(5, 9)), 1 + seed % 3
        most = (2, 4, 6)[seed % 3] * variables
        yield Formula.drawn(rng, variables, int(rng.integers(most // 2, most)), shortest)


@pytest.mark.parametrize("arithmetic", [REAL, FLOAT32], ids=["real", "float32"])
def test_formulas_are_decided_as_their_assignments_are(truth: Any, arithmetic: Arithmetic) -> None:
    seen: Counter[bool] = Counter()
    for number, formula in enumerate(formulas(60)):
        graph = truth.of_layers(*formula.layers).graph
        search = searched(graph, unit_box(formula.variables), REACHED, arithmetic)
        point = search.explore(Budget())
        possible = bool(formula.models)
        assert search.closed is not possible, number
        if possible:
            assert point is not None
            assert REACHED.margin_exact(exact_outputs(graph, point)) >= 0
        seen[possible] += 1
    assert min(seen.values()) >= 15, seen


def broken(search: LearningSearch, x: Point, arguments: list[Fraction]) -> list[str]:
    """What of a search's bounds, rows and nogoods a point does not keep."""
    values = [*x, *arguments]
    ends = [*values, *(-value for value in values)]
    found = [f"end {k}" for k, low in enumerate(search.trail.known.tolist()) if ends[k] < Fraction(low)]
    rows = search.rows
    for row in range(rows.constant.size):
        total = Fraction(rows.constant[row])
        for at in range(rows.start[row], rows.start[row + 1]):
            value = values[rows.variable[at]]
            total += value * Fraction(rows.above[at] if value > 0 else rows.below[at])
        found += [f"row {row}"] * (total < 0)
    nogoods = search.nogoods
    for number in range(int(nogoods.used[0])):
        part = slice(nogoods.start[number], nogoods.start[number + 1])
        literals = zip(nogoods.end[part].tolist(), nogoods.value[part].tolist(), strict=True)
        found += [f"nogood {number}"] * all(ends[end] >= Fraction(value) for end, value in literals)
    return found


def arguments_at(layers: Any, x: Point) -> list[Fraction]:
    """All ReLU arguments, in exact numbers."""
    found: list[Fraction] = []
    values = list(x)
    for weight, bias in layers[:-1]:
        arguments = [
            sum((Fraction(w) * v for w, v in zip(row, values, strict=True)), Fraction(b))
            for row, b in zip(np.asarray(weight).tolist(), np.asarray(bias).tolist(), strict=True)
        ]
        found += arguments
        values = [max(argument, Fraction(0)) for argument in arguments]
    return found


def test_what_is_learned_excludes_no_point_of_the_goal(truth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search offers no point, and begins again with other phases when all are decided."""
    monkeypatch.setattr(LearningSearch, "_candidate", lambda _: None)
    learned, rng = 0, np.random.default_rng(0)
    for number, formula in enumerate(formulas(60)):
        if not formula.models:
            continue
        search = searched(truth.of_layers(*formula.layers).graph, unit_box(formula.variables), REACHED)
        for _ in range(4):
            search._saved[:] = rng.choice((-1, 1), search.relus)
            search.stuck = False
            search.explore(Budget())
            assert not search.closed
            search._back(0)
        for point in formula.models:
            assert not broken(search, point, arguments_at(formula.layers, point)), number
        learned += int(search.nogoods.used[0])
    assert learned >= 30


def parts_of(layers: Any, goal: Halfspaces, lo: Point, hi: Point) -> list[list[Point]]:
    """The corners of each polygon of the goal, for two inputs."""
    unit: list[Form] = [((Fraction(1), Fraction(0)), Fraction(0)), ((Fraction(0), Fraction(1)), Fraction(0))]
    found = []
    for part, values in Exact(layers, lo, hi)._regions(0, unit, box_corners(lo, hi)):
        left = part
        for row, constant in zip(goal.matrix.tolist(), goal.offset.tolist(), strict=True):
            left = clipped(left, combined([Fraction(c) for c in row], Fraction(constant), values)) if left else left
        if left:
            found.append(left)
    return found


def test_dense_nets_are_decided_as_enumeration_does_or_not_at_all(truth: Any) -> None:
    seen: Counter[str] = Counter()
    for seed in range(80):
        rng = np.random.default_rng(seed)
        net = truth.net(seed, (2, 4, 4, 2))
        ends = np.sort(rng.integers(-8, 9, (2, 2)), axis=0) / 8.0
        goal = Halfspaces(rng.integers(-2, 3, (2, 2)).astype(float), rng.integers(-24, 9, 2) / 8.0)
        ball = Ball.of_box(*ends)
        search = searched(net.graph, ball.with_radius(ball.reach), goal)
        point = search.explore(Budget())
        parts = parts_of(net.layers, goal, *(tuple(Fraction(end) for end in side.tolist()) for side in ends))
        if search.closed:
            assert not parts, seed
        elif point is not None:
            assert parts, seed
        for part in parts:
            for corner in part:
                assert not broken(search, corner, arguments_at(net.layers, corner)), seed
        seen["closed" if search.closed else "found" if point is not None else "stuck"] += 1
    assert min(seen["closed"], seen["found"]) >= 12, seen


def test_a_goal_that_no_output_reaches_is_closed_at_sight(truth: Any) -> None:
    net = truth.of_layers(([[1.0], [1.0]], [0.0, -0.5]), ([[0.0, 0.0]], [1.0]))
    for constant, closed in ((-2.0, True), (-1.0, False)):
        search = searched(net.graph, unit_box(1), Halfspaces(np.ones((1, 1)), np.array([constant])))
        assert (search.explore(Budget()) is None) is closed
        assert search.closed is closed


def test_points_that_are_refused_are_not_offered_again(truth: Any) -> None:
    formula = Formula(2, ((1,), (2,)))
    search = searched(truth.of_layers(*formula.layers).graph, unit_box(2), REACHED)
    offered = 0
    while (point := search.explore(Budget())) is not None:
        assert point.tolist() == [1.0, 1.0]
        offered += 1
        search.refuse()
    assert offered == 1
    assert search.stuck
    assert not search.closed


def test_a_search_that_meets_few_contradictions_is_given_up(truth: Any) -> None:
    formula = next(one for one in formulas(60) if not one.models and len(one.clauses) > 20)
    graph, box = truth.of_layers(*formula.layers).graph, unit_box(formula.variables)
    search = searched(graph, box, REACHED, settings=LearningSettings(kernels=False, idle=0))
    assert search.explore(Budget()) is None
    assert search.stuck
    assert not search.closed
    assert search.decisions == 0


def test_rows_are_made_with_a_look_at_the_time(truth: Any) -> None:
    """Of 60,000 ReLUs they take two seconds."""
    formula = Formula(2, ((1,), (2,)))
    graph, ball = truth.of_layers(*formula.layers).graph, unit_box(2)
    stages = to_stages(graph)
    ends = hidden_bounds(stages, linear_bounds(graph, ball, Budget()))
    left = [None] * (stages.relu_count - 1)
    with pytest.raises(IndexError):
        LearningSearch(stages, ball, REACHED, *ends, NUMPY, left.pop)
    assert not left


def test_it_is_tried_where_rows_are_few_and_sparse(truth: Any) -> None:
    formula = Formula.drawn(np.random.default_rng(0), 9, 12, 1)
    sparse, dense = (to_stages(net.graph) for net in (truth.of_layers(*formula.layers), truth.net(0, (9, 12, 2))))
    assert pays(sparse)
    assert not pays(dense)


@pytest.mark.skipif(not cache.available(), reason="numba is not installed")
def test_kernels_learn_what_numpy_does(truth: Any) -> None:
    cache.compile_now()
    conflicts = 0
    for number, formula in enumerate(formulas(40)):
        graph = truth.of_layers(*formula.layers).graph
        ones = [
            searched(graph, unit_box(formula.variables), REACHED, settings=LearningSettings(kernels=kernels))
            for kernels in (False, True)
        ]
        points = [one.explore(Budget()) for one in ones]
        assert [one.closed for one in ones] == [ones[0].closed] * 2, number
        assert (points[0] is None) is (points[1] is None)
        first, second = (one.nogoods for one in ones)
        count = int(first.used[0])
        assert second.used[0] == count
        for mine, other in ((first.start[: count + 1], second.start), (first.end[: first.start[count]], second.end)):
            np.testing.assert_array_equal(mine, other[: mine.size])
        assert ones[0].decisions == ones[1].decisions
        conflicts += ones[0].conflicts
    assert conflicts >= 40


def test_a_search_that_lasts_goes_on_by_kernels(truth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def at_once(seconds: float) -> bool:
        asked.append(seconds)
        return False

    monkeypatch.setattr(cache, "loaded", lambda: False)
    monkeypatch.setattr(cache, "at_once", at_once)
    formula = next(one for one in formulas(60) if not one.models and len(one.clauses) > 20)
    graph = truth.of_layers(*formula.layers).graph
    for first, called in ((10_000, False), (0, True)):
        search = searched(graph, unit_box(formula.variables), REACHED, settings=LearningSettings(numpy_first=first))
        assert search.explore(Budget(60.0)) is None
        assert search.closed
        assert bool(asked) is called


def test_each_decision_is_contradicted_where_clauses_make_a_tree(truth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clauses that hold already count nothing: with the rows as they were made decisions go astray."""
    for seed in range(4):
        formula = Formula.tree(np.random.default_rng(seed), 24, 4, 2)
        graph, taken = truth.of_layers(*formula.layers).graph, []
        for change in (folded, lambda rows, *_: rows):
            monkeypatch.setattr(learning, "folded", change)
            search = searched(graph, unit_box(formula.variables), REACHED)
            assert search.explore(Budget()) is None
            taken.append((search.closed, search.decisions))
        assert taken[0][0]
        assert taken[0][1] == 2**4 - 1 < taken[1][1]


@pytest.mark.parametrize("arithmetic", [REAL, FLOAT32], ids=["real", "float32"])
def test_clauses_of_any_length_leave_their_neurons_off(truth: Any, arithmetic: Arithmetic) -> None:
    """Of a clause of 30 literals that is a thirtieth of the argument's range."""
    formula = Formula(30, (tuple(range(1, 31)), (1, 2)))
    search = searched(truth.of_layers(*formula.layers).graph, unit_box(30), REACHED, arithmetic)
    assert search.explore(Budget()) is not None
    clauses = slice(search.variables + search.inputs, search.variables + search.inputs + 2)
    assert (-search.trail.known[clauses] <= search._little).all()
    assert 0 < search._little < 0.01


def test_what_needs_nothing_of_the_last_level_is_learned_of_those_before() -> None:
    """x ≥ z1 is put on the trail behind a later decision only: the nogood is z1 ≥ 0, not that nothing is possible."""
    rows = rows_of(
        [
            SignedRow(np.array([0, 1]), np.array([1.0, -1.0]), np.array([1.0, -1.0]), 0.0),
            SignedRow(np.array([0]), np.array([-1.0]), np.array([-1.0]), -0.5),
        ],
        3,
    )
    for engine in (NumpyEngine, CompiledEngine):
        trail = trail_of(-np.ones(3), np.ones(3))
        trail.push(1, 0.0, DECIDED)
        trail.push(2, 0.0, DECIDED)
        trail.push(0, 0.0, 0)
        found = engine(rows, trail, 1).learn(no_nogoods(), np.array([0, 1]), np.array([1, NONE]))
        assert (found.end.tolist(), found.value.tolist(), found.level) == ([1], [0.0], 0)
