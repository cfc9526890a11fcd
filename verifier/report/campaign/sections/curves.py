"""How many inputs fall within each radius, and the robust accuracy there."""

from __future__ import annotations

from collections.abc import Sequence

from verifier.campaign.analysis.certified_accuracy import Curve
from verifier.report.campaign.charts import curve_chart
from verifier.report.campaign.section import Section
from verifier.report.campaign.study import Study
from verifier.report.campaign.svg import ticks
from verifier.report.json_result import Json
from verifier.report.norm_signs import NORM_SIGNS


def table(study: Study) -> list[Json]:
    """A curve for each model, norm and method, with what each attack alone would make of it."""
    return [
        {
            **study.named(curve.group),
            "inputs": curve.inputs,
            "targets": list(curve.targets),
            "steps": [
                {"radius": radius, "at_least": n, "at_most": m, **robust(curve, n, m)}
                for radius in curve.radii
                for n, m in [curve.fallen(radius)]
            ],
            "attacks": {name: list(ends) for name, ends in curve.attacks.items()},
        }
        for curve in study.curves
    ]


def flat(study: Study) -> list[Json]:
    """A row for each step of each curve."""
    return [
        {**study.named(curve.group), "radius": radius, "at_least": n, "at_most": m, "inputs": curve.inputs}
        | robust(curve, n, m)
        for curve in study.curves
        for radius in curve.radii
        for n, m in [curve.fallen(radius)]
    ]


def robust(curve: Curve, at_least: int, at_most: int) -> Json:
    """The robust accuracy: the share of inputs that do not fall, from fallen counts."""
    return {
        "robust_at_least": (curve.inputs - at_most) / curve.inputs,
        "robust_at_most": (curve.inputs - at_least) / curve.inputs,
    }


def shown_radii(curves: Sequence[Curve]) -> list[float]:
    """Some round radii above 0, up to the largest end."""
    end = max((radius for curve in curves for radius in curve.radii), default=0.0)
    return [radius for radius in ticks(0, end, 6) if radius > 0]


def _context(study: Study) -> Json:
    """A chart for each kind of question, its models side by side, and how many inputs fall within a few radii."""
    found = []
    for own in study.curves_by_kind:
        group = own[0].group
        radii = shown_radii(own)
        found.append(
            {
                "norm": NORM_SIGNS[group.norm],
                "how": study.how(group),
                "chart": curve_chart(own, [study.name(curve.group) for curve in own],
                                     NORM_SIGNS[group.norm], study.places),
                "radii": [f"{radius:g}" for radius in radii],
                "lines": [(study.name(curve.group), study.places[curve.group.model], curve,
                           [curve.fallen(radius) for radius in radii]) for curve in own],
            }
        )  # fmt: skip
    return {"bands": found}


SECTION = Section(30, {"curves": "Robustness"}, _context, table="curves", json=table, csv=flat)
