"""A file is there whole, or as it was; nothing is left beside it."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import pytest

from encoders.errors import InputError
from verifier.problem.whole_file import writable, written


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    assert written(tmp_path / "a", lambda stream: stream.write(b"new")).read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    writable(tmp_path / "new", "--out")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r"--out .*: this is a directory"):
        writable(tmp_path, "--out")
    with pytest.raises(InputError, match=r"--out .*absent/new: cannot write there: No such file"):
        writable(tmp_path / "absent" / "new", "--out")


@pytest.mark.parametrize(
    ("raised", "expected"), [(OSError(28, "No space left"), InputError), (ValueError("x"), ValueError)]
)
def test_where_it_fails_the_earlier_file_stays(tmp_path: Path, raised: Exception, expected: type[Exception]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def save(stream: BinaryIO) -> None:
        stream.write(b"half")
        raise raised

    with pytest.raises(expected):
        written(path, save)
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no/such"):
        written(tmp_path / "no" / "such" / "a", lambda stream: stream.write(b""))
