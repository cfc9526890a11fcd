"""The kinds of search trees: one row each, and what a decider that has a choice goes by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from verifier.solvers.tree.bound_tree import BoundSettings
from verifier.solvers.tree.input_tree import InputSettings, InputTree
from verifier.solvers.tree.lp_tree import LpSettings, LpTree
from verifier.solvers.tree.patched_tree import PatchedTree
from verifier.solvers.tree.protocol import Tree, TreeRoot

LP_RELUS = 80
"""Unstable ReLUs up to which the LP tree is chosen: beyond, LPs take too long (PERFORMANCE.md, sizes)."""

SHALLOW_RELUS = 160
"""The same for networks of one hidden layer: no row of their LPs reads another ReLU. There the kernel evaluates three
to four times as many nodes a second as the bound tree, and fewer are needed (safenlp: the lab book)."""


FREE_INPUTS = 16
"""Entries of the input that may move, up to which boxes are split."""


FEW_RELUS = 40
"""Unstable ReLUs up to which the LP tree is chosen, however few the inputs."""


class TreeClass(Protocol):
    """Makes a tree from its root and its kind's settings; `engine`: the name of such trees in results."""

    engine: str

    def __call__(self, root: TreeRoot, settings: Any) -> Tree: ...


@dataclass(frozen=True)
class TreeKind:
    """A kind of tree and its settings. name: what asks for it; suits: is it the one for this root, if the rows above
    are not? alone: nodes that a target's tree has before inner balls are searched beside it, which is some seconds;
    what closes by then pays nothing."""

    name: str
    make: TreeClass
    settings: Any
    suits: Callable[[TreeRoot], bool] = field(repr=False)
    alone: int


def small_lps(root: TreeRoot) -> bool:
    """Are the root's LPs small, and do they say what the ball is, or grow to say it?"""
    most = SHALLOW_RELUS if len(root.stages.hidden) == 1 else LP_RELUS
    geometry = root.ball.geometry
    return root.unstable <= most and (geometry.has_flat_sides or geometry.is_euclidean)


def always(_: TreeRoot) -> bool:
    """Whatever the rows above have left."""
    return True


def few_inputs(root: TreeRoot) -> bool:
    """Is the region a box of few dimensions, with more unstable ReLUs than an LP tree makes short work of?"""
    low, high = root.ball.interval
    few = int(np.count_nonzero(low < high)) <= FREE_INPUTS
    return few and root.ball.geometry.is_box and root.unstable > FEW_RELUS


TREES: tuple[TreeKind, ...] = (
    TreeKind("input", InputTree, InputSettings(), few_inputs, alone=2_000),
    TreeKind("lp", LpTree, LpSettings(), small_lps, alone=20_000),
    TreeKind("bound", PatchedTree, BoundSettings(), always, alone=250),
)
