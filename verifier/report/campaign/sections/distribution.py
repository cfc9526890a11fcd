"""How the minimal distances are distributed over the inputs: histograms, distributions, quantiles with their bands."""

from __future__ import annotations

import math

from verifier.campaign.analysis.distributions import Bin, Distribution, QuantileBand
from verifier.report.campaign.charts import distribution_chart, histogram_chart
from verifier.report.campaign.latex import Tabular, model_cell
from verifier.report.campaign.section import PLACES, Section
from verifier.report.campaign.study import Study
from verifier.report.directed_rounding import directed
from verifier.report.json_result import Json
from verifier.report.norm_signs import NORM_LATEX, NORM_SIGNS


def table(study: Study) -> list[Json]:
    """A distribution for each model, norm and method; its curve is under `curves`."""
    return [
        {
            **study.named(curve.group),
            "inputs": curve.inputs,
            "closed": curve.distances.closed,
            "at_zero": curve.distances.at_zero,
            "without_example": curve.distances.without_example,
            "mean": list(curve.distances.mean),
            "quantiles": [_quantile(one) for one in curve.distances.quantiles],
            "histogram": [_bin(one) for one in curve.distances.bins],
        }
        for curve in study.curves
    ]


def _quantile(one: QuantileBand) -> Json:
    return {"share": one.share, "at_least": one.lower, "at_most": one.upper}


def _bin(one: Bin) -> Json:
    return {"from": one.start, "below": one.end, "closed": one.closed, "open": one.open}


def flat(study: Study) -> list[Json]:
    """A row for each quantile."""
    return [
        {**study.named(curve.group), "inputs": curve.inputs, **_quantile(one)}
        for curve in study.curves
        for one in curve.distances.quantiles
    ]


def _context(study: Study) -> Json:
    """The distributions of each kind of question, its models side by side, and a histogram of each."""
    found = []
    for own in study.curves_by_kind:
        group, known = own[0].group, [(study.places[curve.group.model], curve.distances) for curve in own]
        names = [study.name(curve.group) for curve in own]
        found.append(
            {
                "norm": NORM_SIGNS[group.norm],
                "how": study.how(group),
                "chart": distribution_chart(known, names, NORM_SIGNS[group.norm]),
                "shares": [share_text(one.share) for one in own[0].distances.quantiles],
                "lines": [_line(name, *one, NORM_SIGNS[group.norm]) for name, one in zip(names, known, strict=True)],
            }
        )
    return {"distributions": found}


def _line(name: str, place: int, distances: Distribution, norm: str) -> Json:
    bands = [band_text(one.lower, one.upper) for one in distances.quantiles]
    return {
        "name": name,
        "place": place,
        "distances": distances,
        "bands": [*bands, band_text(*distances.mean)],
        "histogram": histogram_chart(distances, norm, place),
    }


def share_text(share: float) -> str:
    """A quantile's name.

    >>> share_text(0.05), share_text(0.5)
    ('5 %', 'median')
    """
    return "median" if share == 0.5 else f"{100 * share:g} %"


def band_text(lower: float, upper: float) -> str:
    """A band, rounded outwards; one number where both ends are the same, as shown."""
    low, high = (
        directed(end, up=up, places=PLACES) if math.isfinite(end) else "∞"
        for end, up in ((lower, False), (upper, True))
    )
    return low if low == high else f"{low}–{high}"


def _latex(study: Study) -> Tabular:
    shares = [share_text(one.share).replace("%", r"\%") for one in study.curves[0].distances.quantiles]
    rows = []
    for curve in study.curves:
        bands = [band_text(one.lower, one.upper) for one in curve.distances.quantiles]
        cells = [band.replace("–", "--").replace("∞", r"$\infty$") for band in bands]
        rows.append([model_cell(study.named(curve.group)), NORM_LATEX[curve.group.norm], str(curve.inputs), *cells])
    return f"llr {'r' * len(shares)}", ("Model", "Norm", "Inputs", *shares), rows


SECTION = Section(
    35,
    {"distribution": "Distribution"},
    _context,
    table="distribution",
    json=table,
    csv=flat,
    latex=_latex,
)
