"""Where a campaign's inputs come from: .npz files, folders of images, idx files, scikit-learn's digits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.array_files import npz_arrays
from encoders.errors import InputError
from verifier.campaign.idx import NAMES, idx_files, read_idx
from verifier.image_files import BYTE, read_image
from verifier.model import Model

Array = npt.NDArray[Any]
IMAGES = (".png", ".jpg", ".jpeg")
DIGITS, DIGITS_LARGEST = "digits", np.float32(16)
"""scikit-learn's 8 × 8 digits; their pixels are 0 to 16."""


@dataclass(frozen=True, eq=False)
class Data:
    """Inputs by index. `labels` is None where the source has none; `read` gives input `index` for a model, and remarks
    on how it was read. names: of the inputs' own files, empty where they have none."""

    name: str
    count: int
    labels: npt.NDArray[np.int64] | None
    read: Callable[[int, Model], tuple[Array, Sequence[str]]]
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


def _of_array(name: str, values: Array, labels: Array | None) -> Data:
    if labels is not None:
        if labels.shape != values.shape[:1] or labels.dtype.kind not in "buif" or np.any(labels != np.floor(labels)):
            raise InputError(f"{name}: the labels are no whole numbers, one for each of {len(values)} inputs")
        labels = labels.astype(np.int64)
    return Data(name, len(values), labels, lambda index, _: (values[index], ()))


def _npz(path: Path) -> Data:
    if not path.exists():
        raise InputError(f"data: {path}: no such file")
    arrays = npz_arrays(path, ("x",), ("y",))
    values = arrays["x"]
    if values.ndim < 2:
        raise InputError(f"{path}: x has shape {values.shape}; the inputs lie along its first axis")
    labels = arrays.get("y")
    return _of_array(str(path), values, labels.reshape(-1) if labels is not None else None)


def _idx(source: str, images: Path, labels: Path) -> Data:
    pixels = read_idx(images)
    return _of_array(source, pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(BYTE), read_idx(labels))


def _digits() -> Data:
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415, needed for this source only
    except ImportError:
        raise InputError("data: digits needs scikit-learn: pip install scikit-learn") from None
    found = load_digits()
    return _of_array(DIGITS, found.data.astype(np.float32) / DIGITS_LARGEST, found.target)


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

    def read(index: int, model: Model) -> tuple[Array, Sequence[str]]:
        return read_image(files[index], model.network.input_shape)

    return Data(str(path), len(files), labels, read, [str(file.relative_to(path)) for file in files])


def _images(folder: Path) -> Sequence[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGES)
