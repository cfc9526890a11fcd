"""The distance to the nearest point at which a property breaks: as JSON, in a line, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from verifier.problem.verdict import Status
from verifier.report.directed_rounding import directed, ends, places_for
from verifier.report.json_result import FLOAT32_ASSUMES, SCHEMA, Json, number, search_json
from verifier.report.norm_signs import NORM_NAMES, NORM_SIGNS
from verifier.report.property_result import AnswerRow, as_printed, last_rows, witness_point_json
from verifier.report.terminal import EVIDENCE_TEXT, STATUS_STYLE, pairs
from verifier.search.property_minimum import PropertyMinimum

STATUS = {
    Status.MINIMAL: "minimal: nothing nearer satisfies the property",
    Status.BRACKETED: "bracketed: the time was up, both ends hold",
    Status.UNREACHABLE: "unreachable: no point satisfies the property",
    Status.ALREADY_ADVERSARIAL: "satisfied by the input itself",
}


def minimum_fields(answer: PropertyMinimum) -> Json:
    """The answer as an object, the witness with its numbers."""
    about, float32 = answer.about, None
    if answer.float32 is not None:
        float32 = {"lower": number(answer.float32), "assumes": FLOAT32_ASSUMES}
    found: Json = {
        "schema": SCHEMA,
        "command": "minimal",
        "status": answer.status.value,
        "lower": number(answer.lower),
        "upper": number(answer.upper),
        "norm": answer.norm,
        "precision": number(answer.precision),
        "witness": witness_point_json(answer.witness, about),
        "evidence": answer.evidence.label,
        "float32": float32,
        "search": search_json(answer.search),
        "seconds": number(answer.seconds),
        "reason": answer.reason,
    }
    if about is not None:
        asked = {"property": about.property, "method": about.method, "model": about.model}
        found |= {**asked, "model_sha256": about.model_sha256}
    return found


def minimum_json(answer: PropertyMinimum, witness_path: Path | None) -> Json:
    """The object of `verifier minimal --property --json`."""
    return as_printed(minimum_fields(answer), witness_path)


def minimum_words(answer: PropertyMinimum) -> str:
    """The answer in one line."""
    if answer.status is Status.UNREACHABLE:
        said = "no point"
    else:
        lower, upper = ends(answer.lower, answer.upper, answer.precision)
        said = f"{NORM_SIGNS[answer.norm]} distance in [{lower}, {upper}]"
    return f"<PropertyMinimum {answer.status.value}: {said}, {answer.evidence.label}, {answer.seconds:.2f} s>"


def minimum_table(answer: PropertyMinimum, files: Sequence[Path]) -> Table:
    """The answer of `verifier minimal --property`: lower rounded down, upper rounded up."""
    lower, upper = ends(answer.lower, answer.upper, answer.precision)
    rows: list[AnswerRow] = [("status", Text(STATUS[answer.status], STATUS_STYLE[answer.status]))]
    if answer.reason:
        rows.append(("reason", answer.reason))
    rows += [
        ("lower", f"{lower}  nothing nearer satisfies the property"),
        ("evidence", EVIDENCE_TEXT[answer.evidence]),
    ]
    if answer.float32 is not None:
        places = places_for(answer.precision)
        shown = lower if answer.float32 == answer.lower else directed(answer.float32, up=False, places=places)
        rows.append(("float32", f"{shown}  the same for every float32 evaluation, proved"))
    rows.append(("upper", f"{upper}  the distance of the point found" if answer.witness is not None else "none found"))
    title = f"Distance to the nearest point that satisfies the property, {NORM_NAMES[answer.norm]}"
    return pairs(title, [*rows, *last_rows(answer, files)])
