"""VNN-COMP's instances through the command line, start included, their verdicts beside the official ones.

Each instance is one `verifier check MODEL --property FILE --json` in a process of its own; every `sat` is judged again
here, by a session on the file and the property's exact numbers. A run that was killed goes on where it stopped;
`--again` asks once more what is open, on a quieter machine or with newer code.

    python -m benchmarks.vnncomp.run --benchmark acasxu --limit 60
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.harness.arguments import above_zero, count
from benchmarks.harness.mnist import SHARED
from benchmarks.harness.record import RESULTS, Record, rows_in, table, write_atomically
from benchmarks.vnncomp.instances import VnnInstance, benchmarks_in, read_instances, stored, witness_name
from encoders.errors import InputError
from encoders.onnx_io.file import load_model, ports_of
from verifier.problem.properties.from_vnnlib import read_text
from verifier.runtime.device import Device
from verifier.runtime.query_model import property_about
from verifier.runtime.session import Level, session

SETTING = ("limit", "threads")
NOTE = (
    "Wall and CPU seconds are the process's, start included. official: the consensus of the competition's tools of all "
    "years. tolerance only: the box holds no number of the model's dtype, but a real point that satisfies the property."
)

LIMITS = {
    "rl_benchmarks": 30.0,
    "reach_prob_density": 30.0,
    "safenlp": 20.0,
    "mnist_fc": 120.0,
    "oval21": 120.0,
    "sri_resnet_a": 120.0,
}
"""Seconds for an instance of these; of the others 60, or what --limit says for all."""

SPARE = 30.0
"""Seconds beyond the limit after which a process is killed: it keeps its limit by itself, which is recorded."""

SAT, UNSAT, UNKNOWN, TORN, REFUSED = "sat", "unsat", "unknown", "tolerance only", "refused"
VERDICTS = {"violated": SAT, "holds": UNSAT, "unknown": UNKNOWN}


@dataclass(frozen=True)
class VnnRow(VnnInstance):
    """An instance and our answer. wrong: against the official verdict, or a counterexample that is none."""

    verdict: str
    wrong: bool
    float32: bool
    reason: str
    engine: str
    nodes: int
    limit: float
    seconds: float
    cpu_seconds: float

    @property
    def open(self) -> bool:
        """Is it unknown, refused, or of a counterexample that is none?"""
        return self.verdict in (UNKNOWN, REFUSED) or (self.verdict == SAT and self.wrong)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is not in the record yet; 0 unless an answer is wrong."""
    asked = _parser().parse_args(arguments)
    try:
        names = asked.benchmark or benchmarks_in(asked.data)
        instances = [one for name in names for one in read_instances(asked.data, name, asked.every)]
        if asked.known_first:
            instances.sort(key=lambda one: one.official not in (SAT, UNSAT))
        record = Record.of(asked, SETTING, VnnRow, note=NOTE)
        done = {row.key for row in record.rows if not (asked.again and row.open)}
        for instance in instances:
            if instance.key not in done:
                row = answered(instance, asked)
                record.add(row)
                print(_line(row), flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    wanted = {instance.key for instance in instances}
    rows = [row for row in record.rows if row.key in wanted]
    print(summary(rows))
    return int(any(row.wrong for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--benchmark", action="append", metavar="NAME", help="may be repeated; all by default")
    parser.add_argument(
        "--limit", type=above_zero, metavar="S", help="seconds for each instance; by default its benchmark's"
    )
    parser.add_argument("--every", type=count, default=1, metavar="N", help="every N-th instance only")
    parser.add_argument("--known-first", action="store_true", help="ask first what has an official verdict")
    parser.add_argument("--threads", type=count, default=1, metavar="N")
    parser.add_argument("--data", type=Path, default=SHARED, metavar="DIR", help="holds vnncomp and vnncomp_results")
    parser.add_argument("--out", type=Path, default=RESULTS / "vnncomp.json", metavar="FILE")
    parser.add_argument("--witnesses", type=Path, metavar="DIR", help="write DIR/BENCHMARK/NAME.counterexample as well")
    parser.add_argument("--again", action="store_true", help="ask once more what is open")
    parser.add_argument("--fresh", action="store_true", help="begin the record anew")
    return parser


def read_rows(record: Path, benchmarks: Sequence[str] | None) -> list[VnnRow]:
    """The record's rows of these benchmarks, or all. Raises InputError where there are none."""
    rows = rows_in(record, VnnRow, "benchmarks.vnncomp.run")
    kept = [row for row in rows if benchmarks is None or row.benchmark in benchmarks]
    if not kept:
        raise InputError(f"{record} has no instance of {', '.join(benchmarks or ['any benchmark'])}")
    return kept


def answered(instance: VnnInstance, asked: argparse.Namespace) -> VnnRow:
    """The row of one instance of the competition."""
    limit = asked.limit or LIMITS.get(instance.benchmark, 60.0)
    return answered_in(asked.data / "vnncomp" / instance.benchmark, instance, limit, asked)


def answered_in(folder: Path, instance: VnnInstance, limit: float, asked: argparse.Namespace) -> VnnRow:
    """The row of an instance of a folder, asked in a process of its own; asked: threads and witnesses."""
    model, query = stored(folder / instance.onnx), stored(folder / instance.vnnlib)
    call = [sys.executable, "-m", "verifier", "check", str(model), "--property", str(query), "--json"]
    call += ["--timeout", str(limit), "--threads", str(asked.threads)]
    before, start = os.times(), time.monotonic()
    try:
        done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=limit + SPARE)
        found, complaint = answer_of(done.stdout), ending(done.returncode, done.stderr)
    except subprocess.TimeoutExpired:
        found, complaint = {}, "killed: it did not keep its limit"
    seconds, after = time.monotonic() - start, os.times()
    verdict, reason = _verdict(found, complaint)
    wrong = {verdict, instance.official} == {SAT, UNSAT}
    if verdict == SAT and not is_counterexample(found["witness"]["point"], model, query):
        wrong, reason = True, "ONNX Runtime and the exact numbers of the property do not confirm the counterexample"
    if verdict == SAT and asked.witnesses is not None:
        _keep(found["witness"]["point"], asked.witnesses / instance.benchmark / witness_name(instance))
    search = found.get("search") or {}
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return VnnRow(
        **asdict(instance),
        verdict=verdict,
        wrong=wrong,
        float32=found.get("float32") is not None,
        reason=reason,
        engine=search.get("engine", ""),
        nodes=search.get("nodes", 0),
        limit=limit,
        seconds=round(seconds, 3),
        cpu_seconds=round(cpu, 3),
    )


def answer_of(out: str) -> dict[str, Any]:
    """The JSON object that a process printed; {} where that is none, since it ended before."""
    try:
        found = json.loads(out)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def ending(code: int, complaint: str) -> str:
    """What a process said last that gave no answer, or how it ended."""
    lines = complaint.strip().splitlines()
    if code < 0:
        return f"no answer: killed by signal {-code}"
    return lines[-1] if lines else "no answer"


def _verdict(found: dict[str, Any], complaint: str) -> tuple[str, str]:
    if not found:
        return REFUSED, complaint
    if found.get("tolerance_only"):
        return TORN, found["remark"]
    return VERDICTS[found["verdict"]], found.get("remark") or found["reason"]


def is_counterexample(point: Any, model: Path, query: Path) -> bool:
    """Does the point (nested lists) satisfy the property, with the outputs of a session of our own?"""
    loaded = load_model(model)[0]
    running = session(loaded, Device.CPU, 1, Level.ALL)
    entries = running.get_inputs()
    dtype = np.float64 if entries[0].type == "tensor(double)" else np.float32
    x = np.array(point, dtype=dtype)
    if not np.array_equal(x, np.array(point, dtype=np.float64)):
        return False
    shapes = [x.shape]
    if len(entries) > 1:  # one after the other, in the order of the file
        shapes = [tuple(n if isinstance(n, int) and n > 0 else 1 for n in entry.shape) for entry in entries]
    parts = np.split(x.reshape(-1), np.cumsum([math.prod(shape) for shape in shapes])[:-1])
    given = {entry.name: part.reshape(shape) for entry, part, shape in zip(entries, parts, shapes, strict=True)}
    gives = [np.reshape(values, -1) for values in running.run(None, given) if np.asarray(values).dtype.kind == "f"]
    numbers = ([Fraction(float(value)) for value in values] for values in (x.reshape(-1), np.concatenate(gives)))
    return property_about(read_text(query), ports_of(loaded.proto)).satisfied(*numbers)


def _keep(point: Any, place: Path) -> None:
    """A witness file as the competition has them, the outputs left out."""
    values = np.array(point, dtype=np.float64).reshape(-1).tolist()
    place.parent.mkdir(parents=True, exist_ok=True)
    pairs = "\n ".join(f"(X_{at} {value!r})" for at, value in enumerate(values))
    write_atomically(place, f"sat\n({pairs})\n".encode())


def _line(row: VnnRow) -> str:
    against = "WRONG" if row.wrong else ""
    names = f"{row.benchmark} {Path(row.onnx).name} {Path(row.vnnlib).name}"
    return f"{names}: {row.verdict} (official {row.official}) {row.seconds:.2f} s {against} {row.reason}".rstrip()


def summary(rows: Sequence[VnnRow]) -> str:
    """A Markdown table, a line a benchmark."""
    header = ["benchmark", "instances", "decided", SAT, UNSAT, TORN, "open", REFUSED, "wrong", "float32", "median s"]
    lines = []
    for name in dict.fromkeys(row.benchmark for row in rows):
        own = [row for row in rows if row.benchmark == name]
        count = {kind: sum(row.verdict == kind for row in own) for kind in (SAT, UNSAT, TORN, UNKNOWN, REFUSED)}
        decided = [row.seconds for row in own if row.verdict in (SAT, UNSAT)]
        numbers = [len(own), len(decided), *count.values(), sum(row.wrong for row in own)]
        float32 = sum(row.float32 for row in own)
        lines.append([name, *map(str, numbers), str(float32), f"{median(decided):.2f}" if decided else ""])
    return table(header, lines)


if __name__ == "__main__":
    sys.exit(main())
