"""Narrowed nodes keep every point that reaches the goal, by numpy and by the kernel; and they are narrower."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from encoders.formulations.to_stages import to_stages
from encoders.network.exact import exact_outputs
from encoders.network.graph import GraphBuilder
from encoders.network.linear_maps import Dense, readonly
from verifier.bounds.lagrangian import Duals, Lagrangian, tightened
from verifier.problem.query import Ball, Halfspaces, Norm
from verifier.solvers.branching import RULES, split_at, split_each
from verifier.solvers.tree.tightening import Narrowing, NumpyNarrowing

SIZES = ((3, 5, 5, 3), (2, 4, 4, 4, 2), (4, 3, 6, 2, 2))

SINGLE = 1e-3
"""Relative to 1 + |value|: float32 rows are charged, and a half-space's weight is chosen; 1.4e-4 was seen."""

SUMS = 1e-9
"""Relative to 1 + |value|: float64 sums over the same entries, in another order."""

ROUNDING = 1e-9
"""Arguments of sampled points are float64 sums."""


def by_numpy(root: Any, lagrangian: Lagrangian) -> Narrowing:
    return NumpyNarrowing(root.stages, lagrangian)


def by_kernel(root: Any, lagrangian: Lagrangian) -> Narrowing:
    pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")
    from verifier.solvers.tree.compiled_node import CompiledNarrowing  # noqa: PLC0415 (imports numba)

    return CompiledNarrowing(root.stages, lagrangian)


def by_blocks(root: Any, lagrangian: Lagrangian) -> Narrowing:
    pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")
    from verifier.solvers.tree.sparse_narrowing import SparseNarrowing  # noqa: PLC0415 (imports numba)

    return SparseNarrowing(root.stages, lagrangian, *root.ends)


@pytest.mark.parametrize("norm", list(Norm), ids=str)
def test_blocks_bound_what_numpy_does(make_root: Any, norm: Norm) -> None:
    """Layers of several blocks each: the same ReLUs, the same bounds up to rounding."""
    agreed = 0
    for seed in range(6):
        root = make_root(seed, (6, 20, 18, 12, 3), norm, 1, radius=0.5)
        lower, upper = root.ends
        lagrangian, weights = Lagrangian(root.stages, root.ball, root.goal, lower, upper), np.ones(1)
        dual = lagrangian.crown(weights, lower, upper)
        if dual.value(root.ball.radius) >= 0.0:
            continue
        wanted, found = (
            kind(root, lagrangian).narrow(dual, weights, root.ball.radius, lower, upper)
            for kind in (by_numpy, by_blocks)
        )
        assert (wanted is None) == (found is None)
        if wanted is not None and found is not None:
            for name in ("lower", "upper", "shares", "key"):
                ours, other = np.asarray(getattr(found, name)), np.asarray(getattr(wanted, name))
                assert np.all(np.abs(ours - other) <= SINGLE * (1.0 + np.abs(other))), name
            agreed += 1
    assert agreed >= 3


@pytest.mark.parametrize("norm", list(Norm), ids=str)
def test_a_batch_gives_what_its_nodes_give_alone(make_root: Any, norm: Norm) -> None:
    """Nodes below one root, split here and there; blocks hold arguments of several."""
    root, rng = make_root(2, (6, 20, 18, 12, 3), norm, 1, radius=0.5), np.random.default_rng(2)
    lower, upper = (np.tile(ends, (40, 1)) for ends in root.ends)
    radius, whole = root.ball.radius, Lagrangian(root.stages, root.ball, root.goal, *root.ends)
    # The root's bound lacks 1.
    offset = root.goal.offset + whole.crown(np.ones(1), *root.ends).value(radius) + 1.0
    lagrangian = Lagrangian(root.stages, root.ball, replace(root.goal, offset=offset), *root.ends)
    open_ = np.flatnonzero((lower[0] < 0) & (upper[0] > 0))
    for low, high in zip(lower, upper, strict=True):
        at = rng.choice(open_, 3, replace=False)
        low[at[:2]], high[at[2:]] = 0.0, 0.0
    duals = [lagrangian.crown(np.ones(1), *ends) for ends in zip(lower, upper, strict=True)]
    kept = [place for place, dual in enumerate(duals) if dual.value(radius) < 0.0]
    assert len(kept) >= 10
    narrowing: Any = by_blocks(root, lagrangian)
    weights, relus = np.ones((len(kept), 1)), narrowing.relus
    chosen, among = Duals.of([duals[place] for place in kept]).within(relus), np.ix_(kept, relus)
    together = narrowing.narrow_batch(chosen, weights, radius, lower[among], upper[among], reduced=True)
    narrower = 0
    for place, found in zip(kept, together, strict=True):
        own, one = np.ix_([place], relus), Duals.of([duals[place]]).within(relus)
        (alone,) = narrowing.narrow_batch(one, np.ones((1, 1)), radius, lower[own], upper[own], reduced=True)
        ends = tightened(duals[place], duals[place].value(radius), lower[place], upper[place])
        after = None if np.any(ends[0] > ends[1]) else narrowing.narrow(duals[place], np.ones(1), radius, *ends)
        assert (found is None) == (alone is None) == (after is None)
        if found is None:
            continue
        whole = after and replace(after, **{name: getattr(after, name)[relus] for name in ("lower", "upper", "shares")})
        for other in (alone, whole):
            for name in ("lower", "upper", "shares", "key"):
                ours, theirs = np.asarray(getattr(found, name)), np.asarray(getattr(other, name))
                assert np.all(np.abs(ours - theirs) <= SUMS * (1.0 + np.abs(theirs))), name
        narrower += bool(np.any(found.lower > lower[place, relus] + SINGLE))
    assert narrower >= 5


def test_nodes_that_close_at_once_do_not_make_a_call_long(make_root: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls grow step by step; a node that took long is remembered while others take no time."""
    pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")
    from verifier.solvers.tree import sparse_narrowing  # noqa: PLC0415 (imports numba)

    taken = [0.0]
    readings = chain.from_iterable((0.0, taken[0]) for _ in repeat(None))
    monkeypatch.setattr(sparse_narrowing, "narrow_nodes", lambda *_: None)
    monkeypatch.setattr(sparse_narrowing, "time", SimpleNamespace(perf_counter=lambda: next(readings)))
    root = make_root(0, (4, 6, 5, 3), Norm.LINF, 1, radius=0.5)
    lower, upper = root.ends
    lagrangian = Lagrangian(root.stages, root.ball, root.goal, lower, upper)
    dual = lagrangian.crown(np.ones(1), lower, upper)
    narrowing: Any = by_blocks(root, lagrangian)

    def called(seconds: float) -> int:
        """The nodes of a call in which each takes that long."""
        nodes: int = min(32, narrowing.together)
        taken[0], ends = nodes * seconds, (np.tile(lower, (nodes, 1)), np.tile(upper, (nodes, 1)))
        duals = Duals.of(nodes * [dual])
        narrowing.narrow_batch(duals, np.ones((nodes, 1)), root.ball.radius, *ends, reduced=True)
        return nodes

    assert [called(1e-4) for _ in range(4)] == [1, 2, 4, 8]
    assert called(0.25) == 16
    assert [called(1e-4) for _ in range(3)] == [2, 2, 2]
    for _ in range(40):
        last = called(1e-4)
    assert last == 32


@pytest.mark.parametrize("norm", list(Norm), ids=str)
def test_rows_in_float32_bound_what_float64_does(norm: Norm) -> None:
    """First-stage arguments, whose least value over the ball is known, of weights that are no float32."""
    pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")
    from verifier.solvers.tree.sparse_narrowing import SparseNarrowing  # noqa: PLC0415 (imports numba)

    rng, near = np.random.default_rng(6), 0
    builder = GraphBuilder(30)
    hidden = builder.relu(builder.affine([(Dense(readonly(rng.normal(size=(24, 30)))), 0)], rng.normal(size=24)))
    graph = builder.graph(builder.affine([(Dense(readonly(rng.normal(size=(1, 24)))), hidden)], np.zeros(1)))
    stages, ball = to_stages(graph), Ball(norm, rng.random(30), 0.3, np.zeros(30), np.ones(30))
    matrix = stages.stages[0].blocks[0].matrix
    middle = matrix @ ball.centre + stages.stages[0].constant
    least, most = (middle + sign * ball.geometry.falls(sign * -matrix, ball.radius) for sign in (-1.0, 1.0))
    # Every point reaches the goal, by far: nothing is cut.
    goal = Halfspaces(np.ones((1, 1)), np.array([1e4]))
    lagrangian = Lagrangian(stages, ball, goal, least - 1.0, most + 1.0)
    dual = lagrangian.crown(np.ones(1), least - 1.0, most + 1.0)
    # All cost as much as it takes.
    dual = replace(dual, shares=np.full(24, 0.03 * dual.value(ball.radius)))
    found = SparseNarrowing(stages, lagrangian, least - 1.0, most + 1.0).narrow(
        dual, np.ones(1), ball.radius, least - 1.0, most + 1.0
    )
    assert found is not None
    for j in np.flatnonzero((least < 1.0) & (most > -1.0)):
        assert least[j] - SINGLE <= found.lower[j] <= least[j] + ROUNDING
        assert most[j] - ROUNDING <= found.upper[j] <= most[j] + SINGLE
        near += 1
    assert near >= 10


def test_many_nodes_are_split_as_each_is() -> None:
    """By every rule; a row without a score goes by its width, one without an open ReLU nowhere."""
    rng = np.random.default_rng(7)
    shares, lower, upper = -rng.random((6, 9)), -rng.random((6, 9)), rng.random((6, 9))
    shares[3], upper[4], lower[0, :5] = 0.0, 0.0, 0.0
    for rule in RULES:
        found = split_each(rule, shares, lower, upper).tolist()
        off = np.full(9, np.inf)
        assert found == [split_at(rule, *row[:1], off, *row[1:]) for row in zip(shares, lower, upper, strict=True)]
        assert found[4] == -1
        assert min(found[:4]) >= 0
        assert split_each(rule, shares[:, :0], lower[:, :0], upper[:, :0]).tolist() == 6 * [-1]


def test_only_the_dearest_are_bounded_anew() -> None:
    """Shares are what ReLUs add to a bound: the lowest cost most; one of fixed sign is not bounded anew."""
    pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")
    from verifier.solvers.kernels.narrowing import dearest  # noqa: PLC0415 (imports numba)

    shares = np.array([-3.0, -1.0, -5.0, -0.1, -4.0, -4.0])
    lower, upper = -np.ones(6), np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    for most, wanted in ((6, [0, 1, 2, 4]), (4, [0, 1, 2, 4]), (3, [0, 2, 4]), (2, [2, 4]), (1, [2])):
        assert dearest(lower, upper, shares, -0.5, most).tolist() == wanted
    assert dearest(lower, upper, np.full(6, -1.0), -0.5, 2).size == 2
    assert dearest(lower, upper, shares, -9.0, 2).size == 0


def test_the_more_entries_a_network_has_the_fewer_are_bounded_anew(
    make_root: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")
    from verifier.solvers.tree import sparse_narrowing  # noqa: PLC0415 (imports numba)

    asked: list[int] = []
    monkeypatch.setattr(sparse_narrowing, "narrow_nodes", lambda *words: asked.append(words[4].most))
    root = make_root(2, (6, 20, 18, 12, 3), Norm.LINF, 1, radius=0.5)
    lower, upper = root.ends
    lagrangian = Lagrangian(root.stages, root.ball, root.goal, lower, upper)
    dual = lagrangian.crown(np.ones(1), lower, upper)
    entries = 6 * 20 + 20 * 18 + 18 * 12
    for work in (sparse_narrowing.WORK, 3 * entries, entries - 1):
        monkeypatch.setattr(sparse_narrowing, "WORK", work)
        by_blocks(root, lagrangian).narrow(dual, np.ones(1), root.ball.radius, lower, upper)
    assert asked == [sparse_narrowing.DEAREST, 3, 1]


@pytest.mark.parametrize("kind", [by_numpy, by_kernel, by_blocks])
@pytest.mark.parametrize("norm", list(Norm), ids=str)
def test_points_that_reach_the_goal_stay_inside(make_root: Any, kind: Any, norm: Norm) -> None:
    """A goal that some sampled points of the ball reach, multipliers near those of CROWN, at the root."""
    inside, narrower = 0, 0
    for seed in range(60):
        root, rng = make_root(seed, SIZES[seed % len(SIZES)], norm, 1, radius=0.5), np.random.default_rng(seed)
        points = [x for x in root.points(seed) if root.holds(x, 0.0)]
        margins = [float(root.goal.margin_exact(exact_outputs(root.net.graph, x))) for x in points]
        # Two points reach the goal, one of them just so.
        goal = replace(root.goal, offset=root.goal.offset - sorted(margins)[-2] + ROUNDING)
        lower, upper = root.ends
        lagrangian = Lagrangian(root.stages, root.ball, goal, lower, upper)
        weights = np.ones(len(goal.offset))
        crown = lagrangian.crown(weights, lower, upper)
        dual = lagrangian.evaluate(weights, crown.nu + 0.1 * rng.normal(size=lower.size), lower, upper)
        radius = root.ball.radius
        assert dual.value(radius) <= ROUNDING
        if dual.value(radius) >= 0.0:
            continue
        found = kind(root, lagrangian).narrow(dual, weights, radius, lower, upper)
        assert found is not None
        assert found.key < radius
        narrower += bool(np.any(found.lower > lower + ROUNDING) or np.any(found.upper < upper - ROUNDING))
        for x, margin in zip(points, margins, strict=True):
            if margin >= sorted(margins)[-2]:
                arguments = root.stages.values(x)[0][0]
                assert np.all(arguments >= found.lower - ROUNDING)
                assert np.all(arguments <= found.upper + ROUNDING)
                inside += 1
    assert inside >= 90
    assert narrower >= 10
