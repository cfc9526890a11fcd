"""Runs a campaign: claims what is open, gives it to workers, writes down every bracket; again until all is closed."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from encoders.errors import InputError
from verifier.campaign.backends import Backend
from verifier.campaign.connection import Begin, Connections, KnownWitnesses
from verifier.campaign.plan.attack_tasks import Finding
from verifier.campaign.plan.messages import Claim, Outcome, Report, Work
from verifier.campaign.plan.plan import Plan
from verifier.campaign.plan.tasks import Wanted
from verifier.campaign.store.database import StoreError
from verifier.campaign.store.leases import LEASE, LOSSES, Limits
from verifier.campaign.store.owner import Owner
from verifier.campaign.store.presence import How
from verifier.campaign.store.records import Counts
from verifier.campaign.store.store import Store
from verifier.problem.budget import Budget
from verifier.problem.workers import in_one_line

FIRST_SHARE, LEAST_FIRST = 0.25, 0.5
"""Of a total budget, for the first round, in which every instance gets the same short time; and its least seconds."""

TICK = 0.2
"""Seconds between two looks at Ctrl-C, and at what other campaigns do."""

LINE_LOST = "the line to its worker was lost again and again"

SHOW = 0.5
"""Seconds between two counts for the progress bar."""

SETBACKS = 3
"""Losses of workers in a row, without any result between them, after which a campaign gives up."""


class CampaignLostError(InputError):
    """Its workers were lost again and again: the store has what is known, and the same command goes on from there."""


def run(
    plan: Plan,
    wanted: Sequence[Wanted],
    store: Store,
    backend: Backend,
    budget: Budget,
    watch: Callable[[Counts], None] = lambda _: None,
    claims: Callable[[str], Claims] | None = None,
) -> Counts:
    """Work until the plan's instances are closed, their time limits used up, or the budget ends (Ctrl-C cancels it).

    claims: given the plan's key, says what is worked on instead, until that has nothing more. The counts at the end.
    Raises InputError: the store cannot be written, or no cluster answers; CampaignLostError.
    """
    key = store.begin(plan, wanted)
    limits = limits_of(plan, backend.slots, store.counts(key))
    owner = Owner.here()
    chosen = _Leased(store, key, owner, limits) if claims is None else claims(key)
    campaign = _Campaign(plan, key, store, backend, budget, limits, watch, chosen, owner)
    with campaign.at_work():
        while campaign.round():
            pass
    counts = store.counts(key)
    watch(counts)
    return counts


def limits_of(plan: Plan, slots: int, counts: Counts) -> Limits:
    """The plan's timeout at once; with a total budget first a short time for all, then more where it helps most."""
    if math.isinf(plan.total_budget):
        return Limits(plan.timeout, plan.timeout)
    share = FIRST_SHARE * plan.total_budget * slots / max(1, counts.instances - counts.closed)
    return Limits(plan.timeout, min(plan.timeout, max(LEAST_FIRST, share)))


class Claims(Protocol):
    """What is worked on next."""

    def next(self) -> Claim | None:
        """A claim; None where there is none now. By threads of the backend. Raises StoreError."""
        ...

    def heard(self, outcomes: Sequence[Outcome | Finding]) -> None:
        """What has been saved: brackets on their way, by any thread."""
        ...

    def finished(self, claim: Claim) -> None:
        """A claim has come to its end."""
        ...

    def waiting(self) -> bool:
        """Is there anything that may be claimed later on? Raises StoreError."""
        ...


@dataclass(frozen=True)
class _Leased:
    """The plan's open instances, which other campaigns on the same store do not work on meanwhile."""

    store: Store
    key: str
    owner: Owner
    limits: Limits

    def next(self) -> Claim | None:
        return self.store.claim(self.key, self.owner, self.limits)

    def heard(self, outcomes: Sequence[Outcome | Finding]) -> None:
        """The store has them."""

    def finished(self, claim: Claim) -> None:
        """Its lease has ended."""

    def waiting(self) -> bool:
        return self.store.others_at_work(self.key, self.limits.most)


@dataclass
class _Campaign:
    plan: Plan
    key: str
    store: Store
    backend: Backend
    budget: Budget
    limits: Limits
    watch: Callable[[Counts], None]
    claims: Claims
    owner: Owner
    failure: StoreError | None = None
    setbacks: int = 0
    drawn: bool = False
    """Was anything handed to a worker?"""
    shown: float = -math.inf
    begun: Counter[str] = field(default_factory=Counter)
    connections: Connections = field(init=False)

    @cached_property
    def memory(self) -> float | None:
        """Bytes for a task's process."""
        return self.backend.memory(self.plan.memory)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Listen to the workers and keep the claims; at the end hang up, let the claims go and say how it ended."""
        self.store.enter(self.owner, self.key, self.budget.remaining, self.limits.most)
        self.connections = Connections(self._receive, self._begin, self.backend.reachable)
        ended = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(ended,), daemon=True)
        keeper.start()
        how, why = How.INTERRUPTED, ""
        try:
            yield
            how, why = self._end()
        except Exception as error:
            how, why = How.FAILED, " ".join(str(error).split())
            raise
        finally:
            ended.set()
            keeper.join()
            self.connections.close()
            with contextlib.suppress(StoreError):
                self.store.release(self.owner)  # by itself: a disk may have room for this, and not for more
                self.store.leave(self.owner, how, why)
        if self.failure is not None:
            raise self.failure

    def _end(self) -> tuple[How, str]:
        """How it ended, and why where that says too little."""
        if self.failure is not None:
            return How.FAILED, str(self.failure)
        if self.budget.cancelled:
            return How.INTERRUPTED, ""
        return (How.TIME_UP if self._ending else How.DONE), ""

    def round(self) -> bool:
        """Work on all that can be claimed; False when nothing is left, now or later."""
        done = 0
        try:
            for report in self.backend.run(self._works(), self.budget):
                self.begun.pop(report.claim.task, None)
                self.store.finish(self.owner, report, report.lost or (LINE_LOST if self._was_cut(report) else ""))
                self.claims.heard(report.outcomes)
                self.claims.finished(report.claim)
                self._show()
                done, self.setbacks = done + 1, 0
                if self.failure is not None:
                    return False
        except StoreError:
            raise
        except Exception as error:  # whatever a backend raises when its workers die
            if isinstance(error, InputError) and not self.drawn:
                raise
            self._setback(error)
            return not self._ending
        if self._ending or self.failure is not None:
            return False
        if done:
            return True
        time.sleep(TICK)
        return self.claims.waiting()

    def _show(self) -> None:
        """Hand the counts on, from time to time: to count is to look at every instance."""
        if time.monotonic() - self.shown > SHOW:
            self.watch(self.store.counts(self.key))
            self.shown = time.monotonic()

    def _was_cut(self, report: Report) -> bool:
        return report.cut and not self._ending

    @property
    def _ending(self) -> bool:
        return self.budget.remaining <= 0

    def _works(self) -> Iterator[Work]:
        """Claim after claim; drawn by threads of the backend, which an exception would not get out of."""
        while self.failure is None and not self._ending:
            try:
                claim = self.claims.next()
                if claim is None:
                    return
                self.drawn = True
                yield self._work(claim)
            except StoreError as error:
                self.failure = error

    def _work(self, claim: Claim) -> Work:
        wanted = claim.limit * len(claim.targets)
        return Work(
            claim=claim,
            task=self.store.task(claim.task),
            known={} if claim.attack_task else self.store.known(claim.task, claim.targets),
            seconds=min(wanted, self.budget.remaining),
            whole=wanted <= self.budget.remaining,
            threads=self.plan.threads,
            memory=self.memory,
            device=self.plan.device,
            seed=self.plan.select.seed,
            channel=self.connections.channel,
            campaign=os.getpid(),
            attack_tasks=self.store.attack_tasks(claim),
            before=self.store.of_other_models(claim.task) if claim.again else None,
        )

    def _receive(self, outcomes: Sequence[Outcome | Finding]) -> None:
        """Brackets on their way: by a thread of the connections."""
        try:
            self.store.save(*outcomes)
            self.claims.heard(outcomes)
            self._show()
        except StoreError as error:
            self.failure = error

    def _begin(self, begin: Begin) -> KnownWitnesses:
        """What is open of a task that a worker begins, for the first time or after a scheduler has lost its worker."""
        self.begun[begin.task] += 1
        if self.begun[begin.task] > LOSSES:
            error = f"its worker was lost {LOSSES} times"
            self._receive([Outcome(begin.task, target, None, error=error) for target in begin.targets])
            return {}
        try:
            self.store.begun(self.owner, begin.task, begin.worker)
            return self.store.known(begin.task, begin.targets)
        except StoreError as error:
            self.failure = error
            return {}

    def _setback(self, error: Exception) -> None:
        """Workers were lost, and with them what they had not sent: their tasks are free again.

        Raises CampaignLostError.
        """
        self.setbacks += 1
        told = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {in_one_line(error)}"
        self.store.lose(self.owner, f"its worker was lost: {told}")
        if self.setbacks > SETBACKS and not self._ending:
            lost = f"the workers of --backend {self.backend.name} were lost {self.setbacks} times: {told}"
            raise CampaignLostError(lost)

    def _keep(self, ended: threading.Event) -> None:
        """Renew the claims, and tell the workers when Ctrl-C or a failure ends the campaign."""
        renewed = time.monotonic()
        while not ended.wait(TICK):
            if self.budget.cancelled or self.failure is not None:
                self.connections.stop()
            if time.monotonic() - renewed > LEASE / 3:
                renewed = time.monotonic()
                try:
                    self.store.renew(self.owner)
                except StoreError as error:
                    self.failure = error
