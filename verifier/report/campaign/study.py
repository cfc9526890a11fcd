"""Everything that a report says about a store, computed once; page, JSON, CSV and LaTeX show the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from encoders.errors import InputError, there_are
from verifier.campaign.analysis.attack_quality import Audit, Replays, audits, replays
from verifier.campaign.analysis.certified_accuracy import Curve, curves
from verifier.campaign.analysis.defence_comparison import DefenceComparison, comparisons
from verifier.campaign.analysis.relu_flips import Switches, switches
from verifier.campaign.analysis.table1 import TableGroup, TableLine, summary
from verifier.campaign.plan.attack_tasks import StoredFinding
from verifier.campaign.store.records import Result
from verifier.campaign.store.snapshot import Contents
from verifier.campaign.store.store import Store
from verifier.certificates.checker import MAGIC
from verifier.certificates.file import certified_for_float32
from verifier.problem.verdict import Evidence
from verifier.report.json_result import Json
from verifier.report.norm_signs import NORM_SIGNS


@dataclass(frozen=True, eq=False)
class Study:
    """The tables of a store's contents; each is computed when it is first asked for."""

    contents: Contents
    title: str
    baseline: str | None = None
    """The sha256 of the model that others are compared with; None: the first one."""

    @cached_property
    def lines(self) -> list[TableLine]:
        return summary(self.contents.results)

    @cached_property
    def comparisons(self) -> list[DefenceComparison]:
        return comparisons(self.contents.results, self.baseline)

    @cached_property
    def curves(self) -> list[Curve]:
        return curves(self.contents.results, self.contents.findings)

    @property
    def curves_by_kind(self) -> list[list[Curve]]:
        """Those of each kind of question, its models side by side."""
        found: dict[tuple[str, str, str | None, str | None], list[Curve]] = {}
        for curve in self.curves:
            found.setdefault(curve.group.kind, []).append(curve)
        return list(found.values())

    @cached_property
    def audits(self) -> list[Audit]:
        return audits(self.contents.results, self.contents.findings)

    @cached_property
    def replays(self) -> list[Replays]:
        return replays(self.contents.results, self.contents.findings)

    @cached_property
    def switches(self) -> list[Switches]:
        return switches(self.contents.results, self.contents.tasks)

    @cached_property
    def names(self) -> Mapping[str, str]:
        """A name for each model, by sha256."""
        return self.contents.names

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Each model's place: its colour."""
        return {model: place for place, model in enumerate(self.names)}

    @cached_property
    def findings(self) -> Mapping[str, list[StoredFinding]]:
        """By instance."""
        found: dict[str, list[StoredFinding]] = {}
        for one in self.contents.findings:
            found.setdefault(one.instance, []).append(one)
        return found

    @cached_property
    def certificates(self) -> Mapping[str, Path]:
        """The file of each instance that has one which is still there, by instance."""
        files = {one.id: Path(one.certificate) for one in self.contents.results if one.certificate}
        return {key: file for key, file in files.items() if _is_certificate(file)}

    def evidence(self, one: Result) -> str:
        """What a lower end rests on: "certified" only where the certificate is still there."""
        lost = one.evidence == Evidence.CERTIFIED.label and one.id not in self.certificates
        return Evidence.PROVED.label if lost else one.evidence

    def float32_evidence(self, one: Result) -> str:
        """What its end for float32 rests on; "" without one."""
        if one.float32 is None or not one.float32 > 0:
            return ""
        file = self.certificates.get(one.id) if self.evidence(one) == Evidence.CERTIFIED.label else None
        certified = file is not None and certified_for_float32(file, one.float32)
        return (Evidence.CERTIFIED if certified else Evidence.PROVED).label

    @cached_property
    def several_methods(self) -> bool:
        return len({one.method for one in self.contents.results}) > 1

    @cached_property
    def views(self) -> Mapping[str | None, str]:
        """The transformations by their identity, in words; empty where no question has any."""
        return {one.transforms: "; ".join(one.views) for one in self.contents.results if one.transforms is not None}

    @cached_property
    def occurring(self) -> Mapping[str | None, str]:
        """Which inputs can occur by their identity, in words; empty where all questions are about all of the box."""
        return {one.lattice: one.only for one in self.contents.results if one.lattice is not None}

    @cached_property
    def chosen_outputs(self) -> bool:
        """Was any question about an output that was chosen?"""
        return any(one.output is not None for one in self.contents.results)

    def name(self, group: TableGroup) -> str:
        """A group's model, with its output where one was chosen."""
        return ", output ".join(filter(None, (self.names[group.model], group.output)))

    def named(self, group: TableGroup) -> Json:
        """A group in a table's row; its output only where one was chosen of any model."""
        output = {"output": group.output or ""} if self.chosen_outputs else {}
        return {"model": self.names[group.model], **output, **self.kind(group)}

    def kind(self, group: TableGroup) -> Json:
        """What a group shares with those of other models; transformations, and which inputs can occur, only where any
        question has some."""
        views = {"transforms": self.views.get(group.transforms, "")} if self.views else {}
        some = {"only": self.occurring.get(group.lattice, "")} if self.occurring else {}
        return {"norm": group.norm, "method": group.method, **views, **some}

    def how(self, group: TableGroup) -> str:
        """A group's method where there are several, its transformations, and which inputs can occur."""
        parts = [group.method] if self.several_methods else []
        parts += [f"under {self.views[group.transforms]}"] if group.transforms else []
        return " · ".join(parts + ([f"only {self.occurring[group.lattice]}"] if group.lattice else []))

    def group_name(self, group: TableGroup) -> str:
        """A group in words."""
        return " · ".join(filter(None, (self.name(group), NORM_SIGNS[group.norm], self.how(group))))


def study_of(path: Path, title: str | None, baseline: str | None = None) -> Study:
    """What a store says; `baseline`: the name of the model that others are compared with.

    Raises InputError: no such store, nothing was ever asked, or no model of that name.
    """
    with Store(path, readonly=True) as store:
        contents = store.contents()
    if not contents.results:
        raise InputError(f"{path} holds no campaign: begin one with verifier campaign --store {path}")
    if not all(re.fullmatch("[0-9a-f]{64}", one.id) for one in contents.results):
        raise InputError(f"{path}: an instance's id is no sha256: the file is damaged")
    models = {name: sha256 for sha256, name in contents.names.items()}
    if baseline is not None and baseline not in models:
        raise InputError(f"--baseline {baseline}: no model of that name; {there_are(models, baseline)}")
    return Study(contents, title or path.stem, models[baseline] if baseline is not None else None)


def _is_certificate(file: Path) -> bool:
    """Does the file begin as certificates do? A store from elsewhere might name any other file for us to show."""
    try:
        with file.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def short_id(instance: str) -> str:
    """How pages and files call an instance."""
    return instance[:12]


def certificate_name(instance: str) -> str:
    """The file of its certificate, in the report's folder."""
    return f"certificates/{short_id(instance)}.cert"
