"""Are the compiled kernels at hand? Compiling takes half a minute, once for each user, version and processor.

No question waits for that: where no file of kernels can be loaded, trees use numpy and HiGHS, and one process in the
background compiles for the next question. numba itself is imported only by what uses the kernels.

`python -m verifier.solvers.kernels.cache` compiles, or finds that nothing is to do. With --shared it does so for all
users of this installation: for images that root builds and someone else runs, or runs with a file system that is read
only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from verifier.bounds.kernels import cache_file, cache_folders
from verifier.bounds.kernels.loaded import SHELF, opened

try:
    import fcntl
except ImportError:  # Windows: two processes that compile at once do so in vain, but right
    fcntl = None  # type: ignore[assignment]

MODULE = "verifier.solvers.kernels.cache"
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
class State:
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
    with contextlib.suppress(OSError), _alone(place.folder, wait=False) as free:
        if free:
            subprocess.Popen(
                _call("--background"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,
            )


def compile_now(*, shared: bool = False) -> None:
    """Have kernels compiled, by another process, unless they are; and load them. Raises KernelError."""
    done = subprocess.run(
        _call(*(["--shared"] if shared else [])), capture_output=True, text=True, env=_environment(), check=False
    )
    with _PROCESS.lock:
        _PROCESS.refused = False
    if done.returncode or not ready():
        raise KernelError(done.stderr.strip() or SHELF.problem)


def state() -> State:
    """The truth about kernels, found by loading them."""
    if not available():
        off = find_spec("numba") is not None
        why = "NUMBA_DISABLE_JIT is set" if off else "numba is not installed"
        return State(not off, False, why=why, remedy="unset it" if off else "pip install numba")
    if ready() and SHELF.place is not None:
        return State(True, True, f"{SHELF.place.folder / cache_file.file_name()} ({SHELF.place.origin})")
    place = cache_folders.place_to_write()
    if place is None:
        why = "no folder can be written to: neither the user's cache nor the one for temporary files"
        remedy = f"set {cache_folders.TOLD} to a folder of yours, then {COMMAND}"
        return State(True, False, None, SHELF.problem or why, remedy)
    remedy = f"the next question begins to compile in the background, or {COMMAND}"
    with contextlib.suppress(OSError), _alone(place.folder, wait=False) as free:
        if not free:
            return State(True, False, str(place.folder), "they are being compiled", "wait half a minute")
    when, reason = _failed(place.folder)
    if when:
        return State(True, False, str(place.folder), f"compiling failed: {reason}", f"{COMMAND} shows it again")
    return State(True, False, str(place.folder), SHELF.problem or "they are not compiled yet", remedy)


def _call(*options: str) -> list[str]:
    return [sys.executable, "-P", "-m", MODULE, *options]


def _environment() -> dict[str, str]:
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
def _alone(folder: Path, *, wait: bool) -> Iterator[bool]:
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


def _compile(place: cache_folders.Place, *, shared: bool) -> None:
    """Compile every kernel, have another process load and call them, and then leave the file. Raises KernelError."""
    sources = cache_file.sources()  # before any of them is imported
    from verifier.bounds.kernels import jit  # noqa: PLC0415 (imports numba)
    from verifier.solvers.tree.warm_up import solve_sample  # noqa: PLC0415

    if not jit.AVAILABLE:
        raise KernelError("numba cannot be imported, or is switched off")
    SHELF.collects = True
    solve_sample()
    made = cache_file.KernelFile(jit.target(), sources, SHELF.made, {})
    path = place.folder / cache_file.file_name()
    trial = path.with_suffix(f".{os.getpid()}.trial")
    try:
        cache_folders.write(trial, made.to_bytes())
        tried = subprocess.run(
            _call("--try", str(trial)), capture_output=True, text=True, env=_environment(), check=False
        )
        if tried.returncode:
            raise KernelError(f"the compiled kernels do not run: {tried.stderr.strip()[-500:] or tried.returncode}")
        entries = json.loads(tried.stdout)
        cache_folders.write(path, replace(made, entries=entries).to_bytes(), shared=shared)
    finally:
        trial.unlink(missing_ok=True)


def _try(path: Path) -> None:
    """Run the sample with the kernels of a file, without compiling any; print those that it calls, as JSON."""
    from verifier.solvers.tree.warm_up import solve_sample  # noqa: PLC0415 (imports numba)

    SHELF.file, SHELF.strict = opened(path), True
    solve_sample()
    sys.stdout.write(json.dumps(SHELF.used))


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 where kernels could not be compiled, which leaves trees slower but no less right."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Compile the kernels of search trees, unless they are.")
    parser.add_argument("--shared", action="store_true", help="for all users of this installation")
    parser.add_argument("--background", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--try", dest="path", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.path is not None:
        _try(given.path)
        return 0
    if not available():
        sys.stderr.write(f"kernels are not compiled: {state().why}\n")
        return 0
    if given.background and hasattr(os, "nice"):
        os.nice(LOWEST)
    try:
        _once(shared=given.shared, background=given.background)
    except (KernelError, OSError) as error:
        sys.stderr.write(f"kernels are not compiled: {error}\n")
        return 1
    return 0


def _once(*, shared: bool, background: bool) -> None:
    """Compile, alone, unless there is a file already. Raises KernelError, OSError."""
    place = cache_folders.place_to_write(shared=shared)
    if place is None:
        told = cache_folders.TOLD
        raise KernelError(f"there is no folder to write them to: set {told} to one of yours that only you can write to")
    with _alone(place.folder, wait=not background) as free:
        file = SHELF.look() if free else None
        if file is not None and shared:
            cache_folders.write(place.folder / cache_file.file_name(), file.to_bytes(), shared=True)
        if file is not None or not free:
            return
        note = place.folder / f"{cache_file.file_name()}.failed"
        try:
            _compile(place, shared=shared)
        except Exception as error:
            with contextlib.suppress(OSError):
                cache_folders.write(note, f"{type(error).__name__}: {error}".encode())
            raise
        note.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
