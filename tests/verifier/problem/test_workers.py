"""Where calls run: backends by their names, what each needs, results as they end."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from encoders.errors import InputError
from verifier.problem import workers
from verifier.problem.budget import Budget
from verifier.problem.workers import LOKY, THREADING, Workers


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("lokky", 2), "did you mean 'loky'"),
        (("dask", 2), "--backend dask needs --scheduler, such as"),
        ((LOKY, 2, "tcp://host:8786"), "--scheduler goes with --backend dask or ray"),
        ((LOKY, 0), "jobs"),
    ],
)
def test_what_cannot_be_is_told(given: tuple[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Workers(*given)


def test_a_cluster_s_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="--backend ray needs ray: pip install ray"):
        Workers("ray", 2, "somewhere")


def double(number: int) -> int:
    return 2 * number


def test_results_come_as_they_end() -> None:
    assert sorted(Workers(THREADING, 2).each(double, range(5), Budget())) == [0, 2, 4, 6, 8]


def pid(_: int) -> int:
    return os.getpid()


def test_loky_s_are_other_processes() -> None:
    assert os.getpid() not in set(Workers(LOKY, 2).each(pid, range(4), Budget()))


def test_processes_that_joblib_keeps_are_ended() -> None:
    used = set(Workers(LOKY, 2).each(pid, range(4), Budget()))
    workers.end()
    for one in used:
        with pytest.raises(ProcessLookupError):
            os.kill(one, 0)
    assert used.isdisjoint(Workers(LOKY, 2).each(pid, range(4), Budget()))


class DeadWorkerError(Exception):
    pass


class StandInForRay(SimpleNamespace):
    """A cluster of two cores, as far as it is asked: of what runs the youngest ends first."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []
        self.cancelled: list[Any] = []
        self.cores = 2.0
        self.head = socket.create_server(("127.0.0.1", 0))
        self.exceptions = SimpleNamespace(WorkerCrashedError=DeadWorkerError, OutOfMemoryError=MemoryError)

    def is_initialized(self) -> bool:
        return bool(self.begun)

    def init(self, address: str, logging_level: str, *, log_to_driver: bool) -> None:
        assert logging_level == "ERROR"
        assert not log_to_driver
        assert os.environ["RAY_DEDUP_LOGS_SKIP_REGEX"] == "."
        if address == "nobody":
            raise ConnectionError("no cluster\nthere")
        self.begun.append(address)

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(gcs_address="{}:{}".format(*self.head.getsockname()))

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": self.cores}

    def remote(self, max_retries: int) -> Callable[[Callable[[Any], Any]], Any]:
        assert max_retries == workers.RETRIES
        return lambda call: SimpleNamespace(remote=lambda one: (call, one))

    def wait(self, running: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        assert len(running) <= 2
        assert timeout <= 1
        return running[-1:], running[:-1]

    def get(self, task: tuple[Any, Any]) -> Any:
        return task[0](task[1])

    def cancel(self, task: tuple[Any, Any]) -> None:
        self.cancelled.append(task[1])


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInForRay]:
    made = StandInForRay()
    monkeypatch.setenv("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    monkeypatch.delenv("RAY_DEDUP_LOGS_SKIP_REGEX")
    monkeypatch.setitem(sys.modules, "ray", made)  # type: ignore[arg-type]
    monkeypatch.setattr(workers, "find_spec", lambda _: made)
    yield made
    made.head.close()


def test_ray_has_as_many_tasks_as_cores_and_gives_them_as_they_end(ray: StandInForRay) -> None:
    drawn: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(5):
            drawn.append(number)
            yield number

    found = Workers("ray", 2).each(double, numbers(), Budget())
    assert (next(found), drawn) == (2, [0, 1])  # the next one is drawn when it can begin
    assert [*found] == [4, 6, 8, 0]
    assert ray.begun == ["auto"]
    assert [*Workers("ray", 2, "host:6379").each(double, [], Budget())] == []
    assert ray.begun == ["auto"]  # once a process


def test_tasks_of_ray_that_nobody_waits_for_are_cancelled(ray: StandInForRay) -> None:
    found = Workers("ray", 2, "host:6379").each(double, iter(range(5)), Budget())
    next(found)
    found.close()  # type: ignore[attr-defined]
    assert (ray.begun, ray.cancelled) == (["host:6379"], [0])


def test_a_ray_whose_head_is_lost_is_an_error_before_ray_ends_the_process(
    ray: StandInForRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "ANSWERS_WITHIN", 0.3)
    found = Workers("ray", 2).each(double, range(5), Budget())
    next(found)
    ray.head.close()
    with pytest.raises(ConnectionError, match="the head of the cluster is lost"):
        next(found)


def test_a_ray_that_does_not_answer_is_one_line(ray: StandInForRay) -> None:
    with pytest.raises(InputError, match=r"--backend ray: no cluster answers: no cluster there$"):
        next(Workers("ray", 2, "nobody").each(double, [1], Budget()))
    assert ray.begun == []


class StandInForDask(SimpleNamespace):
    """Its module and its client: a scheduler that has as many cores as `cores` says, one look after the other."""

    KilledWorker = DeadWorkerError

    def __init__(self, *cores: int) -> None:
        super().__init__(status="running", looks=iter(cores), entered=nullcontext)

    def Client(self, address: str, *, set_as_default: bool, timeout: float) -> StandInForDask:  # noqa: N802, its name
        assert (address, set_as_default) == ("tcp://host:1", False)
        assert 0 < timeout <= workers.ANSWERS_WITHIN
        return self

    def __enter__(self) -> StandInForDask:
        self.status = "running"
        return self

    def __exit__(self, *_: object) -> None:
        self.status = "closed"

    def as_current(self) -> Any:
        return nullcontext()

    def ncores(self) -> dict[str, int]:
        return dict.fromkeys(map(str, range(next(self.looks))), 1)

    def submit(self, call: Callable[[Any], Any], one: Any, *, retries: int, pure: bool) -> Any:
        assert (retries, pure) == (workers.RETRIES, False)
        return Asked(call, one)

    def wait(self, running: list[Any], *, timeout: float, return_when: str) -> Any:
        assert (timeout, return_when) == (workers.POLL, "FIRST_COMPLETED")
        if running[0].one == "slow":
            raise TimeoutError
        return SimpleNamespace(done={running[0]})


@dataclass(frozen=True)
class Asked:
    call: Callable[[Any], Any]
    one: Any

    def result(self) -> Any:
        return self.call(self.one)


def dask(monkeypatch: pytest.MonkeyPatch, *cores: int) -> StandInForDask:
    made = StandInForDask(*cores)
    monkeypatch.setattr(workers, "POLL", 0.01)
    monkeypatch.setattr(workers, "find_spec", lambda _: made)
    monkeypatch.setitem(sys.modules, "distributed", made)  # type: ignore[arg-type]
    return made


def test_workers_of_dask_are_waited_for_and_that_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    client = dask(monkeypatch, 0, 0, 1, 2, 2, 0, 0, 1, 1, 1)
    found = Workers("dask", 2, "tcp://host:1", told.append).each(double, range(4), Budget())
    assert (next(found), told) == (0, ["--scheduler tcp://host:1 has no workers"])
    assert [next(found), next(found)] == [2, 4]
    assert list(found) == [6]
    assert told == 2 * ["--scheduler tcp://host:1 has no workers"], "and once more when they have gone"
    assert client.status == "closed"


@pytest.mark.parametrize("given", [[1], ["slow"]], ids=["before it begins", "while it waits"])
def test_where_dask_has_no_workers_the_budget_is_kept(given: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    dask(monkeypatch, *(1 for _ in range(3 * (given == ["slow"]))), *(0 for _ in range(1000)))
    budget = Budget()
    assert list(Workers("dask", 2, "tcp://host:1", lambda _: budget.cancel()).each(double, given, budget)) == []


def test_a_lost_scheduler_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    client = dask(monkeypatch, 1, 1)
    found = Workers("dask", 2, "tcp://host:1").each(double, [1, 2], Budget())
    next(found)
    client.status = "connecting"
    with pytest.raises(ConnectionError, match="the scheduler is lost"):
        next(found)


def dead(_: int) -> int:
    raise DeadWorkerError("killed\nagain")


def test_what_kills_its_workers_is_told_of_that_call_alone(ray: StandInForRay, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(backend: str) -> list[Any]:
        nothing: Callable[[str], None] = lambda _: None  # noqa: E731
        given = backend, "tcp://host:1", dead, [1, 2], Budget(), nothing
        with pytest.raises(DeadWorkerError):
            list(workers.on_cluster(*given))
        return list(workers.on_cluster(*given, lost=lambda one, why: (one, why)))  # type: ignore[arg-type, return-value]

    dask(monkeypatch, *10 * [1])
    for backend in workers.CONFIGURED:
        assert sorted(asked(backend)) == [(1, "killed again"), (2, "killed again")]
