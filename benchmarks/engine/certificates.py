"""Certificates for the instances of `benchmarks.paper.table1` that close: how many, how large, how long to check.

`python -m benchmarks.engine.certificates --limit 20` solves each instance, then builds and checks its certificate, each
step in its own --timeout; what is not certified then is tried once more, with --again times as long. The record is
written after every instance; the same command goes on where it stopped. Exit code 0: every closed instance is
certified; 3: not all.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import verifier
from benchmarks.harness.arguments import above_zero, at_least_zero, count
from benchmarks.harness.instances import (
    Call,
    Image,
    Instance,
    Stopwatch,
    add_options,
    compile_kernels,
    in_processes,
    key_of,
    loaded,
    warm_up,
)
from benchmarks.harness.record import Record, table
from benchmarks.harness.table_set import MODELS, NORMS, Pair, record_path, table_set
from benchmarks.paper.table1 import UNDECIDED, add_part, nets_of, selected
from encoders.errors import InputError
from verifier.certificates import checker
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.blas import single_threaded_blas
from verifier.problem.budget import OutOfTimeError
from verifier.problem.verdict import Status

SETTING = ("precision", "timeout", "seed")
TIMING = (
    "CPU seconds, one thread. solve_seconds: verifier.minimal, the attack included; build_seconds: the certificate, "
    "its check included; check_seconds: a check alone, once more, in the same process. `reason` is empty where there "
    "is a certificate."
)


@dataclass(frozen=True, kw_only=True)
class Row(Instance):
    """One instance: its certificate's size and what it cost; leaves and size are 0 without one."""

    status: str
    lower: float
    nodes: int | None
    leaves: int = 0
    size: int = 0
    solve_seconds: float
    build_seconds: float = 0.0
    check_seconds: float = 0.0
    reason: str = ""
    float32: float | None = None
    """What the certificate proves of float32 evaluations, as a share of what the search does; None where that is 0."""
    allowed: float | None = None
    """Seconds for each step, where that is not the record's timeout."""

    @property
    def key(self) -> tuple[Any, ...]:
        return key_of(self, "certificate")

    @property
    def certified(self) -> bool:
        return self.size > 0


def certify(instance: Instance, image: Image, call: Call, allowed: float | None = None) -> Row:
    """Solve an instance; where it closes, certify it. `allowed`: what the row says of the time."""
    model, watch = loaded(instance.model), Stopwatch()
    found = verifier.minimal(
        model, image, target=instance.target, norm=instance.norm, timeout=call.timeout, precision=call.precision,
        device="cpu",
    )  # fmt: skip
    nodes = found.search.nodes if found.search is not None else None
    facts: dict[str, Any] = {
        **asdict(instance),
        "status": found.status.value,
        "lower": found.lower,
        "nodes": nodes,
        "solve_seconds": watch.read()["cpu_seconds"],
        "allowed": allowed,
    }
    if found.status is Status.BRACKETED:
        return Row(**facts, reason=found.reason)
    point = found.witness.point if found.witness is not None else None
    build = Stopwatch()
    try:
        made = verifier.certificate(
            model, image, found.lower, point, target=instance.target, norm=instance.norm, timeout=call.timeout,
            float32=found.float32 or 0.0,
        )  # fmt: skip
    except (NotCertifiedError, OutOfTimeError) as error:
        return Row(**facts, reason=str(error), build_seconds=build.read()["cpu_seconds"])
    built, check = build.read()["cpu_seconds"], Stopwatch()
    with single_threaded_blas():
        checker.checked(made.content, model.path.read_bytes(), model.path.parent)
    return Row(
        **facts,
        leaves=made.leaves,
        float32=made.result.float32 / found.float32 if found.float32 else None,
        size=len(made.content),
        build_seconds=built,
        check_seconds=check.read()["cpu_seconds"],
    )


HEADER = (
    "net", "norm", "closed", "certified", "float32: least", "leaves: mean", "max", "bytes: mean", "a leaf",
    "build / solve", "check / solve", "worst",
)  # fmt: skip


def summary(rows: list[Row], pair: Pair = MODELS) -> str:
    """A line for each net and norm; bytes a leaf and ratios of seconds are those of the sums."""
    lines = []
    for model, norm in product(pair, NORMS):
        part = [row for row in rows if (row.model, row.norm) == (model, norm)]
        made = [row for row in part if row.certified]
        if not made:
            continue
        leaves, size = sum(row.leaves for row in made), sum(row.size for row in made)
        solved = sum(row.solve_seconds for row in made)
        lines.append(
            (
                model,
                norm,
                f"{sum(row.status != Status.BRACKETED.value for row in part)}/{len(part)}",
                str(len(made)),
                min((f"{row.float32:.4f}" for row in made if row.float32 is not None), default=""),
                f"{leaves / len(made):.0f}",
                str(max(row.leaves for row in made)),
                f"{statistics.fmean(row.size for row in made):.0f}",
                f"{size / leaves:.0f}",
                f"{sum(row.build_seconds for row in made) / solved:.2f}",
                f"{sum(row.check_seconds for row in made) / solved:.2f}",
                f"{max(row.check_seconds / row.solve_seconds for row in made):.2f}",
            )
        )
    return table(HEADER, lines)


def lacking(row: Row | None, allowed: float | None) -> bool:
    """Is the instance to be run: for the first time, or with the longer time that is allowed?"""
    if row is None or allowed is None:
        return row is None
    return not row.certified and (row.allowed or 0.0) < allowed


def main(words: Sequence[str] | None = None) -> int:
    """Run the set and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_part(parser)
    parser.add_argument("--jobs", type=count, default=1, help="instances at a time (default: %(default)d)")
    parser.add_argument("--precision", type=at_least_zero, default=1e-3, help="default: %(default)g")
    parser.add_argument(
        "--again", type=above_zero, default=4.0, help="longer limit, times --timeout (default: %(default)g)"
    )
    add_options(parser, timeout=120.0, out=None)
    arguments = parser.parse_args(words)
    pair = nets_of(parser, arguments)
    arguments.out = arguments.out or record_path("certificates", arguments.pair)
    call = Call("tree", None, arguments.precision, arguments.timeout)
    try:
        compile_kernels()
        record: Record[Row] = Record.of(arguments, SETTING, Row, note=TIMING)
        chosen = table_set(arguments.data, arguments.seed, pair)
        wanted = selected(arguments, chosen.instances)
        longer = replace(call, timeout=arguments.again * arguments.timeout)
        try:
            for one, allowed in ((call, None), (longer, longer.timeout)):
                known = {row.key: row for row in record.rows}
                todo = [each for each in wanted if lacking(known.get(key_of(each, "certificate")), allowed)]
                tasks = [(instance, chosen.images[instance.index], one, allowed) for instance in todo]
                for row in in_processes(arguments.jobs, certify, tasks, warm_up, (todo, chosen.spare, call)):
                    record.add(row)
        except KeyboardInterrupt:
            print("interrupted: the same command goes on from here", file=sys.stderr)
    except InputError as error:
        print(f"certificates: error: {error}", file=sys.stderr)
        return 2
    rows = [row for row in record.rows if key_of(row, "certificate") in {key_of(one, "certificate") for one in wanted}]
    if rows:
        print(summary(rows, pair))
    missing = [row for row in rows if row.status != Status.BRACKETED.value and not row.certified]
    for row in missing:
        print(f"{row.model} {row.norm} {row.index} -> {row.target}: {row.reason}")
    return 0 if not missing and len(rows) == len(wanted) else UNDECIDED


if __name__ == "__main__":
    raise SystemExit(main())
