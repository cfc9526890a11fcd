"""The black-box transfer attack (Papernot et al. 2017): a substitute learns the victim's labels and is attacked.

The substitute starts from the inputs and noisy copies of them, labelled by the victim. Each round adds for every point
x the point clip(x ± λ · sign ∇z_label(x)), with the substitute's gradient and the victim's label of x (Jacobian-based
augmentation, λ's sign alternating), has it labelled, and trains on all. Then PGD descends on the substitute within many
radii, past its decision boundary, since the victim's lies elsewhere; the victim judges what comes of it.

No gradient of the victim is used: it is seen through its labels, and through whether a point reaches the goal. So the
attack finds what a defence hides that masks gradients. `evaluations` counts the victim's answers.

The substitute is a small ReLU network, trained in numpy on labels alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array, Graph, GraphBuilder
from encoders.network.linear_maps import Dense, readonly
from verifier.attacks.base.problem import AttackProblem, Candidates, Float32, Indices
from verifier.attacks.base.search import AttackSearch, Surrogate
from verifier.attacks.base.sweep import sweep
from verifier.attacks.gradient import ROWS, GradientSettings
from verifier.problem.budget import Budget

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


PAST = 1e6  # a margin that no logits reach: rows on the substitute go on behind its boundary
SMALLEST, DOUBLINGS = 2.0**-10, 30  # where the box is infinite: noise from this share of |x0| upwards
CHANGED = 0.25  # … until so many of the noisy copies have another label


@dataclass(frozen=True)
class TransferSettings:
    """`seeds` points at first (the inputs among them), doubled `rounds` times; λ is `stride` times the box's width."""

    seeds: int = 512
    rounds: int = 4
    stride: float = 0.1
    training: TrainingSettings = field(default_factory=TrainingSettings)
    descent: GradientSettings = field(default_factory=lambda: GradientSettings(radii=16, samples=0))


def transfer(surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: TransferSettings) -> Candidates:
    """The nearest points that carry over from the substitute to the victim, in the problem's norm."""
    search = AttackSearch(surrogate, problem, budget, gradients=False)
    learnt = _learnt(search, settings) if len(search.open) else None
    if learnt is not None:
        _carry_over(search, settings, learnt)
    return search.finish()


def _learnt(search: AttackSearch, settings: TransferSettings) -> Surrogate | None:
    """The substitute; None when the budget ended before it was trained."""
    width = _width(search)
    points = _seeds(search, settings.seeds, width)
    labels = _labels(search, points)
    victim = search.surrogate
    network = Substitute(points, search.problem.classes, settings.training, search.random)
    for turn in range(settings.rounds + 1):
        if len(labels) < len(points):
            return None
        network.train(points, labels, lambda: search.over)
        learnt = Surrogate(network.graph(), victim.device, victim.threads)
        if turn < settings.rounds and not search.over:
            stride = settings.stride * (-1.0) ** turn * width
            added = _augmented(search, learnt, points, labels, stride)
            points = np.concatenate([points, added])
            labels = np.concatenate([labels, _labels(search, added)])
    return learnt


def _augmented(search: AttackSearch, learnt: Surrogate, points: Float32, labels: Labels, stride: Array) -> Float32:
    """clip(x + stride · sign ∇z_label(x)) for each point."""
    own = np.eye(search.problem.classes, dtype=np.float32)[labels]
    return search.problem.clipped(points + stride * np.sign(learnt.vjp(points, own)))


def _seeds(search: AttackSearch, count: int, width: Array) -> Float32:
    """The open cases' inputs, each once, and copies of them with noise of random sizes up to the box's width."""
    starts = np.unique(search.problem.origins[search.open], axis=0)
    copies = starts[np.arange(max(0, count - len(starts))) % len(starts)]
    size = search.random.random((len(copies), 1)) ** 2
    noise = search.random.uniform(-1.0, 1.0, size=copies.shape) * size * width
    return np.concatenate([starts, search.problem.clipped(copies + noise)])


def _width(search: AttackSearch) -> Array:
    """How far each pixel may move, (n,): the box's width; where that is infinite, noise that changes labels."""
    problem = search.problem
    box = problem.hi - problem.lo
    if np.isfinite(box).all():
        return box
    starts = np.repeat(problem.origins[search.open], 16, axis=0)
    before, size = _labels(search, starts), SMALLEST * max(1.0, float(np.abs(starts).max()))
    for _ in range(DOUBLINGS):
        noise = search.random.uniform(-size, size, size=starts.shape)
        after = _labels(search, problem.clipped(starts + noise))
        if search.over or (after != before).mean() >= CHANGED:
            break
        size *= 2.0
    return np.where(np.isfinite(box), box, size)


def _labels(search: AttackSearch, points: Float32) -> Labels:
    """The victim's label of each point; fewer when the budget ends."""
    found = [np.zeros(0, dtype=np.intp)]
    for rows in search.chunks(np.arange(len(points))):
        found.append(search.surrogate.logits(points[rows]).argmax(axis=1))
        search.evaluations += len(rows)
    return np.concatenate(found)


def _carry_over(search: AttackSearch, settings: TransferSettings, learnt: Surrogate) -> None:
    """PGD on the substitute, judged by the victim."""
    problem = search.problem
    aimed = AttackSearch(learnt, problem, search.budget)
    beyond = AttackSearch(learnt, replace(problem, margin=PAST), search.budget)
    reach = search.reach()
    # Where the substitute takes x0 for another class, its boundary is as far as it is on the other side.
    estimate = np.abs(aimed.first_order())
    estimate = np.where(np.isfinite(estimate) & (estimate > 0), estimate, np.where(np.isfinite(reach), reach, 1.0))

    def run(cases: Indices, radius: Array, restart: Indices) -> tuple[Float32, Array]:
        points, _ = ROWS[search.metric](beyond, settings.descent, cases, radius, restart)
        search.evaluations += len(cases)
        return points, problem.gap(cases, search.surrogate.logits(points))

    sweep(search, settings.descent, run, np.minimum(estimate, reach))
