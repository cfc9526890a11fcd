"""The time limit of a whole command, and Ctrl-C."""

import math
import signal
import threading
import time

import pytest

from verifier.deadline import CommandBudget, draw_within, interruptible
from verifier.verdict import Budget


def test_the_engine_ends_early_only_for_a_picture() -> None:
    now = time.monotonic()
    assert CommandBudget(10, now, draws=False).reserve == 0
    assert CommandBudget(math.inf, now, draws=True).reserve == 0
    budget = CommandBudget(10, now, draws=True)
    assert 0 < budget.reserve <= 1
    assert budget.remaining < 10 - budget.reserve + 1e-9
    assert "10 s" in budget.reason
    assert CommandBudget(1, now, draws=True).reserve <= 0.2


def test_a_budget_starts_with_the_process() -> None:
    budget = CommandBudget(10, time.monotonic() - 9.5, draws=True)
    assert budget.remaining == 0
    assert 0 < budget.picture_seconds < 1.5
    assert CommandBudget(math.inf, time.monotonic(), draws=True).picture_seconds == math.inf


def test_a_picture_that_comes_too_late_is_left_out() -> None:
    never = threading.Event()
    assert draw_within(lambda: b"png", math.inf) == b"png"
    assert draw_within(lambda: b"png", 60) == b"png"
    assert draw_within(lambda: b"png", 0) is None
    assert draw_within(lambda: b"png" if never.wait(30) else b"", 0.01) is None
    never.set()


def test_a_picture_that_fails_fails_here() -> None:
    def fail() -> bytes:
        raise ZeroDivisionError

    for seconds in (math.inf, 60):
        with pytest.raises(ZeroDivisionError):
            draw_within(fail, seconds)


def test_the_first_ctrl_c_cancels_and_the_second_is_left_to_the_system() -> None:
    budget = Budget()
    before = signal.getsignal(signal.SIGINT)
    with interruptible(budget):
        signal.raise_signal(signal.SIGINT)
        assert budget.cancelled
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_signals_are_left_alone() -> None:
    entered = []

    def work() -> None:
        with interruptible(Budget()):
            entered.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered


def test_time_for_a_certificate_is_kept_until_it_is_begun():
    budget = CommandBudget(1000.0, time.monotonic(), draws=False, proves=True)
    assert 490.0 < budget.remaining <= 500.0
    budget.begin_proof()
    assert 990.0 < budget.remaining <= 1000.0
    assert math.isinf(CommandBudget(math.inf, time.monotonic(), draws=False, proves=True).remaining)
