"""Processes of this machine that run tasks: one that dies costs the task that it was at one try, and is replaced.

They end with the campaign, however it ends. One that overruns its task's limit, or goes on after the campaign's end, is
ended; the brackets that it found are home already, since each is sent as it closes.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from verifier.problem.budget import Budget
from verifier.problem.child import Begun, Child, ChildError, Heard, RemoteCall

ONE_THREAD = {
    f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB_MAXIMUM", "NUMBA", "NUMEXPR")
}
"""Tasks run side by side on all cores: threads of their libraries would only wait for each other."""

OVERRUN, OVERRUN_SHARE = 1.0, 0.05
"""Seconds, and share of its limit, by which a task may overrun it before its process is ended."""

STARTING = 60.0
"""Seconds for a process to start and import what it needs; it takes one or two."""

FAREWELL = 1.0
"""Seconds for tasks to end, and send what they know, when the campaign does."""

POLL = 0.1
"""Seconds between two looks at the budget."""

What = TypeVar("What")


@dataclass(frozen=True, eq=False)
class Piece(Generic[What]):
    """Something to be done by a call within so many seconds."""

    what: What
    call: RemoteCall
    seconds: float


@dataclass(frozen=True)
class Lost:
    """The process of a task ended without an answer, or was ended since the task overran its limit."""

    why: str
    overran: bool = False


@dataclass
class _Running(Generic[What]):
    """A task in its process; `until`: when that is to have ended."""

    task: Piece[What]
    until: float


class Pool(Generic[What]):
    """At most `count` processes; `run` ends with the budget."""

    def __init__(self, count: int, budget: Budget) -> None:
        self._count, self._budget = count, budget
        self._heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._running: dict[Child, _Running[What]] = {}
        self._idle: list[Child] = []

    def run(self, tasks: Iterator[Piece[What]]) -> Iterator[tuple[What, Any | Lost]]:
        """What becomes of every task as it ends: the call's value, or Lost; each is drawn when a process is free."""
        over: float | None = None
        try:
            while True:
                while len(self._running) < self._count and not self._budget.ended:
                    if (task := next(tasks, None)) is None:
                        break
                    self._begin(task)
                if not self._running:
                    return
                yield from self._listen()
                if over is None and self._budget.ended:
                    over = time.monotonic()
                if over is not None and time.monotonic() - over > FAREWELL:
                    return
                yield from self._late()
        finally:
            for child in [*self._idle, *self._running]:
                child.close()

    def _begin(self, task: Piece[What]) -> None:
        child = self._idle.pop() if self._idle else Child(self._heard, ONE_THREAD, guarded=True)
        self._running[child] = _Running(task, _until(task, STARTING))
        with contextlib.suppress(ChildError):  # it is gone, as it will say
            child.send(task.call)

    def _listen(self) -> Iterator[tuple[What, Any | Lost]]:
        """Wait a moment for what a process says."""
        try:
            child, said = self._heard.get(timeout=POLL)
        except queue.Empty:
            return
        if said is None:
            child.close()
        if child not in self._running:
            self._idle = [other for other in self._idle if other is not child]
        elif isinstance(said, Begun):
            task = self._running[child].task
            self._running[child].until = _until(task)
        else:
            task = self._running.pop(child).task
            if said is None:
                yield task.what, Lost("its process ended without an answer")
                return
            self._idle.append(child)
            yield task.what, said.value if said.error is None else Lost(str(said.error))

    def _late(self) -> Iterator[tuple[What, Lost]]:
        """End the processes whose tasks have overrun their limits."""
        now = time.monotonic()
        for child in [child for child, one in self._running.items() if now > one.until]:
            child.close()
            task = self._running.pop(child).task
            yield task.what, Lost(f"it took longer than its {task.seconds:g} s", overran=True)


def _until(task: Piece[Any], starting: float = 0.0) -> float:
    return time.monotonic() + starting + task.seconds + OVERRUN + OVERRUN_SHARE * task.seconds
