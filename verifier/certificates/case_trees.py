"""What refutes a goal in a certificate, a ball's or a case's of a property: a tree of boxes, or of ReLUs, as integers.

Floats propose it. What the checker does not follow is mended: leaves that do not close are halved, signs not claimed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from verifier.certificates.bound_proof import BoundProofTree, proof_tree
from verifier.certificates.box_tree import BoxTree
from verifier.certificates.checker import BOXES, Layer
from verifier.certificates.format import Int64Array
from verifier.certificates.guided_tree import GuidedTree
from verifier.certificates.split_tree import Float32Charge, NotCertifiedError, ProofTree
from verifier.problem.budget import Budget
from verifier.solvers.tree.protocol import TreeRoot

COARSER = 64.0
"""By how much the margin of leaves by lines grows where some do not close exactly."""


class CaseTree(Protocol):
    """A goal's tree."""

    def numbers(self, budget: Budget) -> Int64Array:
        """Its integers in the certificate. Raises NotCertifiedError or OutOfTimeError."""

    def mend(self, leaves: Sequence[int], signs: Sequence[tuple[int, int]]) -> None:
        """These leaves do not close exactly, and these signs do not follow. Raises NotCertifiedError where that cannot
        be mended."""


@dataclass(frozen=True)
class FixedCase:
    """What no other tree takes the place of."""

    integers: Int64Array

    def numbers(self, budget: Budget) -> Int64Array:
        budget.check()
        return self.integers

    def mend(self, leaves: Sequence[int], signs: Sequence[tuple[int, int]]) -> None:
        if leaves or signs:
            raise NotCertifiedError("clauses, or bounds that exclude a goal at once, do not follow")


@dataclass(frozen=True)
class BoxCase:
    """Boxes, behind what is `begun`; `before`: the tree of the case before, if that has the same box."""

    tree: BoxTree
    before: BoxTree | None
    begun: Int64Array

    def numbers(self, budget: Budget) -> Int64Array:
        self.tree.grow(budget)
        found = self.tree.numbers(None if self.before is None else self.before.rooted)
        return np.concatenate([self.begun, [BOXES], found], dtype=np.int64)

    def mend(self, leaves: Sequence[int], signs: Sequence[tuple[int, int]]) -> None:
        self.tree.mend(leaves, signs)


class ReluCase:
    """Splits of ReLUs in the whole region, those of a `guide` where there is one; leaves with multipliers. Raises
    TooManyNodesError where it would take more than `most` nodes. whole: is it refused where leaves close for float32 in
    a smaller ball only?"""

    def __init__(
        self,
        begun: Int64Array,
        root: TreeRoot,
        layers: Sequence[Layer],
        charge: Float32Charge | None,
        guide: Sequence[int] = (0,),
        most: float = math.inf,
        *,
        whole: bool = True,
    ) -> None:
        self._begun, self._root, self._layers, self._charge, self._guide = begun, root, layers, charge, guide
        self._lined, self._coarser, self._most, self._whole = False, 1.0, most, whole
        self._found: Int64Array | None = None

    def numbers(self, budget: Budget) -> Int64Array:
        if self._found is None:
            self._found = self._grown(budget)
            self._most = math.inf
        if self._whole and self._charge is not None and self._charge.radius < math.inf:
            raise NotCertifiedError("float32: rounding keeps leaves open that no split closes")
        return self._found

    def _grown(self, budget: Budget) -> Int64Array:
        root, (places, active) = self._root, kept_relus(self._root.stages, self._layers)
        if len(self._guide) == 1:
            made: ProofTree = proof_tree(root, 0, places, active, self._charge, self._most)
        else:
            where, ends = (root.stages, root.ball, 0, root.goal), (root.lower, root.upper)
            made = GuidedTree(*where, places, active, *ends, self._charge, guide=self._guide)
        self._lined = made.lined = isinstance(made, BoundProofTree)
        made.lined_margin *= self._coarser
        return np.concatenate([self._begun, *made.integers(budget)], dtype=np.int64)

    def mend(self, leaves: Sequence[int], signs: Sequence[tuple[int, int]]) -> None:
        if signs:
            raise NotCertifiedError("signs of neurons that were found do not follow")
        if leaves and not self._lined:
            raise NotCertifiedError(f"{len(leaves)} leaves that floats close do not close exactly")
        if leaves:
            self._coarser *= COARSER
            self._found = None


def kept_relus(stages: Stages, layers: Sequence[Layer]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """(the kept ReLUs of all layers, in the stages' order; which of them are active)."""
    places = [start + layer.kept for start, layer in zip(stages.starts, layers, strict=False)]
    active = np.concatenate([np.zeros(0, dtype=bool), *(layer.active for layer in layers)])
    return np.concatenate([np.zeros(0, dtype=np.intp), *places]), active
