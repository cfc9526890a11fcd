"""A campaign's report as one HTML page that needs nothing else: no network, no files, light and dark, any width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from verifier import __version__
from verifier.campaign.analysis.attack_quality import Audit, Measured
from verifier.campaign.analysis.certified_accuracy import Curve
from verifier.campaign.analysis.progress import Progress
from verifier.campaign.analysis.table1 import TableGroup, grouped
from verifier.campaign.plan.attack_tasks import STEPS
from verifier.campaign.store.records import Result
from verifier.report import progress_words
from verifier.report.campaign import charts
from verifier.report.campaign.instance_rows import MOST_PICTURED, Frame, Pictures, rows
from verifier.report.campaign.study import Study, short_id
from verifier.report.campaign.svg import colour, ticks
from verifier.report.directed_rounding import directed, places_for
from verifier.report.json_result import Json
from verifier.report.norm_signs import NORM_SIGNS

PACKAGE = "verifier.report"
WORST = 3
"""Worst cases of an attack that are shown."""
MOST_CLASSES = 20
"""Of a grid of sources and targets; larger ones show the first."""
PLACES = 4
"""Decimals of means and of captions."""


@dataclass(frozen=True)
class Live:
    """What a campaign is at, and where the page's events come from, and its tables and charts after a change.

    trouble: why nothing newer is known; "" where the store can be read.
    """

    progress: Progress
    trouble: str = ""
    events: str = "events"
    sections: str = "sections"


@lru_cache(1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(PACKAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "up": _up,
        "down": _down,
        "percent": _percent,
        "near": _near,
        "count": _count,
        "robust": _robust,
        "sentence": _sentence,
    }
    environment.globals |= {
        "colour": colour,
        "norms": NORM_SIGNS,
        "short": short_id,
        "line_kind": charts.line_kind,
        "known": _known,
    }
    return environment


def _own(name: str) -> Markup:
    """A style or script of ours, as it is."""
    return Markup((resources.files(PACKAGE) / "templates" / name).read_text(encoding="utf-8"))


def _up(value: float | None, places: int = PLACES) -> str:
    return "–" if value is None or math.isinf(value) else directed(value, up=True, places=places)


def _down(value: float | None, places: int = PLACES) -> str:
    return "–" if value is None or math.isinf(value) else directed(value, up=False, places=places)


def _near(value: float | None, places: int = 2) -> str:
    return "–" if value is None or math.isinf(value) else f"{value:.{places}f}".replace("-", "−")


def _percent(value: float | None, places: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{places}f} %"


def _count(number: int) -> str:
    """A whole number in groups of three digits, by thin spaces."""
    return f"{number:,}".replace(",", "\u202f")


def _robust(curve: Curve, at_least: int, at_most: int) -> str:
    """The robust accuracy in %, from how many inputs fall: its least end rounded down, its most up."""
    ends = [100 * (curve.inputs - fallen) / curve.inputs for fallen in (at_most, at_least)]
    least, most = directed(ends[0], up=False, places=1), directed(ends[1], up=True, places=1)
    return f"{ends[0]:.1f} %" if at_least == at_most else f"{least}–{most} %"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _known(rows: Sequence[object], name: str) -> bool:
    """Does any row have what a column shows? One of dashes alone is left out."""
    return any(getattr(row, name) is not None for row in rows)


def page(study: Study, made: datetime, live: Live | None = None) -> str:
    """The whole page; a live one begins with what its campaign is at."""
    pictures = Pictures()
    return (
        _environment()
        .get_template("page.html")
        .render(
            **_context(study, made),
            live=live,
            state=Markup(state(study, live)) if live else "",
            tab=tab(study, live.progress) if live else "",
            sections=Markup(sections(study, made, live=live is not None)),
            style=_own("style.css"),
            script=_own("page.js"),
            data={"rows": rows(study, pictures), "pictures": pictures.uris},
        )
    )


def state(study: Study, live: Live) -> str:
    """What a live page says first: at work or over, since when, for how long still, at what."""
    progress, words = live.progress, progress_words
    return (
        _environment()
        .get_template("state.html")
        .render(
            progress=progress,
            tally=progress.tally,
            head=words.HEADS[progress.state],
            trouble=live.trouble,
            at=words.moment(progress.now),
            began=None if progress.began is None else words.moment(progress.began),
            ended=words.ended(progress),
            elapsed="–" if progress.seconds is None else words.duration(progress.seconds),
            left=words.left_short(progress.left),
            how=words.left_how(progress.left),
            earlier=words.earlier(progress),
            advice=words.advice(progress),
            rows=words.rows_of(progress, study.names),
            more=words.more_work(progress),
        )
    )


def tab(study: Study, progress: Progress) -> str:
    """The title of a live page: what its tab shows while others are looked at."""
    done = f"{progress.tally.closed}/{progress.tally.all}"
    return f"{done} {progress.state} · {study.title}"


def sections(study: Study, made: datetime, *, live: bool = False) -> str:
    """The page's tables and charts alone, for a live page to put in place of its own; it says itself how far it is."""
    context = {**_sections(study), **_context(study, made), "live": live}
    return _environment().get_template("sections.html").render(**context)


def _context(study: Study, made: datetime) -> Json:
    """What the whole page and its sections share."""
    return {
        "study": study,
        "counts": study.contents.counts,
        "made": made,
        "version": __version__,
        "facts": _facts(study),
        "pictured": min(len(study.contents.results), MOST_PICTURED),
    }


def _sections(study: Study) -> Json:
    contents = study.contents
    frames = {key: Frame.of(task) for key, task in contents.tasks.items()}
    return {
        "bands": _bands(study),
        "comparisons": [
            (one, charts.scatter_chart(one, (study.name(one.first), study.name(one.second)),
                                       NORM_SIGNS[one.first.norm]))
            for one in study.comparisons
        ],
        "audits": _audits(study, frames),
        "switches": [
            (one, charts.switch_chart(one, study.places[one.group.model]) if one.totals else None)
            for one in study.switches
        ],
        "grids": [
            _grid(study, group, members, frames)
            for group, members in grouped(contents.results).items()
            if any(one.target is not None for one in members)
        ],
        "restart_steps": next((audit.restarts.steps for audit in study.audits if audit.restarts.tested), STEPS),
    }  # fmt: skip


def _facts(study: Study) -> Json:
    results = study.contents.results
    attacks = {one.attack for one in study.contents.findings if one.kind == "attack"}
    return {
        "models": list(study.names.values()),
        "inputs": len({(one.source, one.index) for one in results}),
        "norms": [NORM_SIGNS[norm] for norm in dict.fromkeys(one.norm for one in results)],
        "methods": list(dict.fromkeys(one.method for one in results)),
        "precisions": [f"{one:g}" for one in dict.fromkeys(one.precision for one in results)],
        "seconds": math.fsum(one.seconds for one in results),
        "attacks": sorted(attacks),
        "certificates": len(study.certificates),
        "targeted": any(one.target is not None for one in results),
    }


def _bands(study: Study) -> list[Json]:
    """A chart for each kind of question, its models side by side, and how many inputs fall within a few radii."""
    found = []
    for kind in dict.fromkeys(curve.group.kind for curve in study.curves):
        own = [curve for curve in study.curves if curve.group.kind == kind]
        group = own[0].group
        end = max((radius for curve in own for radius in curve.radii), default=0.0)
        radii = [radius for radius in ticks(0, end, 6) if radius > 0]
        found.append(
            {
                "norm": NORM_SIGNS[group.norm],
                "how": study.how(group),
                "chart": charts.curve_chart(own, [study.name(curve.group) for curve in own],
                                            NORM_SIGNS[group.norm], study.places),
                "radii": [f"{radius:g}" for radius in radii],
                "lines": [(study.name(curve.group), study.places[curve.group.model], curve,
                           [curve.fallen(radius) for radius in radii]) for curve in own],
            }
        )  # fmt: skip
    return found


def _audits(study: Study, frames: dict[str, Frame]) -> list[Json]:
    found = []
    for group in dict.fromkeys(audit.group for audit in study.audits):
        own = [audit for audit in study.audits if audit.group == group]
        curve: Curve = next(curve for curve in study.curves if curve.group == group)
        claims, attacks = (
            charts.claims_chart(curve, NORM_SIGNS[group.norm], study.places[group.model])
            if curve.attacks
            else (None, list[str]())
        )
        found.append(
            {
                "name": study.group_name(group),
                "audits": own,
                "ratios": charts.ratio_chart(own),
                "claims": claims,
                "claimed": attacks,
                "place": study.places[group.model],
                "worst": [_worst(audit, frames) for audit in own if audit.worst],
            }
        )
    return found


def _worst(audit: Audit, frames: dict[str, Frame]) -> Json:
    return {"attack": audit.attack, "cases": [_triple(one, frames) for one in audit.worst[:WORST]]}


def _triple(one: Measured, frames: dict[str, Frame]) -> Json:
    frame = frames[one.result.task]
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


def _grid(study: Study, group: TableGroup, members: Sequence[Result], frames: dict[str, Frame]) -> Json:
    """The nearest example of each source class and target."""
    nearest: dict[tuple[int, int | None], Result] = {}
    for one in members:
        key = (one.label, one.target)
        if one.witness is not None and (key not in nearest or one.upper < nearest[key].upper):
            nearest[key] = one
    labels = sorted({one.label for one in members})[:MOST_CLASSES]
    targets = sorted({one.target for one in members}, key=lambda target: -1 if target is None else target)
    targets = targets[:MOST_CLASSES]
    return {
        "name": study.group_name(group),
        "targets": targets,
        "lines": [(label, [_cell(nearest.get((label, target)), frames) for target in targets]) for label in labels],
    }


def _cell(one: Result | None, frames: dict[str, Frame]) -> Json | None:
    if one is None or one.witness is None:
        return None
    upper = directed(one.upper, up=True, places=min(PLACES, places_for(one.precision)))
    return {"result": one, "image": frames[one.task].image(one.witness.point), "upper": upper}
