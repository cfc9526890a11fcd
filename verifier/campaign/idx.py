"""The idx format of LeCun, Cortes and Burges (1998), as MNIST comes in: unsigned bytes, gzipped or not."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from encoders.array_files import LARGEST_ARRAY
from encoders.errors import InputError
from encoders.regular_file import regular_size, size_text

UNSIGNED_BYTE = 0x08
"""The only element type that MNIST's files use; the format knows five more."""

NAMES = {"train": ("train-images", "train-labels"), "test": ("t10k-images", "t10k-labels")}


def idx_files(folder: Path, split: str) -> tuple[Path, Path] | None:
    """The files of images and labels of a split, None where the folder does not hold them."""
    found = [sorted(folder.glob(f"{name}[-.]idx*-ubyte*")) for name in NAMES[split]]
    return (found[0][0], found[1][0]) if all(found) else None


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """The bytes of one idx file in the shape that its header gives.

    The header is two zero bytes, the element type (8: unsigned byte), the number d of dimensions, and d big-endian
    uint32 sizes; the data follow in row-major order. Raises InputError for a file that is damaged or of another type.
    """
    regular_size(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            raw = stream.read(LARGEST_ARRAY + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is no readable idx file: {error}") from None
    if len(raw) > LARGEST_ARRAY:
        raise InputError(f"{path} holds more than the {size_text(LARGEST_ARRAY)} that are read")
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != UNSIGNED_BYTE or raw[3] == 0:
        raise InputError(f"{path} is no idx file of unsigned bytes: it begins with {raw[:4].hex() or 'nothing'}")
    start = 4 + 4 * raw[3]
    shape = tuple(int.from_bytes(raw[at : at + 4], "big") for at in range(4, start, 4))
    if len(raw) < start or len(raw) != start + math.prod(shape):
        raise InputError(f"{path}: {len(raw)} bytes do not fit the shape {shape} of its header")
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)
