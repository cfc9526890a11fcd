"""Kernels lie where nobody else can write, whatever home, temporary folder and the identity of the caller are like."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from verifier.bounds.kernels import cache_folders
from verifier.bounds.kernels.cache_folders import BESIDE, TEMPORARY, TOLD, USERS, place_to_write, places, read, write

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners and modes are those of POSIX")
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")

STRANGER = 12345


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, and a folder for temporary files as every user sees it."""
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    monkeypatch.delenv(TOLD, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def unwritable(path: Path) -> Path:
    """A folder that nobody can make, root neither: it would lie in a file."""
    path.write_bytes(b"")
    return path / "folder"


def test_the_users_cache_comes_first_and_is_theirs_alone(machine: Path) -> None:
    place = place_to_write()
    assert place is not None
    assert (place.folder, place.origin) == (machine / "home/.cache/relu-verifier/kernels", USERS)
    assert mode(place.folder) == 0o700


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_the_umask_opens_it_to_nobody(umask: int) -> None:
    before = os.umask(umask)
    try:
        place = place_to_write()
    finally:
        os.umask(before)
    assert place is not None
    assert mode(place.folder) == 0o700


def test_a_folder_that_others_could_write_to_is_closed(machine: Path) -> None:
    folder = machine / "home/.cache/relu-verifier/kernels"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert place_to_write() is not None
    assert mode(folder) == 0o700


def test_what_the_environment_says(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine / "xdg"))
    assert [place.folder for place in places() if place.origin == USERS] == [machine / "xdg/relu-verifier/kernels"]
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the specification
    assert [place.folder for place in places() if place.origin == USERS] == [
        machine / "home/.cache/relu-verifier/kernels"
    ]
    monkeypatch.setenv(TOLD, str(machine / "told"))
    assert [place.origin for place in places()] == [TOLD, USERS, BESIDE, TEMPORARY]
    place = place_to_write()
    assert place is not None
    assert place.folder == machine / "told/relu-verifier"


def test_without_a_home_a_private_folder_among_temporary_files(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(unwritable(machine / "file")))
    place = place_to_write()
    assert place is not None
    assert (place.folder, place.origin) == (machine / f"tmp/relu-verifier-{os.geteuid()}", TEMPORARY)
    assert mode(place.folder) == 0o700


def test_a_user_whom_the_system_does_not_know(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert [place.origin for place in places()] == [BESIDE, TEMPORARY]


@pytest.mark.parametrize("what", ["link to a folder", "dangling link", "file"])
def test_no_tricks_among_temporary_files(machine: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setenv("HOME", str(unwritable(machine / "file")))
    folder = machine / f"tmp/relu-verifier-{os.geteuid()}"
    (machine / "elsewhere").mkdir(mode=0o700)
    if what == "file":
        folder.write_bytes(b"")
    else:
        folder.symlink_to(machine / ("elsewhere" if what == "link to a folder" else "nowhere"))
    assert place_to_write() is None
    assert list((machine / "elsewhere").iterdir()) == []


def test_where_nothing_can_be_written_there_is_no_place(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = str(unwritable(machine / "file"))
    monkeypatch.setenv("HOME", nowhere)
    monkeypatch.setenv(TOLD, nowhere)
    monkeypatch.setattr(tempfile, "tempdir", nowhere)
    assert place_to_write() is None


@as_root
def test_a_folder_of_someone_else_is_left_alone(machine: Path) -> None:
    folder = machine / "home/.cache/relu-verifier/kernels"
    folder.mkdir(parents=True, mode=0o700)
    os.chown(folder, STRANGER, STRANGER)
    place = place_to_write()
    assert place is not None
    assert place.origin == TEMPORARY
    (folder / "k").write_bytes(b"code")
    with pytest.raises(PermissionError, match="someone else"):
        read(folder / "k")


@as_root
def test_root_under_another_users_home_leaves_nothing_there(machine: Path) -> None:
    os.chown(machine / "home", STRANGER, STRANGER)
    place = place_to_write()
    assert place is not None
    assert place.origin == TEMPORARY
    assert list((machine / "home").iterdir()) == []


def test_for_all_users_of_an_installation(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_folders, "__file__", str(machine / "package" / "module.py"))
    place = place_to_write(shared=True)
    assert place is not None
    assert place.origin == BESIDE
    assert mode(place.folder) == 0o755
    write(place.folder / "k", b"code", shared=True)
    assert mode(place.folder / "k") == 0o644
    assert read(place.folder / "k") == b"code"


def test_a_file_is_read_back(machine: Path) -> None:
    folder = machine / "own"
    folder.mkdir(mode=0o700)
    write(folder / "k", b"code")
    assert mode(folder / "k") == 0o600
    assert read(folder / "k") == b"code"
    assert [path.name for path in folder.iterdir()] == ["k"]


@pytest.mark.parametrize("what", ["file", "folder", "link", "pipe"])
def test_what_others_may_have_written_is_not_read(machine: Path, what: str) -> None:
    folder = machine / "own"
    folder.mkdir(mode=0o700)
    path = folder / "k"
    write(path, b"code")
    if what == "file":
        path.chmod(0o620)
    elif what == "folder":
        folder.chmod(0o770)
    elif what == "link":
        path.rename(folder / "real")
        path.symlink_to(folder / "real")
    else:
        path.unlink()
        os.mkfifo(path)
    with pytest.raises(OSError, match=r"others can write|symbolic links"):
        read(path)


@as_root
def test_a_file_of_someone_else_is_not_read(machine: Path) -> None:
    folder = machine / "own"
    folder.mkdir(mode=0o700)
    write(folder / "k", b"code")
    os.chown(folder / "k", STRANGER, STRANGER)
    with pytest.raises(PermissionError, match="someone else"):
        read(folder / "k")


def test_a_write_that_fails_leaves_nothing(machine: Path) -> None:
    (machine / "k").mkdir()
    before = sorted(machine.iterdir())
    with pytest.raises(OSError, match="directory"):
        write(machine / "k", b"code")
    assert sorted(machine.iterdir()) == before
