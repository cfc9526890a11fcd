"""Are the compiled kernels at hand? Compiling takes half a minute, once for each user, version and processor.

No question waits for that: where no file of kernels can be loaded, trees use numpy and HiGHS, and one process in the
background compiles for the next question. numba itself is imported only by what uses the kernels.

Who compiles is a process of its own, of `compile_kernels`.
"""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from verifier.bounds.kernels import cache_file, cache_folders
from verifier.bounds.kernels.loaded import SHELF
from verifier.problem.memory import release

try:
    import fcntl
except ImportError:  # Windows: two processes that compile at once do so in vain, but right
    fcntl = None  # type: ignore[assignment]

MODULE = "verifier.solvers.compile_kernels"
COMMAND = f"python -m {MODULE}"

LOADING = 2.0
"""Seconds that must be left to a question that has kernels loaded: nothing looks at its budget meanwhile."""

RETRY = 3600.0
"""Seconds for which a compilation that failed is not tried again in the background."""

LOWEST = 19
"""The niceness of that process: the question that began it comes first."""


class KernelError(RuntimeError):
    """Kernels could not be compiled; the message says why."""


@dataclass(frozen=True)
class KernelState:
    """What `verifier doctor` says: where kernels lie, or why none can be used and what to do."""

    numba: bool
    ready: bool
    where: str | None = None
    why: str | None = None
    remedy: str | None = None


class _Process:
    """What this process knows: whether kernels are loaded, which attempt failed, whom it has had compile."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.loaded, self.refused, self.asked = False, False, False


_PROCESS = _Process()


def available() -> bool:
    """Can kernels be compiled here, as far as one sees without importing numba?"""
    return find_spec("numba") is not None and os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")


def loaded() -> bool:
    """Are they in this process already?"""
    return _PROCESS.loaded


def ready() -> bool:
    """Can kernels be called without compiling them first? They are loaded then: nothing less would show it."""
    if not available():
        return False
    with _PROCESS.lock:
        if not _PROCESS.loaded and not _PROCESS.refused and SHELF.look() is not None:
            from verifier.bounds.kernels import jit  # noqa: PLC0415 (imports numba)

            try:
                jit.load()
                _PROCESS.loaded = True
            except Exception as error:  # noqa: BLE001, whatever a file may do to numba, trees have another way
                _PROCESS.refused = True
                SHELF.drop(f"{type(error).__name__}: {error}")
        return _PROCESS.loaded


def at_once(seconds: float = math.inf) -> bool:
    """`ready`, for a question that has so many seconds; where they are not, compiling begins in the background."""
    if seconds < LOADING and not loaded():
        return False
    if ready():
        return True
    start()
    return False


def start() -> None:
    """Compile in the background, unless that is under way or has just failed. One attempt for each process."""
    with _PROCESS.lock:
        if _PROCESS.asked or not available():
            return
        _PROCESS.asked = True
    place = cache_folders.place_to_write()
    if place is None or time.time() - _failed(place.folder)[0] < RETRY:
        return
    with contextlib.suppress(OSError), alone(place.folder, wait=False) as free:
        if free:
            compiling = subprocess.Popen(
                call("--background"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment(),
                start_new_session=True,
            )
            release(compiling.pid)


def compile_now(*, shared: bool = False) -> None:
    """Have kernels compiled, by another process, unless they are; and load them. Raises KernelError."""
    asked = waited_for(*(["--shared"] if shared else []))
    done = subprocess.run(asked, capture_output=True, text=True, env=environment(), check=False)
    with _PROCESS.lock:
        _PROCESS.refused = False
    if done.returncode or not ready():
        raise KernelError(done.stderr.strip() or SHELF.problem)


def state() -> KernelState:
    """The truth about kernels, found by loading them."""
    if not available():
        off = find_spec("numba") is not None
        why = "NUMBA_DISABLE_JIT is set" if off else "numba is not installed"
        return KernelState(not off, False, why=why, remedy="unset it" if off else "pip install numba")
    if ready() and SHELF.place is not None:
        return KernelState(True, True, f"{SHELF.place.folder / cache_file.file_name()} ({SHELF.place.origin})")
    place = cache_folders.place_to_write()
    if place is None:
        why = "no folder can be written to: neither the user's cache nor the one for temporary files"
        remedy = f"set {cache_folders.TOLD} to a folder of yours, then {COMMAND}"
        return KernelState(True, False, None, SHELF.problem or why, remedy)
    remedy = f"the next question begins to compile in the background, or {COMMAND}"
    with contextlib.suppress(OSError), alone(place.folder, wait=False) as free:
        if not free:
            return KernelState(True, False, str(place.folder), "they are being compiled", "wait half a minute")
    when, reason = _failed(place.folder)
    if when:
        return KernelState(True, False, str(place.folder), f"compiling failed: {reason}", f"{COMMAND} shows it again")
    return KernelState(True, False, str(place.folder), SHELF.problem or "they are not compiled yet", remedy)


def call(*options: str) -> list[str]:
    """The command line of a process that compiles."""
    return [sys.executable, "-P", "-m", MODULE, *options]


def waited_for(*options: str) -> list[str]:
    """The same of one that ends with this process, which waits for it: it would hold the lock for nobody."""
    return call("--parent", str(os.getpid()), *options)


def environment() -> dict[str, str]:
    """Another process is to import the same files, from wherever it is started."""
    paths = [str(cache_file.ROOT), *filter(None, sys.path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _failed(folder: Path) -> tuple[float, str]:
    """When a compilation failed last, and why; 0 for never."""
    note = folder / f"{cache_file.file_name()}.failed"
    try:
        return note.stat().st_mtime, cache_folders.read(note).decode(errors="replace").strip()
    except OSError:
        return 0.0, ""


@contextlib.contextmanager
def alone(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of the file of kernels; without `wait`, False where another process does. It ends with its holder.

    Raises OSError where there can be no lock.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    with open(os.open(folder / f"{cache_file.file_name()}.lock", flags, 0o600), "rb") as stream:
        free = True
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                free = False
        yield free
