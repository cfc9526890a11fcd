"""MNIST as arrays: the four idx files of LeCun, Cortes and Burges (1998), or OpenML's copy where there are none."""

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}
UNSIGNED_BYTE = 0x08  # the only element type the MNIST files use; the idx format knows five more
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"  # data beside the project, where there are any
OPENML_TRAIN = 60_000  # OpenML stacks the 60 000 training images on top of the 10 000 test images


@dataclass(frozen=True)
class Mnist:
    """Images: float32 (n, 784), row-major, pixel / 255 in [0, 1]. Labels: int64 (n,) in 0..9. All are read-only."""

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        for images, labels in ((self.train_images, self.train_labels), (self.test_images, self.test_labels)):
            if images.ndim != 2 or images.shape[1] != 784 or labels.shape != images.shape[:1]:
                raise ValueError(f"expected n images of 784 pixels and n labels, got {images.shape} and {labels.shape}")
            images.setflags(write=False)
            labels.setflags(write=False)


def shared(name: str) -> Path | None:
    """The folder or file of that name among the data beside the project, None where it is not there."""
    return SHARED / name if (SHARED / name).exists() else None


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the unsigned bytes of one idx file, gzipped if its name ends in `.gz`, in the shape its header gives.

    The header is two zero bytes, the element type (8: unsigned byte), the number d of dimensions, and d big-endian
    uint32 sizes; the data follow in row-major order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the magic number is not that of unsigned bytes, the gzip stream is damaged, or the data are
            shorter or longer than the header says.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no idx file at {path}")
    raw = path.read_bytes()
    if path.suffix == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path.name}: damaged gzip stream ({error})") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != UNSIGNED_BYTE or raw[3] == 0:
        raise ValueError(f"{path.name}: bad magic {raw[:4].hex() or '(empty)'}, expected 0000 08 dd (unsigned bytes)")
    start = 4 + 4 * raw[3]
    if len(raw) < start:
        raise ValueError(f"{path.name}: truncated header, {len(raw)} of {start} bytes")
    shape = tuple(int.from_bytes(raw[at : at + 4], "big") for at in range(4, start, 4))
    expected = start + math.prod(shape)
    if len(raw) != expected:
        fault = "truncated" if len(raw) < expected else "too long"
        raise ValueError(f"{path.name}: {fault}, {len(raw)} of {expected} bytes for shape {shape}")
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)


def load_mnist(data_dir: Path | None = None) -> Mnist:
    """Return MNIST from the folder of the four `*-ubyte.gz` files: the given one, or the one beside the project.

    Without either it comes from OpenML (`mnist_784`); that needs the network and scikit-learn, which keeps its own
    cache (`sklearn.datasets.fetch_openml`).

    Raises:
        FileNotFoundError: a file is missing from the folder.
        ValueError: a file is damaged, or images and labels do not match.
    """
    data_dir = data_dir or shared("mnist")
    if data_dir is None:
        return _from_openml()
    arrays = {field: read_idx(data_dir / name) for field, name in FILES.items()}
    return Mnist(
        train_images=_pixels(arrays["train_images"]),
        train_labels=arrays["train_labels"].astype(np.int64),
        test_images=_pixels(arrays["test_images"]),
        test_labels=arrays["test_labels"].astype(np.int64),
    )


def _pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    rows = images.reshape(len(images), -1).astype(np.float32)
    return rows / np.float32(255)


def _from_openml() -> Mnist:
    try:
        from sklearn.datasets import fetch_openml  # noqa: PLC0415 (needed only without a folder)
    except ImportError as error:
        raise ImportError("MNIST from OpenML needs scikit-learn: pip install scikit-learn") from error
    bunch = fetch_openml("mnist_784", version=1, as_frame=False)
    images = _pixels(np.asarray(bunch.data).astype(np.uint8))
    labels = np.asarray(bunch.target).astype(np.int64)
    return Mnist(images[:OPENML_TRAIN], labels[:OPENML_TRAIN], images[OPENML_TRAIN:], labels[OPENML_TRAIN:])
