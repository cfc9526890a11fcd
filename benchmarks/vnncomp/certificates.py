"""Certificates of the competition's unsat instances: how many the lone checker accepts, their sizes, what they cost.

What is unsat, by our record of `benchmarks.vnncomp.run` or, where that has none of a benchmark, by the competition's
consensus, is certified anew, then checked by `python checker.py CERTIFICATE MODEL --property FILE` in a process of its
own. A run that was killed goes on where it stopped; `--again --limit 1200` gives more time to what is not accepted.

    python -m benchmarks.vnncomp.certificates --benchmark acasxu --sample 20
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.harness.arguments import above_zero, count
from benchmarks.harness.mnist import SHARED
from benchmarks.harness.record import RESULTS, Record, table, write_atomically
from benchmarks.vnncomp.certifying import BuiltCertificate, built_apart, children_seconds
from benchmarks.vnncomp.instances import VnnInstance, benchmarks_in, read_instances, stored
from benchmarks.vnncomp.run import UNSAT, answer_of, ending, read_rows
from encoders.errors import InputError
from verifier.certificates import checker
from verifier.problem.properties.from_vnnlib import read_text
from verifier.problem.properties.from_vnnlib2 import is_version_2

BENCHMARKS = (
    *("acasxu", "collins_rul_cnn", "dist_shift", "malbeware", "reach_prob_density", "rl_benchmarks", "safenlp"),
    *("mnist_fc", "oval21", "sat_relu", "sri_resnet_a", "tllverifybench", "verivital"),
)
"""Those whose unsat instances that we decide are nearly all certified within minutes each."""

NOTE = "CPU seconds. build: the builder's own check included; check: the lone checker's process, start included."


@dataclass(frozen=True)
class CertificateRow(VnnInstance):
    """An unsat instance's certificate. accepted: by the lone checker; reason: why there is none, or why not; limit:
    wall seconds to build it, and as many to check it."""

    accepted: bool
    reason: str
    leaves: int
    bytes: int
    build_seconds: float
    check_seconds: float
    limit: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Certify what is not in the record yet; 1 where the lone checker refuses what the builder made."""
    asked = _parser().parse_args(arguments)
    try:
        names = asked.benchmark or [name for name in BENCHMARKS if name in benchmarks_in(asked.data)]
        wanted = [one for name in names for one in sample(name, asked)]
        record = Record.of(asked, (), CertificateRow, note=NOTE)
        done = {row.key for row in record.rows if row.accepted or not asked.again}
        for instance in wanted:
            if instance.key not in done:
                row = certified(instance, asked.data / "vnncomp" / instance.benchmark, asked.limit)
                record.add(row)
                print(" ".join(row.key), row.reason or f"{row.leaves} leaves, {row.check_seconds} s", flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    keys = {instance.key for instance in wanted}
    rows = [row for row in record.rows if row.key in keys]
    print(summary(rows))
    return int(any(row.leaves and not row.accepted for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--benchmark",
        action="append",
        metavar="NAME",
        help="may be repeated; by default those that are nearly all certified within minutes",
    )
    parser.add_argument("--sample", type=count, metavar="N", help="so many instances of each benchmark; all by default")
    parser.add_argument(
        "--limit",
        type=above_zero,
        default=300.0,
        metavar="S",
        help="wall seconds to build one, and as many to check it",
    )
    parser.add_argument(
        "--instances", type=Path, default=RESULTS / "vnncomp.json", metavar="FILE", help="the record of our verdicts"
    )
    parser.add_argument("--data", type=Path, default=SHARED, metavar="DIR", help="holds vnncomp")
    parser.add_argument("--out", type=Path, default=RESULTS / "vnncomp_certificates.json", metavar="FILE")
    parser.add_argument("--again", action="store_true", help="try once more what is not accepted")
    parser.add_argument("--fresh", action="store_true", help="begin the record anew")
    return parser


def sample(name: str, asked: argparse.Namespace) -> list[VnnInstance]:
    """The unsat instances of a benchmark, or so many of them, as far apart as its list allows. Raises InputError."""
    every = read_instances(asked.data, name)
    ours = {row.key: row.verdict for row in read_rows(asked.instances, None) if row.benchmark == name and not row.wrong}
    said = ours or {one.key: one.official for one in every}
    unsat = [one for one in every if said.get(one.key) == UNSAT]
    size = asked.sample or len(unsat)
    return unsat[:: max(1, len(unsat) // max(1, size))][:size]


def certified(instance: VnnInstance, folder: Path, limit: float, keep: Path | None = None) -> CertificateRow:
    """Build and check the certificate of one instance of a folder; an accepted one is kept as `keep`."""
    named = {**{field.name: getattr(instance, field.name) for field in fields(VnnInstance)}, "limit": limit}
    model, query = stored(folder / instance.onnx), stored(folder / instance.vnnlib)
    built = built_apart(model, query, limit)
    if built.reason:
        return CertificateRow(**named, **_numbers(False, built.reason, built, 0.0))
    reason, checked = _checked(built, model, query, limit)
    if keep is not None and not reason:
        keep.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(keep, built.content)
    return CertificateRow(**named, **_numbers(not reason, reason, built, checked))


def _numbers(accepted: bool, reason: str, built: BuiltCertificate, checked: float) -> dict[str, Any]:
    return {
        "accepted": accepted,
        "reason": reason,
        "leaves": built.leaves,
        "bytes": len(built.content),
        "build_seconds": round(built.cpu_seconds, 3),
        "check_seconds": round(checked, 3),
    }


def _checked(built: BuiltCertificate, model: Path, query: Path, limit: float) -> tuple[str, float]:
    """(why the lone checker refuses the certificate, "" where it does not; the CPU seconds of its process, which is
    killed after `limit` wall seconds).

    It reads no VNN-LIB 2: of that it is handed the text in 1.0, which says the same.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "c.cert"
        file.write_bytes(built.content)
        if is_version_2(read_text(query)):
            query = Path(folder) / "in_1.vnnlib"
            query.write_bytes(built.text)
        call = [sys.executable, str(Path(checker.__file__)), str(file), str(model), "--property", str(query), "--json"]
        before = children_seconds()
        try:
            done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=limit)
        except subprocess.TimeoutExpired:
            return f"the checker had not ended after {limit:g} s", children_seconds() - before
        used = children_seconds() - before
    told = answer_of(done.stdout)
    if not told:
        reason = f"refused: {ending(done.returncode, done.stderr)}"
    else:
        reason = "" if told["valid"] and "property" not in told["not_demanded"] else f"refused: {told['reason']}"
    return reason, used


def summary(rows: Sequence[CertificateRow]) -> str:
    """A Markdown table, a line a benchmark."""
    header = ["benchmark", "unsat", "accepted", "KB, median", "most", "check s, median", "most", "build s, median"]
    lines = []
    for name in dict.fromkeys(row.benchmark for row in rows):
        own = [row for row in rows if row.benchmark == name]
        good = [row for row in own if row.accepted]
        cells = [name, str(len(own)), str(len(good))]
        if good:
            sizes, checks = [row.bytes / 1024 for row in good], [row.check_seconds for row in good]
            cells += [f"{median(sizes):.1f}", f"{max(sizes):.1f}", f"{median(checks):.2f}", f"{max(checks):.2f}"]
            cells.append(f"{median(row.build_seconds for row in good):.2f}")
        lines.append(cells + [""] * (len(header) - len(cells)))
    return table(header, lines)


if __name__ == "__main__":
    sys.exit(main())
