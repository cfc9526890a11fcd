"""Results as tables on stdout, progress as two live lines on stderr."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.live import Live
from rich.table import Table
from rich.text import Text

from verifier.problem.budget import Budget
from verifier.problem.verdict import Bracket, Evidence, Search, Status, Witness
from verifier.report.changed_entries import changed_rows
from verifier.report.columns_result import only_rows
from verifier.report.directed_rounding import directed, ends, gap_text, places_for
from verifier.report.json_result import VERDICTS, CheckResult, RunRecord, float32_evidence
from verifier.report.norm_signs import NORM_NAMES
from verifier.report.screen import Screen

EVIDENCE_TEXT = {
    Evidence.SOLVER: "a floating-point solver's word, within its tolerances",
    Evidence.EXACT: "an exact solver's word (Z3 over the rationals)",
    Evidence.PROVED: "bounds of this engine with every rounding error covered",
    Evidence.CERTIFIED: "a certificate that the independent checker found valid",
}
STATUS_STYLE = {
    Status.MINIMAL: "bold green",
    Status.UNREACHABLE: "bold green",
    Status.ALREADY_ADVERSARIAL: "bold red",
    Status.BRACKETED: "bold yellow",
}
VERDICT_STYLE = {"holds": "bold green", "violated": "bold red", "unknown": "bold yellow"}
PLAIN_WIDTH = 120
"""Columns when stdout is no terminal: wide enough that tables are not folded."""


def stdout() -> Screen:
    """The console of results: colours only on a terminal."""
    terminal = sys.stdout.isatty()
    return Screen(sys.stdout, None if terminal else PLAIN_WIDTH)


def message(text: str) -> None:
    """A remark on stderr, for a person: silent unless stderr is a terminal."""
    if sys.stderr.isatty():
        Screen(sys.stderr).print(text, style="dim")


def pairs(title: str, rows: Sequence[tuple[str, str | Text]]) -> Table:
    """A table of two columns, names and values."""
    table = Table(title=title, title_justify="left", show_header=False, title_style="bold")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    return table


def bracket_table(run: RunRecord, bracket: Bracket, files: Sequence[Path], float32: Evidence | None = None) -> Table:
    """The result of `minimal` or `attack`: lower rounded down, upper rounded up.

    float32: what the lower end for float32 evaluations rests on; None: what the run's one certificate says.
    """
    places = places_for(bracket.precision)
    proved = run.command != "attack"
    status = Text(status_text(run, bracket), STATUS_STYLE[bracket.status])
    rows: list[tuple[str, str | Text]] = [("status", status)]
    rows += only_rows(run.columns, bracket if proved else None, run.norm)
    lower, upper = ends(bracket.lower, bracket.upper, bracket.precision)
    if proved and unproved(bracket):
        rows.append(("lower", NOTHING_PROVED))
    elif proved:
        rows += [
            ("lower", f"{lower}  no {'' if run.columns is None else 'such '}adversarial example is closer"),
            ("evidence", EVIDENCE_TEXT[bracket.evidence]),
        ]
        if bracket.float32 == 0.0 < bracket.lower:
            rows.append(("float32", "nothing proved for float32 evaluations"))
        elif bracket.float32 is not None:
            shown = lower if bracket.float32 == bracket.lower else directed(bracket.float32, up=False, places=places)
            level = float32 or float32_evidence(bracket.float32, run.certificate)
            rows.append(("float32", f"{shown}  the same for every float32 evaluation, {level.label}"))
    found = bracket.witness is not None
    rows.append(("upper", f"{upper}  the distance of the example found" if found else "none found"))
    rows.append(("goal", goal_text(run)))
    if bracket.witness is not None:
        rows += changed_rows(run.given, bracket.witness.point)
        rows += witness_rows(bracket.witness)
    rows += transform_rows(run, bracket.witness)
    if proved and bracket.status is not Status.ALREADY_ADVERSARIAL:
        rows.append(("first found", first_text(bracket) + ("" if run.columns is None else ELSEWHERE)))
    elif not proved:
        rows.append(("attack", bracket.initial.attack))
    title = "Distance to the nearest adversarial example" if proved else "Distance to an adversarial example"
    rows += _run_rows(run, bracket.search, bracket.seconds, files)
    return pairs(f"{title}, {NORM_NAMES[run.norm]}", rows)


ELSEWHERE = ", among all points of the box"
"""Where the search over the inputs that can occur began."""

NOTHING_PROVED = "nothing proved yet"
"""What stands where a lower end would be 0 because nothing has been proved."""


def unproved(bracket: Bracket) -> bool:
    """Is its lower end 0 because nothing has been proved, not because the input itself is on a tie or adversarial?"""
    return bracket.lower == 0.0 and bracket.status is Status.BRACKETED


def first_text(bracket: Bracket) -> str:
    """The distance that the search began with."""
    first = bracket.initial
    return (
        f"{directed(first.distance, up=True)} by {first.attack}"
        if math.isfinite(first.distance)
        else (f"nothing by {first.attack}")
    )


def all_targets_table(results: Sequence[Bracket]) -> Table:
    """One line a target."""
    table = Table(title="Every target", title_justify="left", title_style="bold")
    for name in ("target", "status", "lower", "upper", "predicted", "exact margin", "seconds"):
        table.add_column(name, justify="left" if name == "status" else "right")
    for bracket in results:
        witness = bracket.witness
        lower, upper = ends(bracket.lower, bracket.upper, bracket.precision)
        table.add_row(
            str(bracket.target),
            Text(bracket.status.value, STATUS_STYLE[bracket.status].removeprefix("bold ")),
            NOTHING_PROVED if unproved(bracket) else lower,
            upper if witness else "none found",
            str(witness.predicted) if witness else "",
            f"{witness.exact_margin:.3g}" if witness else "",
            f"{bracket.seconds:.2f}",
        )
    return table


def check_table(run: RunRecord, result: CheckResult, files: Sequence[Path]) -> Table:
    """The result of `check`."""
    verdict = VERDICTS[type(result.verdict)]
    radius = run.radius_told
    meaning = {
        "holds": f"no adversarial example within {radius}",
        "violated": f"there is an adversarial example within {radius}",
        "unknown": "undecided",
    }[verdict]
    rows: list[tuple[str, str | Text]] = [("verdict", Text(f"{verdict}: {meaning}", VERDICT_STYLE[verdict]))]
    if result.reason:
        rows.append(("reason", result.reason))
    if result.evidence is not None and verdict == "holds":
        rows.append(("evidence", EVIDENCE_TEXT[result.evidence]))
    if result.float32:
        level = float32_evidence(run.radius, run.certificate)
        rows.append(("float32", f"the same for every float32 evaluation, {level.label}"))
    rows += only_rows(run.columns, None, run.norm)
    rows.append(("goal", goal_text(run)))
    if result.witness is not None:
        rows.append(("distance", f"{directed(result.witness.distance, up=True)}  of the example found"))
        rows += changed_rows(run.given, result.witness.point)
        rows += witness_rows(result.witness)
    rows += transform_rows(run, result.witness)
    title = f"Robustness within {radius}, {NORM_NAMES[run.norm]}"
    return pairs(title, [*rows, *_run_rows(run, result.search, result.seconds, files)])


def status_text(run: RunRecord, bracket: Bracket) -> str:
    """The status of a bracket and what it means."""
    if run.command == "attack" and bracket.status is Status.BRACKETED:
        return "found, not proved to be the nearest" if bracket.witness else f"none found {bracket.reason}".rstrip()
    meaning = {
        Status.MINIMAL: NO_NEARER if _same_steps(bracket) else f"upper - lower <= {bracket.precision:g}",
        Status.BRACKETED: bracket.reason or "not closed",
        Status.UNREACHABLE: f"no {'point of the box' if run.columns is None else 'such input'} is adversarial",
        Status.ALREADY_ADVERSARIAL: "the input itself is, at distance 0",
    }[bracket.status]
    return f"{bracket.status.value}: {meaning}"


NO_NEARER = "no such input is nearer"
"""What a closed bracket says where distances are steps."""


def _same_steps(bracket: Bracket) -> bool:
    found = bracket.lattice
    return found is not None and found.upper is not None and found.lower == found.upper


def goal_text(run: RunRecord) -> str:
    """The goal in words: from the label to the target."""
    goal = f"class {run.label} to class {run.target}" if run.target is not None else f"class {run.label} to any other"
    if run.threshold is not None:
        goal += f" (of one output: class 1 is where it is ≥ {run.threshold:g})"
    if run.transforms is not None:
        same = "the same " if run.every_target else ""
        goal += f", {same}under all of {len(run.transforms.predicted)} transformations"
    return f"{goal}, by a margin of {run.margin:g}" if run.margin else goal


def witness_rows(witness: Witness) -> list[tuple[str, str | Text]]:
    """What the model makes of a witness, in exact arithmetic and in ONNX Runtime."""
    return [
        ("predicted", str(witness.predicted)),
        ("exact margin", f"{witness.exact_margin:.6g}"),
        ("ONNX Runtime margin", f"{witness.onnxruntime_margin:.6g}"),
    ]


def transform_rows(run: RunRecord, witness: Witness | None) -> list[tuple[str, str | Text]]:
    """For each transformation what the model predicts for the input, and for the witness."""
    record = run.transforms
    if record is None:
        return []
    lines = [f"{name}: {before}" for name, before in zip(record.given.names, record.predicted, strict=True)]
    if witness is not None:
        lines = [f"{line} to {after}" for line, after in zip(lines, witness.classes, strict=True)]
    return [("under each", "\n".join(lines))]


def _run_rows(
    run: RunRecord, search: Search | None, seconds: float, files: Sequence[Path]
) -> list[tuple[str, str | Text]]:
    rows: list[tuple[str, str | Text]] = []
    if run.method is not None:
        rows.append(("method", run.method if run.solver in (None, run.method) else f"{run.method} with {run.solver}"))
    if search is not None:
        rows.append(("search", search_text(search)))
    rows += [("seconds", f"{seconds:.2f}"), ("model", str(run.model)), ("input", f"{run.input}, index {run.index}")]
    if files:
        rows.append(("written", "\n".join(str(file) for file in files)))
    return rows


def search_text(search: Search) -> str:
    """A search in words: "LP tree, 7 600 nodes"."""
    nodes = f"{search.engine}, {_count(search.nodes)} node{'' if search.nodes == 1 else 's'}"
    return f"{nodes}, {_count(search.open_nodes)} of them open" if search.open_nodes else nodes


def _count(number: int) -> str:
    """A whole number in groups of three digits."""
    return f"{number:,}".replace(",", " ")


FIRST = "looking for a first example"
"""What is shown before the first bracket."""


class _Progress:
    """Two lines that rich asks for again four times a second, so that the clock runs between brackets."""

    def __init__(self, budget: Budget, text: str = FIRST) -> None:
        self.budget = budget
        self.text = text
        self.nodes = ""

    def show(self, bracket: Bracket) -> None:
        lower, upper = ends(bracket.lower, bracket.upper, bracket.precision)
        open_ = unproved(bracket) or not math.isfinite(bracket.upper)
        gap = "" if open_ else f"  gap {gap_text(lower, upper)}"
        proved = NOTHING_PROVED if unproved(bracket) else f"lower {lower}"
        found = f"upper {upper}" if math.isfinite(bracket.upper) else "none found yet"
        target = f"target {bracket.target}  " if bracket.target is not None else ""
        self.text = f"{target}{proved}  {found}{gap}"
        if bracket.search is not None:
            search = bracket.search
            self.nodes = f"{_count(search.open_nodes)} nodes open, {_count(round(search.rate))} a second  "

    def __rich__(self) -> Text:
        budget = self.budget
        left = f", {budget.remaining:.0f} s left" if math.isfinite(budget.limit) else ""
        return Text(f"{self.text}\n{self.nodes}({budget.spent:.1f} s{left})  Ctrl-C ends it", no_wrap=True)


@contextmanager
def progress(budget: Budget, text: str = FIRST) -> Iterator[Callable[[Bracket], None]]:
    """Show the bracket closing on stderr, only if that is a terminal; yields the function to call with each bracket.

    text: what is shown before the first one.
    """
    line = _Progress(budget, text)
    if not sys.stderr.isatty():
        yield line.show
        return
    console = Screen(sys.stderr)
    with Live(line, console=console, transient=True, refresh_per_second=4, redirect_stdout=False):
        yield line.show
