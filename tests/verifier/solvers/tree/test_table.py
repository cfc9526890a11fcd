"""The table of trees: every kind is a tree of the protocol, has a name, and is chosen by what it says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest

from verifier.problem.budget import Budget
from verifier.problem.query import Norm
from verifier.problem.verdict import LINEAR_BOUNDS
from verifier.solvers.branch_and_bound import AUTO, BranchAndBound
from verifier.solvers.tree import table
from verifier.solvers.tree.protocol import Tree, TreeRoot
from verifier.solvers.tree.table import LP_RELUS, SHALLOW_RELUS, TREES, TreeKind

SIZES = (3, 6, 6, 3)

MEMBERS = sorted(name for name in {*dir(Tree), *Tree.__annotations__} if not name.startswith("_"))


@pytest.fixture
def root(make_root: Callable[..., Any]) -> TreeRoot:
    made = make_root(7, SIZES, Norm.LINF)
    return TreeRoot(made.stages, made.ball, made.goal, *made.ends)


def test_names_and_engines_are_those_of_one_row_each() -> None:
    for names in ([kind.name for kind in TREES], [kind.make.engine for kind in TREES]):
        assert len(set(names)) == len(TREES)
    assert AUTO not in {kind.name for kind in TREES}


@pytest.mark.parametrize("kind", TREES, ids=lambda kind: kind.name)
def test_every_kind_is_a_tree(root: TreeRoot, kind: TreeKind) -> None:
    tree = kind.make(root, kind.settings)
    for name in MEMBERS:
        assert hasattr(tree, name), name
    assert (tree.radius, tree.root_radius, tree.nodes) == (root.ball.radius, root.ball.radius, 0)
    tree.explore(Budget())
    assert tree.nodes > 0
    tree.cut(0.5 * root.ball.radius)
    assert (tree.radius, tree.root_radius) == (0.5 * root.ball.radius, root.ball.radius)


@pytest.mark.parametrize("kind", TREES, ids=lambda kind: kind.name)
def test_nodes_before_inner_balls_stand_in_the_row(kind: TreeKind) -> None:
    assert BranchAndBound().nodes_alone(kind.make.engine) == kind.alone > 0
    fewer = BranchAndBound(kinds=tuple(replace(row, alone=3) for row in TREES))
    assert fewer.nodes_alone(kind.make.engine) == 3
    assert BranchAndBound().nodes_alone(LINEAR_BOUNDS) == math.inf


@pytest.mark.parametrize("kind", TREES, ids=lambda kind: kind.name)
def test_settings_are_those_of_one_kind(kind: TreeKind) -> None:
    assert is_dataclass(kind.settings)
    field = fields(kind.settings)[0]
    one = BranchAndBound().having(kind.name, **{field.name: "changed"})
    for before, after in zip(TREES, one.kinds, strict=True):
        if before.name == kind.name:
            assert after == replace(before, settings=replace(before.settings, **{field.name: "changed"}))
        else:
            assert after == before


def test_the_first_kind_that_suits_is_chosen_unless_one_is_named(make_root: Callable[..., Any]) -> None:
    made = make_root(7, SIZES, Norm.LINF)
    lp, bound = (next(kind for kind in TREES if kind.name == name) for name in ("lp", "bound"))
    for suits, wanted in ((True, lp), (False, bound)):
        kinds = replace(lp, suits=lambda _, suits=suits: suits), bound
        for engine, kind in ((AUTO, wanted), ("lp", lp), ("bound", bound)):
            decider = BranchAndBound(engine, kinds)
            tree = decider.tree(made.query, made.stages, made.bounds, floor=0.0, slack=0.0, tolerance=1e-7)
            assert tree.engine == kind.make.engine


def test_the_lp_tree_suits_roots_with_few_unstable_relus(root: TreeRoot) -> None:
    lp = next(kind for kind in TREES if kind.name == "lp")
    for unstable, suits in ((0, True), (LP_RELUS, True), (LP_RELUS + 1, False)):
        ends = np.append(np.ones(unstable), [0.0, 0.0])
        made = replace(root, lower=-ends, upper=ends)
        assert made.unstable == unstable
        assert lp.suits(made) == suits


def test_of_one_hidden_layer_the_lp_tree_suits_more(make_root: Callable[..., Any]) -> None:
    lp, made = next(kind for kind in TREES if kind.name == "lp"), make_root(7, (3, SHALLOW_RELUS + 1, 3), Norm.LINF)
    for unstable, suits in ((LP_RELUS + 1, True), (SHALLOW_RELUS, True), (SHALLOW_RELUS + 1, False)):
        ends = np.append(np.ones(unstable), np.zeros(SHALLOW_RELUS + 1 - unstable))
        assert lp.suits(TreeRoot(made.stages, made.ball, made.goal, -ends, ends)) == suits


def test_few_free_inputs_are_halved(root: TreeRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a box with more open ReLUs than an LP tree makes short work of; entries that cannot move do not count."""
    few = next(kind for kind in TREES if kind.name == "input")
    assert not few.suits(root)
    monkeypatch.setattr(table, "FEW_RELUS", root.unstable - 1)
    assert few.suits(root)
    ball = root.ball
    assert not few.suits(replace(root, ball=replace(ball, norm=Norm.L1)))
    monkeypatch.setattr(table, "FREE_INPUTS", ball.centre.size - 1)
    assert not few.suits(root)
    fixed = np.where(np.arange(ball.centre.size) == 0, ball.centre, ball.hi)
    held = replace(ball, lo=np.minimum(ball.lo, fixed), hi=fixed)
    held = replace(held, lo=np.where(np.arange(ball.centre.size) == 0, ball.centre, held.lo))
    assert few.suits(replace(root, ball=held))


def test_the_last_kind_takes_whatever_is_left(root: TreeRoot) -> None:
    assert TREES[-1].suits(root)


def test_settings_of_a_name_that_there_is_not_are_an_error() -> None:
    names = ", ".join(kind.name for kind in TREES)
    with pytest.raises(ValueError, match=f"'lps' is none of {names}$"):
        BranchAndBound().having("lps", slice=1)
