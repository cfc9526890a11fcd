"""A campaign on the terminal: its table on stdout, its progress on stderr."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from verifier.campaign.analysis.attack_quality import counts_words, replays
from verifier.campaign.analysis.table1 import summary
from verifier.campaign.plan.attack_tasks import StoredFinding
from verifier.campaign.store.records import Counts, Result
from verifier.problem.budget import Budget
from verifier.report.norm_signs import NORM_NAMES
from verifier.report.screen import Screen

HEADER = ("model", "norm", "method", "closed", "initial (mean)", "minimal (mean)", "improvement")


def campaign_table(results: Sequence[Result]) -> Table:
    """Table 1's columns, a line for each model, norm and method."""
    table = Table(title="Minimal distances", title_justify="left", title_style="bold")
    for name in HEADER:
        table.add_column(name, justify="left" if name in HEADER[:3] else "right")
    for line in summary(results):
        method = line.group.method + (f", {len(line.views)} views" if line.views else "")
        method += f", only {line.only}" if line.only else ""
        model = line.model.name + (f", output {line.group.output}" if line.group.output is not None else "")
        names = (model, NORM_NAMES[line.group.norm], method)
        found = line.means
        means = (f"{found.initial:.4f}", f"{found.upper:.4f}", f"{100 * found.improvement:.1f} %") if found else "---"
        table.add_row(*names, f"{line.closed}/{line.instances}", *means)
    return table


def counts_text(counts: Counts) -> str:
    """How far a campaign has come, in words."""
    untouched = counts.instances - counts.closed - counts.open - counts.failed
    parts = [f"{counts.closed} of {counts.instances} closed", f"{counts.open} open", f"{untouched} not begun"]
    if counts.failed:
        parts.append(f"{counts.failed} failed")
    if counts.attack_tasks:
        parts.append(f"{counts.attack_tasks} attacks and restarts to come")
    if counts.attack_tasks_failed:
        parts.append(f"{counts.attack_tasks_failed} attacks and restarts failed")
    if counts.at_work:
        parts.append(f"{counts.at_work} tasks at work")
    return ", ".join(parts)


def points_lines(results: Sequence[Result], findings: Sequence[StoredFinding]) -> list[str]:
    """What became of the points of each tool, over all models and norms."""
    told: dict[str, tuple[int, Counter[str]]] = {}
    for one in replays(results, findings):
        given, refused = told.get(one.tool, (0, Counter()))
        told[one.tool] = given + one.given, refused + Counter(one.refused)
    lines = []
    for tool, (given, refused) in told.items():
        why = counts_words(refused)
        lines.append(
            f"{tool}: {given - refused.total()} of {given} points replay" + (f"; the others: {why}" if why else "")
        )
    return lines


@contextmanager
def campaign_progress(budget: Budget) -> Iterator[Callable[[Counts], None]]:
    """Instances done, open brackets, time left; silent unless stderr is a terminal. Yields what to call with counts."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    console = Screen(sys.stderr)
    limited = math.isfinite(budget.limit)
    left = TextColumn("{task.fields[left]}") if limited else TimeRemainingColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), left)
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("preparing", total=None, left="")

        def show(counts: Counts) -> None:
            text = f"{counts.open} open" + (f", {counts.failed} failed" if counts.failed else "")
            text += f", {counts.attack_tasks} attacks to come" if counts.attack_tasks else ""
            seconds = f"{budget.remaining:.0f} s left" if limited else ""
            progress.update(bar, description=text, completed=counts.closed, total=counts.instances, left=seconds)

        yield show
