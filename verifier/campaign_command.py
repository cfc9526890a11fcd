"""What `verifier campaign` does between the command line and the engine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoders.errors import InputError
from verifier.campaign.backends import Backend
from verifier.campaign.errands import FAILED
from verifier.campaign.plan import read_plan
from verifier.campaign.run import run
from verifier.campaign.selection import tasks_of
from verifier.campaign.store import Store
from verifier.deadline import interruptible
from verifier.exit_codes import Exit
from verifier.report import terminal
from verifier.report.campaign import campaign_progress, campaign_table, counts_text
from verifier.verdict import Budget


def campaign(plan: Path | None, flags: Mapping[str, Any], backend: Backend, start: float) -> Exit:
    """Run a plan, or go on with it."""
    asked = read_plan(plan, flags)
    budget = Budget(asked.total_budget, start)
    with interruptible(budget):
        wanted = tasks_of(asked)
        if not wanted:
            raise InputError(f"{plan or 'the command line'}: the plan asks for nothing: no input fits the selection")
        with Store(asked.store) as store:
            with campaign_progress(budget) as show:
                counts = run(asked, wanted, store, backend, budget, show)
            results, findings = store.results(asked.sha256), store.findings(asked.sha256)
    terminal.stdout().print(campaign_table(results))
    terminal.stdout().print(f"{counts_text(counts)}: {asked.store}")
    for failed in [result for result in results if result.status in TROUBLE][:SHOWN]:
        sys.stderr.write(f"verifier: {failed.source} {failed.index}, target {failed.target}: {failed.reason}\n")
    by_id = {result.id: result for result in results}
    for found in [found for found in findings if found.state == FAILED][:SHOWN]:
        asked_of = by_id[found.instance]
        what = f"{found.kind} {found.attack}".strip()
        sys.stderr.write(
            f"verifier: {asked_of.source} {asked_of.index}, target {asked_of.target}: {what}: {found.reason}\n"
        )
    if budget.cancelled:
        sys.stderr.write("verifier: interrupted: the same command goes on from here\n")
    return Exit.GOOD if counts.done else Exit.UNDECIDED


TROUBLE = ("error", "contradiction")
SHOWN = 5
"""Failures that are told one by one, of each kind; the store has them all."""


def status(path: Path) -> Exit:
    """Print how far a store has come, also while campaigns write to it."""
    with Store(path, readonly=True) as store:
        results, counts = store.results(), store.counts()
    terminal.stdout().print(campaign_table(results))
    terminal.stdout().print(f"{counts_text(counts)}: {path}")
    return Exit.GOOD if counts.done else Exit.UNDECIDED
