"""An evidence pack's page: one file that loads nothing, runs no script, and prints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from verifier.campaign.analysis.certified_accuracy import Curve
from verifier.gate.evidence_figures import CONFIDENCE, AccuracyBand
from verifier.gate.evidence_folder import SLOT
from verifier.gate.evidence_pack import EvidencePack, GroupFigures, PackedClaim, PackedInput
from verifier.gate.verdict import Judgement, Ruling
from verifier.problem.verdict import Evidence
from verifier.report.campaign.charts import curve_chart, histogram_chart
from verifier.report.campaign.instance_rows import MOST_PICTURED, Frame
from verifier.report.directed_rounding import directed
from verifier.report.evidence.statement import LEVEL_WORDS, LIMITS, Statement, terms
from verifier.report.gate.words import RULING_WORDS, distance, figure_text, heading, summary
from verifier.report.json_result import Json
from verifier.report.norm_signs import NORM_SIGNS

PACKAGE = "verifier.report"
RULING_CLASSES = {Ruling.PASS: "good", Ruling.FAIL: "bad", Ruling.UNDECIDED: "open"}


@lru_cache(1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(PACKAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"down": _down, "up": _up, "share": _share}
    environment.globals |= {"norms": NORM_SIGNS, "levels": LEVEL_WORDS}
    return environment


def _down(value: float) -> str:
    return distance(value, up=False)


def _up(value: float) -> str:
    return distance(value, up=True)


def _share(ends: tuple[float, float]) -> str:
    """Two shares in per cent, rounded outwards; one where they are the same.

    >>> _share((0.9, 0.95)), _share((0.5, 0.5))
    ('90.0 % to 95.0 %', '50.0 %')
    """
    low, high = (directed(100 * end, up=up, places=1) for end, up in zip(ends, (False, True), strict=True))
    return f"{low} %" if ends[0] == ends[1] else f"{low} % to {high} %"


def page(statement: Statement) -> str:
    """The page, with zeros where the sha256 of MANIFEST is to stand."""
    pack = statement.pack
    pictured = {entry.id for entry in pack.entries[:MOST_PICTURED]}
    return (
        _environment()
        .get_template("evidence.html")
        .render(
            title=pack.source.title,
            made=statement.made.strftime("%Y-%m-%d %H:%M"),
            engine=statement.engine,
            style=_own("style.css") + _own("evidence.css"),
            slot=Markup(SLOT),
            lede=_lede(pack),
            tally=_tally(pack),
            terms=terms(pack),
            requirements=[_requirement(one, pack) for one in pack.source.judgements],
            figures=[_figures(one) for one in pack.figures],
            confidence=f"{100 * CONFIDENCE:g} %",
            rows=[_row(entry, pictured=entry.id in pictured) for entry in pack.entries],
            undecided=[entry for entry in pack.entries if entry.undecided],
            uncertified=[
                (entry, claim)
                for entry in pack.entries
                for claim in entry.claims
                if claim.lower > 0 and claim.uncertified
            ],
            unchecked=[
                (entry, claim.shown)
                for entry in pack.entries
                for claim in entry.claims
                if claim.shown is not None and claim.shown.unchecked
            ],
            limits=LIMITS,
            models=pack.models,
            checkers=statement.checkers,
            environment=statement.environment,
        )
    )


def _own(name: str) -> Markup:
    """A style of ours, as it is."""
    return Markup((resources.files(PACKAGE) / "templates" / name).read_text(encoding="utf-8"))


def _lede(pack: EvidencePack) -> str:
    """The first line: the verdicts where there are some, else what was asked about."""
    models = ", ".join(dict.fromkeys(model.name for model in pack.models))
    asked = f"{models} · {len(pack.entries)} input{'s' if len(pack.entries) != 1 else ''}"
    return f"Requirements: {summary(pack.source.judgements)} · {asked}" if pack.source.judgements else asked


def _tally(pack: EvidencePack) -> list[tuple[str, str, str]]:
    """(number, of how many, what it counts) of the page's head."""
    ends = pack.lower_ends
    certified = sum(bool(claim.certificate) for claim in ends)
    checked = sum(not shown.unchecked for shown in pack.witnesses)
    undecided = sum(bool(entry.undecided) for entry in pack.entries)
    return [
        (str(certified), f" / {len(ends)}", "lower ends certified"),
        (str(checked), f" / {len(pack.witnesses)}", "witnesses evaluated exactly"),
        (str(undecided), f" / {len(pack.entries)}", "inputs undecided"),
    ]


def _requirement(judgement: Judgement, pack: EvidencePack) -> Json:
    """A requirement, and by verdict the inputs that carry it."""
    by_task = {entry.task.id: entry for entry in pack.entries}
    rulings: dict[Ruling, list[PackedInput]] = {}
    for place, one in enumerate(judgement.inputs):
        rulings.setdefault(judgement.ruling_of(place), []).append(by_task[one.key])
    only_mean = all(radius is None for radius in judgement.thresholds)
    if only_mean:
        carried = [("all", [by_task[one.key] for one in judgement.inputs])]
    else:
        carried = [(word, rulings[ruling]) for ruling, word in CARRIED.items() if ruling in rulings]
    return {
        "name": judgement.requirement,
        "heading": heading(judgement),
        "verdict": RULING_WORDS[judgement.ruling],
        "kind": RULING_CLASSES[judgement.ruling],
        "found": figure_text(judgement.figure),
        "note": judgement.note,
        "need": judgement.need,
        "inputs": len(judgement.inputs),
        "carried": [(f"{word}: {_counted(word, entries)}", entries) for word, entries in carried],
    }


CARRIED = {Ruling.PASS: "robust", Ruling.FAIL: "refuted", Ruling.UNDECIDED: "undecided"}


def _counted(word: str, entries: Sequence[PackedInput]) -> str:
    """How many there are, and how many of the robust ones are certified."""
    certified = sum(entry.level == Evidence.CERTIFIED.label for entry in entries)
    return f"{len(entries)}, {certified} certified" if word == CARRIED[Ruling.PASS] else str(len(entries))


def _figures(figures: GroupFigures) -> Json:
    group, entries = figures.group, figures.entries
    curve = Curve(group, figures.distances, {}, (0, 0))
    sign = NORM_SIGNS[group.norm]
    return {
        "name": ", ".join(
            filter(None, (figures.model.name, sign, group.output, "; ".join(figures.views), _some(figures)))
        ),
        "norm": sign,
        "count": len(entries),
        "sampling": figures.sampling,
        "accuracy": [_accuracy(one) for one in figures.accuracy],
        "quantiles": [(f"{100 * one.share:g} %", one) for one in figures.distances.quantiles],
        "histogram": histogram_chart(figures.distances, sign, 0),
        "chart": curve_chart([curve], [figures.model.name], sign, {group.model: 0}),
        "mean": [
            math.fsum(min(end, one.reach) for one, end in ends) / len(entries)
            for ends in ([(one, one.lower) for one in entries], [(one, one.upper) for one in entries])
        ],
    }


def _some(figures: GroupFigures) -> str:
    return f"only {figures.only}" if figures.only else ""


def _accuracy(one: AccuracyBand) -> Json:
    return {
        "radius": f"{one.radius:g}",
        "proved": one.proved,
        "not_refuted": one.not_refuted,
        "inputs": one.inputs,
        "band": one.band,
        "interval": one.interval,
    }


def _row(entry: PackedInput, *, pictured: bool) -> Json:
    """An input with its claims, and small pictures of it and of the nearest witnesses."""
    frame = Frame.of(entry.task)
    return {
        "entry": entry,
        "image": frame.image(entry.task.point) if pictured else "",
        "claims": [(claim, _image(frame, claim) if pictured else "") for claim in entry.claims],
    }


def _image(frame: Frame, claim: PackedClaim) -> str:
    return "" if claim.shown is None else frame.image(claim.shown.witness.point)
