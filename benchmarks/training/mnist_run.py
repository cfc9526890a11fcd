"""The command line that MNIST recipes share."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from benchmarks.harness.mnist import load_mnist
from benchmarks.training.loop import count_correct, layers, train
from benchmarks.training.measure import measure
from benchmarks.training.recipe import Recipe
from benchmarks.training.ship import Trained, ship

Training = Callable[[Recipe, NDArray[np.float32], NDArray[np.int64], int], nn.Sequential]
"""(recipe, images, labels, seed) to a chain of layers, ReLU between those that have weights."""


def train_and_ship(
    recipe: Recipe, description: str | None, training: Training = train, *, distances: bool = True
) -> None:
    """Read the command line, train by the recipe, measure, and write the ONNX file and its entry of the record.

    distances: estimate by PGD how far adversarial examples are.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, help="folder of the four idx files (default: fetch from OpenML)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights, the batches and the adversary")
    parser.add_argument("--out", type=Path, required=True, help="folder for the ONNX file and record.json")
    arguments = parser.parse_args()
    mnist = load_mnist(arguments.data)
    model = training(recipe, mnist.train_images, mnist.train_labels, arguments.seed)
    trained = Trained(
        recipe=recipe,
        seed=arguments.seed,
        options="--data DIR",
        layers=tuple(layers(model)),
        correct=count_correct(model, mnist.test_images, mnist.test_labels),
        measured=measure(model, mnist.test_images, mnist.test_labels) if distances else {},
    )
    ship(trained, mnist.test_images, mnist.test_labels, arguments.out)
