"""The bound tree, begun anew with what receptive fields attain together where it does not close soon.

Each bound row · h − pull · x ≥ value of `bounds.patches` becomes a ReLU that nothing reads and that is known to be
active: its β is the constraint's multiplier (cutting planes in bounds of nodes: Zhang et al. 2022), and nothing else of
a tree has to know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from encoders.formulations.to_stages import Block, Stage
from encoders.lazy import Lazy
from encoders.network.graph import Array
from verifier.bounds.alpha_beta_crown import Start
from verifier.bounds.patch_cases import PatchLines
from verifier.bounds.patches import PatchBound, patch_bounds, patches
from verifier.problem.budget import Budget
from verifier.solvers.tree.bound_tree import BoundSettings, BoundTree
from verifier.solvers.tree.frontier import TreeNode
from verifier.solvers.tree.protocol import Tree, TreeRoot
from verifier.solvers.tree.stalling import Headway
from verifier.solvers.tree.steps import rooted
from verifier.solvers.tree.threads import ALONE, Threads

if TYPE_CHECKING:
    import scipy.sparse as sp
else:
    sp = Lazy("scipy.sparse")

OPEN = 16
"""Nodes that are open then, at least: a tree with fewer is about to close."""

BEGIN = 0.9
"""The multiplier that each constraint begins with: about all of the row that it was made for."""

LOOSE = 2.0
"""Sizes of constraints are this much larger than their sums: more than these can round."""

NOWHERE = -1
"""The node of the graph that constraints are: none."""


class PatchedTree(BoundTree):
    """A bound tree that may add constraints by receptive fields, once.

    constrains: whether it will; begins: after how many nodes.
    """

    def __init__(self, root: TreeRoot, settings: BoundSettings | None = None) -> None:
        super().__init__(root, settings)
        self.begins = self.settings.patches
        self.constrains = self.settings.patches > 0 and self.settings.device is None and root.ball.geometry.is_box

    def explore(self, budget: Budget, threads: Threads = ALONE) -> Array | None:
        """As `BoundTree.explore`."""
        if self.constrains and self.nodes >= self.begins and self._all_here() and self.open_nodes >= OPEN:
            self.constrains = False
            budget.check()
            self._constrain(budget)
        return super().explore(budget, threads)

    def _all_here(self) -> bool:
        """Are all nodes that are not closed here, as open for evaluations as for the reals, and none refused?"""
        known = self._lent or self.torn or self._charged_alone or self._refusals
        return not known and self.float32_end >= self.lower_end

    def adopt(self, nodes: Sequence[TreeNode], *, inherited: bool) -> None:
        """As `LendingFrontier.adopt`: a part of a tree is not begun anew."""
        self.constrains = False
        super().adopt(nodes, inherited=inherited)

    def _constrain(self, budget: Budget) -> None:
        """Begin anew with constraints, where there are any. Raises OutOfTimeError, and is then as it was."""
        root, fields = self.root, patches(self.root.stages)
        if not fields:
            return
        ends = root.lower[:, np.newaxis], root.upper[:, np.newaxis]
        own = self._bound.undecided
        best = rooted(self._bound, ends[0][own], ends[1][own], self.settings.first_steps, budget).best
        alpha, _ = self._bound.spread(best)
        dual = self._lagrangian.on_lines(best.weights.astype(np.float64), alpha, np.zeros_like(alpha), *ends)
        row, ball = dual.mu[0][slice(*root.stages.starts[1:3])], root.ball.with_radius(self.radius)
        relus = PatchLines(root.lower, root.upper, alpha[:, 0])
        found = patch_bounds(root.stages, ball, fields, row, relus, budget)
        if found:
            with self.whole():
                self._begin_again(constrained(replace(root, ball=ball, floor=self.lower_end), found), best)

    def _begin_again(self, root: TreeRoot, start: Start) -> None:
        """Search from a root whose last ReLUs, which are active, are constraints."""
        count, nodes, batches = root.stages.hidden[-1].size, self.nodes, self._batches
        self._account.clear()
        super().__init__(root, self.settings)
        self.nodes, self._batches = nodes, batches
        before = self._bound.open.size - count
        beta = np.full((count, 1), -BEGIN, np.float32)
        whole = replace(
            start,
            alpha=np.vstack([start.alpha, np.zeros_like(beta)]),
            beta=np.vstack([np.zeros((before, 1), np.float32), beta]),
        )
        headway = Headway(np.array([math.nan]), np.zeros(1, dtype=np.int64))
        (begun,) = self._means.packing.packed(whole, np.zeros(1, dtype=np.intp), headway)
        for node in self.take():
            lower = root.lower.copy()
            lower[-count:] = 0.0
            self.put([self.child(node, node.key, lower, root.upper, begun)])


def unconstrained(tree: Tree) -> Tree:
    """The tree, which will add no constraints: its ball is one that trees hardly close."""
    if isinstance(tree, PatchedTree):
        tree.constrains = False
    return tree


def hastened(tree: Tree) -> Tree:
    """The tree, which will add constraints as soon as enough nodes are open: without, one like it closes hardly any."""
    if isinstance(tree, PatchedTree):
        tree.begins = 0
    return tree


def constrained(root: TreeRoot, bounds: Sequence[PatchBound]) -> TreeRoot:
    """The root with one more stage, which only these constraints read: `row · h − pull · x − value` each.

    Nothing is claimed of their signs here but what sizes say; that they are ≥ 0 at every point is for nodes to say.
    """
    stages = root.stages
    rows, pulls = (np.stack([getattr(bound, name) for bound in bounds]) for name in ("row", "pull"))
    values = np.array([bound.value for bound in bounds])
    number, matrices = len(stages.hidden), (sp.csr_array(rows), sp.csr_array(-pulls))
    stage = Stage({2: Block(matrices[0]), 0: Block(matrices[1])}, -values, np.abs(values), 0)
    second = np.maximum(root.upper[slice(*stages.starts[1:3])], 0.0)
    sizes = np.abs(rows) @ second + np.abs(pulls) @ np.maximum(*np.abs(root.ball.interval)) + np.abs(values)
    most = LOOSE * sizes + 1.0
    return replace(
        root,
        stages=replace(
            stages,
            stages=(*stages.hidden, stage, stages.output),
            nodes=(*stages.nodes[:number], NOWHERE, stages.nodes[-1]),
        ),
        lower=np.concatenate([root.lower, -most]),
        upper=np.concatenate([root.upper, most]),
        graph=None,
    )
