"""What refutes a case of a property whose trees by lines do not end soon: quadratic evidence, or a tree over its ends.

The evidence for ends of a box's neurons stands in the first case that asks for it; those after it, of the same box,
begin with these ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from verifier.certificates.bound_proof import TooManyNodesError
from verifier.certificates.case_trees import CaseTree, FixedCase, ReluCase
from verifier.certificates.checker import BOUNDS, MOST_FORMS, QUADRATIC, Layer, Proof
from verifier.certificates.claimed_bounds import ClaimingProof, known_ends
from verifier.certificates.format import Int64Array, evidence_integers
from verifier.certificates.quadratic_proof import QuadraticProposals
from verifier.certificates.split_tree import Float32Charge
from verifier.problem.budget import Budget
from verifier.solvers.quadratic_root import suits
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.table import LP_RELUS

FEW = 8192
"""Nodes that a tree by lines may have before evidence for ends is sought: of oval21's base net that takes the time of
some 20,000, and as much again at each check."""


@dataclass(eq=False)
class SquaredCases:
    """Makes the cases of ReLUs of one property."""

    budget: Budget
    raised: Sequence[Layer] | None = None
    """The layers of the last box whose ends have quadratic evidence."""

    def case(self, proof: ClaimingProof, begun: Int64Array, root: TreeRoot, charge: Float32Charge | None) -> CaseTree:
        """The case that `proof` has come to, `begun` so far; root: the engine's bounds, for which the checker's are
        taken. Raises NotCertifiedError, OutOfTimeError or InvalidError."""
        lined = with_layers(root, proof)
        forms = lined.unstable * (lined.unstable + int(np.count_nonzero(np.diff(lined.ball.interval, axis=0))))
        suited = forms <= MOST_FORMS and lined.ball.geometry.is_box and suits(lined.ball, lined.lower, lined.upper)
        if lined.unstable <= LP_RELUS or not suited:
            return ReluCase(begun, lined, proof.rooted, charge)
        if proof.rooted is not self.raised:
            with suppress(TooManyNodesError):
                found = ReluCase(begun, lined, proof.rooted, charge, most=FEW)
                found.numbers(self.budget)
                return found
            ends = proof.claimed((root.lower, root.upper), self._proposals(proof, lined))
            begun, self.raised = np.concatenate([begun, [BOUNDS], ends]), proof.rooted
            lined = with_layers(root, proof)
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
            return FixedCase(np.concatenate([begun, [QUADRATIC], evidence_integers(given)], dtype=np.int64))
        return ReluCase(begun, lined, layers, charge)

    def _proposals(self, proof: Proof, root: TreeRoot) -> QuadraticProposals:
        return QuadraticProposals(proof, root.stages, root.ball, self.budget)


def with_layers(root: TreeRoot, proof: Proof) -> TreeRoot:
    """The checker's bounds of ReLU arguments in place of the engine's."""
    lower, upper = known_ends(proof, (root.lower, root.upper), proof.rooted)
    return replace(root, lower=lower, upper=upper)
