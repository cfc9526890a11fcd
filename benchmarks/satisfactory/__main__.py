"""The VNN-LIB standard's conformance suite (`vnnlib-satisfactory`, PyPI), and our own about precision, by `verify`.

    python -m benchmarks.satisfactory

Each case is a process of its own; an answer that is not the known one is wrong, and so is none of a case whose operator
or theory `verifier supports` lists. Needs: pip install vnnlib vnnlib-satisfactory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from benchmarks.harness.arguments import count
from benchmarks.harness.record import RESULTS, Record, table
from benchmarks.satisfactory.precision import CASES
from encoders.errors import InputError
from verifier.cli.supports_command import ANSWERS

SETTING = ("limit",)
NOTE = (
    "passed: the known answer. wrong: the other one. open: unknown or timed-out. refused: an error that says why. "
    "supported: an operator or theory that `verifier supports` lists. Of the precision suite's float32 cases three "
    "that are unsat node by node stay open, since an evaluation that adds or multiplies neighbouring constants "
    "beforehand has a point, and two whose box holds no float32 number have no known answer."
)

PASSED, WRONG, OPEN, REFUSED = "passed", "wrong", "open", "refused"

THEORIES = {
    "network_single": ("multiple_network_theories", "SNET"),
    "network_multiple": ("multiple_network_theories", "MNET"),
    "network_equal": ("multiple_network_theories", "MENET"),
    "network_isomorphic": ("multiple_network_theories", "MINET"),
    "hidden": ("hidden_node_theories", "H"),
    "multi_io": ("multiple_input_output_theories", "MIO"),
    "arithmetic_bnd": ("arithmetic_complexity_theories", "BND"),
    "arithmetic_outc": ("arithmetic_complexity_theories", "OUTC"),
    "arithmetic_lin": ("arithmetic_complexity_theories", "LIN"),
    "arithmetic_poly": ("arithmetic_complexity_theories", "POLY"),
}
"""Categories of the suite that are about a theory: capability and theory. The others are about an operator."""


@dataclass(frozen=True)
class Case:
    """A query and its known answer; networks: name → file."""

    suite: str
    name: str
    query: Path
    networks: Mapping[str, Path]
    expected: str
    supported: bool


@dataclass(frozen=True)
class CaseRow:
    """A case and our answer; reason: the first line of a refusal or remark."""

    suite: str
    name: str
    expected: str
    supported: bool
    answer: str
    outcome: str
    reason: str
    seconds: float
    cpu_seconds: float

    @property
    def key(self) -> tuple[str, str]:
        return (self.suite, self.name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is not in the record yet; 0 unless an answer is wrong."""
    asked = _parser().parse_args(arguments)
    try:
        with TemporaryDirectory(prefix="satisfactory-") as folder:
            cases = [*precision_cases(Path(folder)), *conformance_cases(Path(folder))]
            record = Record.of(asked, SETTING, CaseRow, note=NOTE, packages=("vnnlib", "vnnlib-satisfactory"))
            done = {row.key for row in record.rows}
            for case in cases:
                if (case.suite, case.name) not in done:
                    row = answered(case, asked.limit)
                    record.add(row)
                    print(f"{row.suite} {row.name}: {row.answer or REFUSED} ({row.outcome}) {row.reason}", flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(summary(record.rows))
    return int(any(row.outcome == WRONG for row in record.rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--limit", type=count, default=20, metavar="S", help="seconds for each case")
    parser.add_argument("--out", type=Path, default=RESULTS / "satisfactory.json", metavar="FILE")
    parser.add_argument("--fresh", action="store_true", help="begin the record anew")
    return parser


def precision_cases(folder: Path) -> Iterator[Case]:
    """Our own suite, each net asked about the real numbers and about float32."""
    for case in CASES:
        path = folder / f"{case.name}.onnx"
        onnx.save(case.model(), path)
        for dtype in ("real", "float32"):
            query = folder / f"{case.name}-{dtype}.vnnlib"
            query.write_text(case.query(dtype))
            yield Case(f"precision, {dtype}", case.name, query, {"N": path}, case.expected(dtype), True)


def conformance_cases(folder: Path) -> Iterator[Case]:
    """The suite of the standard, written into the folder. Raises InputError where it is not installed."""
    try:
        generator = import_module("vnntest.core.generator")
    except ImportError as error:
        raise InputError(f"the conformance suite is missing: pip install vnnlib-satisfactory ({error})") from None
    with chdir(folder), open(os.devnull, "w", encoding="utf-8") as sink:
        saved, sys.stdout = sys.stdout, sink
        try:
            manifest = generator.generate_all_tests()
        finally:
            sys.stdout = saved
    for entry in manifest:
        where = folder / ".vnnlib-satisfactory" / "tests" / entry["category"]
        networks = {name: where / file for name, file in entry["networks"].items()}
        supported = _supported(entry["category"], entry["primary_op_type"])
        yield Case(
            "satisfactory", entry["name"], where / entry["vnnlib"], networks, entry["expected"].lower(), supported
        )


def _supported(category: str, operator: str | None) -> bool:
    capability, needed = THEORIES.get(category, ("onnx_operators", operator))
    return needed is None or needed in ANSWERS[capability]()


def answered(case: Case, limit: int) -> CaseRow:
    """The row of one case, asked in a process of its own."""
    call = [sys.executable, "-m", "verifier", "verify", str(case.query), "--timeout", str(limit)]
    for name, file in case.networks.items():
        call += ["--network", f"{name}={file}"]
    before, start = os.times(), time.monotonic()
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    seconds, after = time.monotonic() - start, os.times()
    answer = done.stdout.split("\n", maxsplit=1)[0]
    if answer in ("sat", "unsat"):
        outcome = PASSED if answer == case.expected else WRONG if case.expected else OPEN
    else:
        outcome = OPEN if answer else REFUSED
    reason = done.stderr.strip().split("\n")[-1].replace(f"{case.query.parent}/", "")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return CaseRow(
        case.suite, case.name, case.expected, case.supported, answer, outcome, reason, round(seconds, 3), round(cpu, 3)
    )


def summary(rows: Sequence[CaseRow]) -> str:
    """A Markdown table, a line a suite, and the supported cases that did not pass."""
    lines, missed = [], []
    for suite in dict.fromkeys(row.suite for row in rows):
        for supported in (True, False):
            own = [row for row in rows if row.suite == suite and row.supported is supported]
            counts = [sum(row.outcome == kind for row in own) for kind in (PASSED, WRONG, OPEN, REFUSED)]
            if own:
                lines.append([suite, "yes" if supported else "no", str(len(own)), *map(str, counts)])
            missed += [f"{row.suite} {row.name}: {row.outcome}, {row.reason}" for row in own if row.outcome != PASSED]
    header = ["suite", "supported", "cases", PASSED, WRONG, OPEN, REFUSED]
    return "\n".join([table(header, lines), "", *missed])


if __name__ == "__main__":
    sys.exit(main())
