"""--out is probed first, written atomically, and left as it was when nothing comes of it."""

import errno
import os
from pathlib import Path

import pytest

from encoders.errors import InputError
from verifier.report.out_folder import OutFolder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_appear_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    with OutFolder(tmp_path / "a" / "b") as folder:
        place = folder.write("result.json", lambda stream: stream.write(b"{}"))
        assert place == tmp_path / "a" / "b" / "result.json"
    assert place.read_bytes() == b"{}"
    assert names(tmp_path / "a" / "b") == ["result.json"]


def test_an_error_removes_the_folders_that_were_made(tmp_path: Path) -> None:
    with pytest.raises(InputError), OutFolder(tmp_path / "a" / "b"):
        raise InputError("no")
    assert names(tmp_path) == []


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(InputError), OutFolder(tmp_path):
        raise InputError("no")
    assert names(tmp_path) == ["mine"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("old")

    def fail(stream: object) -> None:
        stream.write(b"half")
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError), OutFolder(tmp_path) as folder:
        folder.write("result.json", fail)
    assert names(tmp_path) == ["result.json"]
    assert (tmp_path / "result.json").read_text() == "old"


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    def fail(stream: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InputError, match="cannot be written: No space"), OutFolder(tmp_path / "out") as folder:
        folder.write("result.json", fail)
    assert names(tmp_path) == []


def test_an_earlier_runs_files_go_and_the_users_stay(tmp_path: Path) -> None:
    for name in ("result.json", "picture.png", "witness.npy", "witness-3.npy", "witness-mine.npy", "notes.txt"):
        (tmp_path / name).write_text("old")
    with OutFolder(tmp_path) as folder:
        folder.write("result.json", lambda stream: stream.write(b"new"))
        folder.remove_stale()
    assert names(tmp_path) == ["notes.txt", "result.json", "witness-mine.npy"]


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(InputError, match="--out"), OutFolder(path):
            raise AssertionError("the folder was entered")
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(InputError, match="--out"), OutFolder(tmp_path / "a"):
            raise AssertionError("the folder was entered")
    finally:
        tmp_path.chmod(0o755)
