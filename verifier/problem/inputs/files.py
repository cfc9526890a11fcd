"""The input that the user brings beside the model: .npy, .npz, .png, .jpg, .csv."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from encoders.files.array_files import AnyArray, npy_array, npz_arrays
from encoders.files.regular_file import regular_size
from verifier.problem.inputs.csv_files import AUTO, Read, read_csv
from verifier.problem.inputs.image_files import read_image
from verifier.problem.inputs.image_layout import shape_text, without_batch


@dataclass(frozen=True, eq=False)
class Loaded:
    """Row `index` of `count` inputs: x in the model's shape and dtype; `label` from the file's labels, None without.

    notes: how the file was read, where that is not plain from the file. names: of x's entries, () without a header.
    """

    x: AnyArray
    label: int | None
    index: int
    count: int
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def read_input(
    path: Path, shape: Sequence[int], dtype: npt.DTypeLike, index: int | None = None, header: str = AUTO
) -> Loaded:
    """Read row `index` of an input file for a model whose input has `shape` (batch axis 1) and `dtype`.

    A file with several inputs needs an index; one with a single input has index 0. Values are cast to `dtype`. header:
    of a .csv (`csv_files.HEADERS`).

    Raises:
        InputError: the file cannot be read, does not fit the shape, or holds values that are no finite numbers.
    """
    reader = READERS.get(path.suffix.lower())
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.is_dir():
        raise InputError(f"{path} is a folder; INPUT is a file: {', '.join(READERS)}")
    if reader is None and ".vnnlib" in path.suffixes:
        raise InputError(f"{path} is a property, not an input: --property {path} (docs/how-to/properties.md)")
    if reader is None:
        raise InputError(
            f"{path}: cannot read {path.suffix or 'files without an extension'}; INPUT is one of {', '.join(READERS)}"
        )
    if header != AUTO and reader is not _read_csv:
        raise InputError(f"--header goes with .csv files, not with {path}")
    regular_size(path)
    values, labels, notes, names = reader(path, shape, header)
    rows = _rows(path, values, shape)
    row = _pick(path, len(rows), index)
    x = _numbers(path, rows[row], np.dtype(dtype)).reshape(tuple(shape))
    return Loaded(x, _label(path, labels, row, len(rows)), row, len(rows), notes, names)


def _pick(path: Path, count: int, index: int | None) -> int:
    if count == 0:
        raise InputError(f"{path} holds no input")
    if index is None and count > 1:
        raise InputError(f"{path} holds {count} inputs: choose one with --index 0 to --index {count - 1}")
    row = 0 if index is None else index
    if not 0 <= row < count:
        raise InputError(f"--index {row} is out of range: {path} holds {count} input{'s' if count > 1 else ''}, from 0")
    return row


def _rows(path: Path, values: AnyArray, shape: Sequence[int]) -> AnyArray:
    """The file's array as (inputs, n): one input, or a batch along the first axis."""
    size = math.prod(shape)
    inner = without_batch(shape)
    if values.size == size and _fits(values.shape, inner):
        return values.reshape(1, size)
    if values.ndim > 1 and values[:1].size == size and _fits(values.shape[1:], inner):
        return values.reshape(-1, size)
    raise InputError(
        f"{path} has shape {shape_text(values.shape)}; the model takes {shape_text(shape)} ({size} numbers an input)"
    )


def _fits(shape: tuple[int, ...], inner: tuple[int, ...]) -> bool:
    """True when both are one tensor up to axes of length 1, or either is flat: row-major order then settles it."""
    given, wanted = ([axis for axis in axes if axis != 1] for axes in (shape, inner))
    return given == wanted or len(given) <= 1 or len(wanted) <= 1


def _numbers(path: Path, values: AnyArray, dtype: np.dtype[Any]) -> AnyArray:
    if values.dtype.kind not in "buif":
        raise InputError(f"{path} holds {values.dtype} values; an input is made of real numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        x = values.astype(dtype)
    wrong = np.flatnonzero(~np.isfinite(x))
    if wrong.size:
        raise InputError(f"{path}: entry {wrong[0]} is {values[wrong[0]]}, not a finite {dtype} number")
    return x


def _label(path: Path, labels: AnyArray | None, row: int, count: int) -> int | None:
    if labels is None:
        return None
    if labels.size != count:
        raise InputError(f"{path}: y: {wrong_labels(labels.shape, count)}")
    label = labels.reshape(-1)[row]
    if labels.dtype.kind not in "buif" or not float(label).is_integer():
        raise InputError(f"{path}: label {row} in y is {label}, not an integer")
    return int(label)


def wrong_labels(shape: tuple[int, ...], count: int) -> str:
    """What is wrong with labels of a shape for so many inputs."""
    one_hot = len(shape) == 2 and shape[0] == count and shape[1] > 1
    labels = f"labels of shape {shape_text(shape)}" if len(shape) > 1 else f"{math.prod(shape)} labels"
    told = f"{labels} for {count} input{'s' if count > 1 else ''}"
    return f"{told}: one class number for each is expected{', of one-hot rows their argmax' if one_hot else ''}"


def _read_npy(path: Path, _: Sequence[int], __: str) -> Read:
    return Read(npy_array(path))


def _read_npz(path: Path, _: Sequence[int], __: str) -> Read:
    arrays = npz_arrays(path, ("x",), ("y",))
    return Read(arrays["x"], arrays.get("y"))


def _read_csv(path: Path, shape: Sequence[int], header: str) -> Read:
    return read_csv(path, shape, header)


def _read_image(path: Path, shape: Sequence[int], _: str) -> Read:
    values, notes = read_image(path, shape)
    return Read(values, None, notes)


READERS: Mapping[str, Callable[[Path, Sequence[int], str], Read]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".csv": _read_csv,
    ".png": _read_image,
    ".jpg": _read_image,
    ".jpeg": _read_image,
}
