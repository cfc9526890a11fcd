"""Looking at a store's file leaves the locks of this process's other connections alone."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from verifier.campaign.store import connecting
from verifier.campaign.store.database import Database, StoreError
from verifier.campaign.store.store import Store

TRIES = """
import fcntl, sys
FIRST, COUNT = 0x40000002, 510  # the bytes on which SQLite's readers hold their locks
with open(sys.argv[1], "r+b") as stream:
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB, COUNT, FIRST)
    except OSError:
        print("held")
    else:
        print("free")
"""


def held(path: Path) -> bool:
    """Does this process hold a reader's lock, as another one sees it?"""
    told = subprocess.run([sys.executable, "-c", TRIES, str(path)], check=True, capture_output=True, text=True)
    return told.stdout.strip() == "held"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "store.sqlite"
    Database(file).close()
    return file


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")
def test_a_second_look_leaves_the_locks_of_a_connection(path: Path) -> None:
    watching = connecting.connect(path, "mode=rw")
    watching.execute("SELECT count(*) FROM sqlite_master").fetchone()
    assert held(path)
    connecting.look_at(path, may_be_new=False)
    Database(path, readonly=True).close()
    assert held(path)
    watching.close()
    assert not held(path)


def test_a_file_without_connections_is_looked_at_again(path: Path) -> None:
    connection = connecting.connect(path, "mode=ro")
    connecting.look_at(path, may_be_new=False)
    connection.close()
    path.write_bytes(b"another program's")
    with pytest.raises(connecting.StoreError, match="not a store"):
        connecting.look_at(path, may_be_new=False)


def test_a_connection_that_is_gone_counts_no_more(path: Path) -> None:
    connection = connecting.connect(path, "mode=ro")
    del connection
    gc.collect()
    path.write_bytes(b"another program's")
    with pytest.raises(connecting.StoreError, match="not a store"):
        connecting.look_at(path, may_be_new=False)


def test_campaigns_that_make_a_store_at_once_wait_for_each_other(tmp_path: Path) -> None:
    """SQLite says "locked" without waiting where two connections switch to the write-ahead log."""
    for number in range(40):
        together, failed = threading.Barrier(6), list[StoreError]()

        def opened(path: Path, together: threading.Barrier = together, failed: list[StoreError] = failed) -> None:
            together.wait()
            try:
                Store(path).close()
            except StoreError as error:
                failed.append(error)

        threads = [threading.Thread(target=opened, args=(tmp_path / f"{number}.sqlite",)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
