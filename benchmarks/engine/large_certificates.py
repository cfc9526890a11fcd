"""Certificates of larger and larger trees: what a leaf takes, what building and checking cost in time and memory.

`python -m benchmarks.engine.large_certificates` certifies, for the nets of `benchmarks.engine.reach`, that nothing
within some radii of an input is of any other class, the trees growing with the radius; then `python checker.py` checks
the file alone. Building and checking have a process of their own each. The record is written after every certificate;
the same command goes on where it stopped. Exit code 1: the checker refuses one, or takes more than 2 GiB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import verifier
from benchmarks.engine.growth import peak
from benchmarks.engine.reach import FOLDER, NETS, net
from benchmarks.harness.arguments import above_zero, count
from benchmarks.harness.instances import Image, Stopwatch, compile_kernels, in_processes
from benchmarks.harness.mnist import load_mnist
from benchmarks.harness.record import RESULTS, Record, table
from encoders.errors import InputError
from verifier.certificates import checker
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.blas import single_threaded_blas
from verifier.problem.budget import OutOfTimeError

QUESTIONS: Mapping[str, Sequence[tuple[int, float]]] = {
    "mlp": ((9022, 0.0235), (9022, 0.0241), (9022, 0.0278)),
    "conv": ((9022, 0.055), (9022, 0.0575), (9022, 0.0585), (9022, 0.0588), (9022, 0.0592)),
}
"""Test images and radii in L∞: of the conv net ten times as many leaves each at first. Of the other net,
where a goal's tree would have more than 512 nodes, quadratic evidence takes its place."""

MOST_MIB = 2 * 1024.0
"""That the checker may take."""

SETTING = ("timeout",)
NOTE = (
    "build_seconds: CPU time of verifier.certificate, a check of its own included, the network read before; "
    "check_seconds: of `python checker.py`, start included. *_mib: the most that either process held. Without bytes "
    "nothing was built, without leaves quadratic bounds are enough; `reason`: why there is none, or why it is refused."
)

CHILD = """
import json, resource, subprocess, sys
try:
    done = subprocess.run(sys.argv[2:], capture_output=True, text=True, timeout=float(sys.argv[1]))
    told = [done.returncode, done.stdout, done.stderr]
except subprocess.TimeoutExpired:
    told = None
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([told, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""
"""A process as small as can be that begins another: what the system says of the other's memory may be its parent's."""


@dataclass(frozen=True)
class Row:
    """One certificate; what was not reached is 0."""

    net: str
    index: int
    radius: float
    leaves: int = 0
    bytes: int = 0
    build_seconds: float = 0.0
    build_mib: float = 0.0
    check_seconds: float = 0.0
    check_mib: float = 0.0
    accepted: bool = False
    reason: str = ""

    @property
    def key(self) -> tuple[Any, ...]:
        return self.net, self.radius, self.index

    @property
    def leaf_bytes(self) -> float:
        """Bytes a leaf, of the whole file."""
        return self.bytes / max(self.leaves, 1)


def built(name: str, index: int, radius: float, image: Image, label: int, timeout: float) -> tuple[Row, bytes]:
    """A certificate, in a process that does nothing else, or why there is none."""
    model, row, content = net(name), Row(name, index, radius), b""
    with single_threaded_blas():
        watch = Stopwatch()
        try:
            made = verifier.certificate(model, image, radius, None, label=label, norm="linf", timeout=timeout)
            content, row = made.content, replace(row, leaves=made.leaves, bytes=len(made.content))
        except (NotCertifiedError, OutOfTimeError) as error:
            row = replace(row, reason=str(error))
        seconds = watch.read()["cpu_seconds"]
    return replace(row, build_seconds=round(seconds, 3), build_mib=round(peak(), 1)), content


def checked(row: Row, content: bytes, model: Path, timeout: float) -> Row:
    """The row with what the lone checker says of its certificate; it is killed after `timeout` wall seconds."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "c.cert"
        file.write_bytes(content)
        call = [sys.executable, str(Path(checker.__file__)), str(file), str(model), "--json"]
        small = [sys.executable, "-I", "-c", CHILD, str(timeout), *call]
        done = subprocess.run(small, capture_output=True, text=True, check=True)
    told, seconds, size = json.loads(done.stdout)
    row = replace(row, check_seconds=round(seconds, 3), check_mib=round(size * UNIT / (1 << 20), 1))
    if told is None:
        return replace(row, reason=f"the checker had not ended after {timeout:g} s")
    code, out, complaint = told
    if code not in JUDGED:
        return replace(row, reason=f"the checker ended with {code}: {complaint.strip()[-LAST:]}")
    answer = json.loads(out)
    return replace(row, accepted=answer["valid"], reason=answer["reason"] or "")


JUDGED, LAST = (0, 1), 200
"""Exit codes with which the checker has printed its judgement; letters that are kept of what it said last without."""

UNIT = 1 if sys.platform == "darwin" else 1 << 10
"""Bytes of which the system counts a process's memory."""


def missed(rows: Sequence[Row]) -> list[Row]:
    """The certificates that the checker refuses, or that take too much memory to check."""
    return [row for row in rows if row.bytes and (not row.accepted or row.check_mib > MOST_MIB)]


def summary(rows: Sequence[Row]) -> str:
    """A line a certificate."""
    header = ("net", "image", "radius", "leaves", "bytes", "a leaf", "build: CPU s", "MiB", "check: CPU s", "MiB", "")
    lines = [
        (
            row.net, str(row.index), f"{row.radius:g}", f"{row.leaves:,}", f"{row.bytes:,}",
            f"{row.leaf_bytes:,.0f}" if row.leaves else "",
            f"{row.build_seconds:.1f}", f"{row.build_mib:,.0f}", f"{row.check_seconds:.1f}", f"{row.check_mib:,.0f}",
            row.reason,
        )
        for row in rows
    ]  # fmt: skip
    return table(header, lines)


def main(words: Sequence[str] | None = None) -> int:
    """Certify what is missing, smaller balls first, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=tuple(QUESTIONS), default=list(QUESTIONS), help="default: all")
    parser.add_argument("--limit", type=count, help="only the first so many radii of each net")
    parser.add_argument("--timeout", type=above_zero, default=2400.0, help="wall seconds a step (default: %(default)g)")
    parser.add_argument("--data", type=Path, help="the folder of the MNIST idx files (default: beside the project)")
    parser.add_argument("--out", type=Path, default=RESULTS / "large_certificates.json", help="the record, continued")
    parser.add_argument("--fresh", action="store_true", help="begin the record anew")
    arguments = parser.parse_args(words)
    try:
        record: Record[Row] = Record.of(arguments, SETTING, Row, note=NOTE)
        mnist, known = load_mnist(arguments.data), {row.key for row in record.rows}
        asked = [Row(name, *each) for name in arguments.nets for each in QUESTIONS[name][: arguments.limit]]
        compile_kernels()
        for one in asked:
            if one.key in known:
                continue
            image, label = mnist.test_images[one.index], int(mnist.test_labels[one.index])
            task = (one.net, one.index, one.radius, image, label, arguments.timeout)
            for row, content in in_processes(1, built, [task]):
                found = checked(row, content, FOLDER / f"{NETS[row.net]}.onnx", arguments.timeout) if content else row
                record.add(found)
                print(summary([found]).splitlines()[-1], flush=True)
    except InputError as error:
        print(f"large_certificates: error: {error}", file=sys.stderr)
        return 2
    keys = {row.key for row in asked}
    rows = [row for row in record.rows if row.key in keys]
    print(summary(rows))
    return 1 if missed(rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
