"""A report's numbers as JSON and CSV, everything as measured, nothing rounded; and its tables for LaTeX."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from verifier.campaign.analysis.table1 import TableGroup
from verifier.campaign.plan.attack_tasks import ATTACKING, Kind
from verifier.campaign.store.records import Result
from verifier.report.campaign.instance_rows import thinned
from verifier.report.campaign.latex import tabular
from verifier.report.campaign.section import all_sections
from verifier.report.campaign.study import Study, certificate_name, short_id
from verifier.report.json_result import Json
from verifier.report.versions import versions

SCHEMA = 1
INSTANCES = "instances"
TableRow = Mapping[str, Any]


def report_json(study: Study, made: datetime) -> Json:
    """The report as one object. Infinite numbers are null; distances are as measured, nothing is rounded."""
    contents = study.contents
    whole: Json = _finite(
        {
            "schema": SCHEMA,
            "title": study.title,
            "made": made.isoformat(timespec="seconds"),
            "versions": versions(),
            # Reports are handed on: of a path only the name; a model's sha256 below makes it sure.
            "plans": [_without_folders(plan) for plan in contents.plans],
            "counts": asdict(contents.counts),
            "models": {study.names[one.model_sha256]: one.model_sha256 for one in contents.results},
            **{one.table: one.json(study) for one in all_sections().values() if one.json is not None},
            INSTANCES: instances(study),
        }
    )
    return whole


def _without_folders(plan: Mapping[str, Any]) -> Json:
    told = {key: _name(plan[key]) for key in ("models", "data", "store") if key in plan}
    box = {"box": _name(plan["box"])} if str(plan.get("box")).endswith(".npz") else {}
    later = {  # plans from before there were any
        "points": _name(plan.get("points") or ()),
        "transforms": _name(plan.get("transforms")),
        "output": plan.get("output"),
        "grid": plan.get("grid"),
        "integer": plan.get("integer") or (),
        "one_hot": plan.get("one_hot") or (),
        "units": _name(plan.get("units")),
    }
    return {**plan, **told, **box, **later}


def _name(path: Any) -> Any:
    """The last part of a path, or of each of several; None for none."""
    if isinstance(path, list | tuple):
        return [_name(one) for one in path]
    return Path(str(path)).name if path is not None else None


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value


def instances(study: Study) -> list[Json]:
    """A row for each instance, with the distance of each attack."""
    return [_instance(study, one) for one in study.contents.results]


def _instance(study: Study, one: Result) -> Json:
    found = study.findings.get(one.id, [])
    return {
        "id": short_id(one.id),
        **study.named(TableGroup.of(one)),
        "source": one.source_name,
        "index": one.index,
        "name": one.name,
        "label": one.label,
        "target": one.target,
        "margin": one.margin,
        "precision": one.precision,
        "status": one.status,
        "lower": one.lower,
        "upper": one.upper,
        "evidence": study.evidence(one),
        "float32_lower": one.float32,
        "float32_evidence": study.float32_evidence(one) or None,
        "initial": one.initial,
        "initial_attack": one.attack,
        "seconds": one.seconds,
        "attempts": one.attempts,
        "nodes": one.search.nodes if one.search is not None else None,
        "reason": one.reason,
        "steps": thinned(study.contents.steps.get(one.id, [])),
        "certificate": certificate_name(one.id) if one.id in study.certificates else None,
        "attacks": {at.attack: at.distance for at in found if at.kind in ATTACKING and at.state == "done"},
        **{name: {at.attack: dict(at.facts) for at in found if at.kind is kind and at.state == "done"}
           for name, kind in (("restarts", Kind.RESTART), ("points", Kind.POINTS))},
    }  # fmt: skip


def csv_files(study: Study) -> dict[str, str]:
    """The tables as CSV, by file name."""
    known = instances(study)
    names = list(dict.fromkeys(name for row in known for name in row["attacks"]))
    flat = [
        {key: value for key, value in row.items() if key not in ("steps", "attacks", "restarts", "points")}
        | {f"attack_{name}": row["attacks"].get(name) for name in names}
        for row in known
    ]
    tables = {one.table: one.csv(study) for one in all_sections().values() if one.csv is not None}
    return {f"{name}.csv": _csv(rows) for name, rows in {**tables, INSTANCES: flat}.items() if rows}


def csv_names() -> set[str]:
    """The CSV files that a report may have."""
    return {
        f"{name}.csv" for name in (INSTANCES, *(one.table for one in all_sections().values() if one.csv is not None))
    }


def _csv(rows: Sequence[TableRow]) -> str:
    stream = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _guarded(value) for key, value in row.items()} for row in rows)
    return stream.getvalue()


FORMULA = tuple("=+-@\t\r\n")
"""What a spreadsheet takes for the beginning of a formula, and what it leaves out before one."""


def _guarded(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets an apostrophe; infinity is empty, as null is."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return f"'{value}" if isinstance(value, str) and value[:1] in FORMULA else value


def latex_file(study: Study) -> str:
    """The tables of all sections, for \\usepackage{booktabs}: upper ends rounded up, lower ends down."""
    tables = [one.latex(study) for one in all_sections().values() if one.latex is not None]
    parts = ["% Needs \\usepackage{booktabs}. Upper ends are rounded up, lower ends down."]
    return "\n\n".join([*parts, *(tabular(table) for table in tables if table[2])]) + "\n"


def json_text(value: Json) -> str:
    """A report's JSON as it is written."""
    return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
