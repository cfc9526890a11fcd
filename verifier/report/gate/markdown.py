"""A gate for reviewers: a Markdown summary, and GitHub's annotations and step summary."""

from __future__ import annotations

import os
from pathlib import Path

from encoders.errors import InputError
from verifier.gate.verdict import Ruling
from verifier.report.gate.words import RULING_WORDS, GateRun, bracket_text, deciding, figure_text, heading, summary
from verifier.report.markdown_words import cell

SIGNS = {Ruling.PASS: "✅", Ruling.FAIL: "❌", Ruling.UNDECIDED: "⚠️"}
LEVELS = {Ruling.FAIL: "error", Ruling.UNDECIDED: "warning"}
SHOWN = 10
"""Inputs that are named for each requirement."""

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


def markdown(run: GateRun) -> str:
    """A heading, a table of the requirements, and a table of the inputs for each that does not pass."""
    lines = [
        f"## Robustness: {SIGNS[run.ruling]} {RULING_WORDS[run.ruling]}",
        "",
        f"{cell(str(run.path))}: {summary(run.judgements)}; {run.asked} questions, {run.seconds:.1f} s, "
        f"relu-verifier {run.version}. {_proofs(run)}{run.reason}".rstrip(),
        "",
        "| | requirement | model | found |",
        "|---|---|---|---|",
    ]
    for judgement in run.judgements:
        found = figure_text(judgement.figure) + (f"; {judgement.note}" if judgement.note else "")
        cells = (SIGNS[judgement.ruling], judgement.requirement, heading(judgement), found)
        lines.append(f"| {' | '.join(map(cell, cells))} |")
    for judgement in run.judgements:
        rows = deciding(judgement, SHOWN)
        if rows:
            lines += [
                "",
                f"**{cell(judgement.requirement)}**",
                "",
                "| | input | class | bracket |",
                "|---|---|---|---|",
            ]
        for one, ruling in rows:
            picture = f", {run.witnesses[one.key]}" if one.key in run.witnesses else ""
            cells = (SIGNS[ruling], one.name, str(one.label), bracket_text(one) + picture)
            lines.append(f"| {' | '.join(map(cell, cells))} |")
    return "\n".join(lines) + "\n"


def _proofs(run: GateRun) -> str:
    return f"{cell(str(run.proofs))}. " if run.proofs is not None and run.proofs.count else ""


def workflow_commands(run: GateRun) -> list[str]:
    """GitHub's workflow commands, one for each requirement that does not pass, at the gate's file."""
    found = []
    for judgement in run.judgements:
        if judgement.ruling in LEVELS:
            message = f"{figure_text(judgement.figure)} ({heading(judgement)})"
            for one, _ in deciding(judgement, SHOWN):
                message += f"\n{one.name} (class {one.label}): {bracket_text(one)}"
            level, place = LEVELS[judgement.ruling], _property(str(run.path))
            title = _property(f"{judgement.requirement}: {RULING_WORDS[judgement.ruling]}")
            found.append(f"::{level} file={place},title={title}::{_escaped(message)}")
    return found


def error_command(path: Path, message: str) -> str:
    """GitHub's workflow command for what keeps a gate from being asked at all."""
    return f"::error file={_property(str(path))},title=the gate cannot be asked::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def append_step_summary(text: str) -> None:
    """Add to GitHub's step summary, where there is one. Raises InputError where it cannot be written."""
    place = os.environ.get(STEP_SUMMARY)
    if place:
        try:
            with Path(place).open("a", encoding="utf-8") as stream:
                stream.write(text)
        except OSError as error:
            raise InputError(f"{STEP_SUMMARY}: {place}: {error.strerror or error}") from None
