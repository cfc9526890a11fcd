"""How far the campaigns of a store are at a moment: at work or over, since when, for how long still."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from verifier.campaign.store.merge import CLOSED, CONTRADICTION, ERROR
from verifier.campaign.store.presence import CampaignRun, ClaimedTask, How, Presence, alive
from verifier.campaign.store.records import Result

LEAST_STEPS = 3
"""Steps of a run after which its pace is told: one or two say nothing about the rest."""


class CampaignState(StrEnum):
    """What the campaigns of a store are at."""

    RUNNING = "running"
    FINISHED = "finished"
    """Nothing is left that could be done within the limits for an instance."""
    TIME_UP = "time-up"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    DIED = "died"
    """Its process ended without a word."""
    IDLE = "idle"
    """Nobody is at work, and the store says nothing of its runs: not begun, or by an earlier version."""


@dataclass(frozen=True)
class Tally:
    """The brackets of a store: closed, open (those not begun among them), failed, contradictory."""

    closed: int
    open: int
    failed: int
    contradictions: int

    @classmethod
    def of(cls, results: Iterable[Result]) -> Tally:
        statuses = [one.status for one in results]
        closed = sum(status in CLOSED for status in statuses)
        failed, contradictions = statuses.count(ERROR), statuses.count(CONTRADICTION)
        return cls(closed, len(statuses) - closed - failed - contradictions, failed, contradictions)

    @property
    def all(self) -> int:
        return self.closed + self.open + self.failed + self.contradictions


@dataclass(frozen=True)
class Left:
    """The seconds left: `pace` as many as the steps `left` take when each takes as long as the `done` ones of this run
    did on average, None where too few are done; `budget` until the total budget ends, infinity without one."""

    pace: float | None
    budget: float
    done: int
    left: int

    @property
    def seconds(self) -> float | None:
        """The estimate; None where there is none."""
        least = min(self.budget, math.inf if self.pace is None else self.pace)
        return None if math.isinf(least) else least

    @property
    def by_pace(self) -> bool:
        """Is it the pace that says so, rather than the budget?"""
        return self.pace is not None and self.pace < self.budget


@dataclass(frozen=True)
class Progress:
    """now: the moment of which all this is true. began, ended: of the campaign that is at work, or was last; None where
    nothing is known of it, or it goes on. A dead one ended with its last sign of life.

    earlier: how many runs came before it; earlier_seconds: how long they took together.
    """

    now: float
    state: CampaignState
    began: float | None
    ended: float | None
    why: str
    earlier: int
    earlier_seconds: float
    tally: Tally
    left: Left | None
    work: tuple[ClaimedTask, ...]

    @property
    def running(self) -> bool:
        return self.state is CampaignState.RUNNING

    @property
    def seconds(self) -> float | None:
        """How long it has taken so far, or took."""
        if self.began is None:
            return None
        return max(0.0, (self.now if self.ended is None else self.ended) - self.began)


def progress_of(presence: Presence, tally: Tally, now: float) -> Progress:
    """What the store's record means at a moment, by the clock that wrote it."""
    work = alive(presence.work, now)
    running = [run for run in presence.runs if run.at_work(now)]
    if not presence.runs:
        return _without_runs(presence, tally, work, now)
    if running:
        began = running[0].began
        past = [run for run in presence.runs if run not in running]
        state, ended, why = CampaignState.RUNNING, None, ""
    else:
        last = max(presence.runs, key=_end)
        began, past = last.began, [run for run in presence.runs if run is not last]
        state, ended, why = _over(last), _end(last), last.why
    return Progress(
        now=now,
        state=state,
        began=began,
        ended=ended,
        why=why,
        earlier=len(past),
        earlier_seconds=math.fsum(_end(run) - run.began for run in past),
        tally=tally,
        left=_left(running, now) if running else None,
        work=work if running else (),
    )


def _without_runs(presence: Presence, tally: Tally, work: tuple[ClaimedTask, ...], now: float) -> Progress:
    """By an earlier version, which noted claims and brackets only; or entered, and not begun."""
    updated = presence.updated or None
    if work:
        state = CampaignState.RUNNING
    elif tally.closed == tally.all:
        state = CampaignState.FINISHED
    else:
        state = CampaignState.IDLE
    ended = None if work else updated
    return Progress(now, state, presence.created if updated or work else None, ended, "", 0, 0.0, tally, None, work)


def _end(run: CampaignRun) -> float:
    """When a run that is over ended, as far as that is known."""
    return run.seen if run.ended is None else run.ended


def _over(run: CampaignRun) -> CampaignState:
    """How a run that is over ended. What was left may have been done by others since."""
    if run.ended is None:
        return CampaignState.TIME_UP if run.owner.gone and run.seen + LATE >= run.until else CampaignState.DIED
    if run.how == How.FAILED:
        return CampaignState.FAILED
    return CampaignState.FINISHED if run.steps.left == 0 else ENDS[How(run.how)]


LATE = 25.0
"""Seconds before the end of its total budget in which a run that ended without a word was ended by the limit, as
commands are that do not answer in time: it gives a sign of life every 20."""
ENDS = {
    How.DONE: CampaignState.FINISHED,
    How.TIME_UP: CampaignState.TIME_UP,
    How.INTERRUPTED: CampaignState.INTERRUPTED,
}


def _left(running: Sequence[CampaignRun], now: float) -> Left:
    """Of the run that needs longest; several on one plan share its steps."""
    first = {run.plan: run for run in reversed(running)}
    return max((_left_of(run, now) for run in first.values()), key=lambda left: left.seconds or math.inf)


def _left_of(run: CampaignRun, now: float) -> Left:
    done = run.steps.done - run.done_before
    pace = run.steps.left * max(0.0, now - run.began) / done if done >= LEAST_STEPS else None
    return Left(pace, max(0.0, run.until - now), max(0, done), run.steps.left)
