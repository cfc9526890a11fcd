"""Train `mnist_n_distilled`: defensive distillation of the architecture of `mnist_n` (Papernot et al. 2016).

A teacher is trained with softmax(z / T), the student with the teacher's softmax(z / T) as labels. Deployed at T = 1,
the student's logits are about T times as far apart as those of a net trained so, and its softmax saturates in float32.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.training.loop import train
from benchmarks.training.mnist_run import train_and_ship
from benchmarks.training.recipe import Recipe

RECIPE = Recipe(
    name="mnist_n_distilled",
    script="mnist_distilled",
    widths=(784, 24, 24, 24, 10),
    epochs=40,
    batch=128,
    learning_rate=8e-3,
    temperature=100.0,
    further=(("labels", "softmax(z / temperature) of a teacher trained by the same recipe with the given labels"),),
)


def distilled(recipe: Recipe, images: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> nn.Sequential:
    """The student; teacher and student begin with the same seed, as they have the same architecture."""
    teacher = train(recipe, images, labels, seed)
    with torch.no_grad():
        soft = torch.softmax(teacher(torch.from_numpy(images.copy())) / recipe.temperature, dim=1).numpy()
    return train(recipe, images, soft, seed)


if __name__ == "__main__":
    train_and_ship(RECIPE, __doc__, distilled)
