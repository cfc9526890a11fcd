"""Table 2: what a defence is worth, by the same questions to two models."""

from __future__ import annotations

from verifier.report.campaign.charts import scatter_chart
from verifier.report.campaign.latex import Tabular, latex, model_cell, percent, up
from verifier.report.campaign.section import Section
from verifier.report.campaign.study import Study
from verifier.report.json_result import Json
from verifier.report.norm_signs import NORM_LATEX, NORM_SIGNS


def table(study: Study) -> list[Json]:
    """A row for each two models, norm and method."""
    return [
        {
            "undefended": study.name(one.first),
            "defended": study.name(one.second),
            **study.kind(one.first),
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


def _context(study: Study) -> Json:
    return {
        "comparisons": [
            (one, scatter_chart(one, (study.name(one.first), study.name(one.second)), NORM_SIGNS[one.first.norm]))
            for one in study.comparisons
        ]
    }


def _latex(study: Study) -> Tabular:
    head = ("Undefended", "Defended", "Norm", "Both closed", "Undef.", "Def.", "Factor", "Worse", "By")
    rows = [
        [model_cell(row, "undefended"), latex(row["defended"]), NORM_LATEX[row["norm"]], str(row["closed_on_both"]),
         up(row["undefended_mean"]), up(row["defended_mean"]), f"{row['factor']:.2f}",
         str(row["worse"]), percent(row["worse_by_mean"])]
        for row in table(study)
    ]  # fmt: skip
    return "lllr rrr rr", head, rows


SECTION = Section(
    20,
    {"defence": "Defence"},
    _context,
    shown=lambda study: bool(study.comparisons),
    table="table2",
    json=table,
    csv=table,
    latex=_latex,
)
