"""Packed content: what it was, no more of it than is asked for, and one kind of error for every damage."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from encoders.files.packed import plain, without_gz

CONTENT = bytes(range(200))


def test_content_is_what_was_packed_or_itself() -> None:
    assert plain(CONTENT, 1000) == CONTENT
    assert plain(gzip.compress(CONTENT), 1000) == CONTENT
    assert plain(gzip.compress(CONTENT[:9]) + gzip.compress(CONTENT[9:]), 200) == CONTENT


def test_one_byte_more_than_asked_tells_that_there_are_too_many() -> None:
    assert plain(gzip.compress(bytes(10**6)), 1000) == bytes(1001)


@pytest.mark.parametrize(
    "damaged", [b"\x1f\x8b", gzip.compress(CONTENT)[:-9], gzip.compress(CONTENT)[:12] + b"\xff" * 99]
)
def test_damage_is_an_os_error(damaged: bytes) -> None:
    with pytest.raises(OSError) as caught:
        plain(damaged, 1000)
    assert str(caught.value)


def test_what_is_packed_is_called_as_it_is_unpacked() -> None:
    assert [without_gz(Path(name)).name for name in ("a.b/n.onnx.gz", "n.onnx.GZ", "n.onnx", "n")] == [
        *["n.onnx"] * 3,
        "n",
    ]
