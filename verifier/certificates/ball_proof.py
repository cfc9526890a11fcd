"""The proof of a ball for its certificate: bounds of neurons as the checker evaluates them, and trees over these.

By lines first; where trees over a box do not end soon, quadratic evidence for ends of neurons and for goals, and trees
for the goals that are left (`ball_trees`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Array, Graph
from verifier.certificates import checker
from verifier.certificates.anchored_proof import anchored_leaves
from verifier.certificates.ball_trees import BallTrees
from verifier.certificates.checker import (
    CheckedGoal,
    CheckedNetwork,
    Layer,
    Numbers,
    Proof,
    QuadraticEvidence,
    coded_goal,
)
from verifier.certificates.format import FINE, STEP, LinedTree, SplitTree
from verifier.certificates.quadratic_proof import QuadraticProposals
from verifier.certificates.split_tree import Float32Charge, NotCertifiedError
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces
from verifier.search.float32_lower import float32_arithmetic
from verifier.search.question import Specification

CHARGED = 1.0 + 2.0**-40
"""Times what the checker charges, whose sums are rounded here."""

FEW = 512
"""Nodes that a tree by lines may have where quadratic bounds are at hand: about a second, and 100 kB."""

LOOSE = 4.0
"""So many times what an active ReLU's argument can be is out of an LP's reach."""

SPARE_BITS, SPARE = 14, 1 << 8
"""Of an end by anchored lines, what is not claimed, and the least of that in steps: how the checker rounds a row's
multipliers depends on the rows beside it, which are others here. Five ends of oval21's deep net were 0 here and a step
above it there. So it is of ends by lines in int64."""


class BudgetedProof(Proof):
    """The checker's proof, which looks at the budget wherever evaluations are counted: those of charges take long."""

    def __init__(
        self,
        net: CheckedNetwork,
        query: checker.CheckedQuery,
        radius: float,
        fine: int,
        float32: float,
        anchored: bool,
        *,
        budget: Budget,
    ) -> None:
        self._budget = budget
        self.failed: list[bool] = []
        """Of each tree that was read: are there leaves that do not close?"""
        super().__init__(net, query, radius, fine, float32, anchored)

    def refute(self, goal: CheckedGoal, numbers: Numbers) -> None:
        """As the checker does."""
        self.failed.append(False)
        super().refute(goal, numbers)

    def unproved(self, leaf: int) -> None:
        """Note that there is such a leaf."""
        self.failed[-1] = True

    def count(self, work: int) -> None:
        """As the checker does. Raises OutOfTimeError."""
        self._budget.check()
        super().count(work)


def checked_query(asked: Specification) -> checker.CheckedQuery:
    """What is asked, as the checker has it."""
    ball = asked.ball
    return checker.CheckedQuery(ball.norm.value, asked.label, asked.target, asked.margin, ball.centre, ball.lo, ball.hi)


@dataclass(frozen=True)
class BallProof:
    """What a proof of a lower end consists of; float32: the radius for such evaluations."""

    float32: float
    layers: Sequence[Layer] = ()
    trees: Sequence[SplitTree | LinedTree] = ()
    anchored: bool = False
    quadratic: Sequence[Sequence[QuadraticEvidence]] = ()
    grown: BallTrees | None = None
    """By what the trees were grown, where it can grow them anew: they have leaves by lines then."""

    @property
    def lined(self) -> bool:
        return self.grown is not None

    def mended(self, failed: Sequence[bool]) -> BallProof:
        """The proof with trees grown anew where leaves do not close. Raises NotCertifiedError."""
        assert self.grown is not None
        trees = [
            self.grown.again(tree.target) if lacking else tree for tree, lacking in zip(self.trees, failed, strict=True)
        ]
        return replace(self, trees=trees, float32=self.grown.float32)


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
    lined: bool
    """Do leaves by lines pay?"""

    def by_lines(self, float32: float, anchored: bool, most: float) -> BallProof:
        """By trees over bounds by lines; raises TooManyNodesError where one has more than so many nodes."""
        proof = self._proof(float32, anchored)
        lower, upper, _ = _established(proof, self.stages, *self.ends, self.budget)
        if anchored:
            places = np.flatnonzero(upper > 0)
            anchors = anchored_leaves(self.stages, self.ball, self.asked.goals, lower, upper, places, self.budget)
            return BallProof(float32, proof.layers, anchors, anchored)
        grown = self._trees(self.asked.goals, lower, upper, self._charge(proof, float32), most)
        trees = grown.all()
        rows: list[list[QuadraticEvidence]] = [[] for _ in range(len(proof.layers) + 1)]
        given = (rows, grown) if self.lined else ((), None)
        return BallProof(grown.float32, proof.layers, trees, False, *given)

    def by_squares(self, float32: float) -> BallProof:
        """By quadratic evidence for ends of neurons, then for goals, and trees over these ends for those that are left;
        for float32 evaluations in all of the ball, or not."""
        radius = self.radius if float32 > 0 else 0.0
        proof = self._proof(radius, False)
        squares = QuadraticProposals(proof, self.stages, self.ball, self.budget)
        lower, upper, evidence = _established(proof, self.stages, *self.ends, self.budget, squares)
        net, goals, margin = self.net, self.asked.goals, self.asked.margin
        coded = [(target * (net.size(net.output) - 1), goal) for target, goal in goals]
        found, closed = squares.excluding(
            proof.layers,
            lower,
            upper,
            coded,
            lambda given: proof.quadratic_rows(proof.layers, given, coded_goal(net, given, margin)),
        )
        left = [goal for place, goal in enumerate(goals) if place not in closed]
        grown = self._trees(left, lower, upper, self._charge(proof, radius if left else 0.0), math.inf)
        trees = grown.all()
        if left and grown.float32 < radius:
            raise NotCertifiedError("rounding keeps a goal open")
        return BallProof(radius, proof.layers, trees, False, [*evidence, found], grown if self.lined else None)

    def _proof(self, float32: float, anchored: bool) -> BudgetedProof:
        found = BudgetedProof(
            self.net, checked_query(self.asked), self.radius, FINE, float32, anchored, budget=self.budget
        )
        found.lined = self.lined
        return found

    def _charge(self, proof: Proof, float32: float) -> Float32Charge | None:
        if not float32 > 0:
            return None
        part, model = self.asked.ball.with_radius(float32).finite, self.asked.model
        output, rounds = self.net.output, model.replay.rounds
        return charge_of(proof, output, float32, model.graph, part, self.stages, rounds, self.budget)

    def _trees(
        self,
        goals: Sequence[tuple[int, Halfspaces]],
        lower: Array,
        upper: Array,
        charge: Float32Charge | None,
        most: float,
    ) -> BallTrees:
        """What grows a tree for each goal, over these bounds."""
        return BallTrees(self.stages, self.ball, dict(goals), lower, upper, charge, most, self.budget, self.lined)


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


def _established(
    proof: Proof,
    stages: Stages,
    lower: Array,
    upper: Array,
    budget: Budget,
    squares: QuadraticProposals | None = None,
) -> tuple[Array, Array, list[list[QuadraticEvidence]]]:
    """Give `proof` bounds of every layer by exact evaluation; the engine's bounds with those in their places, and the
    quadratic evidence for them.

    Where the engine fixes a sign, only that sign is proved; where that fails, and for open ReLUs, both ends are.
    """
    low, high, evidence = lower.copy(), upper.copy(), list[list[QuadraticEvidence]]()
    for place, stage in enumerate(stages.hidden):
        part = slice(stages.starts[place], stages.starts[place + 1])
        ends = {sign: np.full(stage.size, -1, dtype=object) for sign in (1, -1)}
        wanted = {1: ~(upper[part] <= 0), -1: ~(lower[part] >= 0)}
        known = {sign: np.zeros(stage.size, dtype=bool) for sign in (1, -1)}
        for _ in range(2):
            for sign in (1, -1):
                _evaluate(proof, place, sign, np.flatnonzero(wanted[sign] & ~known[sign]), ends[sign], budget)
                known[sign] |= wanted[sign]
            fixed = {sign: known[sign] & (ends[sign] >= 0) for sign in (1, -1)}
            wanted = {1: ~fixed[-1], -1: ~fixed[1]}
        evidence.append([])
        if place and squares is not None:
            open_ = np.flatnonzero(~fixed[1] & ~fixed[-1])
            for given, found in squares.ends(proof.layers, low, high, open_):
                evidence[-1].append(given)
                entries = given.codes >> 1
                for sign, chosen in ((1, given.codes & 1 == 0), (-1, given.codes & 1 == 1)):
                    ends[sign][entries[chosen]] = np.maximum(ends[sign][entries[chosen]], found[chosen])
            fixed = {sign: known[sign] & (ends[sign] >= 0) for sign in (1, -1)}
        kept = np.flatnonzero(~fixed[-1] | fixed[1])
        active = fixed[1][kept]
        layer = Layer(kept, active, ends[1][kept], np.where(active, 0, -ends[-1][kept]), STEP)
        proof.add(layer)
        take_ends(layer, low[part], high[part])
    return low, high, evidence


def take_ends(layer: Layer, low: Array, high: Array) -> None:
    """Put the checker's bounds of one layer's ReLU arguments in place of the engine's, (size,) each.

    The upper bound of an active ReLU is not in the certificate: no LP may lean on it.
    """
    kept, off = layer.kept, np.setdiff1d(np.arange(low.size), layer.kept)
    low[kept] = np.ldexp(layer.low.astype(np.float64), -STEP)
    tops = np.ldexp(layer.high.astype(np.float64), -STEP)
    high[kept] = np.where(layer.active, LOOSE * np.abs(high[kept]) + LOOSE, tops)
    low[off], high[off] = np.minimum(low[off], 0.0), np.minimum(high[off], 0.0)


def _evaluate(proof: Proof, layer: int, sign: int, entries: npt.NDArray[np.intp], ends: Array, budget: Budget) -> None:
    """Fill in lower bounds of sign · argument of the entries, in multiples of 2^-STEP, rounded down."""
    for first in range(0, entries.size, checker.ROWS):
        budget.check()
        chosen = entries[first : first + checker.ROWS]
        value, den = proof.ends(layer, chosen, np.full(chosen.size, sign))
        found = (value << STEP) // den
        spared = proof.anchored or (proof.lined and proof.interval(layer) is None)
        ends[chosen] = found - np.maximum(abs(found) >> SPARE_BITS, SPARE) if spared else found
