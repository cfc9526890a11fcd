"""One SQLite connection: write-ahead log, whole transactions, and errors that say what to do."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from verifier.campaign.store.columns import DamagedColumnError
from verifier.campaign.store.connecting import BUSY_SECONDS, Marks, StoreError, connect, look_at, marks, reading
from verifier.campaign.store.schema import migrate, version

__all__ = ["Database", "StoreError"]

AGAIN = 0.02
"""Seconds until the log's mode is tried again."""


class Database:
    """A connection that the threads of one process share, one transaction at a time.

    With synchronous=FULL a transaction that has returned survives kill -9 and a power cut. Readers never wait for the
    writer, nor it for them: that is what the write-ahead log is for.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._copied: Marks | None = None
        look_at(path, may_be_new=not readonly)
        with self._told():
            self._connection, self._copied = reading(path) if readonly else (connect(path, "mode=rwc"), None)
            try:
                if readonly:
                    self._connection.execute("PRAGMA query_only = ON")
                else:
                    self._prepare()
                self._opened = self._in_place()
            except BaseException:
                self._connection.close()
                raise

    def _in_place(self) -> tuple[int, int] | None:
        """What tells the file at the path from any other; None where there is none."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _check_in_place(self) -> None:
        """Raise StoreError where the file is no longer at its path: what was written to it would be lost."""
        if self._in_place() != self._opened:
            raise StoreError(f"{self.path}: the store was deleted or replaced while it was in use")

    def _prepare(self) -> None:
        version(self._connection, str(self.path))  # before anything of another program's file is changed
        self._write_ahead()
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        migrate(self._connection, str(self.path))

    def _write_ahead(self) -> None:
        """Switch to the write-ahead log, which needs the file for itself.

        SQLite does not wait where two switch at once, since each would wait for the other: so both try again.
        """
        end = time.monotonic() + BUSY_SECONDS
        while self._connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > end:
                    raise
                time.sleep(AGAIN)
            else:
                return

    @property
    def changes(self) -> int:
        """A number that is another one whenever another connection has written since."""
        with self._lock, self._told():
            if self._copied is None:
                return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            if marks(self.path) != self._copied:  # what was read was a copy
                self._connection.close()
                self._connection, self._copied = reading(self.path)
                self._connection.execute("PRAGMA query_only = ON")
            return hash(self._copied)

    def close(self) -> None:
        """Close the connection; the last one to close folds the log into the file."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: whole when the block ends, undone when it raises. Raises StoreError."""
        with self._lock, self._told():
            self._check_in_place()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view of the store, whatever others write meanwhile. Raises StoreError."""
        with self._lock, self._told():
            self._check_in_place()
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except DamagedColumnError as error:
            raise StoreError(f"{self.path} is damaged: {error}") from error
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {_advice(error)}") from error


def _advice(error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "") or ""
    for prefix, advice in ADVICE.items():
        if name.startswith(prefix):
            return f"{advice} ({error})"
    return f"the store cannot be used: {error}"


ADVICE = {
    "SQLITE_FULL": "the disk is full; what is in the store is safe: make room and run the same command again",
    "SQLITE_IOERR": "the disk cannot be read or written, or is full; run the same command again when it can",
    "SQLITE_NOTADB": "not a store: name another file",
    "SQLITE_CORRUPT": "the file is damaged: name another store",
    "SQLITE_CANTOPEN": "the file cannot be opened or made there",
    "SQLITE_READONLY": "the file or its folder cannot be written to",
    "SQLITE_BUSY": f"another program has kept the store locked for {BUSY_SECONDS:g} s",
}
