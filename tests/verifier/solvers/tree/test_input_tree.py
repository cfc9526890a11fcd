"""What only the tree over the input has: its halves, the LP trees of boxes that are left."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from verifier.problem.budget import Budget
from verifier.problem.norms.linf import LInf
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Halfspaces, Norm
from verifier.solvers.branching import SMEAR, WIDTH
from verifier.solvers.tree import input_tree
from verifier.solvers.tree.input_tree import InputSettings, InputTree
from verifier.solvers.tree.protocol import TreeRoot

WITHOUT_RELUS = InputSettings(relus=-1, descend_every=0)
"""Boxes are halved to the end."""


@pytest.fixture
def root(make_root: Callable[..., Any]) -> TreeRoot:
    """Nothing within the radius reaches the goal, which takes some boxes to see."""
    made = make_root(0, (5, 6, 3), Norm.LINF, 2)
    within = made.within(made.nearest - 1e-4)
    return TreeRoot(within.stages, within.ball, within.goal, *within.ends)


def explored(tree: InputTree) -> InputTree:
    while tree.open_nodes and not tree.stuck:
        assert tree.explore(Budget()) is None
    return tree


def test_halving_alone_closes_a_ball(root: TreeRoot) -> None:
    tree = explored(InputTree(root, WITHOUT_RELUS))
    assert (tree.open_nodes, tree.lower_end) == (0, root.ball.radius)
    assert tree.nodes > 3


def test_rows_that_exclude_each_other_close_together(make_root: Callable[..., Any], monkeypatch: Any) -> None:
    """y ≥ 0.1 and y ≤ −0.1 of one output: either alone is reached in most boxes."""
    made = make_root(3, (2, 8, 3), Norm.LINF, 1)
    row = made.goal.matrix[:1]
    values = made.stages.values(np.random.default_rng(0).uniform(*made.ball.interval, (64, 2)))[1] @ row[0]
    middle, room = float(np.median(values)), 0.05 * float(np.ptp(values))
    goal = Halfspaces(np.vstack([row, -row]), np.array([-middle - room, middle - room]))
    root = TreeRoot(made.stages, made.ball, goal, *made.ends)
    together = explored(InputTree(root, replace(WITHOUT_RELUS, clips=0))).nodes
    monkeypatch.setattr(input_tree, "_with_weighted", lambda found, _: found)
    assert together < explored(InputTree(root, replace(WITHOUT_RELUS, clips=0))).nodes


@pytest.mark.parametrize("norm", FLAT_NORMS, ids=str)
def test_what_reaches_several_rows_is_never_closed(make_root: Callable[..., Any], norm: Norm) -> None:
    """A little farther out than the nearest point, which exact enumeration knows, a point is found."""
    reached = 0
    for seed in range(16):
        made = make_root(seed, (2, 5, 3), norm, 2)
        if not made.nearest < made.query.region.reach:
            continue
        reached += 1
        within = made.within(made.nearest + 1e-3)
        tree = InputTree(TreeRoot(within.stages, within.ball, within.goal, *within.ends), WITHOUT_RELUS)
        found = None
        while found is None and tree.nodes < 4_000:
            assert tree.open_nodes
            found = tree.explore(Budget())
    assert reached > 3


def test_two_rules_are_judged_by_their_halves(root: TreeRoot) -> None:
    """The better of two proposals makes a smaller tree than the worse one, mostly than either."""
    nodes = {
        rules: explored(InputTree(root, replace(WITHOUT_RELUS, rules=rules, every=2.0))).nodes
        for rules in ((SMEAR,), (WIDTH,), (SMEAR, WIDTH))
    }
    assert nodes[SMEAR, WIDTH] <= max(nodes[(SMEAR,)], nodes[(WIDTH,)])


def test_a_node_keeps_differences_only(root: TreeRoot) -> None:
    """Bounds in float32, and of the box the entries that are not the root's."""
    tree = InputTree(root, replace(WITHOUT_RELUS, slice=1, batch=1, clips=0))
    for _ in range(4):
        tree.explore(Budget())
    nodes = list(tree._waiting)
    assert nodes
    for node in nodes:
        assert node.lower.dtype == node.upper.dtype == np.float32
        assert node.lower.size == node.places.size <= root.lower.size
        assert 0 < node.start.low.size < root.ball.centre.size


def test_boxes_that_nothing_halves_are_stuck_without_an_lp(
    make_root: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A box that reaches the goal, whose points nobody takes, in a norm that no LP describes."""
    monkeypatch.setattr(LInf, "has_flat_sides", False)
    made = make_root(0, (2, 4, 2), Norm.LINF, 2, radius=2.0**-53)
    made = replace(made, query=replace(made.query, goal=replace(made.goal, offset=made.goal.offset + 100.0)))
    tree = InputTree(TreeRoot(made.stages, made.ball, made.goal, *made.ends), WITHOUT_RELUS)
    for _ in range(300):
        if tree.stuck:
            break
        if tree.explore(Budget()) is not None:
            tree.refuse()
    assert tree.stuck
    assert tree.open_nodes > 0
    assert tree.polish(made.ball.centre, Budget()) == (pytest.approx(made.ball.centre), made.ball.radius)


def test_larger_boxes_go_to_lp_trees_where_boxes_crawl(root: TreeRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at once: the nodes so far, and the shares of the region that open boxes have."""
    settings = replace(WITHOUT_RELUS, slice=1, batch=1, clips=0, crawling=100, look=3)
    for answer in (False, True):
        asked: list[Any] = []

        def crawls(nodes: int, shares: Any, answer: bool = answer, asked: list[Any] = asked) -> bool:
            asked.append((nodes, shares))
            return answer

        monkeypatch.setattr(input_tree, "crawls", crawls)
        tree = InputTree(root, settings)
        while tree.nodes < 3:
            tree.explore(Budget())
        boxes = [tree._box(node) for node in tree._waiting]
        widths = root.ball.interval[1] - root.ball.interval[0]
        tree.explore(Budget())
        tree.explore(Budget())
        ((nodes, shares),) = asked
        assert nodes == 3
        assert sorted(shares) == pytest.approx(sorted(float(((high - low) / widths).prod()) for low, high in boxes))
        assert any(not node.start.splits for node in tree._waiting) is answer
        assert explored(tree).lower_end == root.ball.radius


def test_the_lp_tree_of_a_box_follows_the_radius(make_root: Callable[..., Any]) -> None:
    """After a cut the box is smaller, and so is the ball of its tree: no point beyond the radius is offered."""
    made = make_root(0, (5, 6, 3), Norm.LINF, 2)
    tree = InputTree(TreeRoot(made.stages, made.ball, made.goal, *made.ends), InputSettings(relus=100))
    assert tree.explore(Budget()) is None or tree.nodes > 0
    radius, found = made.ball.radius, 0
    for _ in range(200):
        if not tree.open_nodes or tree.stuck:
            break
        point = tree.explore(Budget())
        if point is not None:
            found += 1
            distance = float(np.abs(point - made.ball.centre).max())
            assert distance <= radius + 1e-9
            radius = 0.999 * distance
            tree.cut(radius)
    assert tree.lower_end <= made.nearest + 1e-6 or math.isinf(made.nearest)
