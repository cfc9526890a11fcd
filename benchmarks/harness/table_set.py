"""The instances of table 1 of Carlini et al. (2018): two nets, one input a class, every other class as target."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.harness.instances import (
    Image,
    Instance,
    loaded,
)
from benchmarks.harness.mnist import load_mnist
from benchmarks.harness.record import RESULTS

Pair = tuple[str, str]
"""The nets that stand for the paper's N and N̄."""

ACCURATE, DECAYED = "accurate", "decayed"

PAIRS: Mapping[str, Pair] = {
    ACCURATE: ("mnist_n", "mnist_n_adversarial"),
    DECAYED: ("mnist_n_decayed", "mnist_n_decayed_adversarial"),
}
"""The first is trained for accuracy; the second, with more weight decay, was chosen for its small search trees."""

MODELS = PAIRS[ACCURATE]
NORMS = ("linf", "l1")
"""Those of the paper."""

ALL_NORMS = (*NORMS, "l2")
"""The engine has one more."""

CLASSES = 10


@dataclass(frozen=True, eq=False)
class TableSet:
    """The instances, the images that they speak of (test images by index), and one more image to warm up with."""

    instances: tuple[Instance, ...]
    images: npt.NDArray[np.float32]
    spare: Image


def one_per_class(labels: npt.NDArray[np.int64], right: npt.NDArray[np.bool_], seed: int) -> list[int]:
    """For each class, in order, the index of one of its images among the `right` ones, drawn by seed."""
    rng = np.random.default_rng(seed)
    return [int(rng.choice(np.flatnonzero(right & (labels == label)))) for label in range(CLASSES)]


def table_set(data: Path | None, seed: int, pair: Pair = MODELS, norms: Sequence[str] = NORMS) -> TableSet:
    """The instances, 360 in the paper's norms, in the order of models, norms, classes and targets."""
    mnist = load_mnist(data)
    images, labels = mnist.test_images, mnist.test_labels
    right = np.ones(len(labels), dtype=bool)
    for model in pair:
        right &= loaded(model).replay.logits(images).argmax(axis=1) == labels
    chosen = one_per_class(labels, right, seed)
    instances = tuple(
        Instance(model, index, label, target, norm)
        for model in pair
        for norm in norms
        for label, index in enumerate(chosen)
        for target in range(CLASSES)
        if target != label
    )
    spare = next(index for index in np.flatnonzero(right).tolist() if index not in chosen)
    return TableSet(instances, images, images[spare])


def sample(instances: Sequence[Instance], per_norm: int, seed: int) -> list[Instance]:
    """`per_norm` instances of each norm, the nets in equal parts, drawn by seed; norms and nets alternate."""
    rng = np.random.default_rng(seed)
    parts = []
    models = list(dict.fromkeys(one.model for one in instances))
    for norm, (place, model) in product(NORMS, enumerate(models)):
        fit = [one for one in instances if (one.norm, one.model) == (norm, model)]
        count = per_norm // len(models) + (place < per_norm % len(models))
        parts.append([fit[index] for index in rng.choice(len(fit), count, replace=False).tolist()])
    longest = max(len(part) for part in parts)
    return [part[place] for place in range(longest) for part in parts if place < len(part)]


def add_pair(parser: argparse.ArgumentParser) -> None:
    """The option that says which nets stand for N and N̄."""
    parser.add_argument("--pair", choices=tuple(PAIRS), default=ACCURATE, help="of nets (default: %(default)s)")


def record_path(name: str, pair: str) -> Path:
    """Where a benchmark of this name keeps what it measured on a pair of nets, unless it is told."""
    return RESULTS / (f"{name}.json" if pair == ACCURATE else f"{name}_{pair}.json")
