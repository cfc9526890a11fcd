"""How near attacks come to the true minimum, and why they miss it."""

from __future__ import annotations

from verifier.campaign.analysis.attack_quality import Audit, Measured, Restarts
from verifier.campaign.analysis.table1 import TableGroup
from verifier.campaign.plan.attack_tasks import STEPS
from verifier.report.campaign.charts import claims_chart, ratio_chart
from verifier.report.campaign.instance_rows import Frame
from verifier.report.campaign.latex import Tabular, down, latex, model_cell
from verifier.report.campaign.section import Section
from verifier.report.campaign.study import Study
from verifier.report.json_result import Json
from verifier.report.norm_signs import NORM_LATEX, NORM_SIGNS

WORST = 3
"""Worst cases of an attack that are shown."""


def table(study: Study) -> list[Json]:
    """A row for each model, norm, method and attack."""
    rows = []
    for audit in study.audits:
        correlation = audit.correlation
        rows.append(
            {
                **study.named(audit.group),
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


def _context(study: Study) -> Json:
    return {
        "audits": [_group(study, group) for group in dict.fromkeys(audit.group for audit in study.audits)],
        "restart_steps": next((audit.restarts.steps for audit in study.audits if audit.restarts.tested), STEPS),
    }


def _group(study: Study, group: TableGroup) -> Json:
    own = [audit for audit in study.audits if audit.group == group]
    curve = next(curve for curve in study.curves if curve.group == group)
    claims, claimed = (
        claims_chart(curve, NORM_SIGNS[group.norm], study.places[group.model]) if curve.attacks else (None, list[str]())
    )
    return {
        "name": study.group_name(group),
        "audits": own,
        "ratios": ratio_chart(own),
        "claims": claims,
        "claimed": claimed,
        "place": study.places[group.model],
        "worst": [_worst(study, audit) for audit in own if audit.worst],
    }


def _worst(study: Study, audit: Audit) -> Json:
    return {"attack": audit.attack, "cases": [_triple(study, one) for one in audit.worst[:WORST]]}


def _triple(study: Study, one: Measured) -> Json:
    frame = Frame.of(study.contents.tasks[one.result.task])
    assert one.attack.witness is not None
    assert one.result.witness is not None
    return {
        "result": one.result,
        "ratio": one.ratio,
        "distance": one.attack.distance,
        "input": frame.image(frame.task.point),
        "attack": frame.image(one.attack.witness.point),
        "minimal": frame.image(one.result.witness.point),
    }


def _latex(study: Study) -> Tabular:
    head = ("Model", "Norm", "Attack", "Found", "At minimum", "Median ratio", "90 \\%", "Largest")
    rows = [
        [model_cell(row), NORM_LATEX[row["norm"]], latex(row["attack"]), f"{row['found']}/{row['measured']}",
         str(row["at_minimum"]), down(row["ratio_median"]), down(row["ratio_p90"]), down(row["ratio_max"])]
        for row in table(study)
    ]  # fmt: skip
    return "lllrr rrr", head, rows


SECTION = Section(
    40,
    {"attacks": "Attacks", "misses": "Misses"},
    _context,
    shown=lambda study: bool(study.audits),
    table="attacks",
    json=table,
    csv=table,
    latex=_latex,
)
