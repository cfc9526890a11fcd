"""Settling requirements: the next question is the one that settles most, and none is asked once all are settled.

An input is checked at the radius that a requirement names; its whole bracket is sought only for a mean, or for a
baseline that is to be written. Each question has a short time first, then more, as long as its requirement is open.
Points of other tools are judged before all that, and a question's attacks run before its first search.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from verifier.campaign.backends import Backend
from verifier.campaign.plan.attack_tasks import Finding, StoredFinding
from verifier.campaign.plan.messages import Claim, Outcome
from verifier.campaign.plan.tasks import Target, Task, Wanted, instance_id
from verifier.campaign.runner import CampaignLostError, run
from verifier.campaign.store.leases import Limits
from verifier.campaign.store.merge import CLOSED, CONTRADICTION, StoredEnds
from verifier.campaign.store.records import Counts, Result
from verifier.campaign.store.store import Store
from verifier.gate.baseline import identity
from verifier.gate.proofs import Proofs
from verifier.gate.requirements import Gate
from verifier.gate.trials import Trials
from verifier.gate.verdict import Group, Judgement, Known, Ruling, Wish
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Norm
from verifier.problem.verdict import Evidence

FIRST = 5.0
"""Seconds for a question at first: what takes longer may not be needed."""

MOST = 3600.0
"""Seconds for a question where neither `timeout` nor `total_budget` ends it: an open gate has to end some day."""

Watch = Callable[[Sequence[Judgement]], None]


@dataclass(frozen=True, eq=False)
class Settled:
    """The end of a gate's run: every verdict, and what it rests on. proofs: what of that is certified, where asked.

    lost: why it ended early, where its workers were lost.
    """

    judgements: tuple[Judgement, ...] = ()
    known: Mapping[Group, tuple[Known, ...]] = field(default_factory=dict)
    results: tuple[Result, ...] = ()
    asked: int = 0
    findings: tuple[StoredFinding, ...] = ()
    proofs: Proofs | None = None
    lost: str = ""


def stored(gate: Gate, wanted: Sequence[Wanted], store: Store) -> Settled:
    """What the store says of a gate, without asking anything."""
    key = gate.plan.sha256
    results = store.results(key)
    if not results:
        return Settled()
    questions = Questions(gate, wanted, results, lambda _: None, Until.SETTLED)
    return Settled(
        tuple(questions.judgements()), questions.known(), tuple(results), findings=tuple(store.findings(key))
    )


class Until(Enum):
    """When enough has been asked."""

    SETTLED = "every requirement is settled"
    EVERY_RADIUS = "and every input is, at the radius at which a requirement looks at it: for an evidence pack"
    WHOLE = "every input's whole bracket is known: for a baseline"


def settle(
    gate: Gate, wanted: Sequence[Wanted], store: Store, backend: Backend, budget: Budget, watch: Watch, until: Until
) -> Settled:
    """Ask until enough is known, the questions' time limits are used up, or the budget ends.

    Raises InputError as `run` does.
    """
    questions: list[Questions] = []

    def claims(key: str) -> Questions:
        questions.append(Questions(gate, wanted, store.results(key), watch, until, store.findings(key)))
        return questions[0]

    def keep(_: Counts) -> None:
        """The counts of brackets say little here."""

    lost = ""
    try:
        run(gate.plan, wanted, store, backend, budget, keep, claims)
    except CampaignLostError as error:
        lost = str(error)
    found, key = questions[0], gate.plan.sha256
    return Settled(
        judgements=tuple(found.judgements()),
        known=found.known(),
        results=tuple(store.results(key)),
        asked=sum(found.tries.values()),
        findings=tuple(store.findings(key)),
        lost=lost,
    )


@dataclass(eq=False)
class Questions:
    """The open questions of a gate, and what is known of its inputs; asked by several threads.

    findings: what attacks and the points of other tools came to before.
    """

    gate: Gate
    wanted: Sequence[Wanted]
    results: Sequence[Result]
    watch: Watch
    until: Until
    findings: Sequence[StoredFinding] = ()
    tries: dict[Wish, int] = field(default_factory=dict)
    _spent: dict[Wish, float] = field(default_factory=dict)
    _flying: set[str] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self._ends = {
            one.id: _Instance(StoredEnds(one.status, one.lower, one.upper, one.evidence), one.reason)
            for one in self.results
        }
        self._by_key = {one.task.id: one for one in self.wanted}
        self._reach = {key: reach(one.task) for key, one in self._by_key.items()}
        plan = self.gate.plan
        most = min(plan.timeout, MOST)
        self._limits = Limits(most, min(FIRST, most))
        self._trials = Trials(plan.attacks, most, self.findings)

    def known(self) -> dict[Group, tuple[Known, ...]]:
        """What is known of every input, by group, in the order in which they were asked for."""
        with self._lock:
            found: dict[Group, list[Known]] = {}
            for one in self.wanted:
                task = one.task
                only = "" if task.columns is None else task.columns.told
                found.setdefault(Group(task.model, task.norm, only), []).append(self._known(one))
            return {group: tuple(inputs) for group, inputs in found.items()}

    def _known(self, one: Wanted) -> Known:
        """An input's bracket: the nearest of its targets'."""
        task, ends = one.task, [self._ends[one.task.instance(target)] for target in one.targets]
        # Where two runs contradict each other, one of them is wrong: neither settles anything.
        refuted = any(each.ends.status == CONTRADICTION for each in ends)
        lower = 0.0 if refuted or one.wrong else min(each.ends.lower for each in ends)
        return Known(
            task.id,
            task.name or f"input {task.index}",
            identity(task.input_sha256, task.label),
            task.label,
            lower,
            math.inf if refuted else min(each.ends.upper for each in ends),
            next((each.ends.evidence for each in ends if each.ends.lower == lower), "") or Evidence.PROVED.label,
            self._reach[task.id],
            one.score,
            next((each.reason for each in ends if each.reason), ""),
            one.wrong,
            task.lattice,
        )

    def judgements(self) -> list[Judgement]:
        """Every requirement's verdict by what is known now."""
        return self.gate.judge(self.known())

    def next(self) -> Claim | None:
        """The question that settles most, of those that were tried least; None where there is none now."""
        with self._lock:
            found = self._open()
            if not found:
                return None
            wish = min(found, key=lambda each: self._spent.get(each, 0.0))  # min keeps the order among equals
            if (trial := self._trial(found, wish)) is not None:
                self._flying.add(trial.task)
                return trial
            targets = self._targets(wish)
            limit = self._limits.after(self._spent.get(wish, 0.0))
            self._flying.add(wish.key)
            self.tries[wish] = self.tries.get(wish, 0) + 1
            self._spent[wish] = limit
            return Claim(wish.key, targets, limit, radius=wish.radius, again=True)

    def _trial(self, found: Sequence[Wish], chosen: Wish) -> Claim | None:
        """What is tried before the chosen question is searched: the points for any of those found, then its attacks."""
        for wish in found if self.gate.plan.points else ():
            claim = self._trials.points(self._by_key[wish.key], self._targets(wish))
            if claim is not None:
                return claim
        return self._trials.attack(self._by_key[chosen.key], self._targets(chosen))

    def _open(self) -> list[Wish]:
        """What is worth asking now: first what the requirements with the fewest open questions wish for."""
        judged = self.judgements()
        undecided = [one for one in judged if one.ruling is Ruling.UNDECIDED]
        wishes = [wish for one in sorted(undecided, key=lambda one: len(one.wishes)) for wish in one.wishes]
        if self.until is Until.EVERY_RADIUS:
            wishes += [wish for one in judged for wish in one.unknown]
        if self.until is Until.WHOLE:
            wishes += [Wish(one.task.id, None) for one in self.wanted]
        return [
            wish
            for wish in wishes
            if wish.key not in self._flying and self._spent.get(wish, 0.0) < self._limits.most and self._targets(wish)
        ]

    def _targets(self, wish: Wish) -> tuple[Target, ...]:
        """The targets of a question of which the answer is not known yet."""
        one = self._by_key[wish.key]
        found = []
        for target in one.targets:
            known = self._ends[one.task.instance(target)]
            ends = known.ends
            if known.failed or ends.status == CONTRADICTION:
                continue
            if wish.radius is None:
                if ends.status not in CLOSED:
                    found.append(target)
            elif ends.lower < wish.radius < ends.upper:
                found.append(target)
        return tuple(found)

    def heard(self, outcomes: Sequence[Outcome | Finding]) -> None:
        """Merge brackets as the store does."""
        with self._lock:
            for outcome in outcomes:
                one, task = self._ends[instance_id(outcome.task, outcome.target)], self._by_key[outcome.task].task
                if isinstance(outcome, Finding):
                    bracket = outcome.reached(task.precision, one.reason)
                else:
                    bracket = outcome.bracket
                if bracket is None:
                    one.reason = outcome.error or one.reason
                    one.failed = one.failed or (isinstance(outcome, Outcome) and bool(outcome.error))
                else:
                    before, one.ends = one.ends, one.ends.merged(bracket)
                    told = one.ends.status == CONTRADICTION
                    one.reason = before.contradiction(bracket) if told else bracket.reason
            self.watch(self.judgements())

    def finished(self, claim: Claim) -> None:
        """The input of a claim may be asked about again."""
        with self._lock:
            self._flying.discard(claim.task)

    def waiting(self) -> bool:
        """Is a question left? Others do not work on a gate's store."""
        with self._lock:
            return bool(self._open())


@dataclass(eq=False)
class _Instance:
    ends: StoredEnds
    reason: str
    failed: bool = False
    """True once a worker raised: asked again it would do so again, until its time limits are used up."""


def reach(task: Task) -> float:
    """The distance from the input to the farthest point of its box."""
    return float(Ball(Norm(task.norm), task.point.astype(np.float64), math.inf, task.lo, task.hi).reach)
