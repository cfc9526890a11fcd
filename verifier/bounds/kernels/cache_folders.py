"""Where compiled kernels may lie: in folders that nobody but this user, or root, can write to.

A kernel is machine code, and reading one runs what its file says. So folders are made for this user alone, links are
not followed, and a file counts only where its owner and its folder's are this user or root, and no one else may write.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from encoders.files.temporary import folder_of_temporary_files

PRIVATE = 0o700
SHARED = 0o755
"""The modes of a folder for this user, and of one for all users of an installation."""

OTHERS_WRITE = 0o022

TOLD = "NUMBA_CACHE_DIR"
USERS, BESIDE, TEMPORARY = "the user's cache folder", "beside the package", "the folder for temporary files"


@dataclass(frozen=True)
class Place:
    """A folder in which kernels may lie, and which of the possible ones it is."""

    folder: Path
    origin: str


def places() -> Iterator[Place]:
    """Where kernels are looked for, the first choice first."""
    if told := os.environ.get(TOLD):
        yield Place(Path(told) / "relu-verifier", TOLD)
    cache = _user_cache()
    if cache is not None:
        yield Place(cache / "relu-verifier" / "kernels", USERS)
    yield Place(Path(__file__).parent / "__pycache__" / "kernels", BESIDE)
    who = os.geteuid() if hasattr(os, "geteuid") else "user"
    if (temporary := folder_of_temporary_files()) is not None:
        yield Place(Path(temporary) / f"relu-verifier-{who}", TEMPORARY)


def place_to_write(*, shared: bool = False) -> Place | None:
    """The first place that this user can write to; for `shared` one that every user of the installation looks at."""
    wanted = (TOLD, BESIDE) if shared else (TOLD, USERS, TEMPORARY)
    mode = SHARED if shared else PRIVATE
    return next((place for place in places() if place.origin in wanted and _made(place.folder, mode)), None)


def read(path: Path) -> bytes:
    """What a file of kernels holds. Raises OSError, PermissionError where others may have written it."""
    if not _trusted(os.lstat(path.parent), stat.S_ISDIR):
        raise PermissionError(f"{path.parent} belongs to someone else, or others can write to it")
    flags = ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
    with open(os.open(path, os.O_RDONLY | sum(getattr(os, flag, 0) for flag in flags)), "rb") as stream:
        if not _trusted(os.fstat(stream.fileno()), stat.S_ISREG):
            raise PermissionError(f"{path} belongs to someone else, or others can write to it")
        return stream.read()


def write(path: Path, content: bytes, *, shared: bool = False) -> None:
    """Put a whole file in place of whatever is there, so that no reader meets half of one. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(content)
        if shared:
            os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _user_cache() -> Path | None:
    """XDG_CACHE_HOME or ~/.cache; None where there is no home, or root was given another user's (sudo)."""
    told = os.environ.get("XDG_CACHE_HOME", "")
    try:
        cache = Path(told) if os.path.isabs(told) else Path.home() / ".cache"
    except RuntimeError:  # no HOME, and a user that the system does not know: containers
        return None
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return cache
    there = next((folder for folder in (cache, *cache.parents) if folder.exists()), None)
    return cache if there is not None and there.stat().st_uid == 0 else None


def _made(folder: Path, mode: int) -> bool:
    """Is there such a folder now, ours and for us to write?"""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode)
        facts = os.lstat(folder)
        if not stat.S_ISDIR(facts.st_mode) or not _mine(facts):
            return False
        if os.name != "nt" and stat.S_IMODE(facts.st_mode) != mode:
            folder.chmod(mode)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _mine(facts: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or facts.st_uid == os.geteuid()


def _trusted(facts: os.stat_result, kind: object) -> bool:
    """Is it of this kind, ours or root's, and closed to other writers? Windows keeps its own lists of who may write."""
    if not callable(kind) or not kind(facts.st_mode):
        return False
    return os.name == "nt" or ((_mine(facts) or facts.st_uid == 0) and not facts.st_mode & OTHERS_WRITE)
