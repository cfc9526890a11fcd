"""What a path of a user's leads to, looked at before a byte is read: pipes and devices have no end."""

from __future__ import annotations

import stat
from pathlib import Path

from encoders.errors import InputError

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def regular_size(path: Path, most: int | None = None) -> int:
    """The bytes of the regular file that `path`, links followed, leads to.

    Raises InputError: there is none, it is a folder, a pipe, a device or a socket, or it has more than `most` bytes.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except ValueError:
        raise InputError(f"{path}: no path holds a null byte") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    kind = KINDS.get(stat.S_IFMT(found.st_mode))
    if kind is not None:
        raise InputError(f"{path} is {kind}; a file is expected")
    if most is not None and found.st_size > most:
        raise InputError(f"{path} has {size_text(found.st_size)}; at most {size_text(most)} are read")
    return found.st_size


def size_text(size: int) -> str:
    """A number of bytes as people write it.

    >>> size_text(2**28), size_text(1500)
    ('256 MiB', '1500 bytes')
    """
    for unit, power in (("GiB", 30), ("MiB", 20)):
        if size >= 2**power:
            return f"{size / 2**power:.3g} {unit}"
    return f"{size} bytes"
