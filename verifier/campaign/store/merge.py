"""Two brackets on one distance → one: the higher lower end, the lower upper end; neither is ever lost."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from verifier.problem.verdict import Bracket, Status

PENDING, ERROR, CONTRADICTION = "pending", "error", "contradiction"
"""What a stored status may be beside those of `Status`: not begun; its run failed; a lower end above an upper one."""

CLOSED = frozenset({Status.MINIMAL.value, Status.UNREACHABLE.value, Status.ALREADY_ADVERSARIAL.value})
FINISHED = CLOSED | {CONTRADICTION}
"""What is not asked again."""


@dataclass(frozen=True)
class StoredEnds:
    """What is stored of a bracket's ends; `evidence` is the lower end's, "" before the first one."""

    status: str = PENDING
    lower: float = 0.0
    upper: float = math.inf
    evidence: str = ""

    def merged(self, found: Bracket) -> StoredEnds:
        """The ends after another bracket on the same distance; where the two contradict each other, they stay."""
        raises = not self.evidence or found.lower > self.lower
        lower = max(self.lower, found.lower)
        upper = min(self.upper, found.upper)
        if lower > upper:
            return replace(self, status=CONTRADICTION)
        evidence = found.evidence.label if raises else self.evidence
        return StoredEnds(self._status(found, lower, upper), lower, upper, evidence)

    def contradiction(self, found: Bracket) -> str:
        """What is said of two brackets that contradict each other."""
        return f"one run says lower {max(self.lower, found.lower)!r}, another upper {min(self.upper, found.upper)!r}"

    def _status(self, found: Bracket, lower: float, upper: float) -> str:
        if Status.ALREADY_ADVERSARIAL.value in (self.status, found.status.value):
            return Status.ALREADY_ADVERSARIAL.value
        if math.isinf(upper):
            return Status.UNREACHABLE.value if math.isinf(lower) else Status.BRACKETED.value
        told = (
            found.status is Status.MINIMAL and upper - lower <= found.upper - found.lower
        )  # steps of a grid may say so
        closed = self.status in CLOSED or told or upper - lower <= found.precision
        return Status.MINIMAL.value if closed else Status.BRACKETED.value


def relative_gap(lower: float, upper: float) -> float:
    """(upper − lower) / upper in [0, 1]; 1 without an upper end."""
    return 1.0 if math.isinf(upper) else (upper - lower) / upper if upper > 0 else 0.0
