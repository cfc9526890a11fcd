"""Where tasks run: this process, others of this machine, a Dask or a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from encoders.errors import InputError, there_are
from verifier.campaign.connection import LOCALHOST, own_address
from verifier.campaign.plan.messages import Report, Work
from verifier.campaign.pool import Lost, Piece, Pool
from verifier.campaign.worker import prepare, solve
from verifier.problem.budget import Budget
from verifier.problem.memory import Memory
from verifier.problem.workers import CONFIGURED, must_be_reachable, on_cluster
from verifier.runtime.session import cores

ANYWHERE = "192.0.2.1"
"""An address of nobody (RFC 5737), for the way out of this host."""

LOCAL = "local"


@dataclass(frozen=True)
class Backend:
    """name: local, dask or ray; scheduler: its address, for a cluster; jobs: tasks at a time on this machine; tell: as
    `on_cluster` calls it."""

    name: str = LOCAL
    scheduler: str | None = None
    jobs: int | None = None
    tell: Callable[[str], None] = field(default=lambda _: None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.name not in (LOCAL, *CONFIGURED):
            raise InputError(f"--backend {self.name}: {there_are((LOCAL, *CONFIGURED), self.name)}")
        must_be_reachable(self.name, self.scheduler)

    @property
    def slots(self) -> int:
        """Tasks at a time, as far as that is known without asking a cluster."""
        return self.jobs or cores()

    def memory(self, whole: float | None) -> float | None:
        """Bytes for a task's process: an equal part of what all of this machine may take (None: half of what is free),
        or all of that on a worker of a cluster."""
        return Memory.of(whole, beyond=False).limit / self.slots if self.name == LOCAL else whole

    @property
    def reachable(self) -> str | None:
        """The address by which the workers reach this host; None when they are on it."""
        given = self.scheduler or ""
        host = urlsplit(given if "://" in given else f"//{given}").hostname
        if self.name == LOCAL or host in (LOCALHOST, "localhost"):
            return None
        return own_address(host or ANYWHERE)

    def run(self, works: Iterator[Work], budget: Budget) -> Iterator[Report]:
        """The report of every piece of work as it ends; each is drawn from `works` when it can begin."""
        if self.name == LOCAL:
            yield from _in_processes(works, self.slots, budget) if self.slots > 1 else map(solve, works)
            return
        yield from on_cluster(self.name, self.scheduler, solve, works, budget, self.tell, _lost)


@dataclass(frozen=True, eq=False)
class _Solve:
    """A call of `solve` in another process."""

    work: Work

    def prepare(self) -> None:
        """Before its clock starts."""
        prepare(self.work)

    def run(self) -> Report:
        """What becomes of the work."""
        return solve(self.work)


def _in_processes(works: Iterator[Work], count: int, budget: Budget) -> Iterator[Report]:
    pool: Pool[Work] = Pool(count, budget)
    for work, found in pool.run(Piece(work, _Solve(work), work.seconds) for work in works):
        yield _gone(work, found) if isinstance(found, Lost) else found


def _lost(work: Work, why: str) -> Report:
    """A lost try."""
    return Report(work.claim, (), used_up=False, cut=False, lost=f"its worker was lost: {why}")


def _gone(work: Work, lost: Lost) -> Report:
    """A task without an answer: of brackets that overran their limit, that is used up; all else is a lost try."""
    if lost.overran and not work.attack_tasks:
        return Report(work.claim, (), used_up=work.whole and bool(work.known), cut=False)
    return _lost(work, lost.why)
