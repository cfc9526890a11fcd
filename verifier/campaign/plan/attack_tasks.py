"""What a campaign finds out about an instance besides its bracket: how near attacks come, and why they miss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from verifier.campaign.plan.tasks import Target
from verifier.problem.verdict import Bracket, Evidence, Initial, Status, Witness


class Kind(StrEnum):
    """In the order in which they are done."""

    POINTS = "points"
    """How near points come that another tool has found."""
    ATTACK = "attack"
    """How near a named attack comes, by itself."""
    RESTART = "restart"
    """Where it is not near: does it come to the minimum when it begins a small step closer to it? Elsewhere?"""


ATTACKING = (Kind.POINTS, Kind.ATTACK)
"""Kinds with a distance of their own, each under a name that no other has: what tables of attacks have a line for."""

MISSED = 0.02
"""By how much of the minimum an attack's point may be farther away and still count as at it."""


def missed(distance: float, upper: float, precision: float) -> bool:
    """Is an attack's point farther than the minimum by more than MISSED of it, and by more than the precision?

    The minimum itself is known to the precision only.
    """
    return distance > upper + max(precision, MISSED * upper)


@dataclass(frozen=True, eq=False)
class AttackTask:
    """One question to a worker. point: the instance's witness; found: the distance of the attack that missed; given:
    the points (m, n) to be judged."""

    target: Target
    kind: Kind
    attack: str
    lower: float
    upper: float
    point: npt.NDArray[np.floating] | None
    found: float = math.inf
    given: npt.NDArray[np.floating] | None = None


@dataclass(frozen=True, eq=False)
class Finding:
    """Its answer. `distance` is that of `witness` (infinite without one).

    facts: for points `given` and `refused`, how many for each reason; for an attack `complete` and `evaluations`; for a
    restart `steps`, shares of the way to the minimum, the distances found from there, `towards`, and those from
    `random` directions, null for none.
    """

    task: str
    target: Target
    kind: Kind
    attack: str
    distance: float = math.inf
    witness: Witness | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""

    def reached(self, precision: float, reason: str) -> Bracket | None:
        """The upper end that the point of an attack or of another tool is; None where it is no witness.

        reason: why the bracket is open, which a point does not change.
        """
        if self.kind not in ATTACKING or self.witness is None:
            return None
        return Bracket(
            lower=0.0,
            upper=self.distance,
            witness=self.witness,
            evidence=Evidence.PROVED,
            precision=precision,
            status=Status.BRACKETED,
            initial=Initial("", math.inf),
            target=self.target,
            seconds=0.0,
            reason=reason,
        )


DONE, OPEN, FAILED = "done", "open", "failed"
"""States of a stored finding; one that has no row is open too."""


@dataclass(frozen=True, eq=False)
class StoredFinding:
    """A finding as the store has it."""

    instance: str
    kind: Kind
    attack: str
    state: str
    distance: float
    witness: Witness | None
    facts: Mapping[str, Any]
    seconds: float
    reason: str

    @property
    def cut(self) -> bool:
        """Did its time limit end it? What it found by then counts."""
        return self.state == DONE and self.facts.get("complete") is False


STEPS = (0.1, 0.5, 0.9)
"""Shares of the way to the minimum at which restarts begin; the first is the length of steps in other directions."""
