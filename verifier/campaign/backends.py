"""Where tasks run: this process, others of this machine, a Dask or a Ray cluster; joblib makes these two look alike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from encoders.errors import InputError, there_are
from encoders.lazy import Lazy
from verifier.campaign.connection import LOCALHOST, own_address
from verifier.campaign.plan.messages import Report, Work
from verifier.campaign.pool import Lost, Piece, Pool
from verifier.campaign.worker import solve
from verifier.problem.budget import Budget
from verifier.problem.memory import Memory
from verifier.runtime.session import cores

if TYPE_CHECKING:
    import joblib
else:
    joblib = Lazy("joblib")

ANYWHERE = "192.0.2.1"
"""An address of nobody (RFC 5737), for the way out of this host."""

LOCAL = "local"

ANSWERS_WITHIN = 10.0
"""Seconds for a scheduler to answer the first time."""

RETRIES = 3
"""How often a scheduler runs a task again that failed with its worker."""


@dataclass(frozen=True)
class Backend:
    """name: local, dask or ray; scheduler: its address, for a cluster; jobs: tasks at a time on this machine."""

    name: str = LOCAL
    scheduler: str | None = None
    jobs: int | None = None

    def __post_init__(self) -> None:
        if self.name not in (LOCAL, *CONFIGURED):
            raise InputError(f"--backend {self.name}: {there_are((LOCAL, *CONFIGURED), self.name)}")
        if self.name == "dask" and not self.scheduler:
            raise InputError("--backend dask needs --scheduler, such as tcp://host:8786")
        if self.name == LOCAL and self.scheduler:
            raise InputError("--scheduler goes with --backend dask or ray")
        package, command = PACKAGES.get(self.name, ("", ""))
        if package and find_spec(package) is None:
            raise InputError(f"--backend {self.name} needs {package}: pip install {command}")

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
        with CONFIGURED[self.name](self) as return_as:
            pool = joblib.Parallel(-1, return_as=return_as, batch_size=1, pre_dispatch="n_jobs")
            yield from pool(joblib.delayed(solve)(work) for work in works)


@dataclass(frozen=True, eq=False)
class _Solve:
    """A call of `solve` in another process."""

    work: Work

    def run(self) -> Report:
        """What becomes of the work."""
        return solve(self.work)


def _in_processes(works: Iterator[Work], count: int, budget: Budget) -> Iterator[Report]:
    pool: Pool[Work] = Pool(count, budget)
    for work, found in pool.run(Piece(work, _Solve(work), work.seconds) for work in works):
        yield _gone(work, found) if isinstance(found, Lost) else found


def _gone(work: Work, lost: Lost) -> Report:
    """A task without an answer: of brackets that overran their limit, that is used up; all else is a lost try."""
    if lost.overran and not work.attack_tasks:
        return Report(work.claim, (), used_up=work.whole and bool(work.known), cut=False)
    return Report(work.claim, (), used_up=False, cut=False, lost=f"its worker was lost: {lost.why}")


AS_THEY_END, ALL_TOGETHER = "generator_unordered", "list"
"""How joblib hands results over; whatever the way, the line brings brackets as they close."""


@contextlib.contextmanager
def _dask(backend: Backend) -> Iterator[str]:
    from distributed import Client  # noqa: PLC0415, an optional backend
    from joblib._dask import DaskDistributedBackend  # noqa: PLC0415

    class Cluster(DaskDistributedBackend):  # type: ignore[misc]
        def effective_n_jobs(self, n_jobs: int) -> int:
            """At least 2: joblib would run the tasks of a cluster with one core here."""
            return max(2, int(super().effective_n_jobs(n_jobs)))

    try:
        client = Client(backend.scheduler, set_as_default=False, timeout=ANSWERS_WITHIN)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"--scheduler {backend.scheduler}: it does not answer: {reason}") from None
    with client, joblib.parallel_config(Cluster(client=client, retries=RETRIES, pure=False)):
        yield AS_THEY_END


@contextlib.contextmanager
def _ray(backend: Backend) -> Iterator[str]:
    import ray  # noqa: PLC0415, an optional backend
    from ray.util.joblib import register_ray  # noqa: PLC0415

    if not ray.is_initialized():
        ray.init(address=backend.scheduler or "auto")
    register_ray()
    with joblib.parallel_config("ray", ray_remote_args={"max_restarts": RETRIES, "max_task_retries": RETRIES}):
        yield ALL_TOGETHER


CONFIGURED: Mapping[str, Callable[[Backend], AbstractContextManager[str]]] = {
    "dask": _dask,
    "ray": _ray,
}
PACKAGES: Mapping[str, tuple[str, str]] = {
    "dask": ("distributed", "'dask[distributed]'"),
    "ray": ("ray", "ray"),
}
"""The package that a backend needs, and what pip calls it."""
