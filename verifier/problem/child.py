"""A process of our own that runs the calls that it is sent, and ends when this process does, however that ends.

The child reads calls from its standard input and writes answers to its standard output, both as pickles. It ends when
its input closes, as it does when the parent dies; on Linux the kernel sees to that as well, where it is asked to, since
a library may keep the interpreter's lock for long. The parent kills the child with its whole process group: what it
calls need not cooperate.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, runtime_checkable

from encoders.errors import InputError, SolverError
from verifier.problem.memory import resident
from verifier.problem.streams import debugging, native_output_elsewhere

RECURSION_LIMIT = 20_000
"""The exact decider recurses once for each phase that it fixes: more than any net that it can decide has ReLUs."""

WATCH = 0.25
"""Seconds between two looks whether the parent is still there."""

PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux's prctl."""


class RemoteCall(Protocol):
    """What is sent: an object that can be pickled."""

    def run(self) -> Any: ...


@runtime_checkable
class PreparedCall(RemoteCall, Protocol):
    """One whose process loads what it needs before it says that it has begun: in nobody's time."""

    def prepare(self) -> object: ...


class ChildError(Exception):
    """The child process died or failed; the message is what it said."""


@dataclass(frozen=True, eq=False)
class Begun:
    """The child has read a call, and what that needs is imported and prepared."""


@dataclass(frozen=True, eq=False)
class Reply:
    """What became of a call: `value`, or the error that it raised."""

    value: Any = None
    error: Exception | None = None

    def result(self) -> Any:
        """The value. Raises InputError, SolverError or ChildError, with what the child said."""
        if self.error is not None:
            raise self.error
        return self.value


Heard = tuple["Child", Begun | Reply | None]
"""What a child said; None: it is gone."""


class Child:
    """One child process. What it says is put into `answers`, which several may share; use it as a context manager.

    guarded: the kernel kills it with the thread that made it, so that this has to be one that lives as long.
    """

    def __init__(
        self,
        answers: queue.SimpleQueue[Heard],
        environment: Mapping[str, str] | None = None,
        *,
        guarded: bool = False,
    ) -> None:
        path = os.pathsep.join(path for path in sys.path if path)
        self._answers = answers
        self._process = subprocess.Popen(
            [sys.executable, "-m", "verifier.problem.child", *([str(os.getpid())] if guarded else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if debugging() else subprocess.DEVNULL,
            env={**os.environ, **(environment or {}), "PYTHONPATH": path},
            start_new_session=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def memory(self) -> float:
        """Bytes that it has in use; 0 where the system does not tell."""
        return resident(self.pid)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                self._answers.put((self, pickle.load(self._process.stdout)))
        self._answers.put((self, None))

    def send(self, call: RemoteCall) -> None:
        """Have it run. Raises ChildError."""
        assert self._process.stdin is not None
        try:
            pickle.dump(call, self._process.stdin)
            self._process.stdin.flush()
        except OSError as error:
            raise ChildError(f"the process is gone: {error}") from error

    def close(self) -> None:
        """Kill it and everything that it started."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if hasattr(os, "killpg"):
                    os.killpg(self._process.pid, signal.SIGKILL)
                else:
                    self._process.kill()
        self._process.wait()


def serve(calls: BinaryIO, answers: BinaryIO) -> None:
    """The child's loop: one answer for each call, until the input closes."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(calls, waiting), daemon=True).start()
    while True:
        call = waiting.get()
        try:
            if isinstance(call, PreparedCall):
                call.prepare()
            _say(Begun(), answers)
            answer = Reply(call.run())
        except (InputError, SolverError) as error:
            answer = Reply(error=type(error)(str(error)))
        except Exception as error:  # noqa: BLE001 - whatever is raised is reported to the parent, never swallowed
            answer = Reply(error=ChildError(f"{type(error).__name__}: {error}"))
        _say(answer, answers)


def _say(what: Begun | Reply, answers: BinaryIO) -> None:
    pickle.dump(what, answers)
    answers.flush()


def _read(calls: BinaryIO, waiting: queue.SimpleQueue[Any]) -> None:
    """Feed calls on; when the parent is gone, end at once, even inside one."""
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            waiting.put(pickle.load(calls))
    if hasattr(os, "killpg"):
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread of the parent that made it ends; Linux alone knows that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def end_with(parent: int) -> None:
    """Have a thread end this process soon after its parent, whose number that is; for what has no pipe to it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Serve on the real standard streams; whatever libraries print goes nowhere, or to stderr to debug."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if len(sys.argv) > 1:
        _die_with(int(sys.argv[1]))
    sys.setrecursionlimit(RECURSION_LIMIT)
    answers = os.fdopen(os.dup(1), "wb")
    native_output_elsewhere()
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    # By its import name, so that what is pickled here is what the parent knows.
    from verifier.problem.child import main as served

    served()
