"""Where a campaign's inputs come from: .npz files, folders of images, idx files, scikit-learn's digits.

idx is the format of LeCun, Cortes and Burges (1998) in which MNIST comes: unsigned bytes, gzipped or not.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from encoders.files.array_files import LARGEST_ARRAY, AnyArray, npz_arrays
from encoders.files.regular_file import regular_size, size_text
from verifier.problem.inputs.files import wrong_labels
from verifier.problem.inputs.image_files import BYTE, read_image
from verifier.runtime.model import Model

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


IMAGES = (".png", ".jpg", ".jpeg")
DIGITS, DIGITS_LARGEST = "digits", np.float32(16)
"""scikit-learn's 8 × 8 digits; their pixels are 0 to 16."""

DIGITS_FILE = Path("datasets", "data", "digits.csv.gz")
"""Where scikit-learn has them: importing it takes longer than all else that a gate does whose answers are known."""


@dataclass(frozen=True, eq=False)
class Data:
    """Inputs by index. `labels` is None where the source has none; `read` gives input `index` for a model, and remarks
    on how it was read. names: of the inputs' own files, empty where they have none."""

    name: str
    count: int
    labels: npt.NDArray[np.int64] | None
    read: Callable[[int, Model], tuple[AnyArray, Sequence[str]]]
    names: Sequence[str] = ()

    def point(self, index: int, model: Model) -> npt.NDArray[np.floating]:
        """Input `index` as a flat vector in the model's dtype. Raises InputError that names it."""
        return self.told(index, model)[0]

    def told(self, index: int, model: Model) -> tuple[npt.NDArray[np.floating], Sequence[str]]:
        """The same, and the remarks."""
        try:
            values, remarks = self.read(index, model)
            return model.vector(values), remarks
        except InputError as error:
            raise InputError(f"{self.name}, input {index}: {error}") from None


def open_data(source: str, split: str = "test") -> Data:
    """The inputs of `source`: "digits", an .npz (arrays x and, with labels, y), or a folder.

    A folder holds MNIST's idx files (`split` chooses), or images, in order of name: those of one folder, without
    labels, or those of folders that are named by their class. Raises InputError.
    """
    path = Path(source)
    if source == DIGITS:
        return _digits()
    if path.is_dir():
        files = idx_files(path, split)
        return _idx(source, *files) if files is not None else _folder(path)
    if path.suffix == ".npz":
        return _npz(path)
    what = "no such file or folder" if not path.exists() else "not one of the sources"
    raise InputError(f"data: {source}: {what}; there are .npz files, folders of images or idx files, and {DIGITS}")


def _of_array(name: str, values: AnyArray, labels: AnyArray | None) -> Data:
    if labels is not None:
        if labels.size != len(values):
            raise InputError(f"{name}: y: {wrong_labels(labels.shape, len(values))}")
        if labels.dtype.kind not in "buif" or np.any(labels != np.floor(labels)):
            raise InputError(f"{name}: the labels are no whole numbers, one for each of {len(values)} inputs")
        labels = labels.reshape(-1).astype(np.int64)
    return Data(name, len(values), labels, lambda index, _: (values[index], ()))


def _npz(path: Path) -> Data:
    if not path.exists():
        raise InputError(f"data: {path}: no such file")
    arrays = npz_arrays(path, ("x",), ("y",))
    values = arrays["x"]
    if values.ndim < 2:
        raise InputError(f"{path}: x has shape {values.shape}; the inputs lie along its first axis")
    return _of_array(str(path), values, arrays.get("y"))


def _idx(source: str, images: Path, labels: Path) -> Data:
    pixels = read_idx(images)
    return _of_array(source, pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(BYTE), read_idx(labels))


def _digits() -> Data:
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise InputError("data: digits needs scikit-learn: pip install scikit-learn")
    path = Path(package.origin).parent / DIGITS_FILE
    if path.is_file():
        table = np.loadtxt(path, delimiter=",", dtype=np.float32)
        values, labels = table[:, :-1], table[:, -1].astype(np.int64)
    else:
        from sklearn.datasets import load_digits  # noqa: PLC0415, see DIGITS_FILE

        found = load_digits()
        values, labels = found.data.astype(np.float32), found.target
    return _of_array(DIGITS, values / DIGITS_LARGEST, labels)


def _folder(path: Path) -> Data:
    flat, sorted_in = _images(path), sorted(folder for folder in path.iterdir() if folder.is_dir())
    by_class = [(int(folder.name), file) for folder in sorted_in if folder.name.isdecimal() for file in _images(folder)]
    if bool(flat) == bool(by_class):
        raise InputError(
            f"data: {path}: a folder of images ({', '.join(IMAGES)}), of folders of images named by their class, or of "
            f"idx files ({', '.join(name for names in NAMES.values() for name in names)}) is expected"
        )
    files = flat or [file for _, file in by_class]
    labels = None if flat else np.array([label for label, _ in by_class], dtype=np.int64)

    def read(index: int, model: Model) -> tuple[AnyArray, Sequence[str]]:
        return read_image(files[index], model.network.input_shape)

    return Data(str(path), len(files), labels, read, [str(file.relative_to(path)) for file in files])


def _images(folder: Path) -> Sequence[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGES)
