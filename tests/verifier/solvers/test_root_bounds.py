"""The bounds that a search begins with: by kernels where a net is large and they are at hand, and always proved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Graph, GraphBuilder
from encoders.network.linear_maps import Dense, readonly
from encoders.network.node_bounds import unstable_count
from verifier.bounds.alpha_crown import Effort, linear_bounds
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Halfspaces, Norm
from verifier.solvers import root_bounds as module
from verifier.solvers.root_bounds import root_bounds, rooted


def net(*widths: int) -> tuple[Graph, Ball]:
    rng, size = np.random.default_rng(widths), 6
    builder, last = GraphBuilder(size), 0
    for n, m in zip((size, *widths[:-1]), widths, strict=True):
        weight = rng.normal(size=(m, n)) / np.sqrt(n)
        last = builder.relu(builder.affine([(Dense(readonly(weight)), last)], 0.1 * rng.normal(size=m)))
    return builder.graph(last), Ball(Norm.LINF, rng.random(size), 0.1, np.zeros(size), np.ones(size))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Kernels are at hand where the list ends with True."""
    answers = [True]
    monkeypatch.setattr(module.cache, "at_once", lambda _: answers[-1])
    return answers


def same(found: Any, wanted: Any) -> bool:
    pairs = zip((*found.lower, *found.upper), (*wanted.lower, *wanted.upper), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_small_nets_need_no_kernels(at_once: list[bool]) -> None:
    graph, ball = net(12, 8)
    assert same(root_bounds(graph, ball, Budget()), linear_bounds(graph, ball, Budget()))


def test_large_nets(at_once: list[bool]) -> None:
    pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")
    graph, ball = net(40, 1000, 6)
    asked: list[Stages] = []

    def stages() -> Stages:
        asked.append(to_stages(graph))
        return asked[0]

    found, wanted = root_bounds(graph, ball, Budget(), stages=stages), linear_bounds(graph, ball, Budget())
    assert len(asked) == 1
    assert not same(found, wanted)
    assert abs(unstable_count(graph, found) - unstable_count(graph, wanted)) <= 3
    points = ball.geometry.minimiser(np.random.default_rng(1).normal(size=(50, 6)))
    arguments, _ = asked[0].values(points)
    lower, upper = (np.concatenate([ends[node] for node in asked[0].nodes[:-1]]) for ends in (found.lower, found.upper))
    assert np.all((lower <= arguments) & (arguments <= upper))


def test_without_kernels(at_once: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    at_once.append(False)
    graph, ball = net(40, 1000, 6)
    assert same(root_bounds(graph, ball, Budget()), linear_bounds(graph, ball, Budget()))
    monkeypatch.setattr(module, "LARGE", 1000)
    assert same(root_bounds(graph, ball, Budget()), linear_bounds(graph, ball, Budget(), Effort(neuron_iterations=0)))


def test_stages_that_take_too_long_leave_what_numpy_may(at_once: list[bool]) -> None:
    def late() -> Stages:
        raise OutOfTimeError("late")

    graph, ball = net(40, 1000, 6)
    assert same(root_bounds(graph, ball, Budget(), stages=late), linear_bounds(graph, ball, Budget()))


@pytest.mark.parametrize("kernels", [True, False])
def test_balls_in_l1_have_anchored_lines_too(at_once: list[bool], kernels: bool) -> None:
    """With kernels and without: ends are no wider, and hold; a goal that anchored lines exclude is not reached."""
    if kernels:
        pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")
    at_once.append(kernels)
    graph, ball = net(40, 1000, 6)
    ball = Ball(Norm.L1, ball.centre, 0.4, ball.lo, ball.hi)
    stages = to_stages(graph)
    found, plain = rooted(graph, ball, Budget()), linear_bounds(graph, ball, Budget(), Effort(neuron_iterations=0))
    assert found.anchored is not None
    assert unstable_count(graph, found.bounds) < unstable_count(graph, plain)
    points = ball.geometry.minimiser(np.random.default_rng(1).normal(size=(200, 6)))
    arguments, outputs = stages.values(points)
    ends = (
        np.concatenate([side[node] for node in stages.nodes[:-1]]) for side in (found.bounds.lower, found.bounds.upper)
    )
    lower, upper = ends
    assert np.all((lower <= arguments) & (arguments <= upper))
    row, most = np.eye(6)[:1], float(np.maximum(outputs, 0.0)[:, 0].max())
    assert not found.excludes(Halfspaces(row, np.array([-most])), ball.radius, Budget())
    assert found.excludes(Halfspaces(row, np.array([-10.0 * most - 10.0])), ball.radius, Budget())


def test_without_time_nothing_is_anchored(at_once: list[bool]) -> None:
    at_once.append(False)
    graph, ball = net(12, 8)
    ball = Ball(Norm.L1, ball.centre, 0.4, ball.lo, ball.hi)
    assert rooted(graph, ball, Budget(0.0)).anchored is None
