"""What `verifier bounds` does between the command line and the engine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from verifier.cli.exit_codes import Exit
from verifier.cli.time_limit import CommandTime, Deadline
from verifier.problem.inputs.box import read_box
from verifier.problem.quantities import Quantity
from verifier.report import json_result, terminal
from verifier.report.ranges_result import ranges_json, ranges_table
from verifier.runtime.model import EVERY, load
from verifier.search.output_ranges import OutputRanges, output_ranges
from verifier.search.settings import Settings


@dataclass(frozen=True)
class AskedRanges:
    """What the command line asks."""

    model: Path
    box: str
    entries: list[int] | None
    precision: Quantity | None
    output: str | None
    semantics: str
    seed: int


def bounds(asked: AskedRanges, deadline: Deadline, *, as_json: bool) -> Exit:
    """Answer `verifier bounds`."""
    budget = CommandTime(deadline.whole, draws=False).engine
    model = load(asked.model, budget, output=asked.output or EVERY)
    box = read_box(asked.box, model.graph.input_size)
    precision = None if asked.precision is None else asked.precision.value
    settings = Settings(budget, seed=asked.seed, once=True)

    def begun(known: Callable[[], OutputRanges]) -> None:
        deadline.answer = lambda: _tell(known(), as_json)

    with terminal.progress(budget, "moving proved ends and attained values together"):
        answer = output_ranges(model, box, settings, asked.entries or None, precision, asked.semantics, begun)
    deadline.begin_answer()
    return _tell(answer, as_json)


def _tell(answer: OutputRanges, as_json: bool) -> Exit:
    if as_json:
        sys.stdout.write(json_result.dumps(ranges_json(answer)))
    else:
        terminal.stdout().print(ranges_table(answer))
    return Exit.UNDECIDED if answer.reason else Exit.GOOD
