"""A decider in a process of its own, so that a time limit or Ctrl-C is kept inside any solver call.

The child reads tasks from its standard input and writes answers to its standard output, both as pickles; it ends when
its input closes. The parent kills the child's whole process group when the budget ends: solvers need not cooperate.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from encoders.errors import InputError, SolverError
from encoders.node_bounds import NodeBounds
from verifier.query import Query
from verifier.streams import debugging, native_output_elsewhere
from verifier.verdict import Budget, Evidence, OutOfTimeError, Unknown, Verdict

POLL = 0.02
"""Seconds between two looks at the budget while the child works: Ctrl-C is noticed that fast."""

GRACE, GRACE_SHARE = 0.15, 0.25
"""Seconds, and at most which share of its time, by which a solver is to end before it is killed: to send its answer."""


RECURSION_LIMIT = 20_000
"""The exact decider recurses once for each phase that it fixes: more than any net that it can decide has ReLUs."""


class Decider(Protocol):
    """Answers queries; `evidence` is the kind that its "holds" carries."""

    @property
    def name(self) -> str: ...
    @property
    def evidence(self) -> Evidence: ...
    def decide(self, query: Query, bounds: NodeBounds, budget: Budget) -> Verdict: ...


class WorkerError(Exception):
    """The child process died or failed; the message is what it said."""


class Worker:
    """One child process; `call` runs decider.method(*arguments, budget) there. Use it as a context manager."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "verifier.deciders.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if debugging() else subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        self._answers: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                self._answers.put(pickle.load(self._process.stdout))
        self._answers.put(None)

    def call(self, decider: object, method: str, *arguments: Any, budget: Budget) -> Any:
        """The method's result.

        Raises SolverError, or OutOfTimeError when the budget ends first: the child is then gone.
        """
        budget.check()
        assert self._process.stdin is not None
        left = budget.remaining
        seconds = left - min(GRACE, GRACE_SHARE * left) if math.isfinite(left) else left
        try:
            pickle.dump((decider, method, arguments, seconds), self._process.stdin)
            self._process.stdin.flush()
        except OSError as error:
            raise WorkerError(f"the solver process is gone: {error}") from error
        kind, value = self._wait(budget)
        if kind == "input":
            raise InputError(value)
        if kind == "solver":
            raise SolverError(value)
        if kind == "error":
            raise WorkerError(value)
        return value

    def _wait(self, budget: Budget) -> tuple[str, Any]:
        while True:
            with contextlib.suppress(queue.Empty):
                answer = self._answers.get(timeout=POLL)
                if answer is None:
                    raise WorkerError("the solver process ended without an answer")
                return answer
            if budget.ended:
                self.close()
                raise OutOfTimeError(budget.reason)

    def close(self) -> None:
        """Kill the child and everything that it started."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if hasattr(os, "killpg"):
                    os.killpg(self._process.pid, signal.SIGKILL)
                else:
                    self._process.kill()
        self._process.wait()


@dataclass
class Guarded:
    """A decider whose calls run in `worker`, under the same budget."""

    decider: Decider
    worker: Worker

    @property
    def name(self) -> str:
        return self.decider.name

    @property
    def evidence(self) -> Evidence:
        return self.decider.evidence

    def decide(self, query: Query, bounds: NodeBounds, budget: Budget) -> Verdict:
        """The decider's verdict; Unknown when the time is up or the child failed. Raises SolverError."""
        try:
            verdict: Verdict = self.worker.call(self.decider, "decide", query, bounds, budget=budget)
        except (OutOfTimeError, WorkerError) as error:
            return Unknown(str(error))
        return verdict


def serve(tasks: BinaryIO, answers: BinaryIO) -> None:
    """The child's loop: one answer for each task, until the input closes."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(tasks, waiting), daemon=True).start()
    while True:
        decider, method, arguments, seconds = waiting.get()
        try:
            answer = "result", getattr(decider, method)(*arguments, Budget(seconds))
        except InputError as error:
            answer = "input", str(error)
        except SolverError as error:
            answer = "solver", str(error)
        except Exception as error:  # noqa: BLE001 - whatever a solver raises is reported to the parent, never swallowed
            answer = "error", f"{type(error).__name__}: {error}"
        pickle.dump(answer, answers)
        answers.flush()


def _read(tasks: BinaryIO, waiting: queue.SimpleQueue[Any]) -> None:
    """Feed tasks on; when the parent is gone, end at once, even inside a solver call."""
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            waiting.put(pickle.load(tasks))
    if hasattr(os, "killpg"):
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def main() -> None:
    """Serve on the real standard streams; whatever solvers print goes nowhere, or to stderr to debug."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.setrecursionlimit(RECURSION_LIMIT)
    answers = os.fdopen(os.dup(1), "wb")
    native_output_elsewhere()
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
