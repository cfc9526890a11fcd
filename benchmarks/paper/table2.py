"""Table 2 of Carlini, Katz, Barrett and Dill (2018): what adversarial training is worth, ours beside theirs.

`python -m benchmarks.paper.table2` reads the record of `benchmarks.paper.table1` and compares, over the instances
that are closed on both nets, the minimal distances: their means, the factor between them, and how many inputs the
defence brought closer to the target instead. With --run what the record lacks is run first, under the record's own
setting. Exit code 3: some instances are missing or open.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.instances import Call, Result, compile_kernels
from benchmarks.harness.record import Record, table
from benchmarks.harness.table_set import CLASSES, MODELS, NORMS, PAIRS, Pair, add_pair, record_path, table_set
from benchmarks.paper import table1
from benchmarks.paper.published import TABLE2
from benchmarks.paper.table1 import UNDECIDED
from encoders.errors import InputError

DEFAULTS = {"method": table1.ENGINE, "solver": None, "precision": 1e-3, "timeout": 120.0, "seed": 0, "jobs": 2}
"""The setting of a record that is yet to be made; that of one that is there stays."""

EXPECTED = CLASSES * (CLASSES - 1)
"""Instances for each net and norm."""

Closed = tuple[Result, Result]
"""One instance on the undefended and on the defended net."""


def pairs(rows: Sequence[Result], norm: str, nets: Pair = MODELS) -> list[Closed]:
    """The instances of a norm that are closed on both nets."""
    of: list[dict[tuple[int, int], Result]] = []
    for model in nets:
        closed = [row for row in rows if (row.model, row.norm) == (model, norm) and row.closed]
        of.append({(row.index, row.target): row for row in closed})
    undefended, defended = of
    return [(undefended[key], defended[key]) for key in sorted(undefended.keys() & defended.keys())]


HEADER = (
    "norm", "", "instances", "distance: N", "N-bar", "factor", "worse", "these: mean N-bar / N", "least",
)  # fmt: skip


def summary(rows: Sequence[Result], nets: Pair = MODELS) -> str:
    """Two lines a norm, the published one where there is one. Distances are means of upper ends, the factor theirs.

    An instance is worse when its bracket on N-bar lies wholly below that on N.
    """
    lines = []
    for norm in NORMS:
        if (printed := TABLE2.get(norm)) is not None:
            distances = f"{printed.undefended:g}", f"{printed.defended:g}"
            lines.append(
                (norm, "paper", str(printed.instances), *distances, f"{printed.factor:g}", str(printed.worse), "-", "-")
            )
        found = pairs(rows, norm, nets)
        if not found:
            continue
        before, after = (statistics.fmean(pair[place].upper for pair in found) for place in (0, 1))
        ratios = [after.upper / before.upper for before, after in found if after.upper < before.lower]
        worse = (f"{statistics.fmean(ratios):.2f}", f"{min(ratios):.2f}") if ratios else ("-", "-")
        lines.append(
            (norm, "ours", str(len(found)), f"{before:.4f}", f"{after:.4f}", f"{after / before:.2f}", str(len(ratios)),
             *worse)
        )  # fmt: skip
    return table(HEADER, lines)


def opened(path: Path) -> Record[Result]:
    """The record of table 1 at `path`, or a new one. Raises InputError for a file that is none."""
    setting = DEFAULTS
    if path.exists():
        try:
            setting = json.loads(path.read_text(encoding="utf-8"))["setting"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no record of benchmarks.paper.table1: {error}") from None
    return Record(path, setting, Result, note=table1.TIMING)


def complete(record: Record[Result], data: Path | None, nets: Pair) -> None:
    """Run what the record lacks."""
    asked = record.setting
    call = Call(asked["method"], asked["solver"], asked["precision"], asked["timeout"])
    chosen = table_set(data, asked["seed"], nets)
    compile_kernels()
    table1.run(call, asked["jobs"], record, chosen, chosen.instances)


def main(words: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_pair(parser)
    parser.add_argument("--record", type=Path, help="of benchmarks.paper.table1 on this pair")
    parser.add_argument("--run", action="store_true", help="run the instances that the record lacks")
    parser.add_argument("--data", type=Path, help="the folder of the MNIST idx files, for --run")
    arguments = parser.parse_args(words)
    nets = PAIRS[arguments.pair]
    arguments.record = arguments.record or record_path("table1_engine", arguments.pair)
    try:
        record = opened(arguments.record)
        if arguments.run:
            complete(record, arguments.data, nets)
    except InputError as error:
        print(f"table2: error: {error}", file=sys.stderr)
        return 2
    print(summary(record.rows, nets))
    total = EXPECTED * len(nets) * len(NORMS)
    closed = sum(row.closed for row in record.rows)
    missing = f"; {total - len(record.rows)} are missing: --run runs them" if len(record.rows) < total else ""
    print(f"{closed} of {total} instances are closed{missing}: {arguments.record}")
    return 0 if closed == total else UNDECIDED


if __name__ == "__main__":
    raise SystemExit(main())
