"""Arrays from files: what numpy writes is read alike, and what a header or a zip claims is not believed."""

import contextlib
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.errors import InputError
from encoders.files import array_files
from encoders.files.array_files import npy_array, npz_arrays


def npy(values: Any, version: tuple[int, int] = (1, 0)) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(values), version=version)
    return stream.getvalue()


def header(text: str, data: bytes = b"", magic: bytes = b"\x93NUMPY\x01\x00") -> bytes:
    return magic + struct.pack("<H", len(text)) + text.encode("latin1") + data


def archive(path: Path, method: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as stream:
        for name, content in members.items():
            stream.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize(
    "values",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(6, dtype=">i2"),
        np.float32(3),
        np.zeros((0, 4)),
        np.array([True, False]),
    ],
)
def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path, values: Any, version: tuple[int, int]) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(npy(values, version))
    np.testing.assert_array_equal(npy_array(path), np.load(path), strict=True)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_are_read_as_numpy_reads_them(tmp_path: Path, method: int) -> None:
    x = np.random.default_rng(0).random((5, 7))
    path = archive(tmp_path / "x.npz", method, x=npy(x), other=b"\x93NUMPY garbage")
    np.testing.assert_array_equal(npz_arrays(path, ("x",), ("y",))["x"], x, strict=True)
    assert set(npz_arrays(path, ("x",), ("y",))) == {"x"}


FOUR = "{'descr': '<f8', 'fortran_order': False, 'shape': (4,)}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header(FOUR, bytes(24)), "claims 32 bytes of numbers, and 24 bytes follow"),
        (header(FOUR, bytes(40)), "claims 32 bytes of numbers, and 40 bytes follow"),
        (header(FOUR.replace("(4,)", "(-1,)"), bytes(32)), r"claims the shape \(-1,\)"),
        (header(FOUR.replace("(4,)", "(-2, -2)"), bytes(32)), r"claims the shape \(-2, -2\)"),
        (header(FOUR.replace("(4,)", "(4, 2**99)")), ""),
        (header(FOUR.replace("(4,)", f"({2**70},)"), bytes(32)), "claims .* GiB of numbers"),
        (header(FOUR.replace("(4,)", "(2.0, 2)"), bytes(32)), ""),
        (header(FOUR.replace("<f8", "|O"), bytes(32)), "pickled objects"),
        (header(FOUR.replace("'<f8'", "[('a', '<f8')]"), bytes(32)), "records"),
        (header(FOUR.replace("'<f8'", "('<f8', (9,))"), bytes(32)), ""),
        (header(FOUR.replace("<f8", "<f9"), bytes(32)), ""),
        (header("(" * 5000), ""),
        (header("__import__('os')"), ""),
        (header("{}"), ""),
        (header(FOUR, bytes(32), b"\x93NUMPY\x09\x00"), r"format version 9\.0"),
        (b"\x93NUMPY\x01", ""),
        (b"\x80\x04\x95pickle.", ""),
        (b"", ""),
    ],
)
def test_damaged_headers_are_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"x\.npy is no readable \.npy file: .*{message}"):
        npy_array(path)
    with pytest.raises(InputError, match=r"x\.npz is no readable \.npz file: "):
        npz_arrays(archive(tmp_path / "x.npz", x=content), ("x",))


def test_a_small_zip_that_unpacks_to_much_is_refused_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_files, "LARGEST_ARRAY", 10**6)
    path = archive(tmp_path / "x.npz", zipfile.ZIP_DEFLATED, x=npy(np.zeros(10**6)))
    assert path.stat().st_size < 10**5
    unpacked = []
    read = zipfile.ZipExtFile.read

    def counted(stream: zipfile.ZipExtFile, size: int | None = -1) -> bytes:
        got = read(stream, size)
        unpacked.append(len(got))
        return got

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counted)
    with pytest.raises(InputError, match=r"an array of 7\.63 MiB; at most 1000000 bytes are read"):
        npz_arrays(path, ("x",))
    assert sum(unpacked) < 1000


def test_a_zip_that_lies_about_sizes_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", zipfile.ZIP_DEFLATED, x=npy(np.zeros(1000)))
    content = path.read_bytes()
    size = struct.pack("<I", len(npy(np.zeros(1000))))
    for lie in (2**31, 200):
        path.write_bytes(content.replace(size, struct.pack("<I", lie)))
        with pytest.raises(InputError, match="no readable"):
            npz_arrays(path, ("x",))


@pytest.mark.parametrize("place", range(0, 400, 7))
def test_a_flipped_byte_is_noticed_or_harmless(tmp_path: Path, place: int) -> None:
    x = np.arange(8.0)
    path = archive(tmp_path / "x.npz", zipfile.ZIP_DEFLATED, x=npy(x))
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 0x55
    path.write_bytes(bytes(content))
    with contextlib.suppress(InputError):
        np.testing.assert_array_equal(npz_arrays(path, ("x",))["x"], x)
