"""Files and folders that end with their use. A process may have no folder that it can write to: containers."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import IO

from encoders.errors import InputError


def nameless_file() -> IO[bytes]:
    """A file without a name, in memory where there is a way. Raises InputError."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("aside"), "w+b")
    with _told():
        return tempfile.TemporaryFile()


def temporary_folder(prefix: str = "verifier-") -> tempfile.TemporaryDirectory[str]:
    """A new folder for temporary files, which goes with the object or at the end of its context. Raises InputError."""
    with _told():
        return tempfile.TemporaryDirectory(prefix=prefix)


def folder_of_temporary_files() -> str | None:
    """Where temporary files lie here; None where no folder for them can be written to."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "none can be written to" if isinstance(error, FileNotFoundError) else error.strerror or error
        raise InputError(f"a folder for temporary files is needed: {reason}; set TMPDIR to one of yours") from None
