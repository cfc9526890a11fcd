"""What a search for the minimum knows so far: for each target a proved lower end, and the best witness of all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from encoders.graph import Array, Graph
from verifier.judge import Judge
from verifier.query import Ball, Halfspaces
from verifier.verdict import Bracket, Budget, Evidence, Initial, Status, Witness

POLISH_SHARE = 0.125
"""Part of the precision that securing a witness against rounding may add to its distance."""

Attack = Callable[[Budget], Sequence[Array]]
"""Candidate points (n,) for any of the targets; the judge decides what they are worth."""


@dataclass(frozen=True, eq=False)
class Problem:
    """The distance from `ball.centre` to the nearest point of the box whose logits lie in one of `disjuncts`.

    `graph` is lowered; the ball's radius is infinite; `target` is the target asked for (None: untargeted).
    """

    graph: Graph
    ball: Ball
    disjuncts: tuple[tuple[int, Halfspaces], ...]
    judge: Judge
    attack: Attack
    attack_name: str
    precision: float
    target: int | None


@dataclass
class TargetState:
    """A target's goal; nothing within `lower` of the input reaches it, for what `evidence` is worth."""

    target: int
    goal: Halfspaces
    lower: float = 0.0
    evidence: Evidence = Evidence.PROVED
    stuck: bool = False
    """True once a decider could not answer for this target: its lower end stays where it is."""


@dataclass
class SearchState:
    """The bracket while it closes."""

    problem: Problem
    budget: Budget
    targets: list[TargetState] = field(init=False)
    witness: Witness | None = None
    initial: Initial = field(init=False)
    reason: str = ""

    def __post_init__(self) -> None:
        self.targets = [TargetState(target, goal) for target, goal in self.problem.disjuncts]
        self.initial = Initial(self.problem.attack_name, math.inf)

    @property
    def upper(self) -> float:
        return self.witness.distance if self.witness is not None else math.inf

    @property
    def lower(self) -> float:
        return min(*(state.lower for state in self.targets), self.upper)

    @property
    def evidence(self) -> Evidence:
        """The weakest evidence that the lower end needs."""
        return min(state.evidence for state in self.targets)

    @property
    def closed(self) -> bool:
        return self.upper - self.lower <= self.problem.precision if self.witness else math.isinf(self.lower)

    @property
    def slack(self) -> float:
        return POLISH_SHARE * self.problem.precision

    def offer(self, point: Array, *, polish: bool = True) -> bool:
        """Judge a point; keep its witness, polished, when it is nearer than the last. True if it was."""
        found = self.problem.judge.secured(point, self.slack, self.budget)
        if found is None:
            return False
        if polish and found.distance < 2.0 * self.upper:
            found = self.problem.judge.polished(found, self.slack, self.budget)
        if found.distance >= self.upper:
            return False
        self.witness = found
        return True

    def attack(self, *, polish: bool = True) -> None:
        """Run the attack and take its best points as the first upper end."""
        centre, norm = self.problem.ball.centre, self.problem.ball.norm
        order = 1 if norm.value == "l1" else np.inf
        points = sorted(self.problem.attack(self.budget), key=lambda p: float(np.linalg.norm(p - centre, order)))
        for place, point in enumerate(points):
            if self.budget.remaining <= 0 and place > 0:
                break
            self.offer(point, polish=False)
        self.initial = Initial(self.problem.attack_name, self.upper)
        if polish and self.witness is not None and self.budget.remaining > 0:
            self.witness = self.problem.judge.polished(self.witness, self.slack, self.budget)

    def bracket(self, *, final: bool = False) -> Bracket:
        """The state as a result."""
        lower, upper = self.lower, self.upper
        if self.witness is None and math.isinf(lower):
            status, lower = Status.UNREACHABLE, math.inf
        else:
            status = Status.MINIMAL if self.closed else Status.BRACKETED
        reason = self.reason or (self.budget.reason if self.budget.remaining <= 0 else "")
        return Bracket(
            lower=lower,
            upper=upper,
            witness=self.witness,
            evidence=self.evidence,
            precision=self.problem.precision,
            status=status,
            initial=self.initial,
            target=self.problem.target if self.problem.target is not None or not self.witness else self.witness.target,
            seconds=self.budget.spent,
            reason=reason if status is Status.BRACKETED and final else "",
            final=final,
        )
