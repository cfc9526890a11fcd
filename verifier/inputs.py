"""What the user brings beside the model: INPUT (.npy, .npz, .png, .jpg, .csv) and --box."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from verifier.input_files import read_csv, read_image
from verifier.layout import shape_text, without_batch

Array = npt.NDArray[Any]
BROKEN_ARRAY_FILE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    OverflowError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy and zipfile raise on truncated, foreign or hostile files."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """Row `index` of `count` inputs: x in the model's shape and dtype; `label` from the file's `y`, None without."""

    x: Array
    label: int | None
    index: int
    count: int


def read_input(path: Path, shape: Sequence[int], dtype: npt.DTypeLike, index: int | None = None) -> Loaded:
    """Read row `index` of an input file for a model whose input has `shape` (batch axis 1) and `dtype`.

    A file with several inputs needs an index; one with a single input has index 0. Values are cast to `dtype`.

    Raises:
        InputError: the file cannot be read, does not fit the shape, or holds values that are no finite numbers.
    """
    reader = READERS.get(path.suffix.lower())
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.is_dir():
        raise InputError(f"{path} is a folder; INPUT is a file: {', '.join(READERS)}")
    if reader is None:
        raise InputError(
            f"{path}: cannot read {path.suffix or 'files without an extension'}; INPUT is one of {', '.join(READERS)}"
        )
    values, labels = reader(path, shape)
    rows = _rows(path, values, shape)
    row = _pick(path, len(rows), index)
    x = _numbers(path, rows[row], np.dtype(dtype)).reshape(tuple(shape))
    return Loaded(x, _label(path, labels, row, len(rows)), row, len(rows))


def _pick(path: Path, count: int, index: int | None) -> int:
    if count == 0:
        raise InputError(f"{path} holds no input")
    if index is None and count > 1:
        raise InputError(f"{path} holds {count} inputs: choose one with --index 0 to --index {count - 1}")
    row = 0 if index is None else index
    if not 0 <= row < count:
        raise InputError(f"--index {row} is out of range: {path} holds {count} input{'s' if count > 1 else ''}, from 0")
    return row


def _rows(path: Path, values: Array, shape: Sequence[int]) -> Array:
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


def _numbers(path: Path, values: Array, dtype: np.dtype[Any]) -> Array:
    if values.dtype.kind not in "buif":
        raise InputError(f"{path} holds {values.dtype} values; an input is made of real numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        x = values.astype(dtype)
    wrong = np.flatnonzero(~np.isfinite(x))
    if wrong.size:
        raise InputError(f"{path}: entry {wrong[0]} is {values[wrong[0]]}, not a finite {dtype} number")
    return x


def _label(path: Path, labels: Array | None, row: int, count: int) -> int | None:
    if labels is None:
        return None
    if labels.size != count:
        raise InputError(f"{path}: y holds {labels.size} labels for {count} input{'s' if count > 1 else ''}")
    label = labels.reshape(-1)[row]
    if labels.dtype.kind not in "buif" or not float(label).is_integer():
        raise InputError(f"{path}: label {row} in y is {label}, not an integer")
    return int(label)


def _load_npy(path: Path, _: Sequence[int]) -> tuple[Array, None]:
    loaded = _load(path, ())
    if isinstance(loaded, dict):
        raise InputError(f"{path} is an .npz archive: name it .npz")
    return loaded, None


def _load_npz(path: Path, _: Sequence[int]) -> tuple[Array, Array | None]:
    arrays = npz_arrays(path, ("x",), ("y",))
    return arrays["x"], arrays.get("y")


def npz_arrays(path: Path, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Array]:
    """The arrays of an .npz file. Raises InputError when it cannot be read or lacks one that is needed."""
    loaded = _load(path, needed + optional)
    if not isinstance(loaded, dict):
        raise InputError(f"{path} is a single array: name it .npy")
    for name in needed:
        if name not in loaded:
            raise InputError(f"{path} has no array {name!r}")
    return loaded


def _load(path: Path, wanted: tuple[str, ...]) -> Array | dict[str, Array]:
    """The array of an .npy, or those `wanted` of an .npz. No pickles: object arrays would run code of their author."""
    try:
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            return {name: loaded[name] for name in wanted if name in loaded.files}
    except BROKEN_ARRAY_FILE as error:
        raise InputError(f"{path} is no readable {path.suffix} file: {_one_line(error)}") from None


def _one_line(error: BaseException) -> str:
    text = str(error).partition("\n")[0].strip()
    return "it holds pickled objects or foreign data" if "pickle" in text else text or type(error).__name__


READERS: Mapping[str, Callable[[Path, Sequence[int]], tuple[Array, Array | None]]] = {
    ".npy": _load_npy,
    ".npz": _load_npz,
    ".csv": read_csv,
    ".png": read_image,
    ".jpg": read_image,
    ".jpeg": read_image,
}


def read_box(text: str, size: int) -> tuple[Array, Array]:
    """The box of --box: "LO,HI" with two numbers (infinite ones allowed), or the path of an .npz with arrays lo, hi.

    Returns lo and hi, each float64 (size,).

    Raises:
        InputError: not a number, NaN, lo > hi, or arrays of another size.
    """
    if text.lower().endswith(".npz"):
        path = Path(text)
        if not path.is_file():
            raise InputError(f"--box: {path}: no such file")
        arrays = npz_arrays(path, ("lo", "hi"))
        lo, hi = (_box_end(path, name, arrays[name], size) for name in ("lo", "hi"))
    else:
        numbers = [_box_number(part) for part in text.split(",")]
        if len(numbers) != 2:
            raise InputError(f"--box takes two numbers LO HI or one .npz file with arrays lo and hi, not {text!r}")
        lo, hi = (np.full(size, number) for number in numbers)
    for name, end in (("lo", lo), ("hi", hi)):
        if np.isnan(end).any():
            raise InputError(f"--box: {name} is NaN at entry {np.flatnonzero(np.isnan(end))[0]}")
    empty = np.flatnonzero((lo > hi) | (lo == math.inf) | (hi == -math.inf))
    if empty.size:
        at = empty[0]
        raise InputError(f"--box is empty: lo {lo[at]:g} and hi {hi[at]:g} at entry {at}")
    return lo, hi


def _box_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"--box takes two numbers LO HI or one .npz file, and {text!r} is neither") from None


def _box_end(path: Path, name: str, values: Array, size: int) -> Array:
    if values.dtype.kind not in "buif":
        raise InputError(f"--box: {path}: {name} holds {values.dtype} values, not numbers")
    if values.size not in (1, size):
        raise InputError(f"--box: {path}: {name} has shape {shape_text(values.shape)}; the input has {size} entries")
    with np.errstate(over="ignore"):
        return np.broadcast_to(values.astype(np.float64).reshape(-1), (size,))


def check_inside(x: Array, lo: Array, hi: Array, name: str) -> None:
    """Raise InputError naming the first entry of x (n entries) that lies outside [lo, hi]."""
    flat = np.asarray(x, dtype=np.float64).reshape(-1)
    outside = np.flatnonzero((flat < lo) | (flat > hi))
    if not outside.size:
        return
    at = outside[0]
    pixels = bool(np.all(flat >= 0) and np.all(flat <= 255) and np.all(flat == np.round(flat)) and hi[at] == 1)
    hint = f"values up to {flat.max():g}: divide by 255 or widen --box" if pixels else "widen --box (-inf inf for none)"
    raise InputError(
        f"{name}: entry {at} is {flat[at]:g}, outside the box [{lo[at]:g}, {hi[at]:g}] "
        f"({outside.size} of {flat.size} are); {hint}"
    )
