"""What a gate costs whose answers are known: the example's gate, asked twice, the second time beside its store.

`python -m benchmarks.engine.gate_cache` copies `examples/ci` to a folder of its own for each pair of runs and asks its
gate there two times. CPU seconds (user and system, children included), the start of the processes too; kernels and
bytecode are compiled before. Exit code 1: a second run took more than AIM of the first.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engine.start import cost
from benchmarks.harness.arguments import count
from benchmarks.harness.instances import compile_kernels
from benchmarks.harness.record import RESULTS, Record, table

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "ci"
GATE = ["gate", "--jobs", "1"]

AIM = 0.1
"""The share of the first run's CPU seconds that the second one may take."""


@dataclass(frozen=True)
class Row:
    """One pair of runs: CPU and wall seconds of the first and of the second."""

    run: int
    first_cpu: float
    first_wall: float
    second_cpu: float
    second_wall: float

    @property
    def key(self) -> tuple[int]:
        return (self.run,)

    @property
    def share(self) -> float:
        """The second run's CPU seconds as a share of the first one's."""
        return self.second_cpu / self.first_cpu


def twice(run: int) -> Row:
    """The gate's cost without and with a store. Raises CalledProcessError where it does not pass."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "ci"
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".verifier"))
        first, second = cost(GATE, folder), cost(GATE, folder)
    return Row(run, *(round(seconds, 3) for seconds in (*first, *second)))


def main(words: Sequence[str] | None = None) -> int:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=count, default=3, help="pairs of runs")
    parser.add_argument("--out", type=Path, default=RESULTS / "gate_cache.json", help="the record")
    parser.add_argument("--fresh", action="store_true", help="begin the record anew")
    options = parser.parse_args(words)
    compile_kernels()
    record = Record.of(options, ["runs"], Row)
    for run in range(options.runs):
        record.add(twice(run))
    rows = record.rows
    header = ("run", "first, CPU s", "wall s", "second, CPU s", "wall s", "share")
    lines = [
        (str(row.run), f"{row.first_cpu:.2f}", f"{row.first_wall:.1f}", f"{row.second_cpu:.2f}",
         f"{row.second_wall:.1f}", f"{row.share:.3f}")
        for row in rows
    ]  # fmt: skip
    print(table(header, lines))
    return 1 if statistics.median(row.share for row in rows) > AIM else 0


if __name__ == "__main__":
    sys.exit(main())
