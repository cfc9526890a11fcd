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
"""At most this share of the limit is kept back, and at most this share is overrun for a picture that is late."""
PROOF_SHARE = 0.5
"""Of the limit, for building and checking a certificate: that takes about as long as finding the answer did."""


class CommandBudget(Budget):
    """A budget that ends early enough for the picture to be drawn, and a certificate to be made, within the limit."""

    def __init__(self, seconds: float, start: float, *, draws: bool, proves: bool = False) -> None:
        super().__init__(seconds, start)
        self._kept = PROOF_SHARE * seconds if proves and math.isfinite(seconds) else 0.0
        self.reserve = min(PICTURE_SECONDS, PICTURE_SHARE * seconds) if draws and math.isfinite(seconds) else 0.0

    @property
    def remaining(self) -> float:
        """Seconds left for the engine, never negative."""
        return 0.0 if self.cancelled else max(0.0, self.seconds - self.reserve - self._kept - self.spent)

    def begin_proof(self) -> None:
        """From now on what was kept for the certificate may be used."""
        self._kept = 0.0

    @property
    def picture_seconds(self) -> float:
        """Seconds that drawing may take: what is left of the limit, and a small overrun; inf without a limit."""
        return self.seconds + self.reserve / 2 - self.spent


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
