"""How good attacks are, measured against the true minimum; and why they miss it."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from verifier.campaign.analysis.table1 import TableGroup, grouped
from verifier.campaign.plan.attack_tasks import ATTACKING, DONE, Kind, StoredFinding, missed
from verifier.campaign.store.records import Result


@dataclass(frozen=True, eq=False)
class Measured:
    """An attack on a closed instance. ratio: its distance over the minimum's upper end, infinite where it failed."""

    result: Result
    attack: StoredFinding
    restart: StoredFinding | None

    @property
    def ratio(self) -> float:
        return self.attack.distance / self.result.upper

    @property
    def missed(self) -> bool:
        return missed(self.attack.distance, self.result.upper, self.result.precision)


@dataclass(frozen=True, eq=False)
class Restarts:
    """Misses whose restart was tried; of these those that came to the minimum when begun each of `steps` (shares of
    the way to it), and from any of the random directions; how many of all random directions led there."""

    misses: int
    tested: int
    steps: tuple[float, ...]
    towards: tuple[int, ...]
    any_random: int
    directions: int
    directions_reached: int


@dataclass(frozen=True, eq=False)
class Audit:
    """One attack in one group, over its closed instances at a distance > 0 on which it was run."""

    group: TableGroup
    attack: str
    measured: tuple[Measured, ...]

    @property
    def given(self) -> bool:
        """Is it a tool that is not begun again, since there are only its points?"""
        return self.measured[0].attack.kind is Kind.POINTS

    @property
    def ratios(self) -> list[float]:
        """Of the instances on which it found anything, ascending."""
        return sorted(one.ratio for one in self.measured if math.isfinite(one.ratio))

    @property
    def at_minimum(self) -> int:
        return sum(not one.missed for one in self.measured)

    @property
    def median(self) -> float | None:
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.ratios) if self.ratios else None

    def quantile(self, share: float) -> float | None:
        """The least ratio that is not exceeded on this share of the instances with one."""
        ratios = self.ratios
        return ratios[max(0, math.ceil(share * len(ratios)) - 1)] if ratios else None

    @property
    def worst(self) -> list[Measured]:
        """Those with a point that missed, the worst first."""
        found = [one for one in self.measured if one.missed and one.attack.witness is not None]
        return sorted(found, key=lambda one: -one.ratio)

    @property
    def correlation(self) -> tuple[float, int] | None:
        """Is it equally suboptimal on all targets of an input? (r, number of pairs of targets)."""
        logs: dict[str, list[float]] = {}
        for one in self.measured:
            if math.isfinite(one.ratio):
                logs.setdefault(one.result.task, []).append(math.log(one.ratio))
        return intraclass(list(logs.values()))

    @property
    def restarts(self) -> Restarts:
        misses = [one for one in self.measured if one.missed]
        tested = [(one, one.restart) for one in misses if one.restart is not None and one.restart.state == DONE]
        steps = tuple(tested[0][1].facts["steps"]) if tested else ()
        towards, any_random, directions, reached = [0] * len(steps), 0, 0, 0
        for one, restart in tested:
            for place, distance in enumerate(restart.facts["towards"]):
                towards[place] += _reaches(one.result, distance)
            hits = sum(_reaches(one.result, distance) for distance in restart.facts["random"])
            any_random += hits > 0
            directions, reached = directions + len(restart.facts["random"]), reached + hits
        return Restarts(len(misses), len(tested), steps, tuple(towards), any_random, directions, reached)


def _reaches(result: Result, distance: float | None) -> bool:
    return distance is not None and not missed(distance, result.upper, result.precision)


def audits(results: Iterable[Result], findings: Iterable[StoredFinding]) -> list[Audit]:
    """An audit for each model, norm, method and attack."""
    known: Mapping[tuple[str, Kind, str], StoredFinding] = {
        (one.instance, one.kind, one.attack): one for one in findings
    }
    names = dict.fromkeys((one.kind, one.attack) for one in known.values() if one.kind in ATTACKING)
    found = []
    for group, members in grouped(results).items():
        closed = [one for one in members if one.closed and 0 < one.upper < math.inf]
        for kind, name in names:
            measured = [
                Measured(one, at, known.get((one.id, Kind.RESTART, name)))
                for one in closed
                if (at := known.get((one.id, kind, name))) is not None and at.state == DONE
            ]
            if measured:
                found.append(Audit(group, name, tuple(measured)))
    return found


@dataclass(frozen=True, eq=False)
class Replays:
    """What became of a tool's points in one group: of so many `given`, those that are no witnesses by reason."""

    group: TableGroup
    tool: str
    given: int
    refused: Mapping[str, int]

    @property
    def replayed(self) -> int:
        return self.given - sum(self.refused.values())


def replays(results: Iterable[Result], findings: Iterable[StoredFinding]) -> list[Replays]:
    """What became of other tools' points, for each model, norm, method and tool; on open instances as well."""
    by_id = {one.id: TableGroup.of(one) for one in results}
    counts: dict[tuple[TableGroup, str], tuple[list[int], Counter[str]]] = {}
    for found in findings:
        if found.kind is Kind.POINTS and found.state == DONE:
            given, refused = counts.setdefault((by_id[found.instance], found.attack), ([], Counter()))
            given.append(found.facts["given"])
            refused.update(found.facts["refused"])
    return [
        Replays(group, tool, sum(given), dict(often(refused))) for (group, tool), (given, refused) in counts.items()
    ]


def often(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """What is counted, the most frequent first; of the equally frequent in order of name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def counts_words(counts: Mapping[str, int]) -> str:
    """The same as a text.

    >>> counts_words({"outside the box": 1, "the input itself": 3})
    '3 the input itself; 1 outside the box'
    """
    return "; ".join(f"{number} {what}" for what, number in often(counts))


def intraclass(groups: Sequence[Sequence[float]]) -> tuple[float, int] | None:
    """Fisher's intraclass correlation: Pearson's over all ordered pairs of two members of one group (Fisher 1925, §38).

    With the number of unordered pairs; None where there are no pairs, or nothing varies.

    >>> intraclass([[1.0, 1.0], [2.0, 2.0], [4.0]])
    (1.0, 2)
    """
    pairs = [(a, b) for group in groups for i, a in enumerate(group) for j, b in enumerate(group) if i != j]
    if not pairs:
        return None
    first, second = np.array(pairs).T
    spread = first.var()
    if spread <= np.finfo(float).eps * (1.0 + np.abs(first).max()) ** 2:
        return None
    r = float(((first - first.mean()) * (second - second.mean())).mean() / spread)
    return max(-1.0, min(1.0, r)), len(pairs) // 2
