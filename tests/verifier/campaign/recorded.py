"""`python -m tests.verifier.campaign.recorded LOG hammer STORE SEED` or `… LOG ARGUMENTS of verifier campaign`.

Runs against a store every operation of which is recorded in LOG, with the moments of its call and its return.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.verifier.campaign.store.linearizability import Operation, write
from verifier.campaign.plan.messages import Claim, Outcome, Report
from verifier.campaign.plan.tasks import instance_id
from verifier.campaign.store import store as stores
from verifier.campaign.store.leases import Limits
from verifier.campaign.store.owner import Owner
from verifier.cli.main import main
from verifier.problem.verdict import Bracket, Evidence, Initial, Status

LOCK = threading.Lock()
OPERATIONS = 40


def ends_of(outcomes: Sequence[Outcome]) -> tuple[tuple[str, float, float], ...]:
    return tuple(
        (instance_id(one.task, one.target), one.bracket.lower, one.bracket.upper)
        for one in outcomes
        if one.bracket is not None
    )


class Recorded(stores.Store):
    """A store that writes down what is done with it."""

    log = Path()

    def _note(self, kind: str, task: str, owner: str, call: int, ends: tuple[tuple[str, float, float], ...]) -> None:
        with LOCK:
            write(self.log, Operation(task, kind, owner, call, time.monotonic_ns(), ends))

    def claim(self, plan: str, owner: Owner, limits: Limits) -> Claim | None:
        call = time.monotonic_ns()
        found = super().claim(plan, owner, limits)
        if found is not None:
            self._note("claim", found.task, owner.text, call, ())
        return found

    def save(self, *outcomes: Outcome) -> list[str]:
        call = time.monotonic_ns()
        status = super().save(*outcomes)
        self._note("save", outcomes[0].task, "", call, ends_of(outcomes))
        return status

    def finish(self, owner: Owner, report: Report, lost: str = "") -> None:
        call = time.monotonic_ns()
        super().finish(owner, report, lost)
        self._note("finish", report.claim.task, owner.text, call, ends_of(report.outcomes))

    def look(self) -> None:
        """Read every bracket, as a report does."""
        call = time.monotonic_ns()
        for one in self.results():
            self._note("read", one.task, "", call, ((one.id, one.lower, one.upper),))


def made_up(task: str, target: int | None, rng: np.random.Generator) -> Outcome:
    lower, upper = rng.uniform(0, 0.4), rng.uniform(0.5, 1)
    initial = Initial("cw", 1.0)
    bracket = Bracket(lower, upper, None, Evidence.PROVED, 1e-3, Status.BRACKETED, initial, target, 0.1)
    return Outcome(task, target, bracket)


def hammer(path: Path, seed: int) -> None:
    """Claims, saves, reads and finishes, as fast as they come."""
    rng, owner = np.random.default_rng(seed), Owner.here()
    with Recorded(path) as store, Recorded(path, readonly=True) as reader:
        every = store.results()
        plan = sys.argv[5]
        for _ in range(OPERATIONS):
            claim = store.claim(plan, owner, Limits(1.0))
            one = every[rng.integers(len(every))]
            store.save(made_up(one.task, one.target, rng))
            reader.look()
            if claim is not None:
                last = tuple(made_up(claim.task, target, rng) for target in claim.targets[:2])
                store.finish(owner, Report(claim, last, used_up=False, cut=True))


if __name__ == "__main__":
    Recorded.log = Path(sys.argv[1])
    if sys.argv[2] == "hammer":
        hammer(Path(sys.argv[3]), int(sys.argv[4]))
    else:
        from verifier.cli import campaign_command

        campaign_command.Store = Recorded  # type: ignore[misc]
        sys.exit(main(["campaign", *sys.argv[2:]]))
