"""Threads work side by side, hand back results in order, and are gone in the end, whatever ends it."""

from __future__ import annotations

import threading
from concurrent.futures import wait

import pytest

from verifier.solvers.tree.threads import ALONE, Threads

WAIT = 10.0
"""Seconds after which a thread that is to meet another one gives up."""


def name(_: object = None) -> str:
    return threading.current_thread().name


def test_as_many_as_asked_for_work_at_a_time() -> None:
    meets = threading.Barrier(3)

    def met(item: int) -> int:
        meets.wait(WAIT)
        return 10 * item

    with Threads(3) as threads:
        assert threads.each(met, range(3)) == [0, 10, 20]
        futures = [threads.submit(met, item) for item in range(3)]
        assert {future.result() for future in wait(futures, WAIT).done} == {0, 10, 20}


def test_one_is_the_callers_own() -> None:
    with Threads() as threads:
        assert {*threads.each(name, range(3)), threads.submit(name).result()} == {name()}
    assert ALONE.each(name, range(2)) == [name()] * 2


def test_one_item_needs_no_other_thread() -> None:
    with Threads(4) as threads:
        assert threads.each(name, [0]) == [name()]
        assert threads.each(name, []) == []


@pytest.mark.parametrize("fails", [False, True])
def test_none_outlives_the_context(fails: bool) -> None:
    before, release = set(threading.enumerate()), threading.Event()

    def work(item: int) -> None:
        if fails and item == 0:
            release.set()
            raise ZeroDivisionError
        release.wait(0.05)

    try:
        with Threads(2) as threads:
            threads.each(work, range(20))
            assert set(threading.enumerate()) > before
    except ZeroDivisionError:
        assert fails
    assert set(threading.enumerate()) == before


def test_a_failure_is_the_callers() -> None:
    with Threads() as threads, pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0)
    with Threads(2) as threads:
        future = threads.submit(lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            future.result()
