"""How a store's file is opened: looked at first, and read without a trace, also where nothing can be written."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from pathlib import Path
from weakref import WeakSet

from encoders.errors import InputError
from encoders.files.regular_file import regular_size
from encoders.files.temporary import temporary_folder
from verifier.campaign.store.row_checks import checked_row
from verifier.campaign.store.schema import APPLICATION, SCHEMA, migrate, version

BUSY_SECONDS = 30.0
"""How long to wait for another writer: transactions take milliseconds."""
MAGIC, APPLICATION_AT = b"SQLite format 3\0", 68
"""How SQLite's files begin, and where the four bytes of the application's number are."""
UNWRITABLE = ("SQLITE_CANTOPEN", "SQLITE_READONLY")
"""What SQLite says where it cannot make the files beside a store that a reader of its log needs."""
Marks = tuple[tuple[int, int] | None, ...]
"""Time and size of a store's files."""


class StoreError(InputError):
    """The store cannot be read or written; the message is one line."""


def log_of(path: Path) -> Path:
    """The write-ahead log beside a store."""
    return path.with_name(f"{path.name}-wal")


def look_at(path: Path, *, may_be_new: bool) -> None:
    """Raise StoreError for what is no store of ours, before SQLite is let near it; it writes to files that it opens."""
    if may_be_new and not path.exists():
        return
    try:
        size = regular_size(path)
        with _LOCK:
            if _connected(path):
                return  # it was looked at before that connection was made
            with path.open("rb") as stream:
                head = stream.read(len(MAGIC) + 84)
    except InputError as error:
        raise StoreError(str(error)) from None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from None
    if size == 0:
        if may_be_new:
            return
        raise StoreError(f"{path} is empty: no campaign has begun it")
    if not head.startswith(MAGIC):
        raise StoreError(f"{path}: not a store: name another file")
    application = int.from_bytes(head[APPLICATION_AT : APPLICATION_AT + 4], "big")
    log = log_of(path)
    begun = log.exists() and log.stat().st_size > 0  # a campaign's first transaction may be in the log alone
    if application != APPLICATION and not (application == 0 and (begun or may_be_new)):
        raise StoreError(f"{path} is a database of another program: name another store")


class _Connection(sqlite3.Connection):
    """A connection that is known to be open until it is closed or gone."""

    def close(self) -> None:
        super().close()
        with _LOCK:
            for open_ones in _OPEN.values():
                open_ones.discard(self)


_LOCK = threading.RLock()
_OPEN: dict[tuple[int, int], WeakSet[_Connection]] = {}
"""The connections of this process by file (device, inode). To close any other descriptor of such a file would drop the
locks that SQLite holds on it for the whole process, as POSIX has it."""


def _connected(path: Path) -> bool:
    return len(_OPEN.get(_file(path), ())) > 0


def _file(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def connect(path: Path | str, how: str) -> sqlite3.Connection:
    """A connection that commits by itself, whose rows are checked."""
    where = f"{path.absolute().as_uri()}?{how}" if isinstance(path, Path) else f"file:{path}?{how}"
    with _LOCK:
        connection = sqlite3.connect(
            where,
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            factory=_Connection,
        )
        if isinstance(path, Path) and path.exists():
            _OPEN.setdefault(_file(path), WeakSet()).add(connection)
    connection.row_factory = checked_row
    return connection


def reading(path: Path) -> tuple[sqlite3.Connection, Marks | None]:
    """A connection for readers, and the marks of the file where what it reads is a copy: nothing is ever changed.

    Where no file can be made beside the store, its log is read in a copy of both; an older schema is brought to this
    one in a copy too.
    """
    seen = marks(path)
    connection = connect(path, "mode=ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        fixed = False
    except sqlite3.OperationalError as error:
        connection.close()
        if not str(getattr(error, "sqlite_errorname", "")).startswith(UNWRITABLE):
            raise
        connection, fixed = _where_nothing_can_be_written(path), True
    try:
        if _begun_at(connection, path) == SCHEMA:
            return connection, seen if fixed else None
        return _migrated(connection, path), seen
    except BaseException:
        connection.close()
        raise


def _begun_at(connection: sqlite3.Connection, path: Path) -> int:
    found = version(connection, str(path))
    if found == 0:
        raise StoreError(f"{path} is empty: no campaign has begun it")
    return found


def _where_nothing_can_be_written(path: Path) -> sqlite3.Connection:
    log = log_of(path)
    if not log.exists() or log.stat().st_size == 0:
        return connect(path, "mode=ro&immutable=1")
    with temporary_folder() as folder:
        for file in (path, log):
            shutil.copyfile(file, Path(folder) / file.name)
        return _in_memory(connect(Path(folder) / path.name, "mode=rw"))


def _migrated(older: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    copy = _in_memory(older)
    migrate(copy, str(path))
    return copy


def _in_memory(source: sqlite3.Connection) -> sqlite3.Connection:
    """A copy of a database; the source is closed."""
    copy = connect(":memory:", "mode=memory")
    source.backup(copy)
    source.close()
    return copy


def marks(path: Path) -> Marks:
    """What changes whenever a store is written to."""
    return tuple((file.stat().st_mtime_ns, file.stat().st_size) if file.exists() else None for file in _files(path))


def _files(path: Path) -> tuple[Path, Path]:
    return path, log_of(path)
