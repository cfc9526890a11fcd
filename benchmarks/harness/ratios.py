"""Two methods on the same instances: how many times the one's seconds the other takes, and whether they agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.harness.instances import ERROR, Instance, Result

SHORTEST = 1e-3
"""Seconds below which a time says nothing any more."""

SOLVER_TOLERANCE = 1e-4
"""By how much a peer's distance may be wrong: its integrality tolerance (1e-5) times a big-M of about 10."""


@dataclass(frozen=True)
class Ratio:
    """The geometric mean of theirs / ours over `instances`; of these `ours_open`, `theirs_open` were not closed.

    What is not closed counts as if it had been at the limit, so with theirs open the ratio is a lower bound.
    """

    mean: float
    instances: int
    ours_open: int
    theirs_open: int

    def __str__(self) -> str:
        if not self.instances:
            return "-"
        bound = {(False, True): "≥ ", (True, False): "≤ ", (True, True): "~ "}
        return f"{bound.get((self.ours_open > 0, self.theirs_open > 0), '')}{self.mean:.3g}"


def ratio(ours: Sequence[Result], theirs: Sequence[Result], limit: float, measure: str = "seconds") -> Ratio:
    """The ratio of wall seconds, or of another measure: `cpu_seconds` or `nodes`, where what was spent counts.

    Instances that one side lacks, or where one raised an error, are left out.
    """
    known = {row.instance: row for row in ours if row.status != ERROR and getattr(row, measure) is not None}
    pairs = [
        (known[row.instance], row)
        for row in theirs
        if row.instance in known and row.status != ERROR and getattr(row, measure) is not None
    ]
    logs = [math.log(_cost(their, limit, measure) / _cost(our, limit, measure)) for our, their in pairs]
    return Ratio(
        math.exp(math.fsum(logs) / len(logs)) if logs else math.nan,
        len(pairs),
        sum(not our.closed for our, _ in pairs),
        sum(not their.closed for _, their in pairs),
    )


def _cost(row: Result, limit: float, measure: str) -> float:
    value = float(getattr(row, measure))
    if measure == "nodes":
        return max(value, 1.0)
    if measure == "seconds" and not row.closed:
        return max(value, limit)
    return max(value, SHORTEST)


def contradictions(ours: Sequence[Result], theirs: Sequence[Result]) -> list[str]:
    """Where two brackets on one distance have nothing in common, within the tolerance of a solver: one line each."""
    known: dict[Instance, Result] = {row.instance: row for row in ours if row.status != ERROR}
    found = []
    for row in theirs:
        our = known.get(row.instance)
        if our is None or row.status == ERROR:
            continue
        tolerance = SOLVER_TOLERANCE * max(1.0, min(our.upper, row.upper))
        if row.lower > our.upper + tolerance or our.lower > row.upper + tolerance:
            words = [f"{one.method} [{one.lower:.6f}, {one.upper:.6f}]" for one in (our, row)]
            found.append(f"{row.model}, image {row.index}, target {row.target}, {row.norm}: {' but '.join(words)}")
    return found
