"""What a section of a report is: its numbers for JSON, CSV and LaTeX, and its part of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pkgutil import iter_modules

from verifier.report.campaign.latex import Tabular
from verifier.report.campaign.study import Study
from verifier.report.json_result import Json

HOME = "verifier.report.campaign.sections"
PLACES = 4
"""Decimals of means and of captions."""

TableRows = Callable[[Study], list[Json]]
"""A section's table: everything as measured, nothing rounded."""


@dataclass(frozen=True)
class Section:
    """A module of `sections/` has one as SECTION, its markup in templates/sections/ under the module's name.

    place: from the top of the page and of report.json, in tens: there is room between any two.
    links: the anchors of its parts, each with what the page's index calls it.
    context: what its markup is given beside the study. shown: False leaves it out of the page.
    table: what its numbers are called: the key in report.json (json) and the CSV file's name (csv).
    latex: its part of tables.tex.
    """

    place: int
    links: Mapping[str, str]
    context: Callable[[Study], Json] = lambda study: {}
    shown: Callable[[Study], bool] = lambda study: True
    table: str = ""
    json: TableRows | None = None
    csv: TableRows | None = None
    latex: Callable[[Study], Tabular] | None = None


@lru_cache(1)
def all_sections() -> dict[str, Section]:
    """All there are by the names of their modules, from the top of the page down."""
    names = [found.name for found in iter_modules(import_module(HOME).__path__)]
    found = {name: import_module(f"{HOME}.{name}").SECTION for name in names}
    return dict(sorted(found.items(), key=lambda item: item[1].place))
