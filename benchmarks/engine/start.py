"""The first moments: what commands on the shipped digits net cost the processor, the start of the process included.

`python -m benchmarks.engine.start` runs each command some times, in turn, and prints the least and the median of the
CPU seconds (user and system, children included), since a shared machine's wall clock says little. The questions are
trivial: linear bounds close the check, a few dozen nodes the minimum. Kernels and bytecode are compiled before, as
installing does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.arguments import count
from benchmarks.harness.instances import compile_kernels
from benchmarks.harness.record import RESULTS, Record, table
from verifier import models

DIGITS = models.path("digits")
QUESTION = [str(DIGITS), str(DIGITS.with_name("digits_inputs.npz")), "--index", "0"]

COMMANDS = {
    "--help": ["--help"],
    "inspect": ["inspect", str(DIGITS)],
    "check": ["check", *QUESTION, "--radius", "0.02"],
    "minimal": ["minimal", *QUESTION],
    "minimal --all-targets": ["minimal", *QUESTION, "--all-targets"],
}

AIMS = {"check": 0.6, "minimal": 0.8}
"""CPU seconds that a trivial question is to stay below on a quiet machine."""


@dataclass(frozen=True)
class Row:
    """One command: the least and the median of its CPU seconds, and the median of its wall seconds."""

    command: str
    runs: int
    least: float
    median: float
    wall: float

    @property
    def key(self) -> tuple[int, str]:
        return list(COMMANDS).index(self.command), self.command


def cost(arguments: list[str], folder: Path | None = None) -> tuple[float, float]:
    """CPU and wall seconds of one command, begun in a folder. Raises CalledProcessError where it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, start = os.times(), time.monotonic()
    command = [sys.executable, "-m", "verifier", *arguments]
    subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=True, cwd=folder)
    after, end = os.times(), time.monotonic()
    user, system = (getattr(after, name) - getattr(before, name) for name in ("children_user", "children_system"))
    return user + system, end - start


def measured(runs: int) -> list[Row]:
    """All commands, in turn, so that what else the machine does falls on all of them; each once before, uncounted."""
    for arguments in COMMANDS.values():
        cost(arguments)
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name, arguments in COMMANDS.items():
            costs[name].append(cost(arguments))
    rows = []
    for name, pairs in costs.items():
        cpu, wall = zip(*pairs, strict=True)
        median, middle = (round(statistics.median(values), 3) for values in (cpu, wall))
        rows.append(Row(name, runs, round(min(cpu), 3), median, middle))
    return rows


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=count, default=7, help="of each command")
    parser.add_argument("--out", type=Path, default=RESULTS / "start.json", help="the record")
    parser.add_argument("--fresh", action="store_true", help="begin the record anew")
    options = parser.parse_args(words)
    compile_kernels()
    record = Record.of(options, ["runs"], Row)
    for row in measured(options.runs):
        record.add(row)
    lines = [
        (row.command, f"{row.least:.2f}", f"{row.median:.2f}", f"{row.wall:.2f}", str(AIMS.get(row.command, "")))
        for row in record.rows
    ]
    print(table(("command", "CPU s, least", "median", "wall s, median", "aim"), lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
