"""The proof of a ball for its certificate: bounds of neurons as the checker evaluates them, and trees over these.

By lines first; where trees over a box do not end soon, quadratic evidence for ends of neurons and for goals, and trees
for the goals that are left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Array, Graph
from verifier.certificates import checker
from verifier.certificates.anchored_proof import anchored_leaves
from verifier.certificates.case_trees import CaseTree, FixedCase, ReluCase, kept_relus
from verifier.certificates.checker import CheckedNetwork, Numbers, Proof, ReluNode, coded_goal
from verifier.certificates.claimed_bounds import BudgetedProof, ClaimingProof, known_ends
from verifier.certificates.format import STEP, Int64Array, evidence_integers, varints
from verifier.certificates.quadratic_proof import QuadraticProposals
from verifier.certificates.split_tree import Float32Charge, NotCertifiedError
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces
from verifier.search.float32_lower import float32_arithmetic
from verifier.search.question import Specification
from verifier.solvers.tree.protocol import TreeRoot

CHARGED = 1.0 + 2.0**-40
"""Times what the checker charges, whose sums are rounded here."""

FEW = 512
"""Nodes that a tree by lines may have where quadratic bounds are at hand: about a second, and 100 kB."""

NO_MORE = np.zeros(1, dtype=np.int64)
"""Behind evidence for goals."""


def checked_query(asked: Specification) -> checker.CheckedQuery:
    """What is asked, as the checker has it."""
    ball = asked.ball
    return checker.CheckedQuery(ball.norm.value, asked.label, asked.target, asked.margin, ball.centre, ball.lo, ball.hi)


@dataclass(frozen=True)
class BallProof:
    """What a proof of a lower end consists of; begun: bounds, and evidence for goals, as integers; trees: by target,
    for float32 evaluations as far as the `charge` says, or within `least`."""

    begun: Sequence[Int64Array] = ()
    trees: Mapping[int, CaseTree] = field(default_factory=dict)
    anchored: bool = False
    charge: Float32Charge | None = None
    least: float = 0.0

    @property
    def float32(self) -> float:
        """The radius for such evaluations."""
        return self.least if self.charge is None else self.charge.radius

    def numbers(self, budget: Budget) -> list[Int64Array]:
        """The certificate's integers. Raises NotCertifiedError or OutOfTimeError."""
        return [*self.begun, *(self.trees[target].numbers(budget) for target in sorted(self.trees))]

    def mend(self, failed: Sequence[Sequence[int]]) -> None:
        """Grow trees anew where leaves do not close. Raises NotCertifiedError."""
        for target, leaves in zip(sorted(self.trees), failed, strict=True):
            self.trees[target].mend(leaves, ())


@dataclass(frozen=True, eq=False)
class BallProofBuilder:
    """Proves that no goal is reached within the radius, in a ball that is finite; ends: the engine's bounds of ReLU
    arguments there."""

    asked: Specification
    radius: float
    net: CheckedNetwork
    stages: Stages
    ball: Ball
    ends: tuple[Array, Array]
    budget: Budget
    exact: bool
    """Are trees by LPs?"""

    def by_lines(self, float32: float, anchored: bool, most: float) -> BallProof:
        """By trees over bounds by lines; raises TooManyNodesError where one has more than so many nodes."""
        claiming = self._claiming(float32, anchored)
        begun = claiming.claimed(self.ends)
        proof: BudgetedProof = claiming
        if anchored:
            lower, upper = known_ends(proof, self.ends, proof.rooted)
            places, _ = kept_relus(self.stages, proof.rooted)
            leaves = anchored_leaves(self.stages, self.ball, self.asked.goals, lower, upper, places, self.budget)
            trees = {target: FixedCase(numbers) for target, numbers in leaves.items()}
            return BallProof([begun, NO_MORE], trees, anchored, None, float32)
        if self.exact:
            # Multipliers of LPs may close a leaf by next to nothing, and rounding depends on what stands side by side.
            exactly = BudgetedProof(*self._asked(float32), budget=self.budget)
            exactly.bounded(ReluNode.root([]), Numbers(memoryview(varints(begun))))
            proof = exactly
        found = self._trees([begun, NO_MORE], proof, self.asked.goals, self._charge(proof, float32), most)
        found.numbers(self.budget)
        return found

    def by_squares(self, float32: float) -> BallProof:
        """By quadratic evidence for ends of neurons, then for goals, and trees over these ends for those that are left;
        for float32 evaluations in all of the ball, or not."""
        radius = self.radius if float32 > 0 else 0.0
        proof = self._claiming(radius, False)
        squares = QuadraticProposals(proof, self.stages, self.ball, self.budget)
        begun = proof.claimed(self.ends, squares)
        net, goals, margin, layers = self.net, self.asked.goals, self.asked.margin, proof.rooted
        coded = [(target * (net.size(net.output) - 1), goal) for target, goal in goals]
        evidence, closed = squares.excluding(
            layers,
            *known_ends(proof, self.ends, layers),
            coded,
            lambda given: proof.quadratic_rows(layers, given, coded_goal(net, given, margin)),
        )
        left = [goal for place, goal in enumerate(goals) if place not in closed]
        parts = [begun, *(evidence_integers(each, proof.ball) for each in evidence), NO_MORE]
        if not left:
            return BallProof(parts, least=radius)
        found = self._trees(parts, proof, left, self._charge(proof, radius), math.inf)
        found.numbers(self.budget)
        if found.float32 < radius:
            raise NotCertifiedError("rounding keeps a goal open")
        return found

    def _asked(self, float32: float) -> tuple[CheckedNetwork, checker.CheckedQuery, float, int, float]:
        return self.net, checked_query(self.asked), self.radius, STEP, float32

    def _claiming(self, float32: float, anchored: bool) -> ClaimingProof:
        return ClaimingProof(*self._asked(float32), anchored, budget=self.budget)

    def _charge(self, proof: Proof, float32: float) -> Float32Charge | None:
        if not float32 > 0:
            return None
        part, model = self.asked.ball.with_radius(float32).finite, self.asked.model
        output, rounds = self.net.output, model.replay.rounds
        return charge_of(proof, output, float32, model.graph, part, self.stages, rounds, self.budget)

    def _trees(
        self,
        begun: Sequence[Int64Array],
        proof: Proof,
        goals: Sequence[tuple[int, Halfspaces]],
        charge: Float32Charge | None,
        most: float,
    ) -> BallProof:
        """With a tree for each goal, over the bounds of the proof."""
        lower, upper = known_ends(proof, self.ends, proof.rooted)
        none = np.zeros(0, dtype=np.int64)
        trees = {
            target: ReluCase(
                none,
                TreeRoot(self.stages, self.ball, goal, lower, upper),
                proof.rooted,
                charge,
                most=most,
                whole=False,
            )
            for target, goal in goals
        }
        return BallProof(begun, trees, charge=charge)


def charge_of(
    proof: Proof,
    scores: str,
    radius: float,
    graph: Graph,
    ball: Ball,
    stages: Stages,
    rounds: bool,
    budget: Budget,
) -> Float32Charge:
    """What the checker charges float32 evaluations of a graph in a finite ball with; scores: its name of the output."""
    assert proof.rounding is not None
    arithmetic = float32_arithmetic(graph, ball, rounds)
    if arithmetic is not None:
        charged = to_stages(graph, arithmetic.unit, arithmetic.floors(graph), budget.check)
        stages = replace(charged, both=True)
    parts = [proof.rounding.error(name)[0] for name in (*proof.net.arguments, scores)]
    ends = [np.ldexp(part.astype(np.float64) * CHARGED, -checker.ERROR_BITS) for part in parts]
    return Float32Charge(stages, radius, ball, np.concatenate([np.zeros(0), *ends[:-1]]), ends[-1])
