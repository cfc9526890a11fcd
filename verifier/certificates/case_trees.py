"""What refutes a case of a property in a certificate: a tree of boxes, or of ReLUs, as its integers.

Floats propose it. What the checker does not follow is mended: leaves that do not close are halved, signs not claimed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from verifier.certificates.ball_trees import COARSER
from verifier.certificates.bound_proof import BoundProofTree, proof_tree
from verifier.certificates.box_tree import BoxTree
from verifier.certificates.checker import BOXES, Layer
from verifier.certificates.format import Int64Array
from verifier.certificates.guided_tree import GuidedTree
from verifier.certificates.split_tree import Float32Charge, NotCertifiedError, ProofTree
from verifier.problem.budget import Budget
from verifier.solvers.tree.protocol import TreeRoot


class CaseTree(Protocol):
    """A case's tree."""

    def numbers(self, budget: Budget) -> Int64Array:
        """Its integers in the certificate. Raises NotCertifiedError or OutOfTimeError."""

    def mend(self, leaves: Sequence[int], signs: Sequence[tuple[int, int]]) -> None:
        """These leaves do not close exactly, and these signs do not follow. Raises NotCertifiedError where that cannot
        be mended."""


@dataclass(frozen=True)
class BoxCase:
    """Boxes; `before`: the tree of the case before, if that has the same box."""

    tree: BoxTree
    before: BoxTree | None

    def numbers(self, budget: Budget) -> Int64Array:
        self.tree.grow(budget)
        return np.array([BOXES, *self.tree.numbers(None if self.before is None else self.before.rooted)])

    def mend(self, leaves: Sequence[int], signs: Sequence[tuple[int, int]]) -> None:
        self.tree.mend(leaves, signs)


class ReluCase:
    """Splits of ReLUs in the whole box, those of a `guide` where there is one; leaves with multipliers. Raises
    TooManyNodesError where it would take more than `most` nodes."""

    def __init__(
        self,
        begun: Sequence[int],
        root: TreeRoot,
        layers: Sequence[Layer],
        charge: Float32Charge | None,
        guide: Sequence[int] = (0,),
        most: float = math.inf,
    ) -> None:
        self._begun, self._root, self._layers, self._charge, self._guide = begun, root, layers, charge, guide
        self._lined, self._coarser, self._most = False, 1.0, most
        self._found: Int64Array | None = None

    def numbers(self, budget: Budget) -> Int64Array:
        if self._found is None:
            self._found = self._grown(budget)
            self._most = math.inf
        return self._found

    def _grown(self, budget: Budget) -> Int64Array:
        root, starts = self._root, self._root.stages.starts
        places = [np.zeros(0, dtype=np.intp)]
        places += [start + layer.kept for start, layer in zip(starts, self._layers, strict=False)]
        active = np.concatenate([np.zeros(0, dtype=bool), *(layer.active for layer in self._layers)])
        if len(self._guide) == 1:
            made: ProofTree = proof_tree(root, 0, np.concatenate(places), active, self._charge, self._most)
        else:
            where, ends = (root.stages, root.ball, 0, root.goal), (root.lower, root.upper)
            made = GuidedTree(*where, np.concatenate(places), active, *ends, self._charge, guide=self._guide)
        self._lined = made.lined = isinstance(made, BoundProofTree)
        made.lined_margin *= self._coarser
        found = np.concatenate([np.array(self._begun, dtype=np.int64), *made.integers(budget)])
        if self._charge is not None and self._charge.radius < math.inf:
            raise NotCertifiedError("float32: rounding keeps leaves open that no split closes")
        return found

    def mend(self, leaves: Sequence[int], signs: Sequence[tuple[int, int]]) -> None:
        if signs:
            raise NotCertifiedError("signs of neurons that were found do not follow")
        if leaves and not self._lined:
            raise NotCertifiedError(f"{len(leaves)} leaves that floats close do not close exactly")
        if leaves:
            self._coarser *= COARSER
            self._found = None
