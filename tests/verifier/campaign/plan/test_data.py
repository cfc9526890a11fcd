"""idx files: what was written is read; a damaged file is refused in one line that names it."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from encoders.errors import InputError
from verifier.campaign.plan.data import idx_files, read_idx

IMAGES = np.arange(3 * 28 * 28, dtype=np.uint64).astype(np.uint8).reshape(3, 28, 28)


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()


@pytest.mark.parametrize("name", ["a-idx3-ubyte", "a-idx3-ubyte.gz"])
def test_what_was_written_is_read(tmp_path: Path, name: str) -> None:
    content = idx(IMAGES)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    np.testing.assert_array_equal(read_idx(tmp_path / name), IMAGES)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "begins with nothing"),
        (b"\x89PNG" + idx(IMAGES), "no idx file of unsigned bytes: it begins with 89504e47"),
        (b"\0\0\x0d\x01" + idx(IMAGES)[4:], "no idx file of unsigned bytes"),
        (b"\0\0\x08\0", "no idx file of unsigned bytes"),
        (idx(IMAGES)[:10], "10 bytes do not fit"),
        (idx(IMAGES)[:-1], "do not fit the shape"),
        (idx(IMAGES) + b"\0", "do not fit the shape"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "damaged").write_bytes(content)
    with pytest.raises(InputError, match=f"damaged.*{fault}"):
        read_idx(tmp_path / "damaged")


@pytest.mark.parametrize("cut", [5, 30, -4])
def test_a_damaged_gzip_stream_is_refused(tmp_path: Path, cut: int) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(idx(IMAGES))[:cut])
    with pytest.raises(InputError, match=r"cut\.gz is no readable idx file"):
        read_idx(tmp_path / "cut.gz")
    (tmp_path / "plain.gz").write_bytes(idx(IMAGES))
    with pytest.raises(InputError, match=r"plain\.gz is no readable idx file"):
        read_idx(tmp_path / "plain.gz")


def test_a_split_is_two_files(tmp_path: Path) -> None:
    assert idx_files(tmp_path, "test") is None
    (tmp_path / "t10k-images-idx3-ubyte.gz").touch()
    assert idx_files(tmp_path, "test") is None
    (tmp_path / "t10k-labels.idx1-ubyte").touch()
    assert idx_files(tmp_path, "test") == (
        tmp_path / "t10k-images-idx3-ubyte.gz",
        tmp_path / "t10k-labels.idx1-ubyte",
    )
