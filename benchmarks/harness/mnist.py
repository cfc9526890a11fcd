"""MNIST as arrays: the four idx files of LeCun, Cortes and Burges (1998), or OpenML's copy where there are none."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.errors import InputError
from verifier.campaign.plan.data import read_idx

FILES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"  # data beside the project, where there are any
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


def load_mnist(data_dir: Path | None = None) -> Mnist:
    """Return MNIST from the folder of the four `*-ubyte.gz` files: the given one, or the one beside the project.

    Without either it comes from OpenML (`mnist_784`); that needs the network and scikit-learn, which keeps its own
    cache (`sklearn.datasets.fetch_openml`).

    Raises:
        InputError: a file is missing from the folder, or damaged; OpenML, or scikit-learn, cannot be reached.
        ValueError: images and labels do not match.
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
        raise InputError("MNIST from OpenML needs scikit-learn: pip install 'relu-verifier[train]'") from error
    try:
        bunch = fetch_openml("mnist_784", version=1, as_frame=False)
    except OSError as error:
        raise InputError(
            f"MNIST does not come from OpenML ({error}): give the folder of its files by --data"
        ) from error
    images = _pixels(np.asarray(bunch.data).astype(np.uint8))
    labels = np.asarray(bunch.target).astype(np.int64)
    return Mnist(images[:OPENML_TRAIN], labels[:OPENML_TRAIN], images[OPENML_TRAIN:], labels[OPENML_TRAIN:])
