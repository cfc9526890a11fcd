"""The node's LP against the triangle relaxation written down once more for linprog; its multipliers against both."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Affine, Array, GraphBuilder, Relu, forward
from encoders.network.linear_maps import Conv, Dense, identity, readonly, select
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.lagrangian import Lagrangian
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Halfspaces, Norm
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.tree.node_lp import NodeLp
from verifier.solvers.tree.protocol import TreeRoot

AGREEMENT = 1e-6
"""Relative to 1 + |optimum|: ten times the LPs' feasibility tolerances."""

SIZES = ((3, 5, 3), (3, 5, 5, 3), (2, 4, 4, 4, 2))
ROOTS = [(seed, SIZES[seed % len(SIZES)], rows) for seed in range(9) for rows in (seed % 4,)]

SHRINK = (1.0, 1.0, 0.5, 0.25)
"""Node bounds are these shares of the root's: apart by far more than the LP lets a triangle lag behind."""


def triangle(truth: Any, root: Any, lower: Array, upper: Array) -> float:
    """min s, s ≥ −(C·z + d), with every ReLU between its lines over lower ≤ z ≤ upper; inf when there is no solution.

    Variables: x, deviations from the centre, h of all ReLUs, s. The network is read from its graph.
    """
    graph, goal, stages = root.net.graph, root.goal, root.stages
    region, limits = truth.ball_rows(root.ball)
    first, total = region.shape[1], region.shape[1] + lower.size + 1
    columns = np.eye(total)
    places = {
        node: slice(first + start, first + start + stage.size)
        for node, start, stage in zip(stages.nodes, stages.starts, stages.hidden, strict=False)
    }

    def affine(_: int, node: Affine, forms: list[tuple[Array, Array]]) -> tuple[Array, Array]:
        terms = [(term.map.rows().toarray(), forms[term.source]) for term in node.terms]
        return sum(rows @ form[0] for rows, form in terms), node.bias + sum(rows @ form[1] for rows, form in terms)

    def relu(_: int, node: Relu, __: list[tuple[Array, Array]]) -> tuple[Array, Array]:
        return columns[places[node.source]], np.zeros(node.size)

    forms = forward(graph, {Affine: affine, Relu: relu}, (columns[: graph.input_size], np.zeros(graph.input_size)))
    z = np.vstack([forms[node][0] for node in stages.nodes[:-1]])
    constant = np.concatenate([forms[node][1] for node in stages.nodes[:-1]])
    h, (logits, offset) = columns[first:-1], forms[graph.output]
    slope = np.where(lower >= 0, 1.0, np.clip(upper, 0.0, None) / np.where(lower < upper, upper - lower, 1.0))
    peak = np.where((lower < 0) & (upper > 0), -slope * lower, 0.0)
    rows = [np.pad(region, ((0, 0), (0, total - first))), z, -z, z - h, h - slope[:, np.newaxis] * z]
    ends = [limits, upper - constant, constant - lower, -constant, peak + slope * constant]
    rows.append(-goal.matrix @ logits - columns[-1])
    ends.append(goal.matrix @ offset + goal.offset)
    bounds = [(None, None)] * first + [(0, None)] * lower.size + [(None, None)]
    solved = linprog(columns[-1], A_ub=np.vstack(rows), b_ub=np.concatenate(ends), bounds=bounds)
    assert solved.status in (0, 2)
    return float(solved.fun) if solved.status == 0 else math.inf


def all_moves(root: Any) -> list[tuple[int, int]]:
    return [(entry, sign) for entry in range(root.ball.centre.size) for sign in (1, -1)]


def node_lp(root: Any, moves: list[tuple[int, int]] | None = None) -> NodeLp:
    return NodeLp(TreeRoot(root.stages, root.ball, root.goal, *root.ends), all_moves(root) if moves is None else moves)


def drawn_nodes(root: Any, seed: int, count: int = 6) -> Iterator[tuple[Array, Array]]:
    """The root's bounds; then nodes below random splits, some with ends drawn in."""
    lower, upper = root.ends
    yield lower, upper
    rng = np.random.default_rng(seed)
    for _ in range(count):
        split = (lower < 0) & (upper > 0) & (rng.random(lower.size) < rng.random())
        up = rng.random(lower.size) < 0.5
        open_ = (lower < 0) & (upper > 0)
        low = np.where(open_, lower * rng.choice(SHRINK, lower.size), lower)
        high = np.where(open_, upper * rng.choice(SHRINK, lower.size), upper)
        yield np.where(split & up, 0.0, low), np.where(split & ~up, 0.0, high)


def near(optimum: float) -> Any:
    return pytest.approx(optimum, abs=AGREEMENT * (1.0 + abs(optimum)))


@pytest.fixture(params=ROOTS, ids=str)
def root(request: pytest.FixtureRequest, make_root: Callable[..., Any], norm: Norm) -> Any:
    return make_root(*request.param[:2], norm, request.param[2])


@pytest.fixture(params=list(FLAT_NORMS), ids=str)
def norm(request: pytest.FixtureRequest) -> Norm:
    chosen: Norm = request.param
    return chosen


def test_the_optimum_is_that_of_the_triangle_relaxation(truth: Any, root: Any) -> None:
    """… and its multipliers, evaluated safely, give the same; without a solution they prove that there is none."""
    lp = node_lp(root)
    for lower, upper in drawn_nodes(root, 1):
        expected, solved = triangle(truth, root, lower, upper), lp.solve(lower, upper, Budget())
        assert solved.usable
        assert solved.weights.min() >= 0.0
        value = root.lagrangian.evaluate(solved.weights, solved.nu, lower, upper).value(root.ball.radius)
        if math.isinf(expected):
            assert solved.optimum is None
            assert value > 0.0
        else:
            assert solved.optimum == near(expected)
            assert value == near(expected)
            assert solved.weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_there_are_nodes_with_and_without_a_solution(truth: Any, make_root: Callable[..., Any], norm: Norm) -> None:
    roots = [make_root(seed, sizes, norm, rows) for seed, sizes, rows in ROOTS]
    optima = [triangle(truth, root, *node) for root in roots for node in drawn_nodes(root, 1)]
    assert sum(map(math.isinf, optima)) >= 5
    assert sum(map(math.isfinite, optima)) >= 20


def test_moving_about_leaves_no_trace(root: Any) -> None:
    """One LP that goes from node to node, from its last basis or from an older one, against fresh ones."""
    warm, kept = node_lp(root), None
    nodes = list(drawn_nodes(root, 2, 4))
    for place in (0, 1, 0, 2, 1, 3, 4, 0, 3):
        again = warm.solve(*nodes[place], Budget(), kept)
        kept = warm.basis() if place == 1 else None
        fresh = node_lp(root).solve(*nodes[place], Budget())
        assert again.usable
        assert fresh.usable
        if fresh.optimum is None:
            assert again.optimum is None
        else:
            assert again.optimum == near(fresh.optimum)


def test_a_smaller_radius_and_back(truth: Any, root: Any) -> None:
    lp = node_lp(root)
    for share in (1.0, 0.5, 0.1, 1.0):
        lp.set_radius(share * root.ball.radius)
        inner = root.within(share * root.ball.radius)
        expected, solved = triangle(truth, inner, *root.ends), lp.solve(*root.ends, Budget())
        assert solved.optimum == near(expected)
        value = root.lagrangian.evaluate(solved.weights, solved.nu, *root.ends).value(inner.ball.radius)
        assert value == near(expected)


def test_columns_may_come_later(make_root: Callable[..., Any]) -> None:
    """In L1: fewer columns give no smaller optimum, all of them the same one whenever they come."""
    falls = 0
    for seed, sizes, rows in ROOTS:
        root = make_root(seed, sizes, Norm.L1, rows)
        full, moves = node_lp(root), np.random.default_rng(seed).permutation(all_moves(root)).tolist()
        parts = node_lp(root, [tuple(move) for move in moves[:1]])
        nodes, last = list(drawn_nodes(root, 3, 3)), math.inf
        for entry, sign in moves[1:]:
            solved = parts.solve(*root.ends, Budget())
            optimum = math.inf if solved.optimum is None else solved.optimum
            assert optimum <= last + AGREEMENT
            falls, last = falls + (optimum < last - AGREEMENT), optimum
            assert not parts.present[0 if sign > 0 else 1, entry]
            parts.add(entry, sign)
        assert np.all(parts.present)
        assert sorted(parts.moves) == sorted(full.moves)
        assert last >= full.solve(*root.ends, Budget()).optimum - AGREEMENT
        for lower, upper in nodes:
            one, other = full.solve(lower, upper, Budget()), parts.solve(lower, upper, Budget())
            assert (one.optimum is None) == (other.optimum is None)
            assert one.optimum is None or other.optimum == near(one.optimum)
    assert falls >= 10


def test_in_linf_every_entry_that_is_read_may_move(make_root: Callable[..., Any]) -> None:
    root = make_root(2, SIZES[0], Norm.LINF)
    assert {entry for entry, _ in node_lp(root, []).moves} == set(range(3))


@dataclass(frozen=True, eq=False)
class Skips:
    """What `Root` has, for a convolution with skips around it."""

    net: Any
    ball: Ball
    goal: Halfspaces
    stages: Stages
    ends: tuple[Array, Array]
    lagrangian: Lagrangian


def skips(norm: Norm, seed: int) -> Skips:
    rng = np.random.default_rng(seed)
    builder = GraphBuilder(4)
    conv = Conv(readonly(rng.normal(size=(2, 1, 2, 2))), (2, 2), (1, 1), (1, 1), (1, 0, 0, 1))
    first = builder.relu(builder.affine([(conv, 0)], rng.normal(size=conv.out_size)))
    mixed = builder.affine([(Dense(readonly(rng.normal(size=(4, 8)))), first), (identity(4, -1.0), 0)])
    second, bent = builder.relu(mixed), builder.relu(builder.affine([(identity(4), 0)], np.full(4, -0.5)))
    last = Dense(readonly(rng.normal(size=(3, 4))))
    graph = builder.graph(builder.affine([(last, second), (last, bent), (select([0, 3, 5], 8), first)]))
    ball = Ball(norm, np.round(rng.random(4) * 4) / 4, 0.4, np.zeros(4), np.ones(4))
    goal, stages = Halfspaces(rng.normal(size=(2, 3)), rng.normal(size=2)), to_stages(graph)
    ends = hidden_bounds(stages, linear_bounds(graph, ball, Budget()))
    return Skips(SimpleNamespace(graph=graph), ball, goal, stages, ends, Lagrangian(stages, ball, goal, *ends))


@pytest.mark.parametrize("seed", range(3))
def test_convolutions_and_skips(truth: Any, norm: Norm, seed: int) -> None:
    question = skips(norm, seed)
    assert max(len(stage.blocks) for stage in question.stages.stages) >= 2
    lp = node_lp(question)
    for lower, upper in drawn_nodes(question, seed):
        expected, solved = triangle(truth, question, lower, upper), lp.solve(lower, upper, Budget())
        value = question.lagrangian.evaluate(solved.weights, solved.nu, lower, upper).value(question.ball.radius)
        assert value > 0.0 if math.isinf(expected) else value == near(expected)


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_a_spent_budget_ends_a_solve(make_root: Callable[..., Any], norm: Norm) -> None:
    root = make_root(1, SIZES[1], norm)
    lp, budget = node_lp(root), Budget()
    budget.cancel()
    with pytest.raises(OutOfTimeError, match="interrupted"):
        lp.solve(*root.ends, budget)
    assert lp.solve(*root.ends, Budget()).usable


@pytest.mark.parametrize("end", [1e-271, 1e-30, 1e-10])
def test_an_argument_that_hardly_moves(truth: Any, norm: Norm, end: float) -> None:
    """A neuron of weights 0 and bias 0: the ends of its argument are rounding errors of both signs."""
    hidden, last = [[1, -1], [0, 0], [-1, -1]], [[1, 5, 7], [-1, 2, 1]]
    optima = []
    for bias in (0, -1):
        net = truth.of_layers((hidden, [0, bias, -0.5]), (last, [0, 0.25]))
        ball = Ball(norm, np.array([0.125, 0.5]), 0.25, net.lo, net.hi)
        goal, stages = Halfspaces(np.array([[1.0, -1.0]]), np.zeros(1)), to_stages(net.graph)
        lower, upper = (np.array(ends) for ends in hidden_bounds(stages, linear_bounds(net.graph, ball, Budget())))
        if bias == 0:
            lower[1], upper[1] = -end, end
        solved = NodeLp(TreeRoot(stages, ball, goal, lower, upper), [(0, 1), (0, -1), (1, 1), (1, -1)]).solve(
            lower, upper, Budget()
        )
        assert solved.usable
        optima.append(solved.optimum)
    assert optima[0] == near(optima[1])
