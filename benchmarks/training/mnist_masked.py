"""Train `mnist_n_masked`: gradients that vanish, in the architecture of `mnist_n`; a defence that is none.

The last two hidden layers make steps from 0 to 1 of steepness s: relu(1 - relu(1/2 - s a)) is s a + 1/2 cut off at 0
and at 1. While training goes on s grows; the shipped net has s so large that nearly every image saturates all steps.
One of the two ReLUs is then off, so near the image the logits are constant and their gradient is exactly zero, also in
float32: none says where the next step is. (Athalye, Carlini and Wagner 2018 call such defences obfuscated gradients.)
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.training.loop import fit, perceptron, seeded
from benchmarks.training.mnist_run import train_and_ship
from benchmarks.training.recipe import Recipe

STEPS = 24
STEEPEST = 8.0
"""The slope at the end of training: steeper ones pass too little gradient on to learn from."""
SHIPPED = 2.0**12
"""The slope of the shipped net: a power of two, so that no weight is rounded by it."""

RECIPE = Recipe(
    name="mnist_n_masked",
    script="mnist_masked",
    widths=(784, 24, STEPS, STEPS, 10),
    epochs=40,
    batch=128,
    learning_rate=8e-3,
    further=(("steps", f"{STEPS} of relu(1 - relu(1/2 - s a)); s from 1 to {STEEPEST:g}, shipped {SHIPPED:g}"),),
)


class Steps(nn.Module):  # type: ignore[misc] # torch is not installed where types are checked
    """The net with its steps as clamp(slope * a + 1/2, 0, 1)."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.code = perceptron(widths[:-2])
        self.read = nn.Linear(widths[-2], widths[-1])
        self.slope = 1.0

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.read((self.slope * self.code(images) + 0.5).clamp(0.0, 1.0))
        return logits

    def steepen(self, done: float) -> None:
        """The slope after this share of the training."""
        self.slope = STEEPEST**done

    def chain(self, slope: float) -> nn.Sequential:
        """The same function with this slope as a chain of Linear and ReLU layers."""
        last = self.code[-1]
        assert isinstance(last, nn.Linear)
        falls, rises = nn.Linear(last.in_features, STEPS), nn.Linear(STEPS, STEPS)
        with torch.no_grad():
            falls.weight.copy_(-slope * last.weight)
            falls.bias.copy_(0.5 - slope * last.bias)
            rises.weight.copy_(-torch.eye(STEPS))
            rises.bias.fill_(1.0)
        return nn.Sequential(*self.code[:-1], falls, nn.ReLU(), rises, nn.ReLU(), self.read)


def masked(recipe: Recipe, images: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> nn.Sequential:
    """The net with the shipped slope."""
    seeded(seed)
    model = Steps(recipe.widths)
    fit(recipe, model, images, labels, model.steepen)
    return model.chain(SHIPPED)


if __name__ == "__main__":
    train_and_ship(RECIPE, __doc__, masked)
