"""A report's numbers as JSON and CSV: everything as measured, nothing rounded."""

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

from verifier.campaign.analysis.attack_quality import Restarts
from verifier.campaign.analysis.certified_accuracy import Curve
from verifier.campaign.analysis.table1 import Means, TableGroup
from verifier.campaign.plan.attack_tasks import Kind
from verifier.campaign.store.records import Result
from verifier.report.campaign.instance_rows import thinned
from verifier.report.campaign.study import Study, certificate_name, short_id
from verifier.report.json_result import Json
from verifier.report.versions import versions

SCHEMA = 1
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
            # Reports are handed on: of a model's path only its name, which its sha256 below makes sure.
            "plans": [_without_folders(plan) for plan in contents.plans],
            "counts": asdict(contents.counts),
            "models": {study.names[one.model_sha256]: one.model_sha256 for one in contents.results},
            "table1": table1(study),
            "table2": table2(study),
            "curves": [
                {
                    **_named(study, curve.group),
                    "inputs": curve.inputs,
                    "targets": list(curve.targets),
                    "steps": [
                        {"radius": radius, "at_least": n, "at_most": m, **_robust(curve, n, m)}
                        for radius in curve.radii
                        for n, m in [curve.fallen(radius)]
                    ],
                    "attacks": {name: list(ends) for name, ends in curve.attacks.items()},
                }
                for curve in study.curves
            ],
            "attacks": attacks(study),
            "switches": [
                {
                    **_named(study, one.group),
                    "layers": list(one.layers),
                    "layer_means": one.layer_means,
                    "totals": one.totals,
                    "missing": one.missing,
                }
                for one in study.switches
            ],
            "instances": instances(study),
        }
    )
    return whole


def _robust(curve: Curve, at_least: int, at_most: int) -> Json:
    """The robust accuracy: the share of inputs that do not fall, from fallen counts."""
    return {
        "robust_at_least": (curve.inputs - at_most) / curve.inputs,
        "robust_at_most": (curve.inputs - at_least) / curve.inputs,
    }


def _without_folders(plan: Mapping[str, Any]) -> Json:
    told = {**plan, "models": [Path(model).name for model in plan["models"]]}
    transforms = plan.get("transforms")  # plans from before there were any
    later = {"transforms": Path(transforms).name if transforms is not None else None, "output": plan.get("output")}
    return {**told, **later}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value


def _named(study: Study, group: TableGroup) -> Json:
    """A group; its output only where one was chosen of any model."""
    output = {"output": group.output or ""} if study.chosen_outputs else {}
    return {"model": study.names[group.model], **output, **_kind(study, group)}


def _kind(study: Study, group: TableGroup) -> Json:
    """What a group shares with those of other models; transformations only where any question has some."""
    kind: Json = {"norm": group.norm, "method": group.method}
    if study.views:
        kind["transforms"] = study.views.get(group.transforms, "")
    return kind


MEANS = ("counted", "initial", "lower", "upper", "improvement")


def _means(prefix: str, means: Means | None) -> Json:
    return {f"{prefix}_{name}": getattr(means, name) if means is not None else None for name in MEANS}


def table1(study: Study) -> list[Json]:
    """A row for each model, norm and method."""
    return [
        {
            **_named(study, line.group),
            "closed": line.closed,
            "instances": line.instances,
            **_means("closed", line.means),
            **_means("all", line.all_means),
        }
        for line in study.lines
    ]


def table2(study: Study) -> list[Json]:
    """A row for each two models, norm and method."""
    return [
        {
            "undefended": study.name(one.first),
            "defended": study.name(one.second),
            **_kind(study, one.first),
            "closed_on_both": len(one.pairs),
            "undefended_mean": one.mean_first,
            "defended_mean": one.mean_second,
            "factor": one.factor,
            "factor_least": one.factor_least,
            "factor_most": one.factor_most,
            "better": one.better,
            "worse": len(one.worse),
            "worse_by_mean": one.worse_by,
            "worse_by_most": one.worst_by,
        }
        for one in study.comparisons
    ]


def attacks(study: Study) -> list[Json]:
    """A row for each model, norm, method and attack."""
    rows = []
    for audit in study.audits:
        correlation = audit.correlation
        rows.append(
            {
                **_named(study, audit.group),
                "attack": audit.attack,
                "measured": len(audit.measured),
                "found": len(audit.ratios),
                "at_minimum": audit.at_minimum,
                "ratio_median": audit.median,
                "ratio_mean": audit.mean,
                "ratio_p90": audit.quantile(0.9),
                "ratio_max": audit.quantile(1.0),
                "correlation": correlation[0] if correlation else None,
                "correlation_pairs": correlation[1] if correlation else 0,
                **_restarts(audit.restarts),
            }
        )
    return rows


def _restarts(again: Restarts) -> Json:
    return {
        "misses": again.misses,
        "restarted": again.tested,
        **{f"arrives_from_{100 * step:g}%": n for step, n in zip(again.steps, again.towards, strict=True)},
        "arrives_from_random": again.any_random,
        "random_directions": again.directions,
        "random_directions_arrive": again.directions_reached,
    }


def instances(study: Study) -> list[Json]:
    """A row for each instance, with the distance of each attack."""
    return [_instance(study, one) for one in study.contents.results]


def _instance(study: Study, one: Result) -> Json:
    found = study.findings.get(one.id, [])
    return {
        "id": short_id(one.id),
        **_named(study, TableGroup.of(one)),
        "source": one.source,
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
        "initial": one.initial,
        "initial_attack": one.attack,
        "seconds": one.seconds,
        "attempts": one.attempts,
        "nodes": one.search.nodes if one.search is not None else None,
        "reason": one.reason,
        "steps": thinned(study.contents.steps.get(one.id, [])),
        "certificate": certificate_name(one.id) if one.id in study.certificates else None,
        "attacks": {at.attack: at.distance for at in found if at.kind is Kind.ATTACK and at.state == "done"},
        "restarts": {at.attack: dict(at.facts) for at in found if at.kind is Kind.RESTART and at.state == "done"},
    }


def csv_files(study: Study) -> dict[str, str]:
    """The tables as CSV, by file name."""
    known = instances(study)
    names = list(dict.fromkeys(name for row in known for name in row["attacks"]))
    flat = [
        {key: value for key, value in row.items() if key not in ("steps", "attacks", "restarts")}
        | {f"attack_{name}": row["attacks"].get(name) for name in names}
        for row in known
    ]
    curves = [
        {**_named(study, curve.group), "radius": radius, "at_least": n, "at_most": m, "inputs": curve.inputs}
        | _robust(curve, n, m)
        for curve in study.curves
        for radius in curve.radii
        for n, m in [curve.fallen(radius)]
    ]
    tables = {"table1": table1(study), "table2": table2(study), "attacks": attacks(study), "curves": curves}
    return {f"{name}.csv": _csv(rows) for name, rows in {**tables, "instances": flat}.items() if rows}


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


def json_text(value: Json) -> str:
    """A report's JSON as it is written."""
    return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
