"""Where calls run: threads, other processes of this machine, a Dask or a Ray cluster."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from encoders.errors import InputError, there_are
from encoders.lazy import Lazy

if TYPE_CHECKING:
    import joblib
else:
    joblib = Lazy("joblib")

ANSWERS_WITHIN = 10.0
"""Seconds for a scheduler to answer the first time."""

RETRIES = 3
"""How often a scheduler runs a task again that failed with its worker."""

LOKY, THREADING = "loky", "threading"
"""joblib's backends on this machine."""

Argument = TypeVar("Argument")
Returned = TypeVar("Returned")


@dataclass(frozen=True)
class Workers:
    """backend: loky, threading, dask or ray; scheduler: a cluster's address; jobs: calls at a time."""

    backend: str = LOKY
    jobs: int = 1
    scheduler: str | None = None

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

    def each(self, call: Callable[[Argument], Returned], given: Iterable[Argument]) -> Iterator[Returned]:
        """The results of the calls, as they end."""
        if self.backend in CONFIGURED:
            yield from on_cluster(self.backend, self.scheduler, call, given)
            return
        yield from _called(call, given, n_jobs=self.jobs, backend=self.backend, max_nbytes=None)


def end() -> None:
    """End the processes that joblib keeps for further calls; for a process that makes none."""
    loky = sys.modules.get("joblib.externals.loky")
    if loky is not None:
        kept = loky.get_reusable_executor(reuse=True)
        getattr(kept, "terminate", kept.shutdown)(kill_workers=True)


def on_cluster(
    backend: str, scheduler: str | None, call: Callable[[Argument], Returned], given: Iterable[Argument]
) -> Iterator[Returned]:
    """The results of calls on the workers of a cluster, as they end; each of what is `given` is drawn when its call can
    begin."""
    yield from CONFIGURED[backend](scheduler, call, given)


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


def _by_dask(
    scheduler: str | None, call: Callable[[Argument], Returned], given: Iterable[Argument]
) -> Iterator[Returned]:
    from distributed import Client  # noqa: PLC0415, an optional backend
    from joblib._dask import DaskDistributedBackend  # noqa: PLC0415

    class Cluster(DaskDistributedBackend):  # type: ignore[misc]
        def effective_n_jobs(self, n_jobs: int) -> int:
            """At least 2: joblib would run the tasks of a cluster with one core here."""
            return max(2, int(super().effective_n_jobs(n_jobs)))

    try:
        client = Client(scheduler, set_as_default=False, timeout=ANSWERS_WITHIN)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"--scheduler {scheduler}: it does not answer: {reason}") from None
    with client, joblib.parallel_config(Cluster(client=client, retries=RETRIES, pure=False)):
        yield from _called(call, given, n_jobs=-1)


def _by_ray(
    scheduler: str | None, call: Callable[[Argument], Returned], given: Iterable[Argument]
) -> Iterator[Returned]:
    """As tasks: joblib's pool would start its processes anew for each round of parts, which last half a second.

    What Ray says of lost workers it would print on stdout, where answers are.
    """
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # read as ray is imported
    import ray  # noqa: PLC0415, an optional backend

    if not ray.is_initialized():
        try:
            ray.init(address=scheduler or "auto", logging_level="ERROR", log_to_driver=False)
        except (ConnectionError, OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"--backend ray: no cluster answers: {reason}") from None
    task, waiting = ray.remote(max_retries=RETRIES)(call), iter(given)
    most = max(1, int(ray.cluster_resources().get("CPU", 1)))
    running: list[Any] = []
    try:
        while True:
            running += [task.remote(one) for one in itertools.islice(waiting, most - len(running))]
            if not running:
                return
            ended, running = ray.wait(running)
            yield from map(ray.get, ended)
    finally:
        for one in running:
            ray.cancel(one)


OnCluster = Callable[[str | None, Callable[[Any], Any], Iterable[Any]], Iterator[Any]]

CONFIGURED: Mapping[str, OnCluster] = {"dask": _by_dask, "ray": _by_ray}
PACKAGES: Mapping[str, tuple[str, str]] = {
    "dask": ("distributed", "'dask[distributed]'"),
    "ray": ("ray", "ray"),
}
"""The package that a backend needs, and what pip calls it."""
