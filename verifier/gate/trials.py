"""What is tried before a search: points of other tools, then attacks. One that fools settles a question at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import InitVar, dataclass, field

from verifier.campaign.plan.attack_tasks import DONE, Kind, StoredFinding
from verifier.campaign.plan.messages import Claim
from verifier.campaign.plan.tasks import Target, Wanted

LONGER = 1.5
"""An attack that its time limit ended is run again where it may take so many times as long now."""


@dataclass(eq=False)
class Trials:
    """What is left to be tried. attacks: their names; limit: seconds for a target; findings: what was tried before."""

    attacks: Sequence[str]
    limit: float
    findings: InitVar[Iterable[StoredFinding]] = ()
    _tried: set[tuple[str, Kind, str]] = field(default_factory=set)

    def __post_init__(self, findings: Iterable[StoredFinding]) -> None:
        self._tried.update(
            (one.instance, one.kind, one.attack)
            for one in findings
            if one.state == DONE and not (one.cut and self.limit > LONGER * one.seconds)
        )

    def points(self, one: Wanted, targets: Collection[Target]) -> Claim | None:
        """The points of a tool that were not judged yet; None where there are none."""
        given: dict[str, list[Target]] = {}
        for each in one.given:
            if each.target in targets:
                given.setdefault(each.tool, []).append(each.target)
        return self._first(one, Kind.POINTS, given.items())

    def attack(self, one: Wanted, targets: Collection[Target]) -> Claim | None:
        """An attack that was not run yet; None where there is none."""
        return self._first(one, Kind.ATTACK, [(name, targets) for name in self.attacks])

    def _first(self, one: Wanted, kind: Kind, named: Iterable[tuple[str, Collection[Target]]]) -> Claim | None:
        """The first that is left, which counts as tried from now on. What is misclassified needs no witness."""
        for name, targets in () if one.wrong else named:
            left = {target: (one.task.instance(target), kind, name) for target in targets}
            left = {target: key for target, key in left.items() if key not in self._tried}
            if left:
                self._tried.update(left.values())
                return Claim(one.task.id, tuple(left), self.limit, (kind, name))
        return None
