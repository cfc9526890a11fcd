"""What `verifier campaign` does between the command line and the engine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from encoders.errors import InputError
from verifier.campaign.analysis.progress import Tally, progress_of
from verifier.campaign.backends import Backend
from verifier.campaign.certificates import certify
from verifier.campaign.plan.attack_tasks import FAILED, StoredFinding
from verifier.campaign.plan.plan import Plan, read_plan
from verifier.campaign.plan.selection import Remarks, tasks_of
from verifier.campaign.runner import CampaignLostError, run
from verifier.campaign.store.records import Result
from verifier.campaign.store.store import Store
from verifier.certificates.builder import UNDER_TRANSFORMS
from verifier.cli.complaint import complain
from verifier.cli.exit_codes import Exit
from verifier.cli.time_limit import CommandTime, Deadline
from verifier.problem.budget import Budget
from verifier.problem.verdict import Evidence
from verifier.report import terminal
from verifier.report.campaign.terminal import campaign_progress, campaign_table, counts_text, points_lines
from verifier.report.progress_words import progress_lines


def campaign(
    plan: Path | None,
    flags: Mapping[str, Any],
    backend: Backend,
    deadline: Deadline,
    certificates: Path | None = None,
) -> Exit:
    """Run a plan, or go on with it; with a folder for `certificates`, certify what is closed. Raises InputError.

    deadline: the command's, which the plan may limit.
    """
    asked = read_plan(plan, flags)
    if certificates is not None and asked.transforms is not None:
        raise InputError(f"--certificates does not go with transforms: {UNDER_TRANSFORMS}")
    deadline.limit(asked.total_budget)
    limits = CommandTime(deadline.whole, draws=False, proves=certificates is not None)
    deadline.answer = lambda: _late(deadline)
    remarks: Remarks = {}
    wanted = tasks_of(asked, remarks)
    tell_remarks(remarks)
    if not wanted:
        raise InputError(f"{plan or 'the command line'}: the plan asks for nothing: no input fits the selection")
    lost = ""
    with Store(asked.store) as store:
        with campaign_progress(limits.engine) as show:
            try:
                run(asked, wanted, store, backend, limits.engine, show)
            except CampaignLostError as error:
                lost = str(error)
        counts = store.counts(asked.sha256)
        missing = 0 if certificates is None else _certified(asked, store, certificates, backend, limits.proof)
        results, findings = store.results(asked.sha256), store.findings(asked.sha256)
    deadline.begin_answer()
    terminal.stdout().print(campaign_table(results))
    for line in points_lines(results, findings):
        terminal.stdout().print(line)
    terminal.stdout().print(f"{counts_text(counts)}: {asked.store}")
    for failed in [result for result in results if result.status in TROUBLE][:SHOWN]:
        complain(f"{failed.source}, {failed.input_name}, target {failed.target}: {failed.reason}")
    tell_failed(results, findings)
    if lost:
        complain(f"{lost}: the same command goes on from here")
    if limits.whole.cancelled:
        complain("interrupted: the same command goes on from here")
    return Exit.GOOD if counts.done and not missing else Exit.UNDECIDED


def _late(deadline: Deadline) -> Exit:
    """The end of a campaign whose time is up while it waits for something: the store has all that is known."""
    complain(f"{deadline.whole.reason}: the same command goes on from here")
    return Exit.UNDECIDED


def tell_remarks(remarks: Remarks) -> None:
    """What is to be known of the inputs, each remark once."""
    for remark, places in list(remarks.items())[:SHOWN]:
        others = f" and {len(places) - 1} more" if len(places) > 1 else ""
        complain(f"{next(iter(places))}{others}: {remark}")


def tell_failed(results: Sequence[Result], findings: Sequence[StoredFinding]) -> None:
    """The attacks and points that came to no answer, or that their time limit ended, and why."""
    by_id = {result.id: result for result in results}
    for found in [found for found in findings if found.state == FAILED][:SHOWN]:
        asked_of = by_id[found.instance]
        what = f"{found.kind} {found.attack}".strip()
        complain(f"{asked_of.source}, {asked_of.input_name}, target {asked_of.target}: {what}: {found.reason}")
    if cut := Counter(f"{found.kind} {found.attack}" for found in findings if found.cut):
        told = ", ".join(f"{what} ({count})" for what, count in cut.items())
        complain(f"ended by the time limit, with what was found by then: {told}")


def _certified(asked: Plan, store: Store, folder: Path, backend: Backend, budget: Budget) -> int:
    """Certify what is closed; how many brackets have no certificate."""
    with campaign_progress(budget) as show:
        closed = [result for result in store.results(asked.sha256) if result.closed]
        made = certify(store, closed, folder, backend.slots, budget, asked.timeout, show)
    failed = [done for done in made if done.error]
    for done in failed[:SHOWN]:
        task = done.job.task
        complain(f"no certificate: {task.source}, {task.name or task.index}, target {done.job.target}: {done.error}")
    closed = [result for result in store.results(asked.sha256) if result.closed]
    certified = sum(result.evidence == Evidence.CERTIFIED.label for result in closed)
    terminal.stdout().print(f"{certified} of {len(closed)} closed brackets certified: {folder}")
    return len(closed) - certified


TROUBLE = ("error", "contradiction")
SHOWN = 5
"""Failures that are told one by one, of each kind; the store has them all."""


def status(path: Path, clock: Callable[[], float] = time.time) -> Exit:
    """Print how far a store has come, also while campaigns write to it."""
    with Store(path, readonly=True) as store:
        contents = store.contents()
    counts = contents.counts
    terminal.stdout().print(campaign_table(contents.results))
    terminal.stdout().print(f"{counts_text(counts)}: {path}")
    for line in progress_lines(progress_of(contents.presence, Tally.of(contents.results), clock()), contents.names):
        terminal.stdout().print(line)
    return Exit.GOOD if counts.done else Exit.UNDECIDED
