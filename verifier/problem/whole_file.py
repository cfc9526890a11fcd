"""Files that are written whole or not at all: under a temporary name beside them, then put in place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from encoders.errors import InputError


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
