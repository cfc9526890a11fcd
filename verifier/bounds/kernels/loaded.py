"""The compiled kernels of this process: those of the one file that fits and may be believed, or those just compiled."""

from __future__ import annotations

import threading
from pathlib import Path

from verifier.bounds.kernels.cache_file import DamagedError, KernelFile, file_name
from verifier.bounds.kernels.cache_folders import Place, places, read

Code = tuple[bytes, bytes]
"""A signature and what was compiled for it, pickled."""


class NotCompiledError(RuntimeError):
    """A kernel was called that is in no file, by a process that is not to compile."""


class Shelf:
    """What `jit` reads kernels from; a file is looked for when the first of them is called.

    collects: kernels are compiled whatever there is, and kept in `made`. strict: a kernel that the file lacks is an
    error. used: the kernels taken from the file, each with the places of its signatures.
    """

    def __init__(self) -> None:
        self.collects, self.strict = False, False
        self.made: dict[str, list[Code]] = {}
        self.used: dict[str, list[int]] = {}
        self.file: KernelFile | None = None
        self.place: Place | None = None
        self.problem = ""
        """Why there is no file, where one was looked for."""
        self._lock = threading.Lock()

    def look(self) -> KernelFile | None:
        """The file, looked for until it is found."""
        with self._lock:
            if self.file is None and not self.collects:
                self._search()
            return self.file

    def _search(self) -> None:
        problems = []
        for place in places():
            path = place.folder / file_name()
            try:
                self.file = opened(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, DamagedError) as error:
                problems.append(f"{path}: {error}")
            else:
                self.place, self.problem = place, ""
                return
        self.problem = "; ".join(problems)

    def drop(self, problem: str) -> None:
        """Believe the file no longer."""
        with self._lock:
            self.file, self.place, self.problem = None, None, problem

    def find(self, name: str) -> list[Code]:
        """The signatures that the file has of a kernel."""
        file = self.look()
        return [] if file is None else list(file.kernels.get(name, ()))

    def keep(self, name: str, signature: bytes, code: bytes) -> None:
        """Note what was compiled, where it is collected."""
        if self.collects:
            self.made.setdefault(name, []).append((signature, code))

    def use(self, name: str, place: int) -> None:
        """Note that a signature was taken from the file."""
        taken = self.used.setdefault(name, [])
        if place not in taken:
            taken.append(place)


SHELF = Shelf()
"""The one of this process, as machine code is loaded once for a process."""


def opened(path: Path) -> KernelFile:
    """A file of kernels. Raises OSError, or DamagedError where it is not whole or of other sources."""
    file = KernelFile.from_bytes(read(path))
    if not file.current:
        raise DamagedError("it was compiled from other sources")
    return file
