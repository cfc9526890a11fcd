"""Arrays from .npy and .npz files: no pickles, no more memory than the file's arrays may take, no damaged header."""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from encoders.files.regular_file import regular_size, size_text

AnyArray = npt.NDArray[Any]
LARGEST_ARRAY = 2**30
"""Bytes of an array that are read: 340,000 images of MNIST in float32. A zip of 1 MB may unpack to 1 GB."""
NPY, NPZ = b"\x93NUMPY", (b"PK\x03\x04", b"PK\x05\x06")
"""How both formats begin; an empty archive has no first entry."""
BROKEN = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    MemoryError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy and zipfile raise on truncated, foreign or hostile files."""


def npy_array(path: Path) -> AnyArray:
    """The array of an .npy file. Raises InputError."""
    size = regular_size(path)
    try:
        with path.open("rb") as stream:
            if stream.read(4) in NPZ:
                raise InputError(f"{path} is an .npz archive: name it .npz")
            stream.seek(0)
            return _array(stream, size)
    except BROKEN as error:
        raise InputError(f"{path} is no readable .npy file: {_one_line(error)}") from None


def npz_names(path: Path) -> tuple[str, ...]:
    """The names of the arrays of an .npz file, in its order. Raises InputError."""
    regular_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            files = [Path(entry.filename) for entry in archive.infolist()]
    except BROKEN as error:
        raise InputError(f"{path} is no readable .npz file: {_one_line(error)}") from None
    return tuple(str(file.with_suffix("")) for file in files if file.suffix == ".npy")


def npz_arrays(path: Path, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, AnyArray]:
    """The arrays of an .npz file. Raises InputError when it cannot be read or lacks one that is needed."""
    regular_size(path)
    try:
        with path.open("rb") as stream:
            if stream.read(len(NPY)) == NPY:
                raise InputError(f"{path} is a single array: name it .npy")
            with zipfile.ZipFile(stream) as archive:
                held = {entry.filename: entry for entry in archive.infolist()}
                found = {name: entry for name in needed + optional if (entry := held.get(f"{name}.npy")) is not None}
                for name in needed:
                    if name not in found:
                        raise InputError(f"{path} has no array {name!r}{_instead(list(held))}")
                return {name: _member(archive, entry) for name, entry in found.items()}
    except BROKEN as error:
        raise InputError(f"{path} is no readable .npz file: {_one_line(error)}") from None


MOST_NAMED = 8
"""Arrays that a complaint lists."""


def _instead(files: Sequence[str]) -> str:
    names = [name.removesuffix(".npy") for name in files]
    more = ", …" if len(names) > MOST_NAMED else ""
    return f"; it holds {', '.join(repr(name) for name in names[:MOST_NAMED])}{more}" if names else ", nor any other"


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> AnyArray:
    with archive.open(entry) as stream:
        return _array(stream, entry.file_size)


def _array(stream: IO[bytes], size: int) -> AnyArray:
    """The array that a stream of `size` bytes holds. Nothing is unpacked before the header has been believed."""
    header = np.lib.format.read_magic(stream)
    if header not in HEADERS:
        raise ValueError(f"format version {'.'.join(map(str, header))} is not known")
    shape, fortran, dtype = HEADERS[header](stream)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects")
    if dtype.fields is not None or dtype.subdtype is not None:
        raise ValueError("it holds records, not numbers")
    if any(axis < 0 for axis in shape):
        raise ValueError(f"its header claims the shape {shape}")
    told, held = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if told != held:
        raise ValueError(f"its header claims {size_text(told)} of numbers, and {size_text(max(0, held))} follow")
    if told > LARGEST_ARRAY:
        raise ValueError(f"an array of {size_text(told)}; at most {size_text(LARGEST_ARRAY)} are read")
    content = stream.read(held)
    if len(content) != held:
        raise EOFError(f"{size_text(held)} of numbers are expected, and {size_text(len(content))} follow")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""Version 3.0 differs in the names of records only, which are no inputs."""


def _one_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].strip() or type(error).__name__
