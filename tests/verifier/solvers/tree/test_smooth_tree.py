"""Trees of boxes through Sigmoids against a dense grid: what they prove is so, and what they find is a point."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.network.graph import Array, Graph, GraphBuilder, Sigmoid, outputs
from encoders.network.linear_maps import Dense, readonly
from verifier.problem.budget import Budget
from verifier.problem.memory import Memory, resident
from verifier.problem.query import Ball, Halfspaces, Norm
from verifier.problem.rounding import FLOAT32, REAL, Arithmetic
from verifier.solvers.tree.smooth_tree import SmoothTree
from verifier.solvers.tree.threads import Threads

GRID = 61


def random_graph(seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    b, last = GraphBuilder(2), 0
    for size in (8, 8):
        weight = readonly(rng.normal(size=(size, b.size(last))) * 2)
        last = b.add(Sigmoid(b.affine([(Dense(weight), last)], rng.normal(size=size)), size))
    return b.graph(b.affine([(Dense(readonly(rng.normal(size=(2, 8)))), last)]))


def grid(low: Array, high: Array) -> Array:
    axes = [np.linspace(a, b, GRID) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, low.size)


def explored(tree: SmoothTree, threads: int = 1) -> Array | None:
    with Threads(threads) as pool:
        while tree.open_nodes and not tree.stuck:
            point = tree.explore(Budget(), pool)
            if point is not None:
                return point
    return None


LOW, HIGH = np.array([-1.5, -1.0]), np.array([1.0, 2.0])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("seed", range(6))
def test_what_is_reached_is_found_and_what_is_missed_is_closed(seed: int, threads: int) -> None:
    graph = random_graph(seed)
    matrix = np.array([[1.0, -0.5], [0.25, 1.0]])
    margins = (outputs(graph, grid(LOW, HIGH)) @ matrix.T).min(axis=1)
    for offset, reached in ((0.02, False), (-0.02, True)):
        goal = Halfspaces(matrix, np.full(2, -float(margins.max()) - offset))
        tree = SmoothTree(graph, Ball.of_box(LOW, HIGH), goal, Budget())
        point = explored(tree, threads)
        assert (point is not None) == reached
        if point is None:
            assert tree.open_nodes == 0
        else:
            assert np.all((point >= LOW) & (point <= HIGH))
            assert goal.margin(outputs(graph, point))[0] >= 0


@pytest.mark.parametrize("arithmetic", [REAL, FLOAT32])
@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2])
@pytest.mark.parametrize("seed", range(3))
def test_balls_without_corners(seed: int, norm: Norm, arithmetic: Arithmetic) -> None:
    """Also one whose box leaves the centre out."""
    graph, matrix = random_graph(seed), np.array([[1.0, -0.5]])
    for low in (LOW, np.array([0.2, -1.0])):
        ball = Ball(norm, np.array([0.0, 0.5]), 0.8, low, HIGH)
        points = grid(low, HIGH)
        points = points[ball.length(points) <= ball.radius]
        largest = float((outputs(graph, points) @ matrix.T).max())
        for offset, reached in ((0.05, False), (-0.01, True)):
            tree = SmoothTree(graph, ball, Halfspaces(matrix, [-largest - offset]), Budget(), arithmetic)
            point = explored(tree)
            assert (point is not None) == reached
            assert point is not None or tree.open_nodes == 0
            assert point is None or ball.length(point) <= ball.radius


def test_a_refused_point_is_not_offered_again() -> None:
    """Boxes in which no point counts stay open: nothing is claimed of them."""
    b = GraphBuilder(1)
    graph = b.graph(b.add(Sigmoid(0, 1)))
    goal = Halfspaces(np.array([[1.0]]), np.array([-0.5]))
    tree = SmoothTree(graph, Ball.of_box([-1.0], [2.0]), goal, Budget())
    offered = 0
    for _ in range(8):
        if tree.explore(Budget()) is not None:
            offered += 1
            tree.refuse()
    assert offered == 1
    assert tree.open_nodes > 0


def test_what_is_missed_by_less_than_rounding_stays_open() -> None:
    """σ(x) ≥ 1/2 + 2⁻⁵³ below x = 2⁻⁵² at most: too near a tie for float64."""
    b = GraphBuilder(1)
    graph = b.graph(b.add(Sigmoid(0, 1)))
    goal = Halfspaces(np.array([[1.0]]), np.array([-0.5 - 2.0**-53]))
    tree = SmoothTree(graph, Ball.of_box([-1.0], [2.0**-54]), goal, Budget())
    assert explored(tree) is None
    assert tree.stuck
    assert tree.open_nodes > 0


@pytest.mark.parametrize(("missed", "charged"), [(1e-5, True), (1e-7, False)])
def test_what_a_runtimes_sigmoid_may_be_off_by_is_charged(missed: float, charged: bool) -> None:
    """8 units of 2⁻²⁴: 4.8e-7."""
    b = GraphBuilder(1)
    graph = b.graph(b.add(Sigmoid(0, 1)))
    goal = Halfspaces(np.array([[1.0]]), np.array([-0.5 - missed]))
    ball = Ball.of_box([-1.0], [0.0]).with_radius(4.0)
    for arithmetic, closes, end in ((REAL, True, 0.0), (FLOAT32, charged, 4.0 if charged else 0.0)):
        tree = SmoothTree(graph, ball, goal, Budget(), arithmetic)
        assert explored(tree) is None
        assert (tree.open_nodes == 0, tree.float32_end) == (closes, end)


def test_when_the_budget_ends_all_boxes_are_open() -> None:
    graph = random_graph(0)
    goal = Halfspaces(np.array([[1.0, 0.0]]), np.array([0.0]))
    tree = SmoothTree(graph, Ball.of_box(LOW, HIGH), goal, Budget())

    class Soon(Budget):
        """Ends after so many looks."""

        looks = 4

        def check(self) -> None:
            type(self).looks -= 1
            if type(self).looks < 0:
                Budget(0.0).check()

    before = tree.open_nodes
    assert tree.explore(Soon()) is None
    assert tree.open_nodes == before


def test_a_region_of_one_point() -> None:
    graph = random_graph(1)
    x = np.array([0.25, -0.5])
    value = outputs(graph, x)[0]
    for offset, reached in ((1e-6, True), (-1e-6, False)):
        goal = Halfspaces(np.eye(2), -value + offset)
        tree = SmoothTree(graph, Ball.of_box(x, x), goal, Budget())
        point = explored(tree)
        assert (point is not None) == reached
        assert reached or tree.open_nodes == 0


def test_boxes_are_counted_and_where_they_take_what_they_may_the_newest_is_next() -> None:
    graph, goal = random_graph(0), Halfspaces(np.array([[1.0, -0.5], [0.25, 1.0]]), np.zeros(2))
    budget = Budget(memory=Memory(resident() + 1e9))
    trees = [SmoothTree(graph, Ball.of_box(LOW, HIGH), goal, budget) for _ in range(2)]
    budget.memory.room = 0
    boxes = trees[0]._taken()
    trees[0]._put(boxes * 3)
    assert (len(trees[0]._newest), budget.memory.nodes) == (3, sum(box.size for box in boxes * 3) - boxes[0].size)
