"""How a worker does attack tasks: attacks on all targets of an input at once, restarts of those that miss."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.attacks.base.problem import Candidates, Case
from verifier.attacks.base.search import Surrogate
from verifier.attacks.goal_attack import GoalAttack
from verifier.attacks.registry import attack_named
from verifier.campaign.plan.attack_tasks import STEPS, AttackTask, Finding, Kind
from verifier.campaign.plan.messages import Work
from verifier.campaign.plan.task_models import specification
from verifier.campaign.plan.tasks import Target
from verifier.problem.budget import Budget
from verifier.problem.query import ELSEWHERE
from verifier.problem.verdict import Witness
from verifier.runtime.model import Model
from verifier.search.minimum import points_of
from verifier.search.question import Specification

DIRECTIONS = 8
"""Random directions in which a restart is tried: the minimum's has one chance and they eight."""


@dataclass
class AttackTasks:
    """The attack tasks of one piece of work; every finding goes to `take` as soon as it is there."""

    work: Work
    model: Model
    budget: Budget
    take: Callable[[Finding], None]
    asked: Specification = field(init=False)
    _surrogate: Surrogate = field(init=False)
    _by_goal: GoalAttack = field(init=False)

    def run(self) -> None:
        """Do all that the budget allows. An attack that a Ctrl-C or the campaign's end cuts short is not a finding."""
        each = any(attack_task.target is not None for attack_task in self.work.attack_tasks)
        self.asked = specification(self.work.task, self.model, self.budget, each=each)
        graph, ball, goals = self.asked.attacked_graph, self.asked.ball, self.asked.attacked
        device, threads = self.work.device, self.work.threads
        if graph is not None:
            self._by_goal = GoalAttack(graph, ball, goals, device, threads)
        else:
            self._surrogate = Surrogate(self.model.network.graph, device, threads)
        attacks = [attack_task for attack_task in self.work.attack_tasks if attack_task.kind is Kind.ATTACK]
        if attacks:
            self._attacks(attacks)
        for attack_task in self.work.attack_tasks:
            if attack_task.kind is Kind.RESTART:
                self._restart(attack_task)

    @property
    def _cut(self) -> bool:
        return self.budget.cancelled or (self.budget.remaining <= 0 and not self.work.whole)

    def _attack(self, name: str, targets: Sequence[Target], starts: Sequence[Array | None]) -> Candidates:
        """The named attack on each target, begun at each start (None: at the input)."""
        by, ball, seed = attack_named(name), self.asked.ball, self.work.seed
        if self.asked.attacked_graph is not None:
            of = {target: place for place, (target, _) in enumerate(self.asked.goals)}
            places = [of[ELSEWHERE if target is None else target] for target in targets]
            return self._by_goal(by, places, self.budget, seed, starts)
        pairs = zip(targets, starts, strict=True)
        cases = [Case(ball.centre, self.asked.label, target, start) for target, start in pairs]
        margin = self.work.task.margin + self.asked.judge.tie
        return by(self._surrogate, cases, ball.norm, ball.lo, ball.hi, margin=margin, budget=self.budget, seed=seed)

    def _judged(self, target: Target, point: npt.ArrayLike | None) -> Witness | None:
        """The witness that an attack's point is, rounded to inputs that can occur; None: nobody's word is trusted."""
        if point is None:
            return None
        asked = self.asked.only(None if target is None else [target])
        points = points_of(asked)
        if points is None:
            return asked.judge.secured(point, self.work.task.precision, self.budget)
        points.offer(np.asarray(point, dtype=np.float64), self.budget)
        return points.witness

    def _distances(self, target: Target, found: Candidates) -> list[float | None]:
        """How far an attack's points are, rounded to inputs that can occur; None where there is none."""
        ends = found.distances.tolist()
        if self.asked.lattice is not None:
            witnesses = [self._judged(target, point) for point in found.points]
            ends = [math.inf if witness is None else witness.distance for witness in witnesses]
        return [distance if math.isfinite(distance) else None for distance in ends]

    def _attacks(self, attack_tasks: Sequence[AttackTask]) -> None:
        start, name = time.monotonic(), attack_tasks[0].attack
        found = self._attack(name, [attack_task.target for attack_task in attack_tasks], [None] * len(attack_tasks))
        if self._cut:
            return
        facts = {"complete": self.budget.remaining > 0, "evaluations": found.evaluations // len(attack_tasks)}
        seconds = (time.monotonic() - start) / len(attack_tasks)
        for attack_task, point in zip(attack_tasks, found.points, strict=True):
            witness = self._judged(attack_task.target, point)
            distance = witness.distance if witness is not None else math.inf
            told = {**facts, "unconfirmed": point is not None and witness is None}
            finding = Finding(
                self.work.task.id, attack_task.target, attack_task.kind, name, distance, witness, told, seconds
            )
            self.take(finding)

    def _restart(self, attack_task: AttackTask) -> None:
        """The attack begun STEPS of the way to the minimum, and as far away as the first of them in random directions.

        Directions are the norm's own, so that all these starts are at the same distance from the input.
        """
        if self.budget.remaining <= 0 or attack_task.point is None:
            return
        begin = time.monotonic()
        centre = self.asked.ball.centre
        rng = np.random.default_rng([self.work.seed, attack_task.target if attack_task.target is not None else 2**32])
        directions = self.asked.ball.geometry.directions(rng, (DIRECTIONS, centre.size))
        way = attack_task.point.astype(np.float64) - centre
        starts = [*(centre + step * way for step in STEPS), *(centre + STEPS[0] * attack_task.upper * directions)]
        found = self._attack(attack_task.attack, [attack_task.target] * len(starts), starts)
        if self._cut:
            return
        told = self._distances(attack_task.target, found)
        towards, random = told[: len(STEPS)], told[len(STEPS) :]
        facts = {"steps": STEPS, "towards": towards, "random": random, "complete": self.budget.remaining > 0}
        nearest = self._judged(attack_task.target, found.points[0])
        distance = nearest.distance if nearest is not None else math.inf
        seconds = time.monotonic() - begin
        key = (self.work.task.id, attack_task.target, attack_task.kind, attack_task.attack)
        self.take(Finding(*key, distance, nearest, facts, seconds))
