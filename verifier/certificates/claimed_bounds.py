"""Bounds of neurons that a certificate claims: the checker's own evaluation of a region, which makes the claims.

Floats only say which end of an argument is evaluated first, and propose quadratic evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from encoders.network.graph import Array
from verifier.certificates.checker import UNKNOWN, CheckedGoal, Layer, Numbers, Proof, ReluNode
from verifier.certificates.format import STEP, Int64Array, evidence_integers
from verifier.certificates.quadratic_proof import QuadraticProposals
from verifier.problem.budget import Budget

LOOSE = 4.0
"""So many times what an active ReLU's argument can be is out of an LP's reach."""

SPARE = 1 << 8
"""Steps around 0 within which no sign is claimed, but where arguments are one matrix times the input: how the checker
rounds a row's multipliers depends on the rows beside it, which are others here. Five ends of oval21's deep net were 0
here and a step above it there."""


class BudgetedProof(Proof):
    """The checker's proof, which looks at the budget wherever evaluations are counted: those of charges take long. It
    goes on behind what does not follow, and notes that."""

    def __init__(self, *given: Any, budget: Budget) -> None:
        self._budget = budget
        self.failed: list[list[int]] = []
        """Of each tree that was read: the leaves that do not close."""
        self.denied: list[list[tuple[int, int]]] = []
        """The same of signs within boxes that do not follow: (which of the bounds anew, neuron)."""
        self.closed = 0
        """Leaves of all trees."""
        super().__init__(*given)

    def refute(self, goal: CheckedGoal, numbers: Numbers) -> None:
        """As the checker does."""
        self.failed.append([])
        self.denied.append([])
        super().refute(goal, numbers)
        self.closed += self.leaves

    def unproved(self, leaf: int) -> None:
        """Note the leaf."""
        self.failed[-1].append(leaf)

    def unfounded(self, place: int, bounds: Array, neurons: Array) -> None:
        """Note the claims."""
        start = sum(size for _, size in self.net.layers[:place])
        self.denied[-1] += zip(bounds.tolist(), (start + neurons).tolist(), strict=True)

    def count(self, work: int) -> None:
        """As the checker does. Raises OutOfTimeError."""
        self._budget.check()
        super().count(work)


class ClaimingProof(BudgetedProof):
    """Bounds of a whole region as they come out, not as they are claimed: the claims are what is found."""

    def claimed(self, ends: tuple[Array, Array], squares: QuadraticProposals | None = None) -> Int64Array:
        """Bounds anew of the region, as integers of a certificate; ends (relu_count,) each: what floats say of ReLU
        arguments. squares: proposes evidence for ends of those that stay open. Raises OutOfTimeError, InvalidError."""
        self._ends, self._squares, self._claims = ends, squares, list[Int64Array]()
        self.bounded(ReluNode.root(self.rooted), Numbers(memoryview(b"")))
        return np.concatenate([np.zeros(0, dtype=np.int64), *self._claims], dtype=np.int64)

    def _layer(self, place: int, low: Array, high: Array, numbers: Numbers) -> Layer:
        start = sum(size for _, size in self.net.layers[:place])
        guess = [end[start : start + low.size] for end in self._ends]
        asked = np.flatnonzero((low < 0) & (high > 0))
        left = {1: asked[~(guess[1][asked] <= 0)], -1: asked[~(guess[0][asked] >= 0)]}
        spare = SPARE if self.interval(place) is None else 0
        for _ in range(2):
            for sign, end in ((1, low), (-1, high)):
                end[left[sign]] = sign * self.least(place, left[sign], np.full(left[sign].size, sign))
            # Where the end that was to fix the sign does not, the other one is wanted too.
            unsure = asked[(low[asked] < spare) & (high[asked] > -spare)]
            left = {1: unsure[low[unsure] <= -UNKNOWN], -1: unsure[high[unsure] >= UNKNOWN]}
        state = np.where(low >= 0, 1, np.where(high <= 0, 0, 2))
        state[unsure[low[unsure] < high[unsure]]] = 2
        self._claims.append(state[asked])
        layer = self.layer_of(place, state, low, high)
        if place and self._squares is not None:
            known = known_ends(self, self._ends, [*self.layers, layer])
            for given, found in self._squares.ends(self.layers, *known, layer.kept[~layer.active]):
                claims = found.astype(np.int64)
                layer = self.raised(layer, given.codes, claims)
                self._claims += [evidence_integers(given, self.ball), claims]
        self._claims.append(np.zeros(1, dtype=np.int64))
        return layer


def known_ends(proof: Proof, ends: tuple[Array, Array], layers: Sequence[Layer]) -> tuple[Array, Array]:
    """Bounds lower and upper of ReLU arguments (relu_count,), with the checker's bounds of these layers, the first ones
    of the network, in the places of the engine's.

    The upper bound of an active ReLU is not in the certificate: no LP may lean on it.
    """
    (low, high), at = (end.copy() for end in ends), 0
    for layer, (_, size) in zip(layers, proof.net.layers, strict=False):
        kept, off, open_ = at + layer.kept, at + np.setdiff1d(np.arange(size), layer.kept), ~layer.active
        low[kept] = np.ldexp(layer.low.astype(np.float64), -STEP)
        tops = np.ldexp(layer.high.astype(np.float64), -STEP)
        high[kept] = np.where(open_, tops, LOOSE * np.abs(high[kept]) + LOOSE)
        low[off], high[off] = np.minimum(low[off], 0.0), np.minimum(high[off], 0.0)
        at += size
    return low, high
