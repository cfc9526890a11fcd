"""The training loop that all recipes share."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.training.pgd import cross_entropy, pgd
from benchmarks.training.recipe import Recipe

Labels = NDArray[np.int64] | NDArray[np.float32]
"""Classes (n,), or a distribution over the classes for each image (n, classes)."""


def train(recipe: Recipe, images: NDArray[np.float32], labels: Labels, seed: int) -> nn.Sequential:
    """Return the net that the recipe gives for (n, d) images in [0, 1] and their labels; prints one line per epoch."""
    seeded(seed)
    model = perceptron(recipe.widths)
    fit(recipe, model, images, labels)
    return model


def seeded(seed: int) -> None:
    """Make PyTorch do the same again: the order of sums, hence the bytes of the result, must not vary."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)


def fit(
    recipe: Recipe,
    model: nn.Module,
    images: NDArray[np.float32],
    labels: Labels,
    before_step: Callable[[float], None] = lambda _: None,
) -> None:
    """Train `model` by the recipe: min_w E CE(softmax(z(x) / temperature), label).

    With `recipe.epsilon > 0` every batch is replaced by adversarial images: min_w E max_{|d| <= eps} loss(w, x + d),
    the inner maximum by PGD (Madry et al. 2018). `before_step` is told the share of the steps that is done.
    """
    x, y = torch.from_numpy(images.copy()), torch.from_numpy(labels.copy())
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=recipe.weight_decay)
    per_epoch = math.ceil(len(x) / recipe.batch)
    total = recipe.epochs * per_epoch
    for epoch in range(recipe.epochs):
        losses = 0.0
        for index, chosen in enumerate(torch.split(torch.randperm(len(x)), recipe.batch)):
            done = (epoch * per_epoch + index) / total
            before_step(done)
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * _schedule(done, recipe.warmup)
            batch = _adversarial(model, x[chosen], y[chosen], done, recipe) if recipe.epsilon else x[chosen]
            loss = nn.functional.cross_entropy(model(batch) / recipe.temperature, y[chosen])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            losses += loss.item()
        print(f"epoch {epoch + 1}/{recipe.epochs}: training loss {losses / per_epoch:.4f}", flush=True)


def perceptron(widths: tuple[int, ...]) -> nn.Sequential:
    """Return Linear layers of the given widths with ReLU between them (none after the logits)."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def layers(model: nn.Sequential) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return weights and biases (out,) of the layers that have them, in order.

    Weights are (out, in) of Linear layers, (out, in, side, side) of Conv2d layers.
    """
    found = []
    for layer in model:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            assert layer.bias is not None
            found.append((layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()))
    return found


def count_correct(model: nn.Module, images: NDArray[np.float32], labels: NDArray[np.int64]) -> int:
    """Return how many of the images the largest logit classifies as labelled."""
    with torch.no_grad():
        guesses = model(torch.from_numpy(images.copy())).argmax(dim=1).numpy()
    return int((guesses == labels).sum())


def _schedule(done: float, warmup: float) -> float:
    if done < warmup:
        return done / warmup
    return (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2


def _adversarial(model: nn.Module, images: Tensor, labels: Tensor, done: float, recipe: Recipe) -> Tensor:
    grown = min(1.0, done / recipe.epsilon_warmup) if recipe.epsilon_warmup else 1.0
    radius = torch.tensor(recipe.epsilon * grown)
    return pgd(model, images, radius, cross_entropy(labels), recipe.pgd_steps, recipe.pgd_step)
