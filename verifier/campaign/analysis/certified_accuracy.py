"""How many inputs fall within a radius: at least so many, at most so many, whatever is still open."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from verifier.campaign.analysis.table1 import TableGroup, grouped
from verifier.campaign.plan.attack_tasks import ATTACKING, StoredFinding
from verifier.campaign.store.records import Result


@dataclass(frozen=True, eq=False)
class Curve:
    """One group. An input falls within r when some of its asked targets is reached at a distance ≤ r.

    lowers, uppers: for each input the smallest lower and the smallest upper end of its targets, each list ascending.
    attacks: the same for what each attack found by itself, of the inputs on which it was run on every target.
    targets: how many targets were asked of each input, as (least, most); 0 for untargeted questions.
    """

    group: TableGroup
    lowers: tuple[float, ...]
    uppers: tuple[float, ...]
    attacks: Mapping[str, tuple[float, ...]]
    targets: tuple[int, int]

    @property
    def inputs(self) -> int:
        return len(self.uppers)

    def fallen(self, radius: float) -> tuple[int, int]:
        """(n, m): at least n inputs fall within the radius, at most m."""
        return bisect_right(self.uppers, radius), bisect_right(self.lowers, radius)

    @cached_property
    def radii(self) -> tuple[float, ...]:
        """The radii at which either number changes, ascending."""
        ends = {end for end in (*self.lowers, *self.uppers) if math.isfinite(end)}
        return tuple(sorted({0.0, *ends}))


def curves(results: Iterable[Result], findings: Iterable[StoredFinding]) -> list[Curve]:
    """A curve for each model, norm and method."""
    attacks: dict[str, dict[str, float]] = {}
    for found in findings:
        if found.kind in ATTACKING and found.state == "done":
            attacks.setdefault(found.attack, {})[found.instance] = found.distance
    return [_curve(group, members, attacks) for group, members in grouped(results).items()]


def _curve(group: TableGroup, members: Iterable[Result], attacks: Mapping[str, Mapping[str, float]]) -> Curve:
    inputs: dict[str, list[Result]] = {}
    for one in members:
        inputs.setdefault(one.task, []).append(one)
    each = inputs.values()
    alone = {}
    for name, distances in attacks.items():
        known = [
            min(0.0 if one.upper == 0 else distances[one.id] for one in targets)
            for targets in each
            if all(one.id in distances or one.upper == 0 for one in targets)
        ]
        if len(known) == len(inputs):
            alone[name] = tuple(sorted(known))
    numbers = [0 if any(one.target is None for one in targets) else len(targets) for targets in each]
    return Curve(
        group,
        tuple(sorted(min(one.lower for one in targets) for targets in each)),
        tuple(sorted(min(one.upper for one in targets) for targets in each)),
        alone,
        (min(numbers), max(numbers)),
    )
