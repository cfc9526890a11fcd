"""`benchmarks.mnist` reads idx files, and says what is wrong with a damaged one."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.mnist import FILES, load_mnist, read_idx


def idx(array: NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()


IMAGES = np.arange(3 * 28 * 28, dtype=np.uint64).astype(np.uint8).reshape(3, 28, 28)
LABELS = np.array([7, 0, 9], dtype=np.uint8)


def write(folder: Path, images: NDArray[np.uint8] = IMAGES, labels: NDArray[np.uint8] = LABELS) -> Path:
    for field, name in FILES.items():
        (folder / name).write_bytes(gzip.compress(idx(images if field.endswith("images") else labels)))
    return folder


@pytest.mark.parametrize("name", ["a-idx3-ubyte", "a-idx3-ubyte.gz"])
def test_read_idx_returns_what_was_written(tmp_path: Path, name: str) -> None:
    content = idx(IMAGES)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    np.testing.assert_array_equal(read_idx(tmp_path / name), IMAGES)


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
    with pytest.raises(FileNotFoundError, match=FILES["test_labels"]):
        load_mnist(tmp_path)


def test_images_and_labels_must_match(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="n images"):
        load_mnist(write(tmp_path, labels=LABELS[:2]))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "bad magic"),
        (b"\x89PNG" + idx(LABELS), "bad magic"),
        (b"\0\0\x0d\x01" + idx(LABELS)[4:], "bad magic"),
        (b"\0\0\x08\0", "bad magic"),
        (idx(IMAGES)[:10], "truncated header"),
        (idx(IMAGES)[:-1], "truncated"),
        (idx(IMAGES) + b"\0", "too long"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "damaged").write_bytes(content)
    with pytest.raises(ValueError, match=f"damaged: {fault}"):
        read_idx(tmp_path / "damaged")


@pytest.mark.parametrize("cut", [5, 30, -4])
def test_a_damaged_gzip_stream_is_refused(tmp_path: Path, cut: int) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(idx(IMAGES))[:cut])
    with pytest.raises(ValueError, match=r"cut\.gz: damaged gzip stream"):
        read_idx(tmp_path / "cut.gz")
    (tmp_path / "plain.gz").write_bytes(idx(IMAGES))
    with pytest.raises(ValueError, match=r"plain\.gz: damaged gzip stream"):
        read_idx(tmp_path / "plain.gz")
