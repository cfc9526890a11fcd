"""Train `mnist_conv` on MNIST, two convolutions of 16 and 32 channels and two dense layers, natural training, for
`benchmarks.engine.reach`; not shipped."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from torch import nn

from benchmarks.training.loop import fit, seeded
from benchmarks.training.mnist_run import train_and_ship
from benchmarks.training.recipe import Convolution, Recipe

RECIPE = Recipe(
    name="mnist_conv",
    script="mnist_conv",
    widths=(784, 3136, 1568, 100, 10),
    epochs=5,
    batch=128,
    learning_rate=1e-3,
    weight_decay=1e-4,
    convolutions=(Convolution(16, kernel=4, stride=2, padding=1), Convolution(32, kernel=4, stride=2, padding=1)),
)


def convolutional(recipe: Recipe) -> nn.Sequential:
    """Return the recipe's convolutions and dense layers with ReLU between them, for images (n, d)."""
    layers: list[nn.Module] = [nn.Unflatten(1, recipe.input_shape)]
    channels = recipe.input_shape[0]
    for layer in recipe.convolutions:
        layers += [nn.Conv2d(channels, layer.channels, layer.kernel, layer.stride, layer.padding), nn.ReLU()]
        channels = layer.channels
    layers.append(nn.Flatten())
    dense = recipe.widths[len(recipe.convolutions) :]
    for inputs, outputs in pairwise(dense):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def train(recipe: Recipe, images: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> nn.Sequential:
    """Return the net that the recipe gives for images (n, d) and their labels."""
    seeded(seed)
    model = convolutional(recipe)
    fit(recipe, model, images, labels)
    return model


if __name__ == "__main__":
    train_and_ship(RECIPE, __doc__, train, distances=False)
