"""The nearest adversarial example of each class and target, as pictures."""

from __future__ import annotations

from collections.abc import Sequence

from verifier.campaign.analysis.table1 import TableGroup, grouped
from verifier.campaign.store.records import Result
from verifier.report.campaign.instance_rows import Frame
from verifier.report.campaign.section import PLACES, Section
from verifier.report.campaign.study import Study
from verifier.report.directed_rounding import directed, places_for
from verifier.report.json_result import Json

MOST_CLASSES = 20
"""Of a grid of sources and targets; larger ones show the first."""


def _targeted(results: Sequence[Result]) -> bool:
    return any(one.target is not None for one in results)


def _context(study: Study) -> Json:
    groups = grouped(study.contents.results)
    return {"grids": [_grid(study, group, members) for group, members in groups.items() if _targeted(members)]}


def _grid(study: Study, group: TableGroup, members: Sequence[Result]) -> Json:
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
        "lines": [(label, [_cell(study, nearest.get((label, target))) for target in targets]) for label in labels],
    }


def _cell(study: Study, one: Result | None) -> Json | None:
    if one is None or one.witness is None:
        return None
    image = Frame.of(study.contents.tasks[one.task]).image(one.witness.point)
    return {"result": one, "image": image, "upper": directed(one.upper, up=True, places=_places(one))}


def _places(one: Result) -> int:
    return min(PLACES, places_for(one.precision))


SECTION = Section(50, {"grid": "Examples"}, _context, shown=lambda study: _targeted(study.contents.results))
