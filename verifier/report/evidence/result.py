"""An evidence pack as JSON, which reprove.sh holds against the files beside it; schema: docs/schemas/evidence.json."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from verifier.gate.evidence_figures import CONFIDENCE
from verifier.gate.evidence_pack import GroupFigures, PackedClaim, PackedInput, PackedModel
from verifier.gate.reprove import FORMAT
from verifier.gate.verdict import Judgement
from verifier.problem.inputs.columns import units_of
from verifier.report.columns_result import columns_json
from verifier.report.evidence.statement import LIMITS, Statement, terms
from verifier.report.gate.result import number
from verifier.report.json_result import Json


def evidence_text(statement: Statement) -> str:
    """The JSON's text."""
    return json.dumps(evidence_json(statement), indent=1, allow_nan=False) + "\n"


def evidence_json(statement: Statement) -> Json:
    """The whole pack. Distances are as they were measured; texts stand for infinities."""
    pack = statement.pack
    by_task = {entry.task.id: entry for entry in pack.entries}
    return {
        "format": FORMAT,
        "title": pack.source.title,
        "made": statement.made.isoformat(timespec="seconds"),
        "engine": statement.engine,
        "environment": dict(statement.environment),
        "checkers": dict(statement.checkers),
        "statement": {term.name: term.text for term in terms(pack)},
        "limits": list(LIMITS),
        "confidence": CONFIDENCE,
        "models": [_model(model) for model in pack.models],
        "groups": [_group(figures) for figures in pack.figures],
        "requirements": [_requirement(judgement, by_task) for judgement in pack.source.judgements],
        "inputs": [_entry(entry) for entry in pack.entries],
    }


def _model(model: PackedModel) -> Json:
    return {
        "id": model.id,
        "name": model.name,
        "file": model.file,
        "external": list(model.external),
        "sha256": model.sha256,
        "scores": model.scores,
        "output": model.shown,
        "threshold": model.threshold,
        "unread": model.unread,
    }


def _group(figures: GroupFigures) -> Json:
    return {
        "model": figures.model.id,
        "name": figures.model.name,
        "norm": figures.group.norm,
        "only": figures.only or None,
        "method": figures.group.method,
        "views": list(figures.views),
        "selection": figures.sampling.words,
        "drawn": figures.sampling.drawn,
        "population": figures.sampling.scope,
        "inputs": [entry.id for entry in figures.entries],
        "accuracy": [
            {
                "radius": number(one.radius),
                "inputs": one.inputs,
                "proved": one.proved,
                "not_refuted": one.not_refuted,
                "band": list(one.band),
                "interval": None if one.interval is None else list(one.interval),
            }
            for one in figures.accuracy
        ],
        "quantiles": [
            {"share": one.share, "lower": number(one.lower), "upper": number(one.upper)}
            for one in figures.distances.quantiles
        ],
    }


def _requirement(judgement: Judgement, by_task: Mapping[str, PackedInput]) -> Json:
    figure = judgement.figure
    rows = []
    for place, one in enumerate(judgement.inputs):
        entry, radius = by_task[one.key], judgement.thresholds[place]
        carried = [claim.certificate for claim in entry.claims if claim.certificate]
        carried += [claim.shown.file for claim in entry.claims if claim.shown is not None]
        rows.append(
            {
                "id": entry.id,
                "radius": None if radius is None else number(radius),
                "ruling": None if radius is None else judgement.ruling_of(place).value,
                "files": carried,
            }
        )
    return {
        "name": judgement.requirement,
        "ruling": judgement.ruling.value,
        "model": judgement.group.model.name,
        "norm": judgement.group.norm,
        "only": judgement.group.only or None,
        "measured": figure.what,
        "unit": "share" if figure.share else "distance",
        "lower": number(figure.lower),
        "upper": number(figure.upper),
        "required": number(figure.threshold),
        "note": judgement.note,
        "need": judgement.need,
        "inputs": rows,
    }


def _entry(entry: PackedInput) -> Json:
    task = entry.task
    return {
        "id": entry.id,
        "name": entry.name,
        "source": task.source.rpartition("/")[2],
        "index": task.index,
        "model": entry.model.id,
        "file": entry.file,
        "box": entry.box if isinstance(entry.box, str) else [number(end) for end in entry.box],
        "norm": task.norm,
        "columns": _columns(entry),
        "margin": number(task.margin),
        "label": task.label,
        "predicted": entry.predicted,
        "views": list(entry.views),
        "lower": number(entry.lower),
        "upper": number(entry.upper),
        "evidence": entry.level or None,
        "reach": number(entry.reach),
        "undecided": entry.undecided,
        "claims": [_claim(claim) for claim in entry.claims],
    }


def _columns(entry: PackedInput) -> Json | None:
    """Which inputs can occur; null for all of the box."""
    columns = entry.task.columns
    if columns is None:
        return None
    ends = zip(("offset", "scale"), units_of(columns.units, entry.task.point.size), strict=True)
    units = {name: end[: 1 if np.all(end == end[0]) else None].tolist() for name, end in ends}
    return {**(columns_json(columns) or {}), **units}


def _claim(claim: PackedClaim) -> Json:
    shown = claim.shown
    return {
        "instance": claim.instance,
        "target": claim.target,
        "lower": number(claim.lower),
        "upper": number(claim.upper),
        "evidence": claim.level or None,
        "float32": None if claim.float32 is None else number(claim.float32),
        "float32_certified": number(claim.float32_certified) if claim.float32_certified > 0 else None,
        "status": claim.status,
        "reason": claim.reason,
        "certificate": claim.certificate or None,
        "uncertified": claim.uncertified,
        "witness": None
        if shown is None
        else {
            "file": shown.file,
            "picture": shown.picture or None,
            "predicted": shown.witness.predicted,
            "exact_margin": number(shown.witness.exact_margin),
            "onnxruntime_margin": number(shown.witness.onnxruntime_margin),
            "unchecked": shown.unchecked,
        },
    }
