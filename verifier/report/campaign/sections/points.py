"""What became of points that other tools have found: how many are witnesses, and why the others are none."""

from __future__ import annotations

from verifier.report.campaign.section import Section
from verifier.report.campaign.study import Study
from verifier.report.json_result import Json


def table(study: Study) -> list[Json]:
    """A row for each model, norm, method and tool."""
    return [
        {**study.named(one.group), "tool": one.tool, "given": one.given, "replayed": one.replayed,
         "refused": dict(one.refused)}
        for one in study.replays
    ]  # fmt: skip


def flat(study: Study) -> list[Json]:
    """The same, a column for each reason."""
    rows = [
        {**row, **{f"refused: {reason}": number for reason, number in row["refused"].items()}} for row in table(study)
    ]
    return [{key: value for key, value in row.items() if key != "refused"} for row in rows]


SECTION = Section(
    45, {"points": "Points"}, shown=lambda study: bool(study.replays), table="points", json=table, csv=flat
)
