"""Two models on the same questions: what a defence is worth. Table 2 of Carlini, Katz, Barrett and Dill (2018)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from verifier.campaign.analysis.table1 import TableGroup, grouped
from verifier.campaign.store.records import Result


@dataclass(frozen=True, eq=False)
class DefencePair:
    """One question to both models, closed on both."""

    first: Result
    second: Result

    @property
    def worse(self) -> bool:
        """Is the second model's minimum provably nearer?"""
        return self.second.upper < self.first.lower

    @property
    def better(self) -> bool:
        """Is it provably farther?"""
        return self.second.lower > self.first.upper

    @property
    def change(self) -> float:
        """The second distance relative to the first, − 1."""
        return self.second.upper / self.first.upper - 1.0


@dataclass(frozen=True, eq=False)
class DefenceComparison:
    """Two groups that differ by the model; `first` is the baseline's.

    factor: mean distance of the second over that of the first, in [factor_least, factor_most] whatever the minima are
    within their brackets. Better and worse count pairs whose brackets do not meet.
    """

    first: TableGroup
    second: TableGroup
    pairs: tuple[DefencePair, ...]
    mean_first: float
    mean_second: float
    factor: float
    factor_least: float
    factor_most: float

    @property
    def worse(self) -> list[DefencePair]:
        """The points that the defence made worse, the worst first."""
        return sorted((pair for pair in self.pairs if pair.worse), key=lambda pair: pair.change)

    @property
    def better(self) -> int:
        return sum(pair.better for pair in self.pairs)

    @property
    def worse_by(self) -> float | None:
        """The mean loss of distance of the worse points, as a share in [0, 1]; None where there is none."""
        return -statistics.fmean(pair.change for pair in self.worse) if self.worse else None

    @property
    def worst_by(self) -> float | None:
        """The largest loss."""
        return -self.worse[0].change if self.worse else None


def comparisons(results: Iterable[Result], baseline: str | None = None) -> list[DefenceComparison]:
    """Each model against the baseline (a model's sha256), norm by norm and method by method, where instances are closed
    on both. None: against the first model with which it shares such instances."""
    groups, found = list(grouped(results).items()), []
    for place, (other, others) in enumerate(groups):
        for one, members in groups[:place] if baseline is None else groups:
            alike = one.kind == other.kind and one.model != other.model
            if alike and one.model == (baseline or one.model) and (pairs := _pairs(members, others)):
                found.append(_comparison(one, other, pairs))
                break
    return found


def _pairs(members: Sequence[Result], others: Sequence[Result]) -> list[DefencePair]:
    known = {_question(one): one for one in members if _counts(one)}
    both = [(known.get(_question(other)), other) for other in others if _counts(other)]
    return [DefencePair(one, other) for one, other in both if one is not None]


def _question(one: Result) -> tuple[object, ...]:
    return one.input_sha256, one.label, one.target, one.margin


def _counts(one: Result) -> bool:
    return one.closed and 0 < one.upper < math.inf


def _comparison(one: TableGroup, other: TableGroup, pairs: Sequence[DefencePair]) -> DefenceComparison:
    low1, high1 = (math.fsum(getattr(pair.first, end) for pair in pairs) for end in ("lower", "upper"))
    low2, high2 = (math.fsum(getattr(pair.second, end) for pair in pairs) for end in ("lower", "upper"))
    return DefenceComparison(
        one, other, tuple(pairs), high1 / len(pairs), high2 / len(pairs),
        high2 / high1, low2 / high1, high2 / low1 if low1 > 0 else math.inf,
    )  # fmt: skip
