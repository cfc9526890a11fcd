"""Pipes, devices, folders and files that are too large are refused before a byte is read."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from encoders.errors import InputError
from encoders.files.regular_file import regular_size


def test_a_file_and_a_link_to_it_have_its_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert regular_size(tmp_path / "file", 5) == 5
    assert regular_size(tmp_path / "link", 5) == 5


def loop(path: Path) -> None:
    path.symlink_to(path)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def large(path: Path) -> None:
    """A file of 1 TiB that takes no room."""
    with path.open("wb") as stream:
        stream.truncate(2**40)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: None, "no such file"),
        (Path.mkdir, "is a folder; a file is expected"),
        (os.mkfifo, "is a pipe; a file is expected"),
        (zeros, "is a device; a file is expected"),
        (loop, "Too many levels of symbolic links"),
        (large, "has 1.02e\\+03 GiB; at most 1 GiB are read"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    make(tmp_path / "x.npy")
    with pytest.raises(InputError, match=f"x.npy.*{message}"):
        regular_size(tmp_path / "x.npy", 2**30)


def test_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's name has some hundred signs at most
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("x.npy")
        with pytest.raises(InputError, match="is a socket"):
            regular_size(Path("x.npy"))


def test_a_path_that_cannot_be() -> None:
    with pytest.raises(InputError, match="null byte"):
        regular_size(Path("x\0.npy"))
    with pytest.raises(InputError, match="File name too long"):
        regular_size(Path("x" * 5000))
