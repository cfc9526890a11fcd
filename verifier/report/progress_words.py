"""How far a campaign is, in words: the live page and the terminal say the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from encoders.files.packed import without_gz
from verifier.campaign.analysis.progress import CampaignState, Left, Progress
from verifier.campaign.plan.attack_tasks import Kind
from verifier.campaign.store.presence import ClaimedTask
from verifier.report.norm_signs import NORM_SIGNS

MOST_WORK = 12
"""Tasks at work that are told one by one, those that were begun first."""
MINUTE, HOUR, DAY = 60, 3600, 86400
OPEN_AT_END = "what is open has used up its time limit, or belongs to another plan: a larger timeout goes on from here"
GOES_ON = "the same command goes on from here"

HEADS = {
    CampaignState.RUNNING: "Running",
    CampaignState.FINISHED: "Finished",
    CampaignState.TIME_UP: "Total budget used up",
    CampaignState.INTERRUPTED: "Interrupted",
    CampaignState.FAILED: "Failed",
    CampaignState.DIED: "Died without a word",
    CampaignState.IDLE: "Not running",
}


def duration(seconds: float) -> str:
    """A time in its two largest units.

    >>> duration(7.9), duration(125), duration(3600), duration(100000)
    ('7 s', '2 min 5 s', '1 h 0 min', '1 d 3 h')
    """
    whole = int(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


def moment(seconds: float) -> str:
    """A moment, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def headline(progress: Progress) -> str:
    """What it is at, since when or until when, and how far."""
    tally = progress.tally
    parts = [HEADS[progress.state]]
    if progress.began is not None and progress.running:
        parts = [f"{parts[0]} since {moment(progress.began)}"]
    elif progress.ended is not None:
        took = "" if progress.seconds is None else f", after {duration(progress.seconds)}"
        parts = [f"{parts[0]}{',' if progress.state in UNSURE else ''} {ended(progress)}{took}"]
    if progress.earlier:
        parts.append(earlier(progress))
    parts.append(f"{tally.closed} of {tally.all} brackets closed, {tally.open} open, {contradictions(progress)}")
    if tally.failed:
        parts[-1] += f", {tally.failed} failed"
    return "; ".join(parts)


def ended(progress: Progress) -> str:
    """When it ended; "" where it has not."""
    if progress.ended is None:
        return ""
    return f"{'last heard of ' if progress.state in UNSURE else ''}at {moment(progress.ended)}"


def earlier(progress: Progress) -> str:
    """The runs before; "" where there were none."""
    if not progress.earlier:
        return ""
    return (
        f"{progress.earlier} earlier run{'s' if progress.earlier > 1 else ''} took {duration(progress.earlier_seconds)}"
    )


UNSURE = {CampaignState.DIED, CampaignState.IDLE}
"""Ends of which nobody has noted when they came."""


def contradictions(progress: Progress) -> str:
    """How many, in words."""
    number = progress.tally.contradictions
    return f"{number or 'no'} contradiction{'s' if number != 1 else ''}"


def advice(progress: Progress) -> str:
    """What else there is to say of an end; "" where nothing is."""
    if progress.state is CampaignState.FINISHED:
        return OPEN_AT_END if progress.tally.open else ""
    if progress.state is CampaignState.FAILED:
        return f"{progress.why}; {GOES_ON}" if progress.why else GOES_ON
    return "" if progress.running else GOES_ON


def left_short(left: Left | None) -> str:
    """The time left in a few characters."""
    if left is None or left.seconds is None:
        return "–"
    return f"{'≈' if left.by_pace else '≤'} {duration(left.seconds)}"


def left_how(left: Left | None) -> str:
    """How the time left is estimated."""
    if left is None:
        return "no estimate: the campaign is of an earlier version"
    steps = f"{left.done} done in this run, {left.left} left"
    if left.by_pace:
        ends = "" if left.budget == math.inf else f"; the total budget ends in {duration(left.budget)}"
        return f"at the pace so far: {steps}{ends}"
    if left.seconds is not None:
        return f"the rest of the total budget; {steps}"
    return f"no estimate yet: {steps}"


@dataclass(frozen=True)
class TaskRow:
    """A task at work, in words."""

    model: str
    what: str
    classes: str
    since: str
    worker: str


def rows_of(progress: Progress, names: Mapping[str, str]) -> list[TaskRow]:
    """The first of the tasks at work; names: of models, by sha256."""
    return [_row(work, names, progress.now) for work in progress.work[:MOST_WORK]]


def _row(work: ClaimedTask, names: Mapping[str, str], now: float) -> TaskRow:
    targets = ", ".join("any" if target is None else str(target) for target in work.targets)
    attack_task = {
        Kind.POINTS.value: f"points of {work.attack}",
        Kind.ATTACK.value: f"attack {work.attack}",
        Kind.RESTART.value: f"{work.attack} begun again",
    }
    parts = [work.input_name, NORM_SIGNS[work.norm], *filter(None, [attack_task.get(work.kind)])]
    host, process, *_ = work.owner.text.rsplit("/", 3)
    return TaskRow(
        model=names.get(work.model_sha256, without_gz(work.model).stem),
        what=" · ".join(parts),
        classes=f"{work.label} → {targets or '–'}",
        since=duration(max(0.0, now - work.since)) if work.since else "–",
        worker=work.worker or f"waiting for a worker of {host}, process {process}",
    )


def more_work(progress: Progress) -> int:
    """How many tasks at work are not among the rows."""
    return max(0, len(progress.work) - MOST_WORK)


def progress_lines(progress: Progress, names: Mapping[str, str]) -> list[str]:
    """What a store's campaigns are at, or how they ended, for the terminal; names: of models, by sha256."""
    lines = [headline(progress)]
    if not progress.running:
        told = advice(progress)
        return [*lines, told] if told else lines
    seconds = "–" if progress.seconds is None else duration(progress.seconds)
    lines.append(f"elapsed {seconds}, left {left_short(progress.left)} ({left_how(progress.left)})")
    for row in rows_of(progress, names):
        lines.append(f"at work: {row.model} · {row.what} · {row.classes}, since {row.since}, by {row.worker}")
    more = more_work(progress)
    return [*lines, f"and {more} more"] if more else lines
