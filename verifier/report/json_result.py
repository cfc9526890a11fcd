"""Results as JSON objects, schema 1: numbers in full precision, an infinite one as null, since JSON has no infinity."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from encoders.passes.from_transforms import Transforms
from verifier.problem.inputs.columns import Columns
from verifier.problem.quantities import Quantity
from verifier.problem.query import ELSEWHERE
from verifier.problem.verdict import Bracket, Evidence, Holds, Search, Unknown, Verdict, Violated, Witness
from verifier.report.changed_entries import Given
from verifier.report.columns_result import columns_json, occurring_json
from verifier.report.versions import METHOD_PACKAGES, versions

SCHEMA = 1
FLOAT32_ASSUMES = (
    "every value is a sum of float32 products, each operation rounded to nearest, in any order of summation, with or "
    "without FMA; linear operators next to each other fused or not; ReLU, max and max pooling exact; results that are "
    "subnormal kept or flushed to zero, operands not flushed; constants multiplied beforehand or not; a final Softmax, "
    "LogSoftmax or Sigmoid off by at most 64 units of rounding, a Sigmoid inside the network by at most 8, a Tanh by "
    "16 (of 2^-24 each); no Winograd or FFT convolution, no TF32, bfloat16 or float16 inside"
)
"""Of whoever evaluates the network: what a float32 lower end holds for."""
Json = dict[str, Any]


class VerdictResult(Protocol):
    """What both answers of `verifier.check` have."""

    @property
    def verdict(self) -> Verdict: ...
    @property
    def reason(self) -> str: ...
    @property
    def evidence(self) -> Evidence | None: ...
    @property
    def seconds(self) -> float: ...
    @property
    def search(self) -> Search | None: ...
    @property
    def float32(self) -> bool | None: ...


class CheckResult(VerdictResult, Protocol):
    """What `verifier.check` returns about an input."""

    @property
    def witness(self) -> Witness | None: ...
    @property
    def target(self) -> int | None: ...


@dataclass(frozen=True)
class CertificateRecord:
    """The certificate that was asked for: where it is, or the reason why there is none."""

    path: Path | None
    reason: str = ""
    size: int = 0
    leaves: int = 0
    query: str = ""
    float32: float = 0.0
    """The lower end that it proves for every float32 evaluation; 0: none."""
    short: bool = False
    """Does it prove less than is known?"""

    def json(self) -> Json:
        """`query` is the digest that the checker prints."""
        return {
            "path": str(self.path) if self.path is not None else None,
            "reason": self.reason,
            "bytes": self.size,
            "leaves": self.leaves,
            "query": self.query,
            "float32": number(self.float32) if self.float32 else None,
        }


@dataclass(frozen=True, eq=False)
class TransformsRecord:
    """The transformations under which an answer holds, and what the model predicts for the input under each."""

    given: Transforms
    predicted: tuple[int, ...]

    def json(self) -> Json:
        return {
            "file": str(self.given.path),
            "sha256": self.given.sha256,
            "names": list(self.given.names),
            "predicted": list(self.predicted),
        }


@dataclass(frozen=True)
class RunRecord:
    """What was asked, as far as the result repeats it. `method` and `solver` are None where none decides (attack)."""

    command: str
    model: Path
    model_sha256: str
    input: Path
    index: int
    norm: str
    label: int
    target: int | None
    margin: float
    precision: float | None = None
    radius: float | None = None
    method: str | None = None
    solver: str | None = None
    certificate: CertificateRecord | None = None
    transforms: TransformsRecord | None = None
    every_target: bool = False
    notes: tuple[str, ...] = ()
    """How the input was read, where that is not plain from its file; what was moved into the box."""
    threshold: float | None = None
    """Of a model of one output: from where on it is class 1. None where each class has a score."""
    columns: Columns | None = None
    """Which inputs can occur; None: all of the box."""
    radius_text: str = ""
    """The radius as it was asked for, "" where it was a number."""
    given: Given | None = None
    """The input itself, where what changes of it is to be told."""

    @property
    def radius_told(self) -> str:
        """The radius in words: as asked for, and the float64 that was used where these are not the same."""
        assert self.radius is not None, "a check has a radius"
        return Quantity(self.radius_text or f"{self.radius:g}", self.radius).told


def bracket_json(
    run: RunRecord, bracket: Bracket, witness_path: Path | None, float32: Evidence = Evidence.PROVED
) -> Json:
    """One bracket as an object: the keys of `verifier minimal --json` without those of the run as a whole.

    float32: what its end for float32 rests on.
    """
    return {
        "status": bracket.status.value,
        "lower": number(bracket.lower),
        "upper": number(bracket.upper),
        "norm": run.norm,
        "label": run.label,
        "target": bracket.target,
        "precision": number(bracket.precision),
        "initial": {"attack": bracket.initial.attack, "distance": number(bracket.initial.distance)},
        "witness": witness_json(bracket.witness, witness_path),
        "evidence": bracket.evidence.label,
        "float32": _float32_json(bracket, witness_path, float32),
        "columns": columns_json(run.columns),
        "occurring": occurring_json(run.columns, bracket, run.norm),
        "method": run.method,
        "solver": run.solver,
        "search": search_json(bracket.search),
        "seconds": number(bracket.seconds),
        "reason": bracket.reason,
    }


def holds_json(float32: bool | None) -> Json | None:
    """That an answer holds for every float32 evaluation of the network; null where that is not known."""
    return {"holds": True, "assumes": FLOAT32_ASSUMES} if float32 else None


def float32_evidence(lower: float | None, certificate: CertificateRecord | None) -> Evidence:
    """What a lower end for every float32 evaluation rests on."""
    certified = lower is not None and certificate is not None and certificate.float32 >= lower > 0
    return Evidence.CERTIFIED if certified else Evidence.PROVED


def float32_of_all(results: Sequence[Bracket], certificates: Mapping[int | None, CertificateRecord]) -> Evidence:
    """What the lower end of all targets rests on for float32 evaluations: on the least of each target's."""
    return min(_float32_levels(results, certificates), default=Evidence.PROVED)


def _float32_levels(results: Sequence[Bracket], certificates: Mapping[int | None, CertificateRecord]) -> list[Evidence]:
    return [float32_evidence(bracket.float32, certificates.get(bracket.target)) for bracket in results]


def _float32_json(bracket: Bracket, witness_path: Path | None, evidence: Evidence) -> Json | None:
    """What holds for every float32 evaluation of the network; null where that was not asked."""
    if bracket.float32 is None:
        return None
    return {
        "lower": number(bracket.float32),
        "evidence": evidence.label,
        "upper": number(bracket.upper),
        "witness": witness_json(bracket.witness, witness_path),
        "assumes": FLOAT32_ASSUMES,
    }


def minimal_json(run: RunRecord, bracket: Bracket, witness_path: Path | None, picture: Path | None) -> Json:
    """The object of `verifier minimal --json` and `verifier attack --json`."""
    level = float32_evidence(bracket.float32, run.certificate)
    return {"schema": SCHEMA, **bracket_json(run, bracket, witness_path, level), **_tail(run, picture)}


def all_targets_json(
    run: RunRecord,
    overall: Bracket,
    results: Sequence[Bracket],
    paths: Mapping[int | None, Path],
    picture: Path | None,
    certificates: Mapping[int | None, CertificateRecord],
) -> Json:
    """The object of `verifier minimal --all-targets --json`: the overall minimum, and one entry a target in `results`.

    paths: where the witness of each target was written; certificates: those that were asked for.
    """
    nearest = overall.witness.target if overall.witness is not None else None
    levels = _float32_levels(results, certificates)
    return {
        "schema": SCHEMA,
        **bracket_json(run, overall, paths.get(nearest), float32_of_all(results, certificates)),
        "results": [
            {
                **bracket_json(run, bracket, paths.get(bracket.target), level),
                "certificate": _certificate_json(certificates.get(bracket.target)),
            }
            for bracket, level in zip(results, levels, strict=True)
        ],
        **_tail(run, picture),
    }


def check_json(run: RunRecord, result: CheckResult, witness_path: Path | None, picture: Path | None) -> Json:
    """The object of `verifier check --json`."""
    return {"schema": SCHEMA, **check_fields(run, result, witness_path), **_tail(run, picture)}


def check_fields(run: RunRecord, result: CheckResult, witness_path: Path | None) -> Json:
    """One check as an object: the keys of `verifier check --json` without those of the run as a whole."""
    return {
        "verdict": VERDICTS[type(result.verdict)],
        "reason": result.reason,
        "radius": number(run.radius if run.radius is not None else math.nan),
        "radius_asked": run.radius_text or None,
        "norm": run.norm,
        "label": run.label,
        "target": result.target,
        "witness": witness_json(result.witness, witness_path),
        "evidence": result.evidence.label if result.evidence is not None else None,
        "float32": _holds_json(run, result),
        "columns": columns_json(run.columns),
        "method": run.method,
        "solver": run.solver,
        "search": search_json(result.search),
        "seconds": number(result.seconds),
    }


def _holds_json(run: RunRecord, result: CheckResult) -> Json | None:
    """As `holds_json`, with what it rests on."""
    found = holds_json(result.float32)
    return found and {**found, "evidence": float32_evidence(run.radius or 0.0, run.certificate).label}


VERDICTS: dict[type[Verdict], str] = {Holds: "holds", Violated: "violated", Unknown: "unknown"}


def search_json(search: Search | None) -> Json | None:
    """What the search tree has cost; null for methods without one."""
    if search is None:
        return None
    return {
        "engine": search.engine,
        "nodes": search.nodes,
        "open_nodes": search.open_nodes,
        "seconds": number(search.seconds),
    }


def witness_json(witness: Witness | None, path: Path | None) -> Json | None:
    """A witness without its pixels: those are in the file at `path`, when --out was given."""
    if witness is None:
        return None
    return {
        "path": str(path) if path is not None else None,
        "predicted": witness.predicted,
        "classes": list(witness.classes) or [witness.predicted],
        "distance": number(witness.distance),
        "target": witness.target if witness.target != ELSEWHERE else None,
        "exact_margin": number(witness.exact_margin),
        "onnxruntime_margin": number(witness.onnxruntime_margin),
    }


def _tail(run: RunRecord, picture: Path | None) -> Json:
    return {
        "command": run.command,
        "margin": number(run.margin),
        "input": str(run.input),
        "index": run.index,
        "input_notes": list(run.notes),
        "picture": str(picture) if picture is not None else None,
        "certificate": _certificate_json(run.certificate),
        "transforms": run.transforms.json() if run.transforms is not None else None,
        "model": str(run.model),
        "model_sha256": run.model_sha256,
        "versions": versions(METHOD_PACKAGES.get(run.method or "", ())),
    }


def _certificate_json(record: CertificateRecord | None) -> Json | None:
    return record.json() if record is not None else None


def number(value: float) -> float | None:
    """A finite number as it is, an infinite one or NaN as None."""
    return float(value) if math.isfinite(value) else None


def dumps(result: Json) -> str:
    """The object as text with a final newline. Raises ValueError on a float that JSON cannot say."""
    # json escapes all that is no printable ASCII, but leaves the delete character.
    return json.dumps(result, indent=2, allow_nan=False).replace("\x7f", "\\u007f") + "\n"
