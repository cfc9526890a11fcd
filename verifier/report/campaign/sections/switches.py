"""How many ReLUs switch between an input and its nearest example: how nonlinear the network is there."""

from __future__ import annotations

from verifier.report.campaign.charts import switch_chart
from verifier.report.campaign.section import Section
from verifier.report.campaign.study import Study
from verifier.report.json_result import Json


def table(study: Study) -> list[Json]:
    """A row for each model, norm and method."""
    return [
        {
            **study.named(one.group),
            "layers": list(one.layers),
            "layer_means": one.layer_means,
            "totals": one.totals,
            "missing": one.missing,
        }
        for one in study.switches
    ]


def _context(study: Study) -> Json:
    return {
        "switches": [
            (one, switch_chart(one, study.places[one.group.model]) if one.totals else None) for one in study.switches
        ]
    }


SECTION = Section(60, {"switches": "ReLUs"}, _context, table="switches", json=table)
