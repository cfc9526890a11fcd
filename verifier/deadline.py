"""The command line's time limit: it covers the whole command, the picture included, and Ctrl-C ends it early."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from verifier.verdict import Budget

PICTURE_SECONDS = 1.0
"""Kept back for the picture: about twice what importing matplotlib and drawing takes."""
PICTURE_SHARE = 0.2
"""At most this share of the limit is kept back."""
LATE_PICTURE = 1.0
"""Seconds for the picture after Ctrl-C, which is to end the command within 2."""
PROOF_SHARE = 0.5
"""Of the limit, for building and checking a certificate: that takes about as long as finding the answer did."""


LAST_SECONDS = 0.1
"""Kept back for writing the result: what JSON, tables and the end of the process take, with some room."""
LAST_SHARE = 0.03
"""At most this share of the limit is kept back for that."""


class CommandTime:
    """A command's limit, divided: `engine` ends early enough for a certificate, `proof` for a picture, `picture` for
    writing the result before the `whole` ends. All end with Ctrl-C, which cancels the whole."""

    def __init__(self, seconds: float, start: float, *, draws: bool, proves: bool = False) -> None:
        """start: the time.monotonic() reading at which the command began."""
        limited = math.isfinite(seconds)
        self.whole = Budget(seconds, start)
        self.picture = self.whole.reserve(min(LAST_SECONDS, LAST_SHARE * seconds) if limited else 0.0)
        self.proof = self.picture.reserve(min(PICTURE_SECONDS, PICTURE_SHARE * seconds) if draws and limited else 0.0)
        self.engine = self.proof.reserve(PROOF_SHARE * seconds if proves and limited else 0.0)

    @property
    def picture_seconds(self) -> float:
        """Seconds that drawing may take: what is left of the limit, a moment after Ctrl-C; inf without a limit."""
        return LATE_PICTURE if self.whole.cancelled else self.picture.remaining


def draw_within(draw: Callable[[], bytes], seconds: float) -> bytes | None:
    """The picture that `draw` makes, or None when it takes longer than `seconds`.

    A late drawing goes on in a daemon thread, which ends with the process: matplotlib cannot be interrupted.
    """
    if math.isinf(seconds):
        return draw()
    if seconds <= 0:
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
    thread.join(seconds)
    if failed:
        raise failed[0]
    return drawn[0] if drawn else None


@contextmanager
def interruptible(budget: Budget) -> Iterator[None]:
    """Let the first Ctrl-C cancel the budget, so that the engine returns what it knows; the second one kills."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def cancel(_: int, __: FrameType | None) -> None:
        budget.cancel()
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
