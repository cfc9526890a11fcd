"""A gate's answer as JSON; its schema is docs/schemas/gate.json."""

from __future__ import annotations

import math

from verifier.gate.proofs import Proofs
from verifier.gate.verdict import Judgement, Known, Ruling
from verifier.report.gate.words import GateRun
from verifier.report.json_result import Json

FORMAT = "relu-verifier gate 1"


def gate_json(run: GateRun) -> Json:
    """The whole answer: every requirement with every input."""
    return {
        "format": FORMAT,
        "file": str(run.path),
        "ruling": run.ruling.value,
        "exit_code": run.code,
        "undecided_allowed": run.warned,
        "reason": run.reason,
        "engine": run.version,
        "questions": run.asked,
        "seconds": round(run.seconds, 3),
        "proofs": None if run.proofs is None else _proofs(run.proofs),
        "requirements": [_requirement(judgement, run) for judgement in run.judgements],
    }


def _proofs(proofs: Proofs) -> Json:
    missing = [{"reason": reason, "count": count} for reason, count in proofs.reasons]
    return {"count": proofs.count, "certified": proofs.certified, "float32": proofs.float32, "missing": missing}


def _requirement(judgement: Judgement, run: GateRun) -> Json:
    figure = judgement.figure
    return {
        "name": judgement.requirement,
        "ruling": judgement.ruling.value,
        "model": str(judgement.group.model),
        "norm": judgement.group.norm,
        "only": judgement.group.only or None,
        "measured": figure.what,
        "unit": "share" if figure.share else "distance",
        "lower": number(figure.lower),
        "upper": number(figure.upper),
        "required": number(figure.threshold),
        "note": judgement.note,
        "inputs": [
            _input(one, judgement.thresholds[place], judgement.ruling_of(place), run)
            for place, one in enumerate(judgement.inputs)
        ],
    }


def _input(one: Known, radius: float | None, ruling: Ruling, run: GateRun) -> Json:
    picture = run.witnesses.get(one.key)
    return {
        "input": one.name,
        "identity": one.identity,
        "label": one.label,
        "lower": number(one.lower),
        "upper": number(one.upper),
        "evidence": one.evidence if one.lower > 0.0 else None,
        "radius": None if radius is None else number(radius),
        "ruling": None if radius is None else ruling.value,
        "reason": one.reason,
        "witness": None if picture is None else str(picture),
    }


def number(value: float) -> float | str:
    """JSON has no infinities: they are texts."""
    return value if math.isfinite(value) else "inf" if value > 0 else "-inf"
