"""How many inputs fall within a radius: at least so many, at most so many, whatever is still open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from verifier.campaign.analysis.distributions import DistanceEnds, Distribution
from verifier.campaign.analysis.table1 import TableGroup, grouped
from verifier.campaign.plan.attack_tasks import ATTACKING, StoredFinding
from verifier.campaign.store.records import Result


@dataclass(frozen=True, eq=False)
class Curve:
    """One group. An input falls within r when some of its asked targets is reached at a distance ≤ r.

    distances: of each input the smallest lower and the smallest upper end of its targets.
    attacks: what each attack found by itself, ascending, of the inputs on which it was run on every target.
    targets: how many targets were asked of each input, as (least, most); 0 for untargeted questions.
    """

    group: TableGroup
    distances: Distribution
    attacks: Mapping[str, tuple[float, ...]]
    targets: tuple[int, int]

    @property
    def inputs(self) -> int:
        return len(self.distances.known)

    @property
    def radii(self) -> tuple[float, ...]:
        """The radii at which either number changes, ascending."""
        return self.distances.radii

    def fallen(self, radius: float) -> tuple[int, int]:
        """(n, m): at least n inputs fall within the radius, at most m."""
        return self.distances.within(radius)


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
        Distribution(tuple(_nearest(targets) for targets in each)),
        alone,
        (min(numbers), max(numbers)),
    )


def _nearest(targets: Sequence[Result]) -> DistanceEnds:
    lower, upper = (min(ends) for ends in zip(*((one.lower, one.upper) for one in targets), strict=True))
    return DistanceEnds.of(lower, upper, targets[0].precision)
