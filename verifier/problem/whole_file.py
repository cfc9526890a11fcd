"""Files that are written whole or not at all: under a temporary name beside them, then put in place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from encoders.errors import InputError


def writable(path: Path, what: str) -> None:
    """Tell before the work that a file cannot be written; what: the option that names it. Raises InputError."""
    if path.is_dir():
        raise InputError(f"{what} {path}: this is a directory")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"{what} {path}: cannot write there: {error.strerror or error}") from None


def written(path: Path, save: Callable[[BinaryIO], object]) -> Path:
    """Let `save` write the file; its path. Where that fails an earlier file stays. Raises InputError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            save(stream)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
        raise
    return path
