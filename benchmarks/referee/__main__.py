"""The referee for anybody's list: how each instance ends, and which submitted witnesses and results are not so.

Each instance is asked as `benchmarks.vnncomp.run` asks the competition's, in a process of its own: proved sat (a
counterexample without tolerance), proved unsat (with a certificate that the lone checker accepted, where one came),
tolerance only, or open. The record holds what is known; a run that was killed goes on where it stopped.

    python -m benchmarks.referee --instances acasxu/instances.csv --submitted witnesses

Exit codes: 0 every instance has ended and all that was said of it is so; 1 an answer or a witness is contradicted by a
proof; 2 bad input; 3 some instance is open.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.harness.arguments import above_zero, at_least_zero, count
from benchmarks.harness.record import Json, Record, session, write_atomically
from benchmarks.referee.listed import RESULTS, Listed, Submitted, Unmatched, read_list, same_names
from benchmarks.referee.page import page, tables
from benchmarks.vnncomp.certificates import certified
from benchmarks.vnncomp.instances import WITNESS, ToolAnswer, VnnInstance, stored, witness_name
from benchmarks.vnncomp.referee import (
    STANDINGS,
    SubmittedWitness,
    contradictions,
    judged_witnesses,
    settled,
    tool_counts,
)
from benchmarks.vnncomp.referee_page import OPEN, PROVED_UNSAT
from benchmarks.vnncomp.run import SAT, TORN, UNSAT, VnnRow, answered_in
from benchmarks.vnncomp.submitted import Kind, submitted
from encoders.errors import InputError
from encoders.onnx_io.file import load_model

NOTE = (
    "Seconds are a process's, start included. digest: of the network with its external data "
    "and of the property's file, as they were asked."
)

OURS = "relu-verifier"
ACCEPTED = "accepted"


@dataclass(frozen=True)
class Ending(VnnRow):
    """An instance, our answer, and its certificate: "accepted" by the lone checker, or why there is none, or "" where
    none was tried."""

    digest: str
    certificate: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask what the record does not hold, judge what is submitted, print and write the findings; the exit code."""
    asked = _parser().parse_args(arguments)
    asked.name = asked.name or asked.instances.resolve().parent.name
    try:
        listed = read_list(asked.instances, asked.name)
        given = _given([one.instance for one in listed], asked)
        record = Record.of(asked, ("name",), Ending, note=NOTE)
        rows = [_ended(one, record, asked) for one in listed]
        folders = {asked.name: asked.instances.parent}
        witnesses = list(judged_witnesses(rows, asked.submitted, folders)) if asked.submitted else []
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = {**findings(rows, witnesses, given.answers), "unmatched": [asdict(one) for one in given.unmatched]}
    record.conclude(found)
    print(tables(found))
    if asked.page is not None:
        write_atomically(asked.page, page(found).encode())
    ends = {one["instance"]: one["ends"] for one in found["instances"]}
    if any(ends[one["instance"]] != TORN for one in found["contradictions"]):
        return 1
    return 3 if OPEN in ends.values() else 0


def _parser() -> argparse.ArgumentParser:
    first, *_, last = (__doc__ or "").strip().split("\n\n")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.referee", description=first, epilog=last)
    parser.add_argument(
        "--instances",
        type=Path,
        required=True,
        metavar="FILE",
        help="lines of network, property and seconds, as VNN-COMP's instances.csv; files relative to its folder",
    )
    parser.add_argument(
        "--submitted",
        type=Path,
        metavar="DIR",
        help=f"DIR/TOOL/NAME/NET_PROPERTY.counterexample and DIR/TOOL/{RESULTS}, as the competition has them",
    )
    parser.add_argument("--name", metavar="NAME", help="the benchmark's name; by default that of the list's folder")
    parser.add_argument(
        "--limit", type=above_zero, metavar="S", help="seconds for each instance, in place of the list's"
    )
    parser.add_argument(
        "--proof-limit",
        type=at_least_zero,
        metavar="S",
        help="seconds for each certificate, 0 for none; by default the same",
    )
    parser.add_argument("--threads", type=count, default=1, metavar="N")
    parser.add_argument("--witnesses", type=Path, metavar="DIR", help="keep our counterexamples")
    parser.add_argument("--proofs", type=Path, metavar="DIR", help="keep the certificates")
    parser.add_argument("--out", type=Path, default=Path("referee.json"), metavar="FILE", help="record and findings")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the findings as a page of Markdown")
    parser.add_argument("--again", action="store_true", help="ask once more what is open or has no certificate")
    parser.add_argument("--fresh", action="store_true", help="begin the record anew")
    return parser


@dataclass(frozen=True)
class Given:
    """What tools say of the instances, and what they say of none of them."""

    answers: Sequence[ToolAnswer] = ()
    unmatched: Sequence[Unmatched] = ()


def _given(instances: Sequence[VnnInstance], asked: argparse.Namespace) -> Given:
    """Raises InputError: no folder, nothing in it about these instances, or two that have one name for their files."""
    folder: Path | None = asked.submitted
    if any(one is not None for one in (folder, asked.witnesses, asked.proofs)):
        same_names(instances)
    if folder is None:
        return Given()
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; --submitted takes one with a folder for each tool")
    given = Submitted(folder, instances)
    answers, left = given.answers()
    left += given.other_witnesses()
    if not answers and not any(submitted(folder, one) for one in instances):
        why = [f"{one.place}, {one.first}: {one.why}" for one in left[:1]] or [f"no {RESULTS}, no *{WITNESS}"]
        raise InputError(f"{folder} says nothing of an instance of {asked.name} (--name): {why[0]}")
    return Given(answers, left)


def _ended(one: Listed, record: Record[Ending], asked: argparse.Namespace) -> Ending:
    """The row of an instance: the record's, where it is about the same files, or a new one."""
    instance, folder = one.instance, asked.instances.parent
    limit = asked.limit or one.limit
    digest = _digest(stored(folder / instance.onnx), stored(folder / instance.vnnlib))
    row = next((row for row in record.rows if row.key == instance.key and row.digest == digest), None)
    if row is None or (asked.again and row.open):
        answer = answered_in(folder, instance, limit, asked)
        reason = answer.reason.replace(f"{folder}{os.sep}", "")
        row = Ending(**{**asdict(answer), "reason": reason}, digest=digest, certificate="")
        record.add(row)
        print(f"{instance.onnx} {instance.vnnlib}: {row.verdict} {row.seconds:.2f} s {row.reason}".rstrip(), flush=True)
    seconds = limit if asked.proof_limit is None else asked.proof_limit
    if row.verdict == UNSAT and seconds and (not row.certificate or (asked.again and row.certificate != ACCEPTED)):
        keep = None
        if asked.proofs is not None:
            keep = (asked.proofs / asked.name / witness_name(instance)).with_suffix(".cert")
        proof = certified(instance, folder, seconds, keep)
        row = replace(row, certificate=ACCEPTED if proof.accepted else proof.reason)
        record.add(row)
        print(f"{instance.onnx} {instance.vnnlib}: certificate {row.certificate}", flush=True)
    return row


def _digest(model: Path, query: Path) -> str:
    """Of what is asked about: the network's file, unpacked, with its external data, and the property's file."""
    try:
        network = load_model(model)[1]
    except (InputError, MemoryError):
        network = hashlib.sha256(model.read_bytes()).hexdigest()
    return hashlib.sha256(f"{network} {hashlib.sha256(query.read_bytes()).hexdigest()}".encode()).hexdigest()


def findings(rows: Sequence[Ending], witnesses: Sequence[SubmittedWitness], answers: Sequence[ToolAnswer]) -> Json:
    """How each instance ends, and what was said of it that is not so. A submitted witness says sat."""
    verdicts = settled(rows, witnesses)
    exact = {one.instance.key: one.tool for one in witnesses if one.judged.kind is Kind.EXACT}
    said = [*answers, *(ToolAnswer(one.tool, one.instance.key, SAT) for one in witnesses)]
    said += [ToolAnswer(OURS, row.key, row.verdict) for row in rows]
    return {
        "session": session(),
        "instances": [_instance(row, STANDINGS[verdicts[row.key]], exact.get(row.key)) for row in rows],
        "tools": tool_counts(verdicts, answers),
        "contradictions": [
            {"instance": one.key, "tool": one.tool, "answer": one.verdict, "why": why}
            for one, why in dict.fromkeys(contradictions(verdicts, said))
        ],
        "witnesses": [
            {"instance": one.instance.key, "tool": one.tool, "is": one.judged.kind, "why": one.judged.words}
            for one in witnesses
        ],
    }


def _instance(row: Ending, ends: str, tool: str | None) -> Json:
    proved, ours = ends == PROVED_UNSAT, STANDINGS[row.verdict] == ends and not row.wrong
    return {
        "instance": row.key,
        "ends": ends,
        "by": OURS if ours and ends != OPEN else tool or "",
        "why": row.reason if ours or row.wrong else "",
        "certificate": row.certificate if proved else "",
        "float32": proved and row.float32,
        "seconds": row.seconds,
    }


if __name__ == "__main__":
    sys.exit(main())
