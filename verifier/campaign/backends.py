"""Where tasks run: processes of this machine, a Dask cluster, a Ray cluster; joblib makes them look alike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import urlsplit

from joblib import Parallel, delayed, parallel_config

from encoders.errors import InputError
from verifier.attacks.session import cores
from verifier.campaign.inbox import LOCALHOST, own_address
from verifier.campaign.outcome import Report, Work
from verifier.campaign.solve import solve

ANYWHERE = "192.0.2.1"
"""An address of nobody (RFC 5737), for the way out of this host."""

RETRIES = 3
"""How often a scheduler runs a task again that failed with its worker."""


@dataclass(frozen=True)
class Backend:
    """name: local, dask or ray; scheduler: its address, for a cluster; jobs: tasks at a time on this machine."""

    name: str = "local"
    scheduler: str | None = None
    jobs: int | None = None

    def __post_init__(self) -> None:
        if self.name not in CONFIGURED:
            raise InputError(f"--backend {self.name}: there are {', '.join(CONFIGURED)}")
        if self.name == "dask" and not self.scheduler:
            raise InputError("--backend dask needs --scheduler, such as tcp://host:8786")
        if self.name == "local" and self.scheduler:
            raise InputError("--scheduler goes with --backend dask or ray")
        package, command = PACKAGES[self.name]
        if find_spec(package) is None:
            raise InputError(f"--backend {self.name} needs {package}: pip install {command}")

    @property
    def slots(self) -> int:
        """Tasks at a time, as far as that is known without asking a cluster."""
        return self.jobs or cores()

    @property
    def reachable(self) -> str | None:
        """The address by which the workers reach this host; None when they are on it."""
        given = self.scheduler or ""
        host = urlsplit(given if "://" in given else f"//{given}").hostname
        if self.name == "local" or host in (LOCALHOST, "localhost"):
            return None
        return own_address(host or ANYWHERE)

    def run(self, works: Iterator[Work]) -> Iterator[Report]:
        """The report of every piece of work as it ends; each is drawn from `works` when it can begin."""
        with CONFIGURED[self.name](self) as return_as:
            jobs = self.slots if self.name == "local" else -1
            pool = Parallel(jobs, return_as=return_as, batch_size=1, pre_dispatch="n_jobs")
            yield from pool(delayed(solve)(work) for work in works)


AS_THEY_END, ALL_TOGETHER = "generator_unordered", "list"
"""How joblib hands results over; whatever the way, the line brings brackets as they close."""


@contextlib.contextmanager
def _local(_: Backend) -> Iterator[str]:
    with parallel_config("loky", inner_max_num_threads=1):
        yield AS_THEY_END


@contextlib.contextmanager
def _dask(backend: Backend) -> Iterator[str]:
    from distributed import Client  # noqa: PLC0415, an optional backend
    from joblib._dask import DaskDistributedBackend  # noqa: PLC0415

    class Cluster(DaskDistributedBackend):  # type: ignore[misc]
        def effective_n_jobs(self, n_jobs: int) -> int:
            """At least 2: joblib would run the tasks of a cluster with one core here."""
            return max(2, int(super().effective_n_jobs(n_jobs)))

    try:
        client = Client(backend.scheduler, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"--scheduler {backend.scheduler}: it does not answer: {error}") from None
    with client, parallel_config(Cluster(client=client, retries=RETRIES, pure=False)):
        yield AS_THEY_END


@contextlib.contextmanager
def _ray(backend: Backend) -> Iterator[str]:
    import ray  # noqa: PLC0415, an optional backend
    from ray.util.joblib import register_ray  # noqa: PLC0415

    if not ray.is_initialized():
        ray.init(address=backend.scheduler or "auto")
    register_ray()
    with parallel_config("ray", ray_remote_args={"max_restarts": RETRIES, "max_task_retries": RETRIES}):
        yield ALL_TOGETHER


CONFIGURED: Mapping[str, Callable[[Backend], AbstractContextManager[str]]] = {
    "local": _local,
    "dask": _dask,
    "ray": _ray,
}
PACKAGES: Mapping[str, tuple[str, str]] = {
    "local": ("joblib", "joblib"),
    "dask": ("distributed", "'dask[distributed]'"),
    "ray": ("ray", "ray"),
}
"""The package that a backend needs, and what pip calls it."""
