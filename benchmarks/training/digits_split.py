"""The fixed split of scikit-learn's digits: the test part of UCI's optical recognition set (Alpaydin, Kaynak 1998)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

SPLIT_SEED = 0
TEST = 397  # of 1797, which leaves 1400 for training


@dataclass(frozen=True)
class DigitsSplit:
    """Images: float32 (n, 64), row-major, pixel / 16 in [0, 1]. Labels: int64 (n,) in 0..9."""

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]


def load_split() -> DigitsSplit:
    """Return the split: the first 397 rows of a permutation are the test set, in that order; the rest train.

    The permutation is that of numpy's `RandomState(0)`, whose stream is frozen (NEP 19), so every release agrees.
    """
    bunch = load_digits()
    images = (np.asarray(bunch.data) / 16).astype(np.float32)
    labels = np.asarray(bunch.target).astype(np.int64)
    order = np.random.RandomState(SPLIT_SEED).permutation(len(images))
    test, training = order[:TEST], order[TEST:]
    return DigitsSplit(images[training], labels[training], images[test], labels[test])
