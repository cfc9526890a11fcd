"""The time limit of a whole command, and Ctrl-C."""

import math
import signal
import threading
from typing import Any

import pytest

from verifier.deadline import (
    LAST_SHARE,
    LATE_PICTURE,
    PICTURE_SECONDS,
    PICTURE_SHARE,
    CommandTime,
    draw_within,
    interruptible,
)
from verifier.verdict import Budget


def test_the_engine_ends_early_only_for_what_comes_after_it(clock: Any) -> None:
    plain = CommandTime(10, clock.now, draws=False)
    assert 9.8 < plain.engine.remaining < 10 == plain.whole.remaining
    drawn = CommandTime(10, clock.now, draws=True)
    assert drawn.engine.remaining == plain.engine.remaining - PICTURE_SECONDS
    assert CommandTime(1, clock.now, draws=True).engine.remaining >= 1 - PICTURE_SHARE - LAST_SHARE
    proved = CommandTime(10, clock.now, draws=True, proves=True)
    assert proved.engine.remaining == proved.proof.remaining - 5 < proved.picture.remaining - 5
    endless = CommandTime(math.inf, clock.now, draws=True, proves=True)
    assert math.isinf(endless.engine.remaining)
    assert math.isinf(endless.picture_seconds)


def test_a_command_s_time_starts_with_the_process(clock: Any) -> None:
    time = CommandTime(10, clock.now - 9.5, draws=True)
    assert time.engine.ended
    assert time.engine.reason == "the time limit of 10 s was reached"
    assert 0 < time.picture_seconds < 0.5


def test_ctrl_c_ends_every_part_of_a_command_s_time(clock: Any) -> None:
    time = CommandTime(math.inf, clock.now, draws=True, proves=True)
    time.whole.cancel()
    assert time.engine.ended
    assert time.proof.ended
    assert time.picture_seconds == LATE_PICTURE


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
