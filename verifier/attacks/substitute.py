"""A small ReLU network trained on labels alone, in numpy: what stands in for a model that only answers questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from encoders.graph import Graph, GraphBuilder
from encoders.linear_maps import Dense, readonly
from verifier.attacks.problem import Float32

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam's own defaults (Kingma and Ba 2015)

Labels = npt.NDArray[np.intp]


@dataclass(frozen=True)
class TrainingSettings:
    """Adam on cross-entropy, in batches of `batch` for `epochs` passes; `hidden` are the sizes of the ReLU layers."""

    hidden: tuple[int, ...] = (100,)
    epochs: int = 12
    batch: int = 64
    rate: float = 2e-3


class Substitute:
    """z = W_k relu(… relu(W_1 (x − shift) / scale + b_1) …) + b_k, whose training goes on as data arrive.

    shift (n,) and scale (a number) are those of the first data, so that pixels may have any size.
    """

    def __init__(self, points: Float32, classes: int, settings: TrainingSettings, random: np.random.Generator) -> None:
        sizes = (points.shape[1], *settings.hidden, classes)
        self.settings, self._random = settings, random
        self.shift = points.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.scale = np.float32(max(float((points - self.shift).std()), 1e-6 * float(np.abs(points).max()), 1e-30))
        # He et al. (2015): the variance that ReLU layers keep.
        self._values = [
            part
            for n, m in pairwise(sizes)
            for part in (
                (random.standard_normal((n, m)) * np.sqrt(2.0 / n)).astype(np.float32),
                np.zeros(m, np.float32),
            )
        ]
        self._first = [np.zeros_like(value) for value in self._values]
        self._second = [np.zeros_like(value) for value in self._values]
        self._steps = 0

    def train(self, points: Float32, labels: Labels, over: Callable[[], bool]) -> None:
        """All epochs over points (count, n) and labels (count,); ends early when `over` says so."""
        inputs = (points - self.shift) / self.scale
        for rows in self._batches(len(points)):
            if over():
                return
            self._descend(self._gradients(inputs[rows], labels[rows]))

    def _batches(self, count: int) -> Iterator[Labels]:
        for _ in range(self.settings.epochs):
            order = self._random.permutation(count)
            yield from (order[at : at + self.settings.batch] for at in range(0, count, self.settings.batch))

    def _gradients(self, inputs: Float32, labels: Labels) -> list[Float32]:
        weights, biases = self._values[::2], self._values[1::2]
        layers = [inputs]
        for place, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            value = layers[-1] @ weight + bias
            layers.append(value if place == len(weights) - 1 else np.maximum(value, 0.0))
        logits = layers.pop()
        share = np.exp(logits - logits.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        share[np.arange(len(labels)), labels] -= 1.0
        message, found = share / len(labels), list[Float32]()
        for layer, weight in zip(reversed(layers), reversed(weights), strict=True):
            found += [message.sum(axis=0), layer.T @ message]
            message = (message @ weight.T) * (layer > 0)
        return found[::-1]

    def _descend(self, gradients: list[Float32]) -> None:
        self._steps += 1
        rate = self.settings.rate * np.sqrt(1.0 - BETA2**self._steps) / (1.0 - BETA1**self._steps)
        for value, first, second, slope in zip(self._values, self._first, self._second, gradients, strict=True):
            np.add(first, (1.0 - BETA1) * (slope - first), out=first)
            np.add(second, (1.0 - BETA2) * (slope * slope - second), out=second)
            np.subtract(value, np.float32(rate) * first / (np.sqrt(second) + np.float32(EPSILON)), out=value)

    def graph(self) -> Graph:
        """The network as it is now."""
        builder, last = GraphBuilder(len(self.shift)), 0
        for place in range(0, len(self._values), 2):
            weight, bias = (part.astype(np.float64) for part in self._values[place : place + 2])
            if place == 0:
                weight = weight / float(self.scale)
                bias = bias - self.shift.astype(np.float64) @ weight
            source = builder.relu(last) if place else last
            last = builder.affine([(Dense(readonly(weight.T)), source)], bias)
        return builder.graph(last)
