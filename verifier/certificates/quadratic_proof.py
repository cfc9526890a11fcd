"""Quadratic evidence of certificates: what an ascent has found as integers, which the checker's own code evaluates.

Floats propose multipliers of a stage's rows, then of goals; any are valid, and few bits of them lose next to nothing.
What is claimed is a little less than what comes out here: the checker's factor, and the point at which it lays a
tangent, come from floats, which other machines round otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.quadratic_forms import AffineForms, QuadraticForms, quadratic_forms
from verifier.bounds.quadratic_rows import (
    HALVINGS,
    SHRUNK,
    STEP,
    STEPS,
    OwnMultipliers,
    QuadraticMultipliers,
    QuadraticRows,
    SharedMultipliers,
    climbed,
)
from verifier.certificates import checker
from verifier.certificates.checker import Layer, Proof, QuadraticEvidence
from verifier.certificates.format import STEP as BOUND_BITS
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces
from verifier.solvers.quadratic_root import GOAL_STEPS, ON, best_rows, in_parts

SHARED_BITS, OWN_BITS = 24, 9
"""Of the largest 1/τ and κ, which rows share, and of a row's in the middle: 4 bits more gain a hundredth of a goal's
row, and cost a third of the file."""

SPARE_BITS, SPARE = 12, 1 << 10
"""Of an end, what is not claimed, and the least of that in steps."""

GOAL_SPARE = 2.0**-20
"""What has to be left of a goal's row, as a share of what its terms add up to."""

AWAY = 1.0 + 2.0**-10
"""Times κ, H is still positive definite: the checker's H has other roundings."""

_Places = npt.NDArray[np.integer]
_Value = Callable[[QuadraticEvidence], checker.RowTerm]


@dataclass(frozen=True, eq=False)
class QuadraticProposals:
    """Evidence over a ball that is a box, or one in L2, which `proof` evaluates; the bounds lower, upper (relu_count,)
    that are given with layers are these layers'."""

    proof: Proof
    stages: Stages
    ball: Ball
    budget: Budget

    def ends(
        self, layers: list[Layer], lower: Array, upper: Array, entries: _Places
    ) -> Iterator[tuple[QuadraticEvidence, Array]]:
        """Evidence for both ends of these neurons of the layer behind `layers`, and what can be claimed of each code's,
        in steps. Raises OutOfTimeError or InvalidError."""
        forms = self._forms(layers, lower, upper)
        if not forms.places.size:
            return
        for part in in_parts(entries):
            codes = np.concatenate([2 * part, 2 * part + 1])
            rows = forms.asked.either_sign(part)
            found = climbed(forms, rows, self.budget, STEPS, STEP)
            given = None if found is None else self._evidence(layers, codes, forms, rows, found)
            if given is not None:
                self.budget.check()
                value, den = self.proof.quadratic_ends(layers, given)
                ends = (value << BOUND_BITS) // den
                yield given, ends - np.maximum(abs(ends) >> SPARE_BITS, SPARE)

    def excluding(
        self, layers: list[Layer], lower: Array, upper: Array, goals: Sequence[tuple[int, Halfspaces]], value: _Value
    ) -> tuple[list[QuadraticEvidence], set[int]]:
        """Evidence that excludes goals, each of which is given with the code of its first row, and which it excludes.
        value: gives lower bounds of −R for evidence. Raises OutOfTimeError or InvalidError."""
        forms, evidence, closed = self._forms(layers, lower, upper), list[QuadraticEvidence](), set[int]()
        if not forms.places.size:
            return evidence, closed
        best, matrix, offset = best_rows(forms, [goal for _, goal in goals], self.budget)
        together: QuadraticMultipliers | None = None
        for chosen in [[*range(len(goals))], *([place] for place in range(len(goals)))]:
            if closed & {*chosen}:
                continue
            rows = forms.asked.combined(-matrix[chosen], -offset[chosen], forms.rate)
            # What all of them share is where each goes on by itself.
            start = None if together is None else (together[0], OwnMultipliers(*(part[chosen] for part in together[1])))
            found = climbed(forms, rows, self.budget, GOAL_STEPS, STEP if start is None else ON, start)
            if found is None:
                continue
            together = together or found
            codes = np.array([goals[place][0] + best[place] for place in chosen])
            given = self._evidence(layers, codes, forms, rows, found)
            if given is None:
                continue
            self.budget.check()
            least, den = value(given)
            enough = (least / den).astype(np.float64) > GOAL_SPARE * rows.sizes
            closed |= {place for place, each in zip(chosen, enough, strict=True) if each}
            if enough.any():
                evidence.append(_only(given, np.flatnonzero(enough)))
        return evidence, closed

    def _forms(self, layers: list[Layer], lower: Array, upper: Array) -> QuadraticForms:
        return quadratic_forms(self.stages, self.ball, lower, upper, len(layers) + 1, self.budget.check)

    def _evidence(
        self,
        layers: list[Layer],
        codes: _Places,
        forms: QuadraticForms,
        rows: AffineForms,
        found: QuadraticMultipliers,
    ) -> QuadraticEvidence | None:
        """The multipliers of the rows as integers; None where H is not positive definite with them."""
        exact = QuadraticRows(forms, rows)
        tau, *curved, rho = (np.maximum(each.astype(np.float64), 0.0) for each in found[0])
        each_t, *lined = (np.maximum(each.astype(np.float64), 0.0) for each in found[1])
        # Inputs of the checker are from 0 to 1: τ(1 − ξ²) is four times as much there, and so is ρ e² ξ².
        inverse, lines = 0.25 / (tau + rho @ exact.share**2), np.stack(lined)
        # A π may be a million times every κ, and H needs them all.
        fine, *commons = map(_exponent, (inverse, *curved), (SHARED_BITS, SHARED_BITS, checker.HELD_BITS))
        common = min(commons)
        own = _exponent(np.median(lines.max(axis=(0, 2), initial=0.0), keepdims=True), OWN_BITS)
        whole = np.ones(self.proof.query.centre.size, dtype=np.int64)
        if rho.size:
            # T may be larger, but not smaller than ρ w².
            inverse = np.ldexp(np.floor(np.ldexp(inverse, fine)), -fine)
        whole[forms.moves] = np.maximum(_integers(inverse, fine), 1)
        kappa, pi = (_integers(part, common) for part in curved)
        # Where both are 0 for a ReLU H is singular, and shrinking κ mends nothing.
        pi = np.maximum(pi, 1)
        given = SharedMultipliers(
            0.25 / np.ldexp(whole[forms.moves].astype(np.float64), -fine),
            np.zeros(kappa.size),
            np.ldexp(pi, -common),
            np.zeros(rho.size),
        )
        for _ in range(HALVINGS):
            if exact.hessian(given._replace(kappa=np.ldexp(AWAY * kappa, -common))) is not None:
                break
            kappa = np.floor(kappa * np.exp(-SHRUNK)).astype(np.int64)
        else:
            return None
        t = np.maximum(_integers(each_t, own), 1)
        made = QuadraticEvidence(codes, fine, common, own, whole, kappa, pi, t, _integers(lines, own))
        return self._in_ball(layers, made, rho) if rho.size else made

    def _in_ball(self, layers: list[Layer], given: QuadraticEvidence, rho: Array) -> QuadraticEvidence:
        """With ρ, which is rounded down until no τ is below 0."""
        given = replace(given, ball=_exponent(rho, checker.HELD_BITS))
        (found,) = _integers(rho, given.ball).tolist()
        return replace(given, rho=min(found, self.proof.quadratic(layers).most_rho(given)))


def _exponent(values: Array, bits: int) -> int:
    """With which the largest value has so many bits."""
    return int(np.clip(bits - np.frexp(np.max(values, initial=0.0))[1], 0, checker.FINEST))


def _integers(values: Array, exponent: int) -> npt.NDArray[np.int64]:
    found = np.clip(np.ldexp(values, exponent), 0.0, 2.0**checker.HELD_BITS)
    return np.asarray(np.rint(found), dtype=np.int64)


def _only(evidence: QuadraticEvidence, rows: _Places) -> QuadraticEvidence:
    """That of some of its rows: what others are does not matter to them."""
    own = {name: getattr(evidence, name)[rows] for name in ("codes", "t")}
    return replace(evidence, lines=evidence.lines[:, rows], **own)
