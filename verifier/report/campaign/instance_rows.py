"""What the page knows of each instance: the table's row, and the view that opens from it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from verifier.campaign.analysis.attack_quality import counts_words
from verifier.campaign.analysis.table1 import TableGroup
from verifier.campaign.certificates import covered
from verifier.campaign.plan.attack_tasks import ATTACKING, DONE, Kind, StoredFinding, missed
from verifier.campaign.plan.messages import Step
from verifier.campaign.plan.tasks import Task
from verifier.campaign.store.records import Result
from verifier.problem.inputs.image_layout import ImageLayout, image_layout
from verifier.problem.verdict import Evidence, Status
from verifier.report.campaign.study import Study, certificate_name, short_id
from verifier.report.campaign.thumbnails import difference, picture
from verifier.report.directed_rounding import directed, ends, gap_text, places_for
from verifier.report.json_result import Json
from verifier.report.norm_signs import NORM_SIGNS
from verifier.report.pictures import span_of
from verifier.report.terminal import EVIDENCE_TEXT

MOST_STEPS = 80
"""Steps of an attempt that the view draws; of more, evenly many are left out, but never the first or the last."""
MOST_PICTURED = 2000
"""Instances that get pictures: of more, the first ones; their numbers are all there."""
STATUS_WORDS = {
    "minimal": "closed",
    "bracketed": "open",
    "pending": "not begun",
    "unreachable": "unreachable",
    "already-adversarial": "misclassified",
    "error": "failed",
    "contradiction": "contradiction",
}
EVIDENCE_WORDS = {kind.label: EVIDENCE_TEXT[kind] for kind in Evidence}


@dataclass
class Pictures:
    """Pictures by a short key, each kept once. prefix: begins every key, where several of these meet on one page."""

    prefix: str = "p"
    uris: dict[str, str] = field(default_factory=dict)
    _keys: dict[str, str] = field(default_factory=dict)

    def key(self, uri: str) -> str:
        """The key of a picture."""
        if uri not in self._keys:
            self._keys[uri] = f"{self.prefix}{len(self._keys)}"
            self.uris[self._keys[uri]] = uri
        return self._keys[uri]


@dataclass(frozen=True, eq=False)
class Frame:
    """How the pictures of one task are drawn."""

    task: Task
    layout: ImageLayout | None
    span: tuple[float, float]

    @classmethod
    def of(cls, task: Task) -> Frame:
        return cls(task, image_layout(task.shape), span_of(task.lo, task.hi, task.point))

    def image(self, point: np.ndarray) -> str:
        return picture(point, self.layout, self.span)

    def change(self, point: np.ndarray) -> str:
        return difference(point.astype(np.float64) - self.task.point.astype(np.float64), self.layout)


def rows(study: Study, pictures: Pictures, wanted: Collection[str] | None = None) -> list[Json]:
    """A row for each instance, or for those that are wanted."""
    frames = {key: Frame.of(task) for key, task in study.contents.tasks.items()}
    switched = {key: sum(counts) for one in study.switches for key, counts in one.by_instance.items()}
    sizes = {one.group: sum(one.layers) for one in study.switches}
    found = []
    for place, one in enumerate(study.contents.results):
        if wanted is not None and one.id not in wanted:
            continue
        frame = frames[one.task] if place < MOST_PICTURED else None
        row = row_of(study, one, frame, pictures)
        if one.id in switched:
            row["switches"] = [switched[one.id], sizes[TableGroup.of(one)]]
        found.append(row)
    return found


def row_of(study: Study, one: Result, frame: Frame | None, pictures: Pictures) -> Json:
    """One instance; numbers to sort by beside the texts that are shown, lower ends rounded down, upper ends up."""
    places, (lower, upper) = places_for(one.precision), ends(one.lower, one.upper, one.precision)
    certificate = study.certificates.get(one.id)
    row: Json = {
        "id": short_id(one.id),
        "model": study.name(TableGroup.of(one)),
        "color": study.places[one.model_sha256],
        "norm": NORM_SIGNS[one.norm],
        "method": one.method,
        "source": one.source_name,
        "index": one.index,
        "input": one.input_name,
        "label": one.label,
        "target": one.target,
        "status": STATUS_WORDS[one.status],
        "closed": one.closed,
        "lower": one.lower if math.isfinite(one.lower) else None,
        "upper": one.upper if math.isfinite(one.upper) else None,
        "lower_text": lower.replace("inf", "∞") if one.evidence else "",
        "upper_text": _upper_text(one, upper) if one.evidence else "",
        "gap": one.upper - one.lower if math.isfinite(one.upper) else None,
        "gap_text": gap_text(lower, upper) if math.isfinite(one.upper) else "",
        "evidence": study.evidence(one),
        "float32": f"{_least_text(one.float32, places)} {study.float32_evidence(one)}" if one.float32 else "",
        "views": list(one.views),
        "only": one.only,
        "evidence_text": EVIDENCE_WORDS.get(study.evidence(one), ""),
        "initial": _found_text(one.initial, places) if one.attack else "",
        "initial_attack": one.attack,
        "seconds": round(one.seconds, 2),
        "attempts": one.attempts,
        "precision": one.precision,
        "nodes": one.search.nodes if one.search is not None else None,
        "engine": one.search.engine if one.search is not None else "",
        "reason": one.reason if not one.closed else "",
        "steps": thinned(study.contents.steps.get(one.id, [])),
        "attacks": [],
    }
    if certificate is not None:
        row["certificate"] = {
            "file": certificate_name(one.id),
            "bytes": certificate.stat().st_size,
            "model": one.model.name,
            "options": _checked_on(study.contents.tasks[one.task]),
        }
    row["attacks"] = _attacks(study.findings.get(one.id, []), one, frame, pictures, places)
    if one.witness is not None:
        row["predicted"] = one.witness.predicted
        row["margins"] = [f"{one.witness.exact_margin:.3g}", f"{one.witness.onnxruntime_margin:.3g}"]
    if frame is not None:
        row["input_picture"] = pictures.key(frame.image(frame.task.point))
        if one.witness is not None:
            row["witness_picture"] = pictures.key(frame.image(one.witness.point))
            row["change_picture"] = pictures.key(frame.change(one.witness.point))
    return row


def _checked_on(task: Task) -> str:
    """What the checker's command is told besides: of which grid the certificate is."""
    columns = covered(task).columns
    return "" if columns is None else f" --grid {columns.grid}"


def _least_text(lower: float, places: int) -> str:
    return directed(lower, up=False, places=places).replace("inf", "∞")


def _upper_text(one: Result, upper: str) -> str:
    if one.status == Status.UNREACHABLE.value:
        return "none exists"
    return upper if math.isfinite(one.upper) else "none found"


def _found_text(value: float, places: int) -> str:
    return directed(value, up=True, places=places) if math.isfinite(value) else "none found"


def _attacks(
    found: Sequence[StoredFinding], one: Result, frame: Frame | None, pictures: Pictures, places: int
) -> list[Json]:
    restarts = {each.attack: each for each in found if each.kind is Kind.RESTART and each.state == DONE}
    listed = []
    for at in found:
        if at.kind not in ATTACKING:
            continue
        known = at.state == DONE
        ratio = at.distance / one.upper if known and one.closed and 0 < one.upper < math.inf else None
        row: Json = {
            "name": at.attack,
            "distance": _found_text(at.distance, places) if known else at.reason,
            "ratio": None if ratio is None or math.isinf(ratio) else directed(ratio, up=False, places=3),
            "missed": ratio is not None and missed(at.distance, one.upper, one.precision),
            "seconds": round(at.seconds, 2),
        }
        if frame is not None and at.witness is not None:
            row["picture"] = pictures.key(frame.image(at.witness.point))
        if at.attack in restarts and one.closed:
            row["restart"] = _restart(restarts[at.attack].facts, one)
        if at.kind is Kind.POINTS and known:
            row["refused"] = counts_words(at.facts["refused"])
        listed.append(row)
    return sorted(listed, key=lambda row: str(row["name"]))


def _restart(facts: Mapping[str, Any], one: Result) -> Json:
    def reaches(distance: float | None) -> bool:
        return distance is not None and not missed(distance, one.upper, one.precision)

    random = facts["random"]
    arriving = [f"{100 * step:g}" for step, at in zip(facts["steps"], facts["towards"], strict=True) if reaches(at)]
    return {"towards": arriving, "random": sum(map(reaches, random)), "directions": len(random)}


def thinned(steps: Sequence[tuple[int, Step]]) -> list[list[float | None]]:
    """[attempt, seconds, lower, upper] of each step that is drawn; null for infinite ends."""
    found: list[list[float | None]] = []
    for attempt in dict.fromkeys(attempt for attempt, _ in steps):
        own = [step for number, step in steps if number == attempt]
        places = sorted(set(np.linspace(0, len(own) - 1, min(len(own), MOST_STEPS)).round().astype(int).tolist()))
        for step in (own[place] for place in places):
            ends = [end if math.isfinite(end) else None for end in (step.lower, step.upper)]
            found.append([attempt, round(step.seconds, 3), *ends])
    return found
