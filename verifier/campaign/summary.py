"""A store's final table: the columns of table 1 of Carlini, Katz, Barrett and Dill (2018)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from verifier.campaign.records import Result


@dataclass(frozen=True)
class Line:
    """One model under one norm by one method. Means are over the closed instances with an example at a distance > 0.

    improvement: the mean of (initial − minimal) / initial; None where there is nothing to take a mean of.
    """

    model: Path
    norm: str
    method: str
    closed: int
    instances: int
    initial: float | None
    minimal: float | None
    improvement: float | None


def summary(results: Sequence[Result]) -> list[Line]:
    """A line for each model, norm and method, in the order in which they come."""
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.model_sha256, result.norm, result.method), []).append(result)
    return [_line(group) for group in groups.values()]


def _line(group: Sequence[Result]) -> Line:
    counted = [one for one in group if one.closed and 0 < one.upper < math.inf and one.initial < math.inf]
    first = group[0]
    return Line(
        first.model,
        first.norm,
        first.method,
        sum(one.closed for one in group),
        len(group),
        statistics.fmean(one.initial for one in counted) if counted else None,
        statistics.fmean(one.upper for one in counted) if counted else None,
        statistics.fmean((one.initial - one.upper) / one.initial for one in counted) if counted else None,
    )
