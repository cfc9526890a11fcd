"""The bound tree with constraints by receptive fields: verdicts are those of trees without them, its nodes fewer."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from encoders.formulations.to_stages import to_stages
from encoders.network.graph import outputs
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Halfspaces, Norm, Query
from verifier.problem.verdict import Holds, Violated
from verifier.problem.workers import THREADING, Workers
from verifier.search.inner_ball import InnerBall
from verifier.search.scheduler import TreeSearch
from verifier.search.spread import Spreading
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.tree import patched_tree
from verifier.solvers.tree.part import made
from verifier.solvers.tree.patched_tree import PatchedTree

WEAK: dict[str, Any] = {"half_space": False, "reduced_costs": False, "stalled": 0, "batch": 4}
"""Settings with which small trees take more nodes."""


@pytest.fixture
def norm() -> Norm:
    return Norm.LINF


@pytest.fixture
def constrained(monkeypatch: pytest.MonkeyPatch) -> list[PatchedTree]:
    """The trees that have begun anew with constraints, from any number of open nodes on."""
    found: list[PatchedTree] = []
    begin = PatchedTree._begin_again

    def noted(self: PatchedTree, *rest: Any) -> None:
        begin(self, *rest)
        found.append(self)

    monkeypatch.setattr(patched_tree, "OPEN", 1)
    monkeypatch.setattr(PatchedTree, "_begin_again", noted)
    return found


def asked(net: Any, radius: float, seed: int) -> Query:
    """Does another class than that of a random input reach it within a radius?"""
    centre = np.random.default_rng(seed).uniform(0.3, 0.7, net.lo.size)
    logits = outputs(net.graph, centre[np.newaxis])[0]
    label, other = (int(place) for place in np.argsort(-logits)[:2])
    row = np.zeros((1, logits.size))
    row[0, other], row[0, label] = 1.0, -1.0
    return Query(net.graph, Ball(Norm.LINF, centre, radius, net.lo, net.hi), Halfspaces(row, np.zeros(1)))


def tree_of(query: Query, decider: BranchAndBound) -> PatchedTree:
    bounds, stages = linear_bounds(query.graph, query.region, Budget()), to_stages(query.graph)
    tree = decider.tree(query, stages, bounds, floor=0.0, slack=0.0, tolerance=1e-7)
    assert isinstance(tree, PatchedTree)
    return tree


def lasting(conv_net: Callable[[int], Any], count: int = 1) -> list[PatchedTree]:
    """Trees of one question, which is not answered at its root, after that root."""
    decider = BranchAndBound(engine="bound").having("bound", patches=1, **WEAK)
    for seed in range(50):
        trees = [tree_of(asked(conv_net(seed), 0.1, seed), decider) for _ in range(count)]
        if [tree.explore(Budget()) for tree in trees] == [None] * count and all(tree.open_nodes > 1 for tree in trees):
            return trees
    raise AssertionError("all are answered at the root")


@pytest.mark.long
def test_it_decides_as_without_them(conv_net: Callable[[int], Any], constrained: list[PatchedTree]) -> None:
    seen = set()
    for seed in range(8):
        net = conv_net(seed)
        for radius in (0.05, 0.1, 0.15, 0.2):
            query = asked(net, radius, seed)
            bounds = linear_bounds(query.graph, query.region, Budget())
            verdicts = [
                type(BranchAndBound(engine=engine).having("bound", patches=1, **WEAK).decide(query, bounds, Budget()))
                for engine in ("bound", "lp")
            ]
            assert verdicts[0] is verdicts[1]
            seen.add(verdicts[0])
    assert seen == {Holds, Violated}
    assert len(constrained) >= 4


def test_fewer_nodes_close(conv_net: Callable[[int], Any], constrained: list[PatchedTree]) -> None:
    nodes = {0: 0, 1: 0}
    for seed in range(6):
        query = asked(conv_net(seed), 0.1, seed)
        for patches in nodes:
            tree = tree_of(query, BranchAndBound(engine="bound").having("bound", patches=patches, **WEAK))
            while tree.open_nodes and not tree.stuck and tree.explore(Budget()) is None:
                pass
            nodes[patches] += tree.nodes
    assert constrained
    assert nodes[1] < nodes[0]


def test_constraints_hold_at_every_point_and_nothing_is_lost(
    conv_net: Callable[[int], Any], constrained: list[PatchedTree]
) -> None:
    for seed in range(6):
        net = conv_net(seed)
        query = asked(net, 0.15, seed)
        tree = tree_of(query, BranchAndBound(engine="bound").having("bound", patches=1, **WEAK))
        tree.explore(Budget())
        before, nodes, radius = tree.lower_end, tree.nodes, tree.radius
        if not tree.open_nodes:
            continue
        tree.explore(Budget())
        assert tree.lower_end >= before
        assert tree.nodes > nodes
        assert tree.radius == tree.root_radius == radius
        points = np.random.default_rng(seed).uniform(*query.region.interval, (500, net.lo.size))
        arguments, logits = tree.root.stages.values(points)
        assert np.allclose(logits, outputs(net.graph, points))
        plain = to_stages(net.graph).relu_count
        assert np.all(arguments[:, plain:] >= 0.0)
        assert np.all((arguments >= tree.root.lower) & (arguments <= tree.root.upper))
    assert constrained


def test_a_smaller_radius_stays(conv_net: Callable[[int], Any], constrained: list[PatchedTree]) -> None:
    (tree,) = lasting(conv_net)
    tree.cut(0.09)
    tree.explore(Budget())
    assert constrained == [tree]
    assert tree.radius == tree.root_radius == 0.09


def test_out_of_time_it_is_as_it_was(
    conv_net: Callable[[int], Any], constrained: list[PatchedTree], monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: Any) -> None:
        raise OutOfTimeError

    monkeypatch.setattr(patched_tree, "patch_bounds", late)
    (tree,) = lasting(conv_net)
    before = tree.open_nodes, tree.nodes, tree.lower_end
    with pytest.raises(OutOfTimeError):
        tree.explore(Budget())
    assert (tree.open_nodes, tree.nodes, tree.lower_end) == before
    tree.explore(Budget())
    assert not constrained


def test_parts_of_trees_do_not_begin_anew(conv_net: Callable[[int], Any], constrained: list[PatchedTree]) -> None:
    tree, part = lasting(conv_net, 2)
    part.adopt(tree.take(1), inherited=False)
    part.explore(Budget())
    assert not constrained
    tree.lend(tree.take(1))
    tree.explore(Budget())
    assert not constrained


def test_a_tree_that_has_begun_anew_is_lent_as_it_is_now(
    conv_net: Callable[[int], Any], constrained: list[PatchedTree]
) -> None:
    (tree,), spreading = lasting(conv_net), Spreading(Workers(THREADING, 1))
    before = spreading._parts(tree, Budget())
    tree.recall()
    tree.explore(Budget())
    assert constrained == [tree]
    after = spreading._parts(tree, Budget())
    assert made(after[0].tree).root.stages.relu_count == tree.root.stages.relu_count
    assert after[0].key != before[0].key


@pytest.mark.parametrize(
    ("inner", "within", "crowded"), [(False, None, True), (True, None, False), (True, None, True), (False, 0.2, False)]
)
def test_only_balls_that_may_close_are_worth_it(
    conv_net: Callable[[int], Any], within: float | None, *, inner: bool, crowded: bool
) -> None:
    """Not those of a search for the nearest point that end at its incumbent; and at once beside such a tree that hardly
    closes any node."""
    query = asked(conv_net(0), 0.2, 0)
    ball, goal = query.region, query.goal
    problem = SimpleNamespace(graph=query.graph, ball=ball, earlier=None, precision=1e-3)
    track: Any = SimpleNamespace(
        state=SimpleNamespace(problem=problem),
        target=SimpleNamespace(goal=goal),
        float32=0.0,
        inner=InnerBall(crowded=crowded),
    )
    search: Any = object.__new__(TreeSearch)
    search._maker, search._within, search._budget = BranchAndBound(engine="bound"), within, Budget()
    search._stages = to_stages(query.graph)
    search.bounds = SimpleNamespace(near=lambda *_: linear_bounds(query.graph, ball, Budget()))
    tree = search._rooted(track, 0.2, inner=inner)
    assert isinstance(tree, PatchedTree)
    assert tree.constrains == (inner or within is not None)
    assert tree.begins == (0 if inner and crowded else tree.settings.patches)


def test_what_is_proved_over_the_reals_alone_is_no_floor_of_evaluations(
    conv_net: Callable[[int], Any], constrained: list[PatchedTree]
) -> None:
    decider = BranchAndBound(engine="bound").having("bound", patches=4, **WEAK)
    for noted in (False, True):
        tree = tree_of(asked(conv_net(9), 0.1, 9), decider)
        while tree.nodes < 4:
            assert tree.explore(Budget()) is None
        assert tree.lower_end > 0.0
        if noted:
            tree.note(0.5 * tree.lower_end)
        before = tree.float32_end
        tree.explore(Budget())
        assert bool(constrained) == (not noted)
        assert tree.float32_end == before
        constrained.clear()


def test_where_memory_ends_meanwhile_nothing_is_proved(
    conv_net: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree,) = lasting(conv_net)

    def full(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(patched_tree, "OPEN", 1)
    monkeypatch.setattr(PatchedTree, "child", full)
    with pytest.raises(MemoryError):
        tree.explore(Budget())
    assert tree.torn
    assert tree.lower_end == 0.0
