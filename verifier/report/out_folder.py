"""The folder of --out: found unwritable before the work, and never left with a half-written file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from encoders.errors import InputError
from verifier.problem.whole_file import written

OURS = ("result.json", "picture.png", "witness.npy", "witness-[0-9]*.npy")
"""Files that an earlier run may have left; those that this run does not write again are removed."""


class OutFolder:
    """A context: creates the folder and probes it on entry; on an exception removes what it created, if empty.

    Raises:
        InputError: on entry, when the folder cannot be made or written to.
    """

    def __init__(self, path: Path, option: str = "--out") -> None:
        """option: what names the folder on the command line."""
        self.path = path
        self._option = option
        self._created: list[Path] = []
        self._written: set[str] = set()

    def __enter__(self) -> OutFolder:
        try:
            self._create()
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            self._remove_created()
            raise InputError(f"{self._option} {self.path}: cannot write there: {error.strerror or error}") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is not None and not self._written:
            self._remove_created()

    def _create(self) -> None:
        missing = []
        for folder in (self.path, *self.path.parents):
            if folder.exists():
                break
            missing.append(folder)
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            self._created.append(folder)
        if not self.path.is_dir():
            raise NotADirectoryError(f"{self.path} is a file")

    def _remove_created(self) -> None:
        for folder in reversed(self._created):
            try:
                folder.rmdir()
            except OSError:
                return

    def write(self, name: str, save: Callable[[BinaryIO], object]) -> Path:
        """Let `save` write the file `name` under a temporary name beside it, then put it in place; its path.

        Raises:
            InputError: the disk is full, or the folder has become unwritable.
        """
        place = written(self.path / name, save)
        self._written.add(name)
        return place

    def remove_stale(self) -> None:
        """Remove an earlier run's files that this one did not write: a witness beside a foreign result misleads."""
        for pattern in OURS:
            for file in self.path.glob(pattern):
                if file.name not in self._written:
                    file.unlink(missing_ok=True)
