"""A frontier of a million nodes fits in 4 GB: what one node of a hard question on the shipped MNIST net keeps."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.formulations.to_stages import to_stages
from verifier import models
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.memory import Memory, resident
from verifier.problem.query import Ball, Norm, Targeted, disjuncts
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.tree.protocol import Tree, TreeRoot
from verifier.solvers.tree.table import TREES, TreeKind

BYTES = 4_000
"""4 GB for a million nodes."""

OPEN = 150
"""Open nodes that are enough for a mean: the deeper ones differ from the root in most bounds."""


ABOUT = 2.0
"""What siblings share counts for both, some of what an object takes for none; half of a limit is left for that."""

FIRST = 20
"""Open nodes when counting begins: what the kernels hold, once for all nodes, is there by then."""


OURS = [tracemalloc.Filter(True, str(Path(package.__file__).parent / "*")) for package in (verifier, np)]
"""Where nodes come from; what is imported or loaded meanwhile is not theirs."""


def _kept() -> int:
    """Bytes that our code and numpy's have allocated and hold."""
    return sum(found.size for found in tracemalloc.take_snapshot().filter_traces(OURS).statistics("filename"))


@pytest.mark.parametrize("kind", TREES, ids=lambda kind: kind.name)
def test_a_tree_whose_work_does_not_fit_has_proved_nothing(
    make_root: Callable[..., Any], kind: TreeKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes that were taken may not be back: the tree is neither closed nor has it a lower end."""
    root = make_root(15, (3, 12, 4), Norm.LINF, 2)
    tree: Any = kind.make(TreeRoot(root.stages, root.ball, root.goal, *root.ends), kind.settings)

    def too_much(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(type(tree), "put", too_much)
    for name in ("_evaluate", "_plunge"):
        monkeypatch.setattr(type(tree), name, too_much, raising=False)
    with pytest.raises(MemoryError):
        tree.explore(Budget())
    assert (tree.lower_end, tree.float32_end, tree.open_nodes > 0) == (0.0, 0.0, True)


@pytest.mark.parametrize("kind", [kind for kind in TREES if kind.name != "input"], ids=lambda kind: kind.name)
def test_a_node_keeps_differences_only(kind: TreeKind) -> None:
    model = verifier.load(models.path("mnist_n"))
    x = np.random.default_rng(0).random(784)
    target = (model.predict(x) + 1) % 10
    ball = Ball(Norm.LINF, x, 0.2, np.zeros(x.size), np.ones(x.size))
    stages, goal = to_stages(model.graph), disjuncts(Targeted(target), model.classes)[0][1]
    bounds = linear_bounds(model.graph, ball, Budget())
    memory = Memory(resident() + 1e10)
    tree = kind.make(TreeRoot(stages, ball, goal, *hidden_bounds(stages, bounds), memory=memory), kind.settings)
    # What the tree makes once, for all nodes, is not theirs: some at its first ones, some when kernels take it over.
    while tree.open_nodes < FIRST:
        if tree.explore(Budget()) is not None:
            tree.refuse()
    used, counted, opened = min(_grown(tree, memory) for _ in range(2))
    assert 0 < used <= BYTES * opened
    assert used / ABOUT <= counted <= ABOUT * used


def _grown(tree: Tree, memory: Memory) -> tuple[int, float, int]:
    """Bytes that OPEN more open nodes take, what is counted for them, and how many they are."""
    counted, nodes = memory.nodes, tree.open_nodes
    tracemalloc.start()
    try:
        before = _kept()
        while tree.open_nodes < nodes + OPEN:
            if tree.explore(Budget()) is not None:
                tree.refuse()
        return _kept() - before, memory.nodes - counted, tree.open_nodes - nodes
    finally:
        tracemalloc.stop()
