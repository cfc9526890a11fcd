"""The referee: how each of VNN-COMP's instances really ends, and what each tool said of it.

Our record of `benchmarks.vnncomp.run` settles an instance as proved sat (a counterexample without tolerance), proved
unsat, or tolerance only (a real point of the box, but no number of the model's dtype). Published answers of all tools
and years are held against that; witness files of any tool are judged exactly.

    python -m benchmarks.vnncomp.run --witnesses witnesses/relu-verifier
    python -m benchmarks.vnncomp.referee --submitted witnesses
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.mnist import SHARED
from benchmarks.harness.record import RESULTS, Json, from_json, session, table, write_atomically
from benchmarks.vnncomp.instances import ToolAnswer, VnnInstance, stored, tool_answers, unpacked
from benchmarks.vnncomp.run import REFUSED, SAT, TORN, UNKNOWN, UNSAT, VnnRow
from benchmarks.vnncomp.submitted import Judged, Kind, judge, read_point, submitted
from encoders.errors import InputError
from verifier.problem.properties.from_vnnlib import read_vnnlib
from verifier.runtime.model import load

STANDINGS = {SAT: "proved sat", UNSAT: "proved unsat", TORN: TORN, UNKNOWN: "open", REFUSED: "open"}
"""By our verdict."""

WHY = {
    (SAT, UNSAT): "no point of the box satisfies the property, over the reals",
    (UNSAT, SAT): "a counterexample replays in ONNX Runtime and in exact arithmetic",
    (SAT, TORN): "there is one only if ends of boxes have a tolerance: no number of the model's dtype lies in the box",
    (UNSAT, TORN): "a real point of the box satisfies it; no number of the model's dtype lies in the box",
}
"""Why an answer is contradicted, by what the tool said and how the instance ends; unsat is right of a float32 query
for the last, and only for it."""


@dataclass(frozen=True)
class SubmittedWitness:
    """A tool's witness file and what its point is."""

    tool: str
    instance: VnnInstance
    judged: Judged


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables and write the JSON; 1 where our own record is contradicted by a witness, 2 for bad input."""
    asked = _parser().parse_args(arguments)
    try:
        rows = read_rows(asked.record, asked.benchmark)
        answers = [
            one for name in dict.fromkeys(row.benchmark for row in rows) for one in tool_answers(asked.data, name)
        ]
        witnesses = list(judged_witnesses(rows, asked.submitted, asked.data)) if asked.submitted else []
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    verdicts = settled(rows, witnesses)
    contradicted = contradictions(verdicts, answers)
    print(f"{instance_table(rows, verdicts)}\n\n{tool_table(verdicts, answers)}")
    if witnesses:
        print(f"\n{witness_table(witnesses)}")
    for answer, why in contradicted:
        print(f"{' '.join(answer.key)}: {answer.tool} says {answer.verdict}; {why}")
    refuted = [row for row in rows if row.verdict == UNSAT and verdicts[row.key] == SAT]
    for row in refuted:
        print(f"OUR RECORD IS WRONG: {' '.join(row.key)} has a counterexample", file=sys.stderr)
    if asked.out is not None:
        content = {"session": session(), **as_json(rows, verdicts, contradicted, witnesses)}
        write_atomically(asked.out, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
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
        "--submitted", type=Path, metavar="DIR", help="witness files, DIR/TOOL/BENCHMARK/NAME.counterexample"
    )
    parser.add_argument("--data", type=Path, default=SHARED, metavar="DIR", help="holds vnncomp and vnncomp_results")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write everything as JSON")
    return parser


def read_rows(record: Path, benchmarks: Sequence[str] | None) -> list[VnnRow]:
    """The record's rows of these benchmarks, or all. Raises InputError where there are none."""
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        rows = [from_json(VnnRow, row) for row in content["rows"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{record} is no record of benchmarks.vnncomp.run: {error}") from None
    kept = [row for row in rows if benchmarks is None or row.benchmark in benchmarks]
    if not kept:
        raise InputError(f"{record} has no instance of {', '.join(benchmarks or ['any benchmark'])}")
    return kept


def judged_witnesses(rows: Sequence[VnnInstance], folder: Path, data: Path) -> Iterator[SubmittedWitness]:
    """Each witness file of these instances, judged."""
    for row in rows:
        files = submitted(folder, row)
        if not files:
            continue
        place = data / "vnncomp" / row.benchmark
        with unpacked(place / row.onnx) as path:
            model, prop = load(path), read_vnnlib(stored(place / row.vnnlib))
            for tool, file in files:
                try:
                    judged = judge(model, prop, read_point(file, prop.inputs))
                except InputError as error:
                    judged = Judged(Kind.UNREADABLE, str(error))
                yield SubmittedWitness(tool, row, judged)


def settled(rows: Sequence[VnnRow], witnesses: Sequence[SubmittedWitness]) -> dict[tuple[str, str, str], str]:
    """How each instance ends, by key: our verdict, unless a witness of anybody is an exact counterexample."""
    ends = {row.key: UNKNOWN if row.wrong else row.verdict for row in rows}
    return ends | {one.instance.key: SAT for one in witnesses if one.judged.kind is Kind.EXACT}


def contradictions(
    verdicts: dict[tuple[str, str, str], str], answers: Sequence[ToolAnswer]
) -> list[tuple[ToolAnswer, str]]:
    """The answers that are not so, and why."""
    pairs = ((answer, (answer.verdict, verdicts.get(answer.key, ""))) for answer in answers)
    return [(answer, WHY[pair]) for answer, pair in pairs if pair in WHY]


def instance_table(rows: Sequence[VnnRow], verdicts: dict[tuple[str, str, str], str]) -> str:
    """Markdown: how the instances of each benchmark end, and the competition's consensus on those that it has open."""
    kinds = list(dict.fromkeys(STANDINGS.values()))
    lines = []
    for name in dict.fromkeys(row.benchmark for row in rows):
        own = [row for row in rows if row.benchmark == name]
        count = Counter(STANDINGS[verdicts[row.key]] for row in own)
        new = sum(row.official not in (SAT, UNSAT) and verdicts[row.key] in (SAT, UNSAT) for row in own)
        lines.append([name, *map(str, (len(own), *(count[kind] for kind in kinds), new))])
    return table(["benchmark", "instances", *kinds, "settled without consensus"], lines)


def tool_table(verdicts: dict[tuple[str, str, str], str], answers: Sequence[ToolAnswer]) -> str:
    """Markdown: the answers of each tool and year that are confirmed, contradicted, and not settled."""
    lines = []
    for tool in sorted({answer.tool for answer in answers}):
        said = [answer for answer in answers if answer.tool == tool and answer.verdict in (SAT, UNSAT)]
        ends = Counter((answer.verdict, verdicts.get(answer.key, UNKNOWN)) for answer in said)
        right = ends[SAT, SAT] + ends[UNSAT, UNSAT]
        wrong = {kind: sum(ends[kind, end] for told, end in WHY if told == kind) for kind in (SAT, UNSAT)}
        lines.append(
            [tool, *map(str, (len(said), right, wrong[SAT], wrong[UNSAT], len(said) - right - sum(wrong.values())))]
        )
    return table(["tool", "answers", "confirmed", "wrong sat", "wrong unsat", "not settled"], lines)


def witness_table(witnesses: Sequence[SubmittedWitness]) -> str:
    """Markdown: what the submitted points of each tool are."""
    count = Counter((one.tool, one.judged.kind) for one in witnesses)
    tools = sorted({one.tool for one in witnesses})
    return table(["witnesses", *Kind], [[tool, *(str(count[tool, kind]) for kind in Kind)] for tool in tools])


def as_json(
    rows: Sequence[VnnRow],
    verdicts: dict[tuple[str, str, str], str],
    contradicted: Sequence[tuple[ToolAnswer, str]],
    witnesses: Sequence[SubmittedWitness],
) -> Json:
    """Everything that was found."""
    return {
        "instances": [
            {
                "instance": row.key,
                "ends": STANDINGS[verdicts[row.key]],
                "official": row.official,
                "float32": row.float32,
            }
            for row in rows
        ],
        "contradictions": [
            {"instance": answer.key, "tool": answer.tool, "answer": answer.verdict, "why": why}
            for answer, why in contradicted
        ],
        "witnesses": [
            {"instance": one.instance.key, "tool": one.tool, "is": one.judged.kind, "why": one.judged.words}
            for one in witnesses
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
