"""A store's final table: the columns of table 1 of Carlini, Katz, Barrett and Dill (2018)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from verifier.campaign.store.records import Result


class TableGroup(NamedTuple):
    """What the tables have a line for: one model (and output) under one norm by one method, with the same
    transformations, among the same inputs that can occur."""

    model: str
    norm: str
    method: str
    transforms: str | None = None
    output: str | None = None
    lattice: str | None = None

    @property
    def kind(self) -> tuple[str, str, str | None, str | None]:
        """What it shares with groups of other models that are asked the same."""
        return self.norm, self.method, self.transforms, self.lattice

    @classmethod
    def of(cls, result: Result) -> TableGroup:
        one = result
        return cls(one.model_sha256, one.norm, one.method, one.transforms, one.output, one.lattice)


def grouped(results: Iterable[Result]) -> dict[TableGroup, list[Result]]:
    """The instances of each group, in the order in which they come; `TableGroup.model` is the file's sha256."""
    groups: dict[TableGroup, list[Result]] = {}
    for result in results:
        groups.setdefault(TableGroup.of(result), []).append(result)
    return groups


@dataclass(frozen=True)
class Means:
    """Over `counted` instances: the mean first distance, the mean lower and upper ends, and the mean of
    (initial − upper) / initial."""

    counted: int
    initial: float
    lower: float
    upper: float
    improvement: float


@dataclass(frozen=True)
class TableLine:
    """One group. Means are over instances with an example at a distance > 0.

    means: those of the closed ones; all_means: those of all, open ones with their last upper end. None where there is
    nothing to take a mean of.
    """

    group: TableGroup
    model: Path
    closed: int
    instances: int
    means: Means | None
    all_means: Means | None
    views: tuple[str, ...] = ()
    """What the transformations are called."""
    only: str = ""
    """Which inputs can occur, in words; "": all of the box."""


def summary(results: Iterable[Result]) -> list[TableLine]:
    """A line for each model, norm and method, in the order in which they come."""
    return [_line(group, members) for group, members in grouped(results).items()]


def _line(group: TableGroup, members: Sequence[Result]) -> TableLine:
    closed = [one for one in members if one.closed]
    return TableLine(
        group,
        members[0].model,
        len(closed),
        len(members),
        _means(closed),
        _means(members),
        members[0].views,
        members[0].only,
    )


def _means(members: Iterable[Result]) -> Means | None:
    counted = [one for one in members if measured(one)]
    if not counted:
        return None
    return Means(
        len(counted),
        statistics.fmean(one.initial for one in counted),
        statistics.fmean(one.lower for one in counted),
        statistics.fmean(one.upper for one in counted),
        statistics.fmean((one.initial - one.upper) / one.initial for one in counted),
    )


def measured(one: Result) -> bool:
    """Is there an example, at a distance > 0, and did the first attack find one?"""
    return 0 < one.upper < math.inf and one.initial < math.inf
