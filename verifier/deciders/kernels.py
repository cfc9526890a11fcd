"""Are the compiled kernels at hand? Compiling takes some ten seconds, once for each installation.

No question waits for that: where the cache holds no kernels, trees use numpy and HiGHS, and one process in the
background compiles for the next question. numba itself is imported only by what uses the kernels.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).parent
BOUNDS = FOLDER.parent / "bounds"
SOURCES = (
    *(FOLDER / f"{name}.py" for name in ("simplex_program", "simplex_basis", "simplex_steps", "dense_simplex")),
    *(BOUNDS / f"{name}.py" for name in ("compiled_support", "compiled_cut", "compiled_stages", "compiled")),
    *(BOUNDS / f"{name}.py" for name in ("heap", "jit")),
    *(FOLDER / f"{name}.py" for name in ("visit_kernel", "dive_kernel")),
)
"""The files that kernels are compiled from. numba looks at a kernel's own file only: `compile_now` clears its cache."""

CONSTANTS = (
    *(FOLDER / f"{name}.py" for name in ("dense_lp", "local_search", "narrowing", "visit")),
    *(BOUNDS / f"{name}.py" for name in ("half_space", "lagrangian", "relaxation", "support")),
    BOUNDS.parent / "proof" / "rounding.py",
)
"""The files whose constants they hold."""

PATIENCE = 300.0
"""Seconds after which a compilation that left no mark is taken for dead and started again."""


def available() -> bool:
    """Is numba installed?"""
    return find_spec("numba") is not None


def ready() -> bool:
    """Can kernels be called without compiling them first?"""
    return available() and _mark().exists()


def at_once() -> bool:
    """`ready`; where they are not, compiling begins in the background."""
    if ready():
        return True
    start()
    return False


def start() -> None:
    """Compile in the background, unless that is under way."""
    if not available() or ready():
        return
    lock = _mark().with_suffix(".lock")
    with contextlib.suppress(OSError):
        if lock.exists() and time.time() - lock.stat().st_mtime > PATIENCE:
            lock.unlink()
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        subprocess.Popen(
            [sys.executable, "-m", "verifier.deciders.kernels"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )


def compile_now() -> None:
    """Compile every kernel, or load it from the cache, and leave the mark that `ready` looks for."""
    if not available():
        return
    mark = _mark()
    if not mark.exists():
        _clear()
    from verifier.deciders.kernel_sample import visit_sample  # noqa: PLC0415 (imports numba)

    visit_sample()
    mark.touch()
    mark.with_suffix(".lock").unlink(missing_ok=True)


def _clear() -> None:
    """Remove what was compiled from other sources: a kernel holds the code of those that it calls."""
    folders = {Path(_own_cache()), *(path.parent / "__pycache__" for path in SOURCES)}
    for folder in folders:
        for path in SOURCES:
            for old in folder.rglob(f"{path.stem}.*.nb[ic]"):
                old.unlink(missing_ok=True)


@cache
def _mark() -> Path:
    """A file whose name says what was compiled, for what, with what."""
    try:
        numba = version("numba")
    except PackageNotFoundError:
        numba = ""
    facts = [numba, version("numpy"), sys.version, platform.processor(), platform.machine(), str(FOLDER)]
    facts += [f"{path.stat().st_mtime_ns} {path.stat().st_size}" for path in (*SOURCES, *CONSTANTS)]
    name = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:24]
    return Path(_own_cache()) / f"verifier-kernels-{name}.ready"


def _own_cache() -> str:
    """Where numba keeps its cache: the folder that it was told, or beside the source; else a temporary one."""
    if told := os.environ.get("NUMBA_CACHE_DIR"):
        return told
    beside = FOLDER / "__pycache__"
    with contextlib.suppress(OSError):
        beside.mkdir(exist_ok=True)
        if os.access(beside, os.W_OK):
            return str(beside)
    return tempfile.gettempdir()


if __name__ == "__main__":
    compile_now()
