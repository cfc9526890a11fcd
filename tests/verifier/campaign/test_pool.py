"""Processes that run tasks: what one costs that dies, hangs, or outlives its campaign."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from verifier.campaign import backends, pool
from verifier.campaign.backends import Backend
from verifier.campaign.plan.messages import Claim, Report
from verifier.campaign.plan.plan import Plan
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.pool import Lost, Piece, Pool
from verifier.campaign.runner import run
from verifier.campaign.store.store import Store
from verifier.problem import workers
from verifier.problem.budget import Budget
from verifier.problem.child import PreparedCall
from verifier.problem.memory import Memory

PROC = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads processes from /proc, which Linux has")


@dataclass(frozen=True)
class Double:
    number: int

    def run(self) -> int:
        return 2 * self.number


@dataclass(frozen=True)
class SlowToStart(Double):
    """As one whose kernels are loaded while others hold the cores."""

    def prepare(self) -> None:
        threading.Event().wait(1.0)


@dataclass(frozen=True)
class Die:
    """As a process does that the kernel kills for its memory."""

    def run(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Fail:
    def run(self) -> None:
        raise ZeroDivisionError("by design")


@dataclass(frozen=True)
class Wait:
    def run(self) -> None:
        threading.Event().wait()


@dataclass(frozen=True)
class HoldTheLock:
    """Native code that keeps the interpreter's lock: no thread of the process gets a turn."""

    def run(self) -> None:
        re.match(r"(a+)+$", "a" * 64 + "b")


def tasks(*calls: Any, seconds: float = 3600.0) -> list[Piece[int]]:
    return [Piece(place, call, seconds) for place, call in enumerate(calls)]


def test_a_process_that_dies_costs_its_own_task_alone() -> None:
    calls = [Double(0), Die(), Double(2), Fail(), Double(4), Die(), Double(6)]
    found = dict(Pool[int](2, Budget(3600.0)).run(iter(tasks(*calls))))
    assert {place: value for place, value in found.items() if not isinstance(value, Lost)} == {0: 0, 2: 4, 4: 8, 6: 12}
    assert found[1] == found[5] == Lost("its process ended without an answer")
    assert found[3] == Lost("ZeroDivisionError: by design")


def test_what_a_process_prepares_is_in_nobodys_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "OVERRUN", 0.1)
    found = dict(Pool[int](1, Budget(3600.0)).run(iter(tasks(SlowToStart(1), SlowToStart(2), seconds=0.5))))
    assert found == {0: 2, 1: 4}
    assert isinstance(backends._Solve(Any), PreparedCall)


def test_a_task_that_overruns_its_limit_is_ended_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "OVERRUN", 0.1)
    given = [Piece(0, Wait(), 0.1), *(Piece(place, Double(place), 3600.0) for place in (1, 2, 3))]
    found = dict(Pool[int](2, Budget(3600.0)).run(iter(given)))
    assert found == {0: Lost("it took longer than its 0.1 s", overran=True), 1: 2, 2: 4, 3: 6}


@pytest.mark.parametrize("stuck", [Wait(), HoldTheLock()])
def test_the_pool_ends_soon_after_its_budget(stuck: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "FAREWELL", 0.1)
    budget, done = Budget(3600.0), []
    for place, value in Pool[int](2, budget).run(iter(tasks(Double(1), stuck, Double(3)))):
        done.append((place, value))
        budget.cancel()
    assert done[0] == (0, 2)
    assert 1 not in dict(done)


PROGRAM = """
from tests.verifier.campaign.test_pool import *
from verifier.campaign.pool import Child
made = []
def noted(*arguments, **options):
    made.append(Child(*arguments, **options))
    print(made[-1].pid, flush=True)
    return made[-1]
pool.Child = noted
list(Pool(2, Budget(3600.0)).run(iter(tasks(CALL, CALL))))
"""


@PROC
@pytest.mark.parametrize("call", ["Wait()", "HoldTheLock()"])
def test_processes_die_with_the_campaign_even_where_native_code_holds_the_lock(call: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.replace("CALL", call)], stdout=subprocess.PIPE, text=True
    ) as campaign:
        assert campaign.stdout is not None
        children = [int(campaign.stdout.readline()) for _ in range(2)]
        campaign.kill()
        campaign.wait()
    for child in children:
        while _lives(child):
            pass


def _lives(pid: int) -> bool:
    """True until the process is gone, or waits for init to take its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass(frozen=True, eq=False)
class _SometimesLost:
    """`solve`, but the process dies at the first task it is given when the mark is not there yet."""

    work: Any
    mark: str

    def run(self) -> Report:
        try:
            os.close(os.open(self.mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return backends.solve(self.work)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@pytest.mark.long
def test_a_lost_worker_is_one_lost_try_of_one_task(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "_Solve", lambda work: _SometimesLost(work, str(tmp_path / "mark")))
    asked = plan((6, 7))
    with Store(tmp_path / "s.sqlite") as store:
        counts = run(asked, tasks_of(asked), store, Backend(jobs=2), Budget(3600.0))
        results = store.results()
    assert counts.done
    assert sorted({one.attempts for one in results}) == [1, 2]
    assert len({one.task for one in results if one.attempts == 2}) == 1


def test_a_task_that_overran_has_used_its_limit_up_and_an_attack_task_is_lost() -> None:
    class Work:
        claim, known, whole = Claim("t", (1,), 5.0), {1: None}, True
        attack_tasks: tuple[int, ...] = ()

    report = backends._gone(Work(), Lost("late", overran=True))  # type: ignore[arg-type]
    assert (report.used_up, report.lost) == (True, "")
    Work.attack_tasks = (1,)
    report = backends._gone(Work(), Lost("late", overran=True))  # type: ignore[arg-type]
    assert (report.used_up, report.lost) == (False, "its worker was lost: late")


def test_tasks_of_this_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "find_spec", lambda _: True)
    assert Backend(jobs=4).memory(8e9) == 2e9
    assert 0 < Backend(jobs=2).memory(None) < Memory.of(None, beyond=False).limit
    assert Backend("ray", "somewhere").memory(8e9) == 8e9
    assert Backend("ray", "somewhere").memory(None) is None
