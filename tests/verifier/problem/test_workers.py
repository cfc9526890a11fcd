"""Where calls run: backends by their names, what each needs, results as they end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from encoders.errors import InputError
from verifier.problem import workers
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
    assert sorted(Workers(THREADING, 2).each(double, range(5))) == [0, 2, 4, 6, 8]


def pid(_: int) -> int:
    return os.getpid()


def test_loky_s_are_other_processes() -> None:
    assert os.getpid() not in set(Workers(LOKY, 2).each(pid, range(4)))


def test_processes_that_joblib_keeps_are_ended() -> None:
    used = set(Workers(LOKY, 2).each(pid, range(4)))
    workers.end()
    for one in used:
        with pytest.raises(ProcessLookupError):
            os.kill(one, 0)
    assert used.isdisjoint(Workers(LOKY, 2).each(pid, range(4)))


class StandInForRay(SimpleNamespace):
    """A cluster of two cores, as far as it is asked: of what runs the youngest ends first."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []
        self.cancelled: list[Any] = []

    def is_initialized(self) -> bool:
        return bool(self.begun)

    def init(self, address: str, logging_level: str, *, log_to_driver: bool) -> None:
        assert logging_level == "ERROR"
        assert not log_to_driver
        assert os.environ["RAY_DEDUP_LOGS_SKIP_REGEX"] == "."
        if address == "nobody":
            raise ConnectionError("no cluster\nthere")
        self.begun.append(address)

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def remote(self, max_retries: int) -> Callable[[Callable[[Any], Any]], Any]:
        assert max_retries == workers.RETRIES
        return lambda call: SimpleNamespace(remote=lambda one: [call, one])

    def wait(self, running: list[Any]) -> tuple[list[Any], list[Any]]:
        assert len(running) <= 2
        return running[-1:], running[:-1]

    def get(self, task: list[Any]) -> Any:
        return task[0](task[1])

    def cancel(self, task: list[Any]) -> None:
        self.cancelled.append(task[1])


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> StandInForRay:
    made = StandInForRay()
    monkeypatch.setenv("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    monkeypatch.delenv("RAY_DEDUP_LOGS_SKIP_REGEX")
    monkeypatch.setitem(sys.modules, "ray", made)  # type: ignore[arg-type]
    monkeypatch.setattr(workers, "find_spec", lambda _: made)
    return made


def test_ray_has_as_many_tasks_as_cores_and_gives_them_as_they_end(ray: StandInForRay) -> None:
    drawn: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(5):
            drawn.append(number)
            yield number

    found = Workers("ray", 2).each(double, numbers())
    assert (next(found), drawn) == (2, [0, 1])  # the next one is drawn when it can begin
    assert [*found] == [4, 6, 8, 0]
    assert ray.begun == ["auto"]
    assert [*Workers("ray", 2, "host:6379").each(double, [])] == []
    assert ray.begun == ["auto"]  # once a process


def test_tasks_of_ray_that_nobody_waits_for_are_cancelled(ray: StandInForRay) -> None:
    found = Workers("ray", 2, "host:6379").each(double, iter(range(5)))
    next(found)
    found.close()  # type: ignore[attr-defined]
    assert (ray.begun, ray.cancelled) == (["host:6379"], [0])


def test_a_ray_that_does_not_answer_is_one_line(ray: StandInForRay) -> None:
    with pytest.raises(InputError, match=r"--backend ray: no cluster answers: no cluster there$"):
        next(Workers("ray", 2, "nobody").each(double, [1]))
    assert ray.begun == []
