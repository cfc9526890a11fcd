"""`benchmarks.harness.mnist` makes arrays of the four idx files."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.harness.mnist import FILES, load_mnist
from encoders.errors import InputError


def idx(array: NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()


IMAGES = np.arange(3 * 28 * 28, dtype=np.uint64).astype(np.uint8).reshape(3, 28, 28)
LABELS = np.array([7, 0, 9], dtype=np.uint8)


def write(folder: Path, images: NDArray[np.uint8] = IMAGES, labels: NDArray[np.uint8] = LABELS) -> Path:
    for field, name in FILES.items():
        (folder / name).write_bytes(gzip.compress(idx(images if field.endswith("images") else labels)))
    return folder


def test_load_mnist_scales_and_flattens(tmp_path: Path) -> None:
    mnist = load_mnist(write(tmp_path))
    expected = IMAGES.reshape(3, 784).astype(np.float32) / np.float32(255)
    for images, labels in ((mnist.train_images, mnist.train_labels), (mnist.test_images, mnist.test_labels)):
        assert images.dtype == np.float32
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(images, expected)
        assert labels.tolist() == [7, 0, 9]
        assert not images.flags.writeable
        assert not labels.flags.writeable


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (write(tmp_path) / FILES["test_labels"]).unlink()
    with pytest.raises(InputError, match=FILES["test_labels"]):
        load_mnist(tmp_path)


def test_images_and_labels_must_match(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="n images"):
        load_mnist(write(tmp_path, labels=LABELS[:2]))
