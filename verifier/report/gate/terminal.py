"""A gate on the terminal: each requirement, its verdict, its figure, and the inputs that it rests on."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.live import Live
from rich.table import Table
from rich.text import Text

from verifier.gate.settle import Watch
from verifier.gate.verdict import Judgement, Ruling
from verifier.problem.budget import Budget
from verifier.report.gate.words import RULING_WORDS, GateRun, bracket_text, deciding, figure_text, heading, summary
from verifier.report.screen import Screen

STYLES = {Ruling.PASS: "bold green", Ruling.FAIL: "bold red", Ruling.UNDECIDED: "bold yellow"}
SHOWN = 3
"""Inputs that are named for each requirement; the JSON has them all."""


def gate_table(run: GateRun) -> Table | Text:
    """A line a requirement and group; below those that do not pass, the inputs that say why."""
    head = f"{run.path}: {summary(run.judgements)}{f', {run.reason}' if run.reason else ''}"
    if not run.judgements:
        return Text(head, style="bold")
    told = str(run.proofs) if run.proofs is not None and run.proofs.count else None
    table = Table(title=head, title_justify="left", title_style="bold", caption=told, caption_justify="left")
    for name in ("requirement", "", "found"):
        table.add_column(name, overflow="fold")
    for judgement in run.judgements:
        verdict = Text(RULING_WORDS[judgement.ruling], style=STYLES[judgement.ruling])
        lines = [figure_text(judgement.figure), *([judgement.note] if judgement.note else [])]
        for one, ruling in deciding(judgement, SHOWN):
            picture = f", {run.witnesses[one.key]}" if ruling is Ruling.FAIL and one.key in run.witnesses else ""
            why = f", {one.reason}" if ruling is Ruling.UNDECIDED and one.reason else ""
            lines.append(f"{one.name} (class {one.label}): {bracket_text(one)}{why}{picture}")
        table.add_row(f"{judgement.requirement}\n{heading(judgement)}", verdict, "\n".join(lines))
    return table


@contextmanager
def gate_progress(budget: Budget) -> Iterator[Watch]:
    """Requirements settled, and what the open ones lack; silent unless stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with Live(console=Screen(sys.stderr), transient=True, refresh_per_second=4) as live:

        def show(judgements: Sequence[Judgement]) -> None:
            lines = [summary(judgements) + f", {budget.spent:.0f} s"]
            lines += [
                f"{one.requirement}: {figure_text(one.figure)}, {len(one.wishes)} inputs open"
                for one in judgements
                if one.ruling is Ruling.UNDECIDED
            ]
            live.update(Text("\n".join(lines)))

        yield show
