"""What a worker does: one task, all its targets side by side, each bracket sent home as it closes."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from encoders.errors import InputError, without_folders
from verifier.campaign.attack_worker import AttackTasks
from verifier.campaign.connection import Line, connected
from verifier.campaign.plan.attack_tasks import Finding, Kind
from verifier.campaign.plan.messages import Outcome, Report, Step, Work
from verifier.campaign.plan.task_models import settings, specification, task_model
from verifier.campaign.plan.tasks import Target, Task
from verifier.campaign.points_worker import judge_points
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.memory import Memory, give_back
from verifier.problem.verdict import Bracket, Evidence, Holds, Initial, Status, Violated
from verifier.search.all_targets import minimal_all_targets
from verifier.search.minimum import brackets, points_of
from verifier.search.question import Specification
from verifier.search.robustness import Check, check
from verifier.solvers.kernels import cache

CHECKPOINT = 5.0
"""Seconds between two messages about an open bracket: as much of a search is lost when its worker is."""

POLL = 0.1
"""Seconds between two looks at the line."""


def prepare(work: Work) -> None:
    """Load the kernels that its search calls: a worker asks many questions, and loading them is in nobody's time."""
    if work.task.method == "tree" and not work.attack_tasks:
        cache.at_once()


def solve(work: Work) -> Report:
    """Run one task. Whatever goes wrong in it is an outcome; nothing is raised."""
    if threading.current_thread() is threading.main_thread() and os.getpid() != work.campaign:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the campaign, which tells its workers
    if work.attack_tasks:
        return _attack_tasks(work)
    if work.claim.radius is not None:
        return _robustness(work, work.claim.radius)
    with connected(work.channel) as line:
        still_open = line.begin(work.task.id, list(work.known))
        if still_open is not None:
            work = replace(work, known=still_open)
        prepare(work)
        budget, log, error = _budget(work), _Log(work, line), ""
        ended = threading.Event()
        threading.Thread(target=_watch, args=(line, budget, ended), daemon=True).start()
        try:
            if work.known:
                _search(work, budget, log.take)
        except Exception as problem:  # noqa: BLE001, one failure must not end a campaign of hours: it is recorded
            error = _told(problem, work.task)
        finally:
            ended.set()
        cut = budget.cancelled
        return Report(work.claim, log.last(error), work.whole and bool(work.known) and not cut, cut)


def _budget(work: Work) -> Budget:
    """What a task may take; what earlier ones of this process have freed is given back first."""
    give_back()
    return Budget(work.seconds, memory=Memory.of(work.memory, beyond=False))


def _attack_tasks(work: Work) -> Report:
    """Run the attack tasks of a task; what an exception leaves undone is a finding with its error."""
    with connected(work.channel) as line:
        line.begin(work.task.id, ())  # to say who is at it: none of its brackets is wanted
        budget, findings, error = _budget(work), list[Finding](), ""
        ended = threading.Event()
        threading.Thread(target=_watch, args=(line, budget, ended), daemon=True).start()

        def take(finding: Finding) -> None:
            findings.append(finding)
            line.send([finding])

        try:
            model = task_model(work.task, budget)
            if work.attack_tasks[0].kind is Kind.POINTS:
                judge_points(work, model, budget, take)
            else:
                AttackTasks(work, model, budget, take).run()
        except Exception as problem:  # noqa: BLE001, as above
            error = _told(problem, work.task)
        finally:
            ended.set()
        if not error and work.whole and budget.remaining <= 0 and not budget.cancelled:
            error = budget.reason
        done = {(found.target, found.kind, found.attack) for found in findings}
        left = [one for one in work.attack_tasks if error and (one.target, one.kind, one.attack) not in done]
        findings += [Finding(work.task.id, one.target, one.kind, one.attack, error=error) for one in left]
        return Report(work.claim, tuple(findings), used_up=False, cut=budget.cancelled)


def _robustness(work: Work, radius: float) -> Report:
    """Is each target of a task robust within the radius? The first one that is not ends it."""
    with connected(work.channel) as line:
        line.begin(work.task.id, ())  # to say who is at it: what is known of its brackets does not matter
        prepare(work)
        budget, outcomes = _budget(work), list[Outcome]()
        ended = threading.Event()
        threading.Thread(target=_watch, args=(line, budget, ended), daemon=True).start()
        try:
            for place, target in enumerate(work.claim.targets):
                outcomes.append(_checked(work, target, radius, budget.share(len(work.claim.targets) - place)))
                line.send(outcomes[-1:])
                if (found := outcomes[-1].bracket) is not None and found.upper <= radius:
                    break
        finally:
            ended.set()
        return Report(work.claim, tuple(outcomes), used_up=False, cut=budget.cancelled)


def _checked(work: Work, target: Target, radius: float, budget: Budget) -> Outcome:
    """What a check says of a target's bracket. Whatever goes wrong is an outcome."""
    task = work.task
    try:
        asked = specification(task, task_model(task, budget), budget, target)
        found = _still_fooled(asked, work, radius, budget) or check(asked, settings(work, budget), radius)
    except Exception as problem:  # noqa: BLE001, as in `solve`
        return Outcome(task.id, target, None, error=_told(problem, task))
    return outcome_of(task.id, target, bracket_of(found, radius, task.precision, target))


def outcome_of(task: str, target: Target, bracket: Bracket | None, steps: tuple[Step, ...] = ()) -> Outcome:
    """A bracket on its way, its trees packed."""
    if bracket is None or not bracket.trees:
        return Outcome(task, target, bracket, steps)
    packed = {goal: tree.encoded() for goal, tree in bracket.trees.items() if tree.nodes > 1}
    return Outcome(task, target, replace(bracket, trees={}), steps, trees=packed)


def _told(problem: Exception, task: Task) -> str:
    """What went wrong, without folders: a store is handed on."""
    said = str(problem) if isinstance(problem, InputError) else f"{type(problem).__name__}: {problem}"
    return without_folders(said, task.model)


def _still_fooled(asked: Specification, work: Work, radius: float, budget: Budget) -> Check | None:
    """The answer that an old witness of another model gives within the radius, None where none does."""
    with suppress(OutOfTimeError):
        for point in () if work.before is None else work.before.witnesses:
            if (points := points_of(asked)) is None:
                found = asked.judge.witness(point, budget)
            else:
                found = points.witness if points.offer(point, budget) else None
            if found is not None and found.distance <= radius:
                return Check(Violated(found.point.astype(float)), found, "", None, budget.spent, found.target)
    return None


def bracket_of(found: Check, radius: float, precision: float, target: Target) -> Bracket:
    """The bracket that a check leaves: from its radius where it holds, to its witness where it does not."""
    upper = math.inf if found.witness is None else found.witness.distance
    return Bracket(
        lower=radius if isinstance(found.verdict, Holds) else 0.0,
        upper=upper,
        witness=found.witness,
        evidence=found.evidence or Evidence.PROVED,
        precision=precision,
        status=Status.ALREADY_ADVERSARIAL if upper == 0.0 else Status.BRACKETED,
        initial=Initial("", upper),
        target=found.target if target is None else target,
        seconds=found.seconds,
        reason=found.reason,
        search=found.search,
        float32=radius if found.float32 else None,
        trees=found.trees,
    )


def short_of_steps(bracket: Bracket) -> Bracket:
    """A bracket as stores keep it, where nothing within a lower end is adversarial, what lies at it included: the lower
    end of a minimum among inputs that can occur may be the distance of one that is."""
    if bracket.lattice is None or not 0.0 < bracket.lower < math.inf:
        return bracket
    lower, float32 = math.nextafter(bracket.lower, 0.0), bracket.float32
    return replace(bracket, lower=lower, float32=None if float32 is None else min(math.nextafter(float32, 0.0), lower))


def _watch(line: Line, budget: Budget, ended: threading.Event) -> None:
    """End the budget when the campaign hangs up."""
    while not ended.wait(POLL):
        if line.cut:
            budget.cancel()
            return


def _search(work: Work, budget: Budget, take: Callable[[Target, Bracket], None]) -> None:
    """Every bracket of the task, on the way and at the end, goes to `take`."""
    model, how = task_model(work.task, budget), settings(work, budget)
    if None in work.known:
        for bracket in brackets(specification(work.task, model, budget), how):
            take(None, bracket)
        return
    targets = [target for target in work.known if target is not None]
    known = {target: point for target, point in work.known.items() if target is not None and point is not None}
    asked = specification(work.task, model, budget, each=True, targets=targets)
    found = minimal_all_targets(asked, how, known, lambda bracket: take(bracket.target, bracket))
    if found.overall.status is Status.ALREADY_ADVERSARIAL:
        for target in targets:
            take(target, replace(found.overall, target=target))


@dataclass
class _Target:
    """What a worker has noted of one target."""

    last: Bracket | None = None
    ends: tuple[float, float] | None = None
    steps: list[Step] = field(default_factory=list)
    sent: float = 0.0
    closed: bool = False
    initial: Initial | None = None


class _Log:
    """Notes every step, and sends brackets home: each target's first, one every CHECKPOINT seconds, the closed one.

    First brackets that come in a row go together: a task that goes on later attacks the same targets again, or none.
    """

    def __init__(self, work: Work, line: Line) -> None:
        self._task, self._line = work.task.id, line
        self._start = time.monotonic()
        self._targets = {target: _Target() for target in work.known}
        self._waiting: list[Outcome] = []

    def take(self, target: Target, bracket: Bracket) -> None:
        noted = self._targets[target]
        if bracket.lattice is not None:
            bracket = self._occurring(noted, bracket)
        now, first = time.monotonic(), noted.last is None
        noted.last = bracket
        if (bracket.lower, bracket.upper) != noted.ends:
            noted.ends = (bracket.lower, bracket.upper)
            noted.steps.append(Step(now - self._start, *noted.ends))
        closes = bracket.status is not Status.BRACKETED and not noted.closed
        if not (first or closes or (now - noted.sent > CHECKPOINT and not noted.closed)):
            return
        noted.sent, noted.closed = now, noted.closed or closes
        self._waiting.append(self._outcome(target, noted))
        if not first or all(other.last is not None for other in self._targets.values()):
            self._line.send(self._waiting)
            self._waiting = []

    @staticmethod
    def _occurring(noted: _Target, bracket: Bracket) -> Bracket:
        """Of inputs that can occur, as stores keep it: what was found first is the first of these."""
        if noted.initial is None and math.isfinite(bracket.upper):
            noted.initial = Initial(bracket.initial.attack, bracket.upper)
        initial = noted.initial or Initial(bracket.initial.attack, math.inf)
        return replace(short_of_steps(bracket), initial=initial)

    def last(self, error: str) -> tuple[Outcome, ...]:
        """An outcome for each target: its last bracket, and the error unless it is closed."""
        found = [self._outcome(target, noted) for target, noted in self._targets.items() if noted.last is not None]
        if error:
            failed = [target for target, noted in self._targets.items() if not noted.closed]
            found += [Outcome(self._task, target, None, error=error) for target in failed]
        return tuple(found)

    def _outcome(self, target: Target, noted: _Target) -> Outcome:
        return outcome_of(self._task, target, noted.last, tuple(noted.steps))
