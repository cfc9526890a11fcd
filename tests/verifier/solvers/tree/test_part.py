"""Parts of trees of every kind, explored elsewhere: the whole tree closes, or reaches its goal, as it does alone."""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from verifier.problem.budget import Budget
from verifier.problem.query import Norm
from verifier.solvers.tree import part
from verifier.solvers.tree.part import LentPart, PartDone, made, make_portable, packed
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.relu_tree import ReluTree
from verifier.solvers.tree.table import TREES, TreeKind


def tree_of(made_root: Any, kind: TreeKind) -> ReluTree:
    root = TreeRoot(made_root.stages, made_root.ball, made_root.goal, *made_root.ends)
    tree: Any = kind.make(root, kind.settings)
    return tree


def sent(tree: ReluTree, most: int, memory: float = math.inf) -> PartDone:
    """Some nodes explored as in another process: everything is pickled on its way."""
    nodes = tree.take(most)
    for node in nodes:
        make_portable(node)
    content = packed(tree)
    key = hashlib.sha256(content).hexdigest()
    asked = LentPart(
        *(tree.lend(nodes), key, content, nodes, tree.radius, tree.nodes, tree.inherited, math.inf, memory, None)
    )
    done: PartDone = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(asked)).run()))
    tree.returned(done.loan, done.left)
    tree.nodes += done.nodes
    return done


@pytest.mark.parametrize("kind", TREES, ids=lambda kind: kind.name)
@pytest.mark.parametrize(("share", "reached"), [(0.98, False), (1.1, True)])
def test_a_tree_in_parts_says_what_is_so(
    make_root: Callable[..., Any], kind: TreeKind, share: float, reached: bool
) -> None:
    """Just within the nearest point that reaches the goal, and beyond it."""
    nearest = make_root(15, (3, 12, 4), Norm.LINF, 2).nearest
    tree = tree_of(make_root(15, (3, 12, 4), Norm.LINF, 2, share * nearest), kind)
    point = None
    while tree.open_nodes and point is None:
        point = sent(tree, 2).point
    if reached:
        assert point is not None
        assert tree.root.goal.margin(tree.root.stages.values(point[None])[1])[0] >= -1e-9
        assert tree.open_nodes
        tree.refuse()
        assert tree._source is not None
        assert tree._source.refused
    else:
        assert point is None
        assert tree.lower_end == tree.radius
    assert tree.nodes > 0


def test_a_part_that_takes_more_than_its_memory_says_so_and_keeps_its_nodes(make_root: Callable[..., Any]) -> None:
    root = make_root(15, (3, 12, 4), Norm.LINF, 2)
    tree = tree_of(make_root(15, (3, 12, 4), Norm.LINF, 2, 0.98 * root.nearest), TREES[1])
    done = sent(tree, 1, memory=1.0)
    assert done.exceeded
    assert tree.open_nodes == 1


@pytest.mark.parametrize("kind", TREES, ids=lambda kind: kind.name)
def test_a_tree_that_was_sent_is_the_same(make_root: Callable[..., Any], kind: TreeKind) -> None:
    tree = tree_of(make_root(15, (3, 12, 4), Norm.LINF, 2), kind)
    other = made(packed(tree))
    assert type(other) is type(tree)
    assert other.explore(Budget()) is None or True
    assert other.root.ball.radius == tree.root.ball.radius


def test_a_process_keeps_the_trees_that_take_turns(
    make_root: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, makes, make = make_root(15, (3, 12, 4), Norm.LINF, 2), [0], part.made

    def counted(content: bytes) -> ReluTree:
        makes[0] += 1
        return make(content)

    monkeypatch.setattr(part, "made", counted)
    monkeypatch.setattr(part, "_here", threading.local())
    tree, content = tree_of(root, TREES[1]), b""
    for key in ("a", "b", "a", "b"):
        nodes = tree.take()
        content = packed(tree)
        asked = LentPart(tree.lend(nodes), key, content, nodes, tree.radius, 0, False, 0.0, math.inf, None)
        tree.returned(asked.loan, asked.run().left)
    assert makes[0] == 2
    monkeypatch.setattr(part, "KEPT", 1.5 * len(content))
    for key in ("c", "b", "c"):
        nodes = tree.take()
        asked = LentPart(tree.lend(nodes), key, content, nodes, tree.radius, 0, False, 0.0, math.inf, None)
        tree.returned(asked.loan, asked.run().left)
    assert makes[0] == 5


@pytest.mark.parametrize("kind", TREES, ids=lambda kind: kind.name)
def test_a_part_that_does_not_fit_gives_its_nodes_back_as_they_were(
    make_root: Callable[..., Any], kind: TreeKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was taken when memory ended is not back in the part's tree, and not closed either."""
    tree = tree_of(make_root(15, (3, 12, 4), Norm.LINF, 2), kind)

    def too_much(*_: Any, **__: Any) -> None:
        raise MemoryError

    for name in ("_evaluate", "_plunge"):
        monkeypatch.setattr(type(tree), name, too_much, raising=False)
    done = sent(tree, 1)
    assert done.exceeded
    assert (tree.open_nodes, len(tree.take()), tree.lower_end) == (1, 1, tree.radius)
    assert (done.left.stuck, done.left.postponed) == ([], [])


def test_a_process_that_is_its_own_worker_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """joblib calls in the asking process where there is one job, or where it may not begin others."""
    watched: set[int] = set()
    monkeypatch.setattr(part, "_watched", watched)
    part._end_with(os.getpid())
    assert not watched
