"""Train `mnist_n_tuned`: the shipped `mnist_n`, trained for one more epoch at a small learning rate.

What a team does to a model between two runs of a gate; `benchmarks.engine.retraining` measures what the answers about
the model before say about it.
"""

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from benchmarks.training.loop import fit, perceptron, seeded
from benchmarks.training.mnist_natural import RECIPE as BEFORE
from benchmarks.training.mnist_run import train_and_ship
from benchmarks.training.recipe import Recipe
from verifier import models

RECIPE = Recipe(
    name="mnist_n_tuned",
    script="mnist_tuned",
    widths=BEFORE.widths,
    epochs=1,
    batch=BEFORE.batch,
    learning_rate=1e-4,
    weight_decay=BEFORE.weight_decay,
    further=(("begins_with", BEFORE.name),),
)


def tuned(recipe: Recipe, images: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> nn.Sequential:
    """The shipped net, trained on."""
    seeded(seed)
    model = perceptron(recipe.widths)
    stored = {one.name: numpy_helper.to_array(one) for one in onnx.load(models.path(BEFORE.name)).graph.initializer}
    linear = [layer for layer in model if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for place, layer in enumerate(linear):
            layer.weight.copy_(torch.from_numpy(stored[f"weight{place}"].copy()))
            layer.bias.copy_(torch.from_numpy(stored[f"bias{place}"].copy()))
    fit(recipe, model, images, labels)
    return model


if __name__ == "__main__":
    train_and_ship(RECIPE, __doc__, tuned)
