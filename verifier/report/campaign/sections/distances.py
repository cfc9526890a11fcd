"""Table 1: how far the first attack's examples are and how far the nearest ones, each model, norm and method."""

from __future__ import annotations

from verifier.campaign.analysis.table1 import Means
from verifier.report.campaign.latex import Tabular, model_cell, percent, up
from verifier.report.campaign.section import Section
from verifier.report.campaign.study import Study
from verifier.report.json_result import Json
from verifier.report.norm_signs import NORM_LATEX

MEANS = ("counted", "initial", "lower", "upper", "improvement")


def table(study: Study) -> list[Json]:
    """A row for each model, norm and method."""
    return [
        {
            **study.named(line.group),
            "closed": line.closed,
            "instances": line.instances,
            **_means("closed", line.means),
            **_means("all", line.all_means),
        }
        for line in study.lines
    ]


def _means(prefix: str, means: Means | None) -> Json:
    return {f"{prefix}_{name}": getattr(means, name) if means is not None else None for name in MEANS}


def _latex(study: Study) -> Tabular:
    head = ("Model", "Norm", "Closed", "Initial", "Minimal", "Impr.", "Initial (all)", "Minimal (all)", "Impr.")
    rows = [
        [model_cell(row), NORM_LATEX[row["norm"]], f"{row['closed']}/{row['instances']}",
         *_cells(row, "closed"), *_cells(row, "all")]
        for row in table(study)
    ]  # fmt: skip
    return "llr rrr rrr", head, rows


def _cells(row: Json, prefix: str) -> list[str]:
    return [up(row[f"{prefix}_initial"]), up(row[f"{prefix}_upper"]), percent(row[f"{prefix}_improvement"])]


SECTION = Section(10, {"distances": "Distances"}, table="table1", json=table, csv=table, latex=_latex)
