"""The referee: how each of VNN-COMP's instances really ends, and what each tool said of it.

Our record of `benchmarks.vnncomp.run` settles an instance as proved sat (a counterexample without tolerance), proved
unsat, or tolerance only (a real point of the box, but no number of the model's dtype); that of
`benchmarks.vnncomp.certificates` says of which proofs the lone checker accepted a certificate. Published answers of all
tools and years are held against that; witness files of any tool are judged exactly.

    python -m benchmarks.vnncomp.run --witnesses witnesses/relu-verifier
    python -m benchmarks.vnncomp.referee --submitted witnesses
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.mnist import SHARED
from benchmarks.harness.record import RESULTS, Json, rows_in, session, write_atomically
from benchmarks.vnncomp.certificates import CertificateRow
from benchmarks.vnncomp.instances import ToolAnswer, VnnInstance, stored, tool_answers
from benchmarks.vnncomp.referee_page import OPEN, PROVED_SAT, PROVED_UNSAT, page, tables
from benchmarks.vnncomp.run import REFUSED, SAT, TORN, UNKNOWN, UNSAT, VnnRow, read_rows
from benchmarks.vnncomp.submitted import Judged, Kind, judge, read_point, submitted
from encoders.errors import InputError
from verifier.problem.properties.from_vnnlib import read_text
from verifier.problem.properties.network_query import TensorKind
from verifier.runtime.model import EVERY, load
from verifier.runtime.query_model import query_about

STANDINGS = {SAT: PROVED_SAT, UNSAT: PROVED_UNSAT, TORN: TORN, UNKNOWN: OPEN, REFUSED: OPEN}
"""By our verdict."""

WHY = {
    (SAT, UNSAT): "no point of the box satisfies the property, over the reals",
    (UNSAT, SAT): "a counterexample replays in ONNX Runtime and in exact arithmetic",
    (SAT, TORN): "there is one only if ends of boxes have a tolerance: no number of the model's dtype lies in the box",
    (UNSAT, TORN): "a real point of the box satisfies it; no number of the model's dtype lies in the box",
}
"""Why an answer is contradicted, by what the tool said and how the instance ends; unsat is right of a float32 query
for the last, and only for it."""

Key = tuple[str, str, str]


@dataclass(frozen=True)
class SubmittedWitness:
    """A tool's witness file and what its point is."""

    tool: str
    instance: VnnInstance
    judged: Judged


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, write what is asked; 1 where our own record is contradicted by a witness, 2 for bad input."""
    asked = _parser().parse_args(arguments)
    try:
        rows = read_rows(asked.record, asked.benchmark)
        certified = certified_instances(asked.certificates)
        answers = [
            one for name in dict.fromkeys(row.benchmark for row in rows) for one in tool_answers(asked.data, name)
        ]
        folders = {row.benchmark: asked.data / "vnncomp" / row.benchmark for row in rows}
        witnesses = list(judged_witnesses(rows, asked.submitted, folders)) if asked.submitted else []
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    verdicts = settled(rows, witnesses)
    found: Json = {
        "session": session(),
        "instances": [_instance(row, STANDINGS[verdicts[row.key]], certified) for row in rows],
        "tools": tool_counts(verdicts, answers),
        "contradictions": [
            {"instance": answer.key, "tool": answer.tool, "answer": answer.verdict, "why": why}
            for answer, why in contradictions(verdicts, answers)
        ],
        "witnesses": [
            {"instance": one.instance.key, "tool": one.tool, "is": one.judged.kind, "why": one.judged.words}
            for one in witnesses
        ],
    }
    print(tables(found))
    for one in found["contradictions"]:
        print(f"{' '.join(one['instance'])}: {one['tool']} says {one['answer']}; {one['why']}")
    refuted = [row for row in rows if row.verdict == UNSAT and verdicts[row.key] == SAT]
    for row in refuted:
        print(f"OUR RECORD IS WRONG: {' '.join(row.key)} has a counterexample", file=sys.stderr)
    if asked.out is not None:
        write_atomically(asked.out, (json.dumps(found, indent=1, allow_nan=False) + "\n").encode())
    if asked.page is not None:
        write_atomically(asked.page, page(found).encode())
    return int(bool(refuted))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--benchmark", action="append", metavar="NAME", help="may be repeated; all of the record by default"
    )
    parser.add_argument(
        "--record", type=Path, default=RESULTS / "vnncomp.json", metavar="FILE", help="of benchmarks.vnncomp.run"
    )
    parser.add_argument(
        "--certificates",
        type=Path,
        default=RESULTS / "vnncomp_certificates.json",
        metavar="FILE",
        help="of benchmarks.vnncomp.certificates",
    )
    parser.add_argument(
        "--submitted", type=Path, metavar="DIR", help="witness files, DIR/TOOL/BENCHMARK/NAME.counterexample"
    )
    parser.add_argument("--data", type=Path, default=SHARED, metavar="DIR", help="holds vnncomp and vnncomp_results")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write everything as JSON")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the tables as a page of Markdown")
    return parser


def certified_instances(record: Path) -> set[Key]:
    """The keys of the instances of which the lone checker accepted a certificate. Raises InputError."""
    rows = rows_in(record, CertificateRow, "benchmarks.vnncomp.certificates")
    return {row.key for row in rows if row.accepted}


def judged_witnesses(
    rows: Iterable[VnnInstance], folder: Path, folders: Mapping[str, Path]
) -> Iterator[SubmittedWitness]:
    """Each witness file of these instances, judged; folders: where a benchmark's networks and properties lie."""
    for row in rows:
        files = submitted(folder, row)
        if not files:
            continue
        place = folders[row.benchmark]
        yield from _judged(row, files, stored(place / row.onnx), stored(place / row.vnnlib))


def _judged(
    row: VnnInstance, files: Sequence[tuple[str, Path]], model: Path, query: Path
) -> Iterator[SubmittedWitness]:
    why = ""
    try:
        loaded, text = load(model, output=EVERY), read_text(query)
        asked = query_about(text, loaded.file_ports)
        prop, tensors = asked.prop, [tensor for tensor in asked.tensors if tensor.kind is TensorKind.INPUT]
    except InputError as error:
        why = str(error)
    for tool, file in files:
        try:
            judged = (
                Judged(Kind.UNREADABLE, why) if why else judge(loaded, prop, read_point(file, prop.inputs, tensors))
            )
        except InputError as error:
            judged = Judged(Kind.UNREADABLE, str(error))
        yield SubmittedWitness(tool, row, judged)


def settled(rows: Iterable[VnnRow], witnesses: Iterable[SubmittedWitness]) -> dict[Key, str]:
    """How each instance ends, by key: our verdict, unless a witness of anybody is an exact counterexample."""
    ends = {row.key: UNKNOWN if row.wrong else row.verdict for row in rows}
    return ends | {one.instance.key: SAT for one in witnesses if one.judged.kind is Kind.EXACT}


def contradictions(verdicts: dict[Key, str], answers: Iterable[ToolAnswer]) -> list[tuple[ToolAnswer, str]]:
    """The answers that are not so, and why."""
    pairs = ((answer, (answer.verdict, verdicts.get(answer.key, ""))) for answer in answers)
    return [(answer, WHY[pair]) for answer, pair in pairs if pair in WHY]


def tool_counts(verdicts: dict[Key, str], answers: Sequence[ToolAnswer]) -> list[Json]:
    """Of each tool and year, how many answers are confirmed, wrong, resting on a tolerance, and not settled."""
    counts = []
    for tool in sorted({answer.tool for answer in answers}):
        said = [answer for answer in answers if answer.tool == tool and answer.verdict in (SAT, UNSAT)]
        ends = Counter((answer.verdict, verdicts.get(answer.key, UNKNOWN)) for answer in said)
        right, torn = ends[SAT, SAT] + ends[UNSAT, UNSAT], ends[SAT, TORN] + ends[UNSAT, TORN]
        wrong = {"wrong sat": ends[SAT, UNSAT], "wrong unsat": ends[UNSAT, SAT]}
        left = len(said) - right - torn - sum(wrong.values())
        counts.append(
            {"tool": tool, "answers": len(said), "confirmed": right, **wrong, TORN: torn, "not settled": left}
        )
    return counts


def _instance(row: VnnRow, ends: str, certified: set[Key]) -> Json:
    proved = ends == PROVED_UNSAT
    return {
        "instance": row.key,
        "ends": ends,
        "certificate": proved and row.key in certified,
        "float32": proved and row.float32,
        "official": row.official,
    }


if __name__ == "__main__":
    sys.exit(main())
