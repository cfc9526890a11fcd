"""The answer about a property: as JSON, as a table, and as the competition's verdict with its assignment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from rich.table import Table
from rich.text import Text

from verifier.problem.answer import PropertySubject
from verifier.problem.verdict import Counterexample, Holds, Search, Unknown, Verdict, Violated
from verifier.report.json_result import (
    SCHEMA,
    VERDICTS,
    CertificateRecord,
    Json,
    VerdictResult,
    float32_evidence,
    holds_json,
    number,
    search_json,
)
from verifier.report.terminal import EVIDENCE_TEXT, VERDICT_STYLE, pairs, search_text
from verifier.report.versions import METHOD_PACKAGES, versions

AnswerRow = tuple[str, str | Text]


class AboutProperty(Protocol):
    """What every answer about a property has."""

    @property
    def witness(self) -> Counterexample | None: ...
    @property
    def search(self) -> Search | None: ...
    @property
    def seconds(self) -> float: ...
    @property
    def about(self) -> PropertySubject | None: ...


class PropertyAnswer(AboutProperty, VerdictResult, Protocol):
    """What `verifier.check` returns for a property."""

    @property
    def remark(self) -> str: ...
    @property
    def tolerance_only(self) -> bool: ...


def property_fields(answer: PropertyAnswer) -> Json:
    """The answer as an object, the counterexample with its numbers."""
    about = answer.about
    asked: Json = {} if about is None else {
        "command": about.command,
        "property": about.property,
        "method": about.method,
        "model": about.model,
        "model_sha256": about.model_sha256,
    }  # fmt: skip
    return {
        "schema": SCHEMA,
        "verdict": VERDICTS[type(answer.verdict)],
        "reason": answer.reason,
        "remark": answer.remark,
        "tolerance_only": answer.tolerance_only,
        "witness": witness_point_json(answer.witness, about),
        "evidence": answer.evidence.label if answer.evidence is not None else None,
        "float32": _float32_json(answer, None),
        "search": search_json(answer.search),
        "seconds": number(answer.seconds),
        **asked,
    }


def property_json(
    answer: PropertyAnswer, witness_path: Path | None, certificate: CertificateRecord | None = None
) -> Json:
    """The object of `verifier check --property --json`."""
    found = {**property_fields(answer), "float32": _float32_json(answer, certificate)}
    return as_printed(found, witness_path, certificate)


def _float32_json(answer: PropertyAnswer, certificate: CertificateRecord | None) -> Json | None:
    """That it holds for every float32 evaluation, with what that rests on."""
    found = holds_json(answer.float32)
    return found and {**found, "evidence": float32_evidence(math.inf, certificate).label}


def as_printed(found: Json, witness_path: Path | None, certificate: CertificateRecord | None = None) -> Json:
    """An answer's object with what the command adds: where the witness and the certificate lie, and the versions."""
    if found["witness"] is not None:
        found["witness"]["path"] = str(witness_path) if witness_path is not None else None
    packages = METHOD_PACKAGES.get(found.get("method", ""), ())
    told = None if certificate is None else certificate.json()
    return {**found, "certificate": told, "versions": versions(packages)}


def witness_point_json(witness: Counterexample | None, about: PropertySubject | None) -> Json | None:
    """A counterexample's numbers, the point in the shape of the model's input."""
    if witness is None:
        return None
    shape = witness.point.shape if about is None else about.shape
    return {
        "point": witness.point.reshape(shape).tolist(),
        "outputs": witness.outputs.tolist(),
        "exact_outputs": witness.exact_outputs.tolist(),
    }


MEANING = {
    "holds": "there is no counterexample",
    "violated": "there is a counterexample",
    "unknown": "undecided",
}


def property_table(
    answer: PropertyAnswer, files: Sequence[Path], certificate: CertificateRecord | None = None
) -> Table:
    """The answer of `verifier check --property`."""
    verdict = VERDICTS[type(answer.verdict)]
    rows: list[AnswerRow] = [("verdict", Text(f"{verdict}: {MEANING[verdict]}", VERDICT_STYLE[verdict]))]
    if answer.reason:
        rows.append(("reason", answer.reason))
    if answer.remark:
        rows.append(("remark", answer.remark))
    if answer.evidence is not None:
        rows.append(("evidence", EVIDENCE_TEXT[answer.evidence]))
    if answer.float32:
        level = float32_evidence(math.inf, certificate)
        rows.append(("float32", f"the same for every float32 evaluation, {level.label}"))
    return pairs("The property", [*rows, *last_rows(answer, files)])


def last_rows(answer: AboutProperty, files: Sequence[Path]) -> list[AnswerRow]:
    """What every answer about a property ends with: the witness, the search, what it is about, and the files."""
    rows: list[AnswerRow] = []
    if answer.witness is not None:
        rows += [("input", several(answer.witness.point)), ("output", several(answer.witness.outputs))]
        rows.append(("exact output", several(answer.witness.exact_outputs)))
    if answer.search is not None:
        rows.append(("search", search_text(answer.search)))
    rows.append(("seconds", f"{answer.seconds:.2f}"))
    if answer.about is not None:
        rows += [("model", answer.about.model), ("property", answer.about.property)]
    if files:
        rows.append(("written", "\n".join(str(file) for file in files)))
    return rows


SHOWN = 10
"""Entries of a vector in a table."""


def several(values: npt.NDArray[np.floating]) -> str:
    """The first entries of a vector, and how many there are."""
    shown = ", ".join(f"{value:.9g}" for value in values[:SHOWN].tolist())
    return f"{shown}, … ({values.size} entries)" if values.size > SHOWN else shown


COMPETITION: dict[type[Verdict], str] = {Holds: "unsat", Violated: "sat", Unknown: "unknown"}


def competition_text(answer: PropertyAnswer, *, timed_out: bool) -> str:
    """What VNN-COMP reads: sat, unsat, unknown or timeout, and the assignment behind sat, its numbers in full."""
    first = COMPETITION[type(answer.verdict)]
    if first == "unknown" and timed_out:
        first = "timeout"
    if answer.witness is None:
        return f"{first}\n"
    named = [("X", answer.witness.point), ("Y", answer.witness.outputs)]
    values = [f"({name}_{place} {_exactly(value)})" for name, of in named for place, value in enumerate(of.tolist())]
    return f"{first}\n(" + "\n ".join(values) + ")\n"


def _exactly(value: float) -> str:
    """All digits, without an exponent, which some readers do not know."""
    return format(Decimal(value), "f")
