"""The time and the memory that are left: one budget, shared, reserved from, and cancelled from outside."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from verifier.problem.memory import Memory


class OutOfTimeError(Exception):
    """The budget ended, time or memory; raised by `Budget.check` and caught where a bracket or verdict is returned."""


class Budget:
    """A time limit that every layer asks, and a way to end early; seconds=inf means no limit.

    It has ended too where its memory is exceeded. `share`, `reserve` and `first_of` make others of it, which end when
    it does, however it ends.
    """

    def __init__(self, seconds: float = math.inf, start: float | None = None, memory: Memory | None = None) -> None:
        """start: the time.monotonic() reading from which the seconds count; None: now. memory: None for no limit."""
        self._seconds = seconds
        self.memory = Memory() if memory is None else memory
        self._start = time.monotonic() if start is None else start
        self._wholes: tuple[Budget, ...] = ()
        self._kept, self._purpose = 0.0, ""
        self._cancelled = False

    def share(self, parts: float) -> Budget:
        """One of so many equal parts of what is left, beginning now."""
        return self._derived(self.remaining / parts, time.monotonic(), self)

    def reserve(self, seconds: float, purpose: str = "") -> Budget:
        """The same, ending so many seconds earlier: they are kept for what comes after, which `reason` then names."""
        derived = self._derived(math.inf, self._start, self)
        derived._kept, derived._purpose = seconds, purpose
        return derived

    def first_of(self, other: Budget) -> Budget:
        """The same, ending when the other does, if that is earlier."""
        return self._derived(math.inf, self._start, self, other)

    def with_memory(self, memory: Memory) -> Budget:
        """The same under another limit of memory."""
        derived = self.reserve(0.0)
        derived.memory = memory
        return derived

    @staticmethod
    def _derived(seconds: float, start: float, *wholes: Budget) -> Budget:
        derived = Budget(seconds, start, wholes[0].memory)
        derived._wholes = wholes
        return derived

    def cancel(self) -> None:
        """End the budget now (Ctrl-C): what is known is returned."""
        self._cancelled = True

    @property
    def cancelled(self) -> bool:
        """Was it, or one that it was made of, ended by `cancel`?"""
        return self._cancelled or any(whole.cancelled for whole in self._wholes)

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    @property
    def limit(self) -> float:
        """The seconds that the budget was given; inf without a limit."""
        return min([self._seconds, *(whole.limit - self._kept for whole in self._wholes)])

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        if self._cancelled or self.memory.exceeded:
            return 0.0
        return max(0.0, min([self._seconds - self.spent, *(whole.remaining - self._kept for whole in self._wholes)]))

    @property
    def ended(self) -> bool:
        """Is nothing left?"""
        return self.remaining <= 0.0

    @property
    def timed_out(self) -> bool:
        """Has the time alone ended it?"""
        return self.ended and not (self.cancelled or self.memory.exceeded)

    @property
    def reason(self) -> str:
        """Why nothing is left."""
        if self.cancelled:
            return "interrupted"
        if self.memory.exceeded:
            return self.memory.reason
        if self._wholes and self._seconds > self.spent:
            whole = min(self._wholes, key=lambda whole: whole.remaining)
            kept = f", but for {self._kept:.3g} s that are kept for {self._purpose}"
            return whole.reason + (kept if self._purpose and not whole.ended else "")
        if self._wholes:
            return f"the share of {self._seconds:.3g} s was used up"
        return f"the time limit of {self._seconds:g} s was reached"

    def check(self) -> None:
        """Raise OutOfTimeError when nothing is left."""
        if self.ended:
            raise OutOfTimeError(self.reason)

    @contextmanager
    def within_memory(self) -> Iterator[None]:
        """What does not fit into the memory inside ends the budget. Raises OutOfTimeError in place of MemoryError."""
        try:
            yield
        except MemoryError:
            self.memory.exceed()
            raise OutOfTimeError(self.reason) from None
