"""Compiles the kernels of search trees, in a process of its own: `python -m verifier.solvers.compile_kernels`.

It compiles, or finds that nothing is to do. With --shared it does so for all users of this installation: for images
that root builds and someone else runs, or runs with a file system that is read only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from verifier.bounds.kernels import cache_file, cache_folders
from verifier.bounds.kernels.loaded import SHELF, opened
from verifier.problem.child import end_with
from verifier.solvers.kernels import cache
from verifier.solvers.kernels.cache import KernelError

TRIAL = ".trial"
"""Ends the name of a file that is tried before it is left."""


def _compile(place: cache_folders.Place, *, shared: bool) -> None:
    """Compile every kernel, have another process load and call them, and then leave the file. Raises KernelError."""
    sources = cache_file.sources()  # before any of them is imported
    from verifier.bounds.kernels import jit  # noqa: PLC0415 (imports numba)
    from verifier.solvers.tree.warm_up import solve_sample  # noqa: PLC0415 (imports numba)

    if not jit.AVAILABLE:
        raise KernelError("numba cannot be imported, or is switched off")
    SHELF.collects = True
    solve_sample()
    made = cache_file.KernelFile(jit.target(), sources, SHELF.made, {})
    path = place.folder / cache_file.file_name()
    trial = path.with_suffix(f".{os.getpid()}{TRIAL}")
    try:
        cache_folders.write(trial, made.to_bytes())
        tried = subprocess.run(
            cache.waited_for("--try", str(trial)), capture_output=True, text=True, env=cache.environment(), check=False
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
    parser = argparse.ArgumentParser(
        prog=cache.COMMAND, description="Compile the kernels of search trees, unless they are."
    )
    parser.add_argument("--shared", action="store_true", help="for all users of this installation")
    parser.add_argument("--background", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--try", dest="path", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.parent is not None:
        end_with(given.parent)
    if given.path is not None:
        _try(given.path)
        return 0
    if not cache.available():
        sys.stderr.write(f"kernels are not compiled: {cache.state().why}\n")
        return 0
    if given.background and hasattr(os, "nice"):
        os.nice(cache.LOWEST)
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
    with cache.alone(place.folder, wait=not background) as free:
        file = SHELF.look() if free else None
        if file is not None and shared:
            cache_folders.write(place.folder / cache_file.file_name(), file.to_bytes(), shared=True)
        if file is not None or not free:
            return
        for left in place.folder.glob(f"*{TRIAL}"):  # by who was killed: who compiles is alone
            left.unlink(missing_ok=True)
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
