"""What refutes a case of a property whose trees by lines do not end soon: quadratic evidence, or a tree over its ends.

The evidence for ends of a box's neurons stands in the first case that asks for it; those after it, of the same box,
begin with these ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from verifier.certificates.ball_proof import take_ends
from verifier.certificates.bound_proof import TooManyNodesError
from verifier.certificates.case_trees import CaseTree, ReluCase
from verifier.certificates.checker import MOST_FORMS, QUADRATIC, Layer, PropertyProof
from verifier.certificates.format import Int64Array, evidence_integers
from verifier.certificates.quadratic_proof import QuadraticProposals
from verifier.certificates.split_tree import Float32Charge, NotCertifiedError
from verifier.problem.budget import Budget
from verifier.solvers.quadratic_root import suits
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.table import LP_RELUS

FEW = 8192
"""Nodes that a tree by lines may have before evidence for ends is sought: of oval21's base net that takes the time of
some 20,000, and as much again at each check."""


@dataclass(frozen=True)
class SquaredCase:
    """A case that quadratic evidence refutes, with these integers."""

    integers: Int64Array

    def numbers(self, budget: Budget) -> Int64Array:
        del budget
        return self.integers

    def mend(self, leaves: Sequence[int], signs: Sequence[tuple[int, int]]) -> None:
        if leaves or signs:
            raise NotCertifiedError("quadratic bounds that exclude a case do not follow")


@dataclass(eq=False)
class SquaredCases:
    """Makes the cases of ReLUs of one property."""

    budget: Budget
    raised: Sequence[Layer] | None = None
    """The layers of the last box whose ends have quadratic evidence."""

    @property
    def used(self) -> bool:
        """Is there any such evidence?"""
        return self.raised is not None

    def case(
        self, proof: PropertyProof, begun: Sequence[int], root: TreeRoot, charge: Float32Charge | None
    ) -> CaseTree:
        """The case that `proof` has come to, `begun` so far; root: the engine's bounds, for which the checker's are
        taken. Raises NotCertifiedError, OutOfTimeError or InvalidError."""
        lined = with_layers(root, proof.rooted)
        forms = lined.unstable * (lined.unstable + int(np.count_nonzero(np.diff(lined.ball.interval, axis=0))))
        suited = forms <= MOST_FORMS and lined.ball.geometry.is_box and suits(lined.ball, lined.lower, lined.upper)
        if lined.unstable <= LP_RELUS or not suited:
            return ReluCase(begun, lined, proof.rooted, charge)
        parts = [np.array(begun, dtype=np.int64)]
        if proof.rooted is not self.raised:
            with suppress(TooManyNodesError):
                found = ReluCase(begun, lined, proof.rooted, charge, most=FEW)
                found.numbers(self.budget)
                return found
            parts += self._ends(proof, lined)
            lined = with_layers(root, proof.rooted)
        squares, layers = self._proposals(proof, lined), proof.rooted
        evidence, closed = squares.excluding(
            layers,
            lined.lower,
            lined.upper,
            [(0, root.goal)],
            lambda given: proof.quadratic_rows(layers, given, proof.goal.only(given.codes)),
        )
        if closed:
            (given,) = evidence
            return SquaredCase(np.concatenate([*parts, [QUADRATIC, len(layers)], evidence_integers(given)]))
        return ReluCase(np.concatenate(parts).tolist(), lined, layers, charge)

    def _proposals(self, proof: PropertyProof, root: TreeRoot) -> QuadraticProposals:
        return QuadraticProposals(proof, root.stages, root.ball, self.budget)

    def _ends(self, proof: PropertyProof, root: TreeRoot) -> list[Int64Array]:
        """Evidence for ends of all open neurons but the first layer's, by which those of `proof` are raised."""
        parts, squares, layers = list[Int64Array](), self._proposals(proof, root), [*proof.rooted]
        for place in range(1, len(layers)):
            known, lined = layers[place], with_layers(root, layers)
            for given, found in squares.ends(layers[:place], lined.lower, lined.upper, known.kept[~known.active]):
                claims = found.astype(np.int64)
                layers = proof.raised(layers, given.codes, claims, place)
                parts.append(np.concatenate([[QUADRATIC, place], evidence_integers(given), claims]))
        self.raised = proof.rooted = layers
        return parts


def with_layers(root: TreeRoot, layers: Sequence[Layer]) -> TreeRoot:
    """The checker's bounds of ReLU arguments in place of the engine's."""
    low, high, at = root.lower.copy(), root.upper.copy(), 0
    for layer, stage in zip(layers, root.stages.hidden, strict=True):
        take_ends(layer, low[at : at + stage.size], high[at : at + stage.size])
        at += stage.size
    return replace(root, lower=low, upper=high)
