"""What an evidence pack holds: models, inputs with the claims about their targets, figures, requirements.

A claim is a bracket on one question: a lower end, which a certificate proves anew, and an upper end, which a witness
shows. Models, inputs, boxes and witnesses are copied into the pack's folder, so that it needs nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from verifier.campaign.analysis.distributions import DistanceEnds, Distribution
from verifier.campaign.analysis.table1 import TableGroup
from verifier.campaign.plan.tasks import Target, Task
from verifier.campaign.store.records import Result
from verifier.certificates import checker
from verifier.gate.evidence_figures import (
    AccuracyBand,
    Sampling,
    accuracy,
    round_radii,
    sampling,
)
from verifier.gate.verdict import Judgement
from verifier.problem.verdict import Evidence, Witness


@dataclass(frozen=True, eq=False)
class PackSource:
    """What a pack is made of: a store's answers, with the plans that asked, and a gate's verdicts on them, if any."""

    title: str
    results: Sequence[Result]
    tasks: Mapping[str, Task]
    plans: Sequence[Mapping[str, Any]]
    judgements: Sequence[Judgement] = ()


@dataclass(frozen=True, eq=False)
class PackedModel:
    """A model in the pack. sha256: of the file, followed by its external data. scores, shown: the tensors of the
    logits and of the file's own output; threshold: from which a single number says class 1. unread: why the checker
    does not read it, "" where it does."""

    id: str
    name: str
    file: str
    sha256: str
    external: tuple[str, ...]
    scores: str
    shown: str
    threshold: float
    net: checker.CheckedNetwork | None
    unread: str


@dataclass(frozen=True, eq=False)
class PackedWitness:
    """A witness in the pack. unchecked: why the checker's reader does not evaluate it, "" where it does."""

    witness: Witness
    file: str
    picture: str = ""
    unchecked: str = ""


@dataclass(frozen=True, eq=False)
class PackedClaim:
    """A bracket on one target's distance. certificate: its file, "" without one; uncertified: why there is none.
    float32: the lower end for float32 evaluations, float32_certified: what the certificate proves of that."""

    instance: str
    target: Target
    lower: float
    upper: float
    evidence: str
    float32: float | None
    status: str
    reason: str
    seconds: float
    shown: PackedWitness | None
    certificate: str = ""
    uncertified: str = ""
    float32_certified: float = 0.0

    @property
    def level(self) -> str:
        """What the lower end rests on, for a reader of the pack: "certified" only where the certificate is in it."""
        if not self.lower > 0:
            return ""
        if self.certificate:
            return Evidence.CERTIFIED.label
        return Evidence.PROVED.label if self.evidence == Evidence.CERTIFIED.label else self.evidence


@dataclass(frozen=True, eq=False)
class PackedInput:
    """One input of a model under a norm. box: two numbers, or the file of an .npz. undecided: what is, and why."""

    id: str
    model: PackedModel
    task: Task
    views: tuple[str, ...]
    predicted: int
    file: str
    box: tuple[float, float] | str
    reach: float
    claims: tuple[PackedClaim, ...]
    undecided: str = ""

    @property
    def name(self) -> str:
        return self.task.name or f"input {self.task.index}"

    @property
    def lower(self) -> float:
        return min(claim.lower for claim in self.claims)

    @property
    def upper(self) -> float:
        return min(claim.upper for claim in self.claims)

    @property
    def level(self) -> str:
        """What the entry's lower end rests on: the weakest of its targets'."""
        levels = [claim.level for claim in self.claims]
        return min(levels, key=LEVELS.index)

    @property
    def stems(self) -> Mapping[str, str]:
        """The names of each instance's files, without what they end in."""
        return {one.instance: stem(self.id, one.target) for one in self.claims}


def stem(entry: str, target: Target) -> str:
    """What the files about one target are called, without their folder and what they end in."""
    return entry if target is None else f"{entry}-{target}"


LEVELS = ("", *(level.label for level in Evidence))


@dataclass(frozen=True, eq=False)
class GroupFigures:
    """What the inputs of one model, norm and method say together. only: which can occur, in words; "": all."""

    group: TableGroup
    model: PackedModel
    views: tuple[str, ...]
    only: str
    entries: tuple[PackedInput, ...]
    sampling: Sampling
    accuracy: tuple[AccuracyBand, ...]
    distances: Distribution


@dataclass(frozen=True, eq=False)
class EvidencePack:
    """A pack; entries in the order in which they were asked."""

    source: PackSource
    models: tuple[PackedModel, ...]
    entries: tuple[PackedInput, ...]

    @cached_property
    def claims(self) -> tuple[PackedClaim, ...]:
        return tuple(claim for entry in self.entries for claim in entry.claims)

    @property
    def lower_ends(self) -> tuple[PackedClaim, ...]:
        """Claims that have something to prove."""
        return tuple(claim for claim in self.claims if claim.lower > 0)

    @property
    def witnesses(self) -> tuple[PackedWitness, ...]:
        return tuple(claim.shown for claim in self.claims if claim.shown is not None)

    @cached_property
    def figures(self) -> tuple[GroupFigures, ...]:
        """Of each group; certified accuracy at the radii that requirements name, or at round ones."""
        by_task = {entry.task.id: entry for entry in self.entries}
        groups: dict[TableGroup, dict[str, PackedInput]] = {}
        for result in self.source.results:
            groups.setdefault(TableGroup.of(result), {})[result.task] = by_task[result.task]
        return tuple(self._figures(group, tuple(members.values())) for group, members in groups.items())

    def _figures(self, group: TableGroup, entries: tuple[PackedInput, ...]) -> GroupFigures:
        brackets = [(entry.lower, entry.upper) for entry in entries]
        drawn = sampling(self.source.plans)
        radii = required_radii(self.source.judgements, entries) or round_radii(brackets)
        rows = tuple(accuracy(brackets, radius, drawn=drawn.drawn) for radius in radii)
        first = entries[0]
        known = [DistanceEnds.of(entry.lower, entry.upper, entry.task.precision) for entry in entries]
        only = "" if first.task.columns is None else first.task.columns.told
        return GroupFigures(group, first.model, first.views, only, entries, drawn, rows, Distribution(tuple(known)))

    def with_claims(self, made: Mapping[str, PackedClaim]) -> EvidencePack:
        """The pack with other claims in their instances' places."""
        entries = tuple(
            replace(entry, claims=tuple(made.get(claim.instance, claim) for claim in entry.claims))
            for entry in self.entries
        )
        return replace(self, entries=entries)


def required_radii(judgements: Sequence[Judgement], entries: Sequence[PackedInput]) -> tuple[float, ...]:
    """The radii at which requirements look at all of these inputs."""
    keys = {entry.task.id for entry in entries}
    found = set()
    for judgement in judgements:
        radii = {radius for radius in judgement.thresholds if radius is not None}
        if len(radii) == 1 and keys == {one.key for one in judgement.inputs}:
            found |= radii
    return tuple(sorted(found))
