"""Where calls run: backends by their names, what each needs, results as they end."""

from __future__ import annotations

import os

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
