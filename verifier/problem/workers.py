"""Where calls run: threads, other processes of this machine, a Dask or a Ray cluster."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from encoders.errors import InputError, there_are
from encoders.lazy import Lazy
from verifier.problem.budget import Budget

if TYPE_CHECKING:
    import joblib
else:
    joblib = Lazy("joblib")

ANSWERS_WITHIN = 10.0
"""Seconds for a scheduler to answer the first time."""

RETRIES = 3
"""How often a scheduler runs a task again that failed with its worker."""

POLL = 0.2
"""Seconds between two looks at whether a cluster has workers."""

LOKY, THREADING = "loky", "threading"
"""joblib's backends on this machine."""

Argument = TypeVar("Argument")
Returned = TypeVar("Returned")


@dataclass(frozen=True)
class Workers:
    """backend: loky, threading, dask or ray; scheduler: a cluster's address; jobs: calls at a time; tell: called
    once what is missing, in words, is waited for; gone: once workers are lost for good, with why."""

    backend: str = LOKY
    jobs: int = 1
    scheduler: str | None = None
    tell: Callable[[str], None] = field(default=lambda _: None, repr=False, compare=False)
    gone: Callable[[str], None] = field(default=lambda _: None, repr=False, compare=False)

    def __post_init__(self) -> None:
        known = (LOKY, THREADING, *CONFIGURED)
        if self.backend not in known:
            raise InputError(f"--backend {self.backend}: {there_are(known, self.backend)}")
        if self.jobs < 1:
            raise InputError(f"the number of jobs must be a whole number ≥ 1, not {self.jobs}")
        must_be_reachable(self.backend, self.scheduler)

    @property
    def others(self) -> bool:
        """Are they other processes of this machine?"""
        return self.backend == LOKY

    def each(
        self, call: Callable[[Argument], Returned], given: Iterable[Argument], budget: Budget
    ) -> Iterator[Returned]:
        """The results of the calls, as they end; what comes of the budget is said at `on_cluster`."""
        if self.backend in CONFIGURED:
            yield from on_cluster(self.backend, self.scheduler, call, given, budget, self.tell)
            return
        yield from _called(call, given, n_jobs=self.jobs, backend=self.backend, max_nbytes=None)


def end() -> None:
    """End the processes that joblib keeps for further calls; for a process that makes none."""
    loky = sys.modules.get("joblib.externals.loky")
    if loky is not None:
        kept = loky.get_reusable_executor(reuse=True)
        getattr(kept, "terminate", kept.shutdown)(kill_workers=True)


def on_cluster(
    backend: str,
    scheduler: str | None,
    call: Callable[[Argument], Returned],
    given: Iterable[Argument],
    budget: Budget,
    tell: Callable[[str], None],
    lost: Callable[[Argument, str], Returned] | None = None,
) -> Iterator[Returned]:
    """The results of calls on the workers of a cluster, as they end; each of what is `given` is drawn when its call can
    begin.

    Ends where the budget does while there are no workers; once these are waited for, `tell` is called with that in
    words. lost: what stands for the result of a call whose workers died again and again, and why. Raises InputError
    where no cluster answers.
    """
    with CONFIGURED[backend](scheduler, call, budget) as cluster:
        yield from _in_turn(cluster, given, budget, tell, lost)


def in_one_line(error: Exception) -> str:
    """What an exception says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _called(call: Callable[[Argument], Returned], given: Iterable[Argument], **how: Any) -> Iterator[Returned]:
    parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs", **how)
    yield from parallel(joblib.delayed(call)(one) for one in given)


def must_be_reachable(backend: str, scheduler: str | None) -> None:
    """Raises InputError for a cluster without its address or its package, and for an address without a cluster."""
    if backend == "dask" and not scheduler:
        raise InputError("--backend dask needs --scheduler, such as tcp://host:8786")
    if backend not in CONFIGURED and scheduler:
        raise InputError("--scheduler goes with --backend dask or ray")
    package, command = PACKAGES.get(backend, ("", ""))
    if package and find_spec(package) is None:
        raise InputError(f"--backend {backend} needs {package}: pip install {command}")


class Cluster(Protocol):
    """The workers behind a scheduler; a task is what stands for a call there.

    name: as options say it. dead: what `result` raises where a task's workers died again and again.
    """

    name: str
    dead: tuple[type[Exception], ...]

    def cores(self) -> int:
        """How many there are now. Raises ConnectionError where the scheduler is gone."""
        ...

    def begin(self, one: Any) -> Any:
        """The task of a call."""
        ...

    def ended(self, running: list[Any]) -> list[Any]:
        """The tasks that have ended; waits for at most POLL seconds."""
        ...

    def result(self, task: Any) -> Any:
        """What its call returned. Raises what that did."""
        ...


def _in_turn(
    cluster: Cluster,
    given: Iterable[Argument],
    budget: Budget,
    tell: Callable[[str], None],
    lost: Callable[[Argument, str], Returned] | None,
) -> Iterator[Returned]:
    """The results of the calls, as many at a time as there are cores; the rest is said at `on_cluster`."""
    waiting, running, idle = iter(given), dict[Any, Argument](), False
    while True:
        cores = cluster.cores()
        if not (cores or idle):
            tell(f"{cluster.name} has no workers")
        idle = not cores
        if idle and budget.ended:
            return
        for one in itertools.islice(waiting, max(0, cores - len(running))):
            running[cluster.begin(one)] = one
        if not running:
            if not idle:
                return
            time.sleep(POLL)
            continue
        for task in cluster.ended(list(running)):
            one = running.pop(task)
            try:
                found: Returned = cluster.result(task)
            except cluster.dead as error:
                if lost is None:
                    raise
                found = lost(one, in_one_line(error))
            yield found


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Without what a library logs under this name: tracebacks of what is told here in one line."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def _dask(scheduler: str | None, call: Callable[[Any], Any], budget: Budget) -> Iterator[Cluster]:
    import distributed  # noqa: PLC0415, an optional backend

    within = min(ANSWERS_WITHIN, max(POLL, budget.remaining))
    try:
        client = distributed.Client(scheduler, set_as_default=False, timeout=within)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"--scheduler {scheduler}: it does not answer: {in_one_line(error)}") from None

    class Dask:
        name = f"--scheduler {scheduler}"
        dead: tuple[type[Exception], ...] = (distributed.KilledWorker,)

        def cores(self) -> int:
            if client.status != "running":
                raise ConnectionError("the scheduler is lost")
            return sum(client.ncores().values())

        def begin(self, one: Any) -> Any:
            return client.submit(call, one, retries=RETRIES, pure=False)

        def ended(self, running: list[Any]) -> list[Any]:
            with client.as_current(), suppress(TimeoutError):
                return list(distributed.wait(running, timeout=POLL, return_when="FIRST_COMPLETED").done)
            return []

        def result(self, task: Any) -> Any:
            return task.result()

    with _silent("distributed.client"), client:
        yield Dask()


@contextmanager
def _ray(scheduler: str | None, call: Callable[[Any], Any], budget: Budget) -> Iterator[Cluster]:
    """As tasks: joblib's pool would start its processes anew for each round of parts, which last half a second.

    What Ray says of lost workers it would print on stdout, where answers are.
    """
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # read as ray is imported
    import ray  # noqa: PLC0415, an optional backend

    if not ray.is_initialized():
        try:
            ray.init(address=scheduler or "auto", logging_level="ERROR", log_to_driver=False)
        except (ConnectionError, OSError, ValueError, RuntimeError) as error:
            raise InputError(f"--backend ray: no cluster answers: {in_one_line(error)}") from None
    head = "" if (scheduler or "").startswith("ray://") else str(ray.get_runtime_context().gcs_address)
    remote, begun = ray.remote(max_retries=RETRIES)(call), set[Any]()

    class Ray:
        name = "--backend ray"
        dead: tuple[type[Exception], ...] = (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError)

        def cores(self) -> int:
            if head:
                _must_answer(head, budget)
            return int(ray.cluster_resources().get("CPU", 0))

        def begin(self, one: Any) -> Any:
            begun.add(task := remote.remote(one))
            return task

        def ended(self, running: list[Any]) -> list[Any]:
            return list(ray.wait(running, timeout=POLL)[0])

        def result(self, task: Any) -> Any:
            begun.discard(task)
            return ray.get(task)

    try:
        yield Ray()
    finally:
        for task in begun:
            ray.cancel(task)


def _must_answer(address: str, budget: Budget) -> None:
    """Raises ConnectionError where nobody listens there for some seconds.

    Ray waits for a lost head without a word, and after a minute ends this process with exit code 1: that is "violated".
    """
    host, _, port = address.rpartition(":")
    patience, lost = budget.first_of(Budget(ANSWERS_WITHIN)), True
    while lost:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_WITHIN).close()
            lost = False
        except OSError as error:
            if patience.ended:
                raise ConnectionError(f"the head of the cluster is lost: {in_one_line(error)}") from None
            time.sleep(POLL)


Connect = Callable[[str | None, Callable[[Any], Any], Budget], AbstractContextManager[Cluster]]

CONFIGURED: Mapping[str, Connect] = {"dask": _dask, "ray": _ray}
PACKAGES: Mapping[str, tuple[str, str]] = {
    "dask": ("distributed", "'dask[distributed]'"),
    "ray": ("ray", "ray"),
}
"""The package that a backend needs, and what pip calls it."""
