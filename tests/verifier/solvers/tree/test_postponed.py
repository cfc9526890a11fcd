"""Nodes that only the real network closes: kept, and gone on with under charges for float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from encoders.formulations.to_stages import to_stages
from verifier.bounds.alpha_crown import Effort, linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.query import Norm
from verifier.problem.rounding import FLOAT32
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.tree.bound_tree import BoundTree
from verifier.solvers.tree.input_tree import InputSettings, InputTree
from verifier.solvers.tree.protocol import TreeRoot

Tree = InputTree | BoundTree

WITHOUT_RELUS = InputSettings(relus=-1, descend_every=0)
"""Boxes are halved to the end."""


def coarse_root(made: Any, unit: float, share: float) -> TreeRoot:
    """Charged with float32 as if its unit were this one, much coarser; the real network alone is excluded."""
    graph = made.net.graph
    coarse = replace(FLOAT32, unit=unit)
    stages = replace(to_stages(graph, coarse.unit, coarse.floors(graph)), both=True)
    ball = made.ball.with_radius(share * made.nearest)
    return TreeRoot(
        stages, ball, made.goal, *hidden_bounds(stages, linear_bounds(graph, ball, Budget(), Effort(0, 0), coarse))
    )


def explored(tree: Tree) -> Tree:
    while tree.open_nodes and not tree.stuck:
        assert tree.explore(Budget()) is None
    return tree


@pytest.mark.parametrize(
    "grown",
    [InputTree, lambda root: InputTree(root, WITHOUT_RELUS), BoundTree],
    ids=["relus", "boxes", "bounds"],
)
def test_what_only_the_real_network_excludes_is_noted(
    make_root: Callable[..., Any], grown: Callable[[TreeRoot], Tree]
) -> None:
    """Gone on with, it stays open where rounding reaches the goal."""
    made = make_root(15, (3, 12, 4), Norm.LINF, 2)
    tree = explored(grown(coarse_root(made, 2.0**-14, 0.99)))
    assert tree.lower_end == tree.root.ball.radius
    assert tree.float32_end < tree.lower_end
    assert tree.charge()
    for _ in range(8):
        if tree.open_nodes and not tree.stuck:
            assert tree.explore(Budget()) is None
    assert tree.open_nodes
    assert tree.float32_end < tree.root.ball.radius


@pytest.mark.parametrize(
    ("grown", "seed", "unit"),
    [
        (lambda root: InputTree(root, WITHOUT_RELUS), 2, 2.0**-12),
        (lambda root: InputTree(root, WITHOUT_RELUS), 3, 2.0**-12),
        (BoundTree, 2, 2.0**-12),
        (BoundTree, 23, 2.0**-16),
    ],
    ids=["boxes, 2", "boxes, 3", "bounds, 2", "bounds, 23"],
)
def test_what_charged_bounds_leave_open_is_split_until_they_close(
    make_root: Callable[..., Any], grown: Callable[[TreeRoot], Tree], seed: int, unit: float
) -> None:
    """Rounding does not reach the goal, only bounds of large parts do."""
    made = make_root(seed, (3, 8, 3), Norm.LINF, 2)
    tree = explored(grown(coarse_root(made, unit, 0.9)))
    before = tree.nodes
    assert tree.float32_end < tree.root.ball.radius
    assert tree.charge()
    assert explored(tree).nodes > before
    assert (tree.open_nodes, tree.float32_end) == (0, tree.root.ball.radius)
    assert not tree.charge()
