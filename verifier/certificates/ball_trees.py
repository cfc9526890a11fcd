"""A ball's trees in its certificate: one for each goal, over bounds of neurons as the checker evaluates them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.certificates.bound_proof import BoundProofTree, proof_tree
from verifier.certificates.checker import LEAF, LINED
from verifier.certificates.format import LinedTree, SplitTree
from verifier.certificates.split_tree import Float32Charge
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces
from verifier.solvers.tree.protocol import TreeRoot

COARSER = 64.0
"""By how much the margin of leaves by lines grows where some do not close exactly."""


@dataclass(eq=False)
class BallTrees:
    """Grows a tree for each goal, by its target; lower, upper (relu_count,): the checker's bounds. lined: are leaves by
    lines?"""

    stages: Stages
    ball: Ball
    goals: Mapping[int, Halfspaces]
    lower: Array
    upper: Array
    charge: Float32Charge | None
    most: float
    budget: Budget
    lined: bool
    _coarser: dict[int, float] = field(default_factory=dict, init=False)

    def all(self) -> list[SplitTree | LinedTree]:
        """Raises TooManyNodesError where one has more than `most` nodes."""
        return [self._grown(target) for target in self.goals]

    def again(self, target: int) -> SplitTree | LinedTree:
        """A tree with a wider margin, of whose leaves some did not close exactly."""
        self._coarser[target] = self._coarser.get(target, 1.0) * COARSER
        return self._grown(target)

    @property
    def float32(self) -> float:
        """The radius for which all trees so far hold for float32 evaluations."""
        return 0.0 if self.charge is None else self.charge.radius

    def _grown(self, target: int) -> SplitTree | LinedTree:
        goal, places = self.goals[target], np.flatnonzero(self.upper > 0)
        root = TreeRoot(self.stages, self.ball, goal, self.lower, self.upper)
        made = proof_tree(root, target, places, self.lower[places] >= 0, self.charge, self.most)
        if not self.lined:
            return made.grow(self.budget)
        if isinstance(made, BoundProofTree):
            made.lined = made.changes = True
            made.lined_margin *= self._coarser.get(target, 1.0)
        parts = made.integers(self.budget)
        leaves = sum(int(part[0]) in (LEAF, LINED) for part in parts)
        return LinedTree(target, len(goal.offset), leaves, np.concatenate(parts, dtype=np.int64))
