"""The same campaign on a real local Dask cluster, one of whose workers is killed midway."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from encoders.errors import InputError
from verifier.campaign.backends import Backend
from verifier.campaign.plan.plan import Plan
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.runner import run
from verifier.campaign.store.store import Store
from verifier.problem import workers
from verifier.problem.budget import Budget

distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install 'dask[distributed]'")


def test_a_worker_is_killed_midway(plan: Callable[..., Plan], tmp_path: Path) -> None:
    asked = plan((6, 7), norms=("linf", "l1"))
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, worker_dashboard_address=None
        ) as cluster,
        Store(tmp_path / "s.sqlite") as store,
    ):
        with distributed.Client(cluster, set_as_default=False) as client:
            workers = list(client.run(os.getpid).values())
        killed: list[int] = []

        def kill() -> None:
            while not killed:
                if 1 <= store.counts().closed < 20:
                    os.kill(workers[0], signal.SIGKILL)
                    killed.append(store.counts().closed)
                time.sleep(0.005)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        counts = run(asked, tasks_of(asked), store, Backend("dask", cluster.scheduler_address), Budget())
        killer.join(0)
        assert killed
        assert counts.done
        results = store.results()
    assert len(results) == 36
    assert all(one.upper - one.lower <= one.precision for one in results)
    assert {one.attempts for one in results} == {1}, "the scheduler itself runs the lost task again"


def test_a_scheduler_that_does_not_answer_is_an_error(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "ANSWERS_WITHIN", 0.5)
    asked = plan((6,))
    nobody = Backend("dask", "tcp://127.0.0.1:9")
    with Store(tmp_path / "s.sqlite") as store, pytest.raises(InputError, match="it does not answer: Timed out"):
        run(asked, tasks_of(asked), store, nobody, Budget())
