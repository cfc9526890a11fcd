"""The command line's time limit: it covers the whole command, the picture included, and Ctrl-C ends it early."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Any

from encoders.onnx_io.runtime import give_back_streams
from verifier.cli.complaint import complain
from verifier.cli.exit_codes import Exit
from verifier.problem.budget import Budget
from verifier.problem.memory import UNLIMITED, Memory

PICTURE_SECONDS = 1.0
"""Kept back for the picture: about twice what importing matplotlib and drawing takes."""
PICTURE_SHARE = 0.2
"""At most this share of the limit is kept back."""
LATE_PICTURE = 1.0
"""Seconds for the picture after Ctrl-C, which is to end the command within 2."""
POLL = 0.1
"""Seconds between two looks at the budget while the picture is drawn."""
PROOF_SHARE = 0.5
"""Of the limit, for building and checking a certificate: that takes about as long as finding the answer did."""


LAST_SECONDS = 0.1
"""Kept back for writing the result: what JSON, tables and the end of the process take, with some room."""
LAST_SHARE = 0.03
"""At most this share of the limit is kept back for that."""


class CommandTime:
    """A command's limit, divided: `engine` ends early enough for a certificate, `proof` for a picture, `picture` for
    writing the result before the `whole` ends. All end with Ctrl-C, which cancels the whole."""

    def __init__(self, whole: Budget, *, draws: bool, proves: bool = False) -> None:
        seconds, limited = whole.limit, math.isfinite(whole.limit)
        self.whole = whole
        self.picture = self.whole.reserve(min(LAST_SECONDS, LAST_SHARE * seconds) if limited else 0.0)
        self.proof = self.picture.reserve(min(PICTURE_SECONDS, PICTURE_SHARE * seconds) if draws and limited else 0.0)
        self.engine = self.proof.reserve(PROOF_SHARE * seconds if proves and limited else 0.0, "the certificate")


def draw_within(draw: Callable[[], bytes], budget: Budget) -> bytes | None:
    """The picture that `draw` makes, or None when the budget ends first; one that was cancelled before leaves a moment.

    A late drawing goes on in a daemon thread, which ends with the process: matplotlib cannot be interrupted.
    """
    if budget.cancelled:
        budget = Budget(LATE_PICTURE)
    if budget.ended:
        return None
    drawn: list[bytes] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            drawn.append(draw())
        except Exception as error:  # noqa: BLE001, raised again in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive() and not budget.ended:
        thread.join(min(POLL, budget.remaining))
    if failed:
        raise failed[0]
    return drawn[0] if drawn else None


LATE_SHARE, LATE_SECONDS = 0.02, 0.5
"""Of the limit, and at most so many seconds: when a command that has not answered by then is ended."""
SOON = 1.5
"""Seconds after Ctrl-C for the same: people are told that it ends a command within 2."""
ENDED, LIMITED = b"\0", b"\xff"
"""Tell the thread that watches that there is nothing to watch any more, and that there is a limit now; no signals have
these numbers."""


class Deadline:
    """Keeps a command's limit, and its promise to end soon after Ctrl-C, whatever the main thread is doing.

    The engine looks at its budgets, and mostly ends in time by itself. Some of what it calls cannot be interrupted, a
    library that reads a file or multiplies matrices; so a thread waits for the limit, and for Ctrl-C, of which the
    system tells it although the main thread does not come round to the signal's handler. When the main thread has not
    begun to answer by then, this one does, with what is known, and ends the process. The second Ctrl-C kills.

    `whole`: the budget of the command. answer: writes what is known, and returns the exit code; None while there is
    nothing yet. ends_process: False where the process is not the command's own; then only the budget is kept.
    """

    def __init__(
        self,
        seconds: float,
        start: float,
        *,
        ends_process: bool,
        unanswered: Mapping[str, Any] | str | None = None,
        memory: Memory = UNLIMITED,
    ) -> None:
        """start: the time.monotonic() reading at which the command began; unanswered: see `nothing`."""
        self._unanswered, self._start = unanswered, start
        self.whole = Budget(seconds, start, memory)
        self.answer: Callable[[], int] | None = None
        self._answering = threading.Lock()
        self._interrupted: float | None = None
        self._ends_process = ends_process
        self._handled: Any = None
        self._ears: tuple[socket.socket, socket.socket] | None = None

    def __enter__(self) -> Deadline:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._handled = signal.signal(signal.SIGINT, self._interrupt)
        if self._ends_process:
            self._ears = socket.socketpair()
            self._ears[1].setblocking(False)
            signal.set_wakeup_fd(self._ears[1].fileno(), warn_on_full_buffer=False)
            threading.Thread(target=self._watch, args=(self._ears[0],), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._ears is not None:
            signal.set_wakeup_fd(-1)
            self._ears[1].send(ENDED)
        if self._handled is not None:
            signal.signal(signal.SIGINT, self._handled)

    def limit(self, seconds: float) -> None:
        """So many seconds from the start on, which were not known before. For a command that nothing waits on yet."""
        before = self.whole
        self.whole = Budget(seconds, self._start, before.memory)
        if before.cancelled:
            self.whole.cancel()
        if self._ears is not None:
            self._ears[1].send(LIMITED)

    def begin_answer(self) -> None:
        """To be called before an answer is written: there is only one. Does not return where that is under way."""
        if not self._answering.acquire(blocking=False):
            threading.Event().wait()

    def nothing(self) -> int:
        """Say that the time was too short for any answer, in JSON or a word as well if asked for; the exit code.

        `unanswered` is the word, or the fields of that object which say that nothing is known.
        """
        if isinstance(self._unanswered, str):
            sys.stdout.write(f"{self._unanswered}\n")
        elif self._unanswered is not None:
            spent = {"seconds": round(self.whole.spent, 3)} if "seconds" in self._unanswered else {}
            told = {**self._unanswered, **spent, "reason": self.whole.reason}
            sys.stdout.write(json.dumps(told, indent=2) + "\n")
        complain(f"{self.whole.reason} before there was anything to answer")
        return Exit.INTERRUPTED if self.whole.cancelled else Exit.UNDECIDED

    def _interrupt(self, _: int, __: FrameType | None) -> None:
        self.whole.cancel()
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def _watch(self, ear: socket.socket) -> None:
        while True:
            if not select.select([ear], [], [], self._patience())[0]:
                self._end()
                return
            heard = ear.recv(64)
            if not heard or ENDED in heard:
                return
            for _ in range(heard.count(signal.SIGINT)):
                if self._interrupted is not None:
                    os._exit(Exit.INTERRUPTED)
                self.whole.cancel()
                self._interrupted = time.monotonic()

    def _patience(self) -> float | None:
        """Seconds until the command has to be ended; None: not before Ctrl-C."""
        if self._interrupted is not None:
            return max(0.0, self._interrupted + SOON - time.monotonic())
        limit = self.whole.limit
        if math.isinf(limit):
            return None
        return max(0.0, limit + min(LATE_SHARE * limit, LATE_SECONDS) - self.whole.spent)

    def _end(self) -> None:
        if not self._answering.acquire(blocking=False):
            return
        code: int = Exit.DEFECT
        try:
            give_back_streams()
            code = (self.answer or self.nothing)()
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        except BrokenPipeError:
            code = Exit.BROKEN_PIPE
        finally:
            os._exit(code)
