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
from verifier.campaign.analysis.certified_accuracy import Curve
from verifier.campaign.analysis.progress import Progress
from verifier.campaign.plan.attack_tasks import ATTACKING
from verifier.report import progress_words
from verifier.report.campaign import charts
from verifier.report.campaign.instance_rows import MOST_PICTURED, Pictures, rows
from verifier.report.campaign.section import PLACES, Section, all_sections
from verifier.report.campaign.study import Study, short_id
from verifier.report.campaign.svg import colour
from verifier.report.directed_rounding import directed
from verifier.report.json_result import Json
from verifier.report.norm_signs import NORM_SIGNS

PACKAGE = "verifier.report"


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


def own_file(name: str) -> Markup:
    """A style or script of the page's, as it is."""
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
            links=[link for one in all_sections().values() if one.shown(study) for link in one.links.items()],
            state=Markup(state(study, live)) if live else "",
            tab=tab(study, live.progress) if live else "",
            sections=Markup(sections(study, made, live=live is not None)),
            style=own_file("style.css"),
            script=own_file("page.js"),
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
    context = {**_context(study, made), "live": live}
    parts = "\n".join(_part(name, one, study, context) for name, one in all_sections().items())
    return _environment().get_template("sections.html").render(**context, parts=Markup(parts.rstrip()))


def _part(name: str, one: Section, study: Study, context: Json) -> str:
    """A section's markup, nothing where it is not shown."""
    if not one.shown(study):
        return ""
    return _environment().get_template(f"sections/{name}.html").render(**context, **one.context(study)) + "\n"


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


def _facts(study: Study) -> Json:
    results = study.contents.results
    attacks = {one.attack for one in study.contents.findings if one.kind in ATTACKING}
    return {
        "models": list(study.names.values()),
        "inputs": len({(one.source, one.index) for one in results}),
        "norms": [NORM_SIGNS[norm] for norm in dict.fromkeys(one.norm for one in results)],
        "methods": list(dict.fromkeys(one.method for one in results)),
        "precisions": [f"{one:g}" for one in dict.fromkeys(one.precision for one in results)],
        "seconds": math.fsum(one.seconds for one in results),
        "attacks": sorted(attacks),
        "certificates": len(study.certificates),
    }
