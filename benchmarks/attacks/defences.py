"""What defences are worth: attacks on them beside the true minimum, on the same images (L-infinity, untargeted).

`python -m benchmarks.attacks.defences` takes MNIST test images that all four nets classify correctly: the undefended
net, one trained adversarially (Madry et al. 2018), one by defensive distillation (Papernot et al. 2016), one whose
gradients vanish. For each it notes how far FGSM, PGD, Carlini-Wagner and a black-box transfer attack (Papernot et al.
2017, by a substitute trained on the net's labels) have to go, and the bracket of the engine. What Carlini and Wagner
(2017) and Athalye et al. (2018) found should show: masked gradients make gradient attacks fail, while the minimum
barely moves. The record is written after every image; the same command goes on where it stopped. Exit code 3: some
bracket is open.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track

import verifier
from benchmarks.harness.arguments import at_least_zero, count
from benchmarks.harness.instances import Image, add_options, compile_kernels, loaded
from benchmarks.harness.mnist import load_mnist
from benchmarks.harness.record import RESULTS, Record, table
from encoders.errors import InputError
from encoders.network.norm import Norm
from verifier import models
from verifier.attacks.base.problem import Case
from verifier.attacks.base.search import Surrogate
from verifier.attacks.registry import attack_named
from verifier.problem.budget import Budget
from verifier.problem.verdict import Status

UNDEFENDED = "mnist_n"
NETS = {
    UNDEFENDED: "none",
    "mnist_n_adversarial": "adversarial training",
    "mnist_n_distilled": "distillation",
    "mnist_n_masked": "masked gradients",
}
ATTACKS = ("fgsm", "pgd", "carlini_wagner", "transfer")
RADII = np.geomspace(0.004, 0.5, 48)
"""The radii that FGSM and PGD try; at 0.5 every pixel can be grey, and nothing is left to see."""

STEPS, STEP = 40, 2.5
"""PGD's steps, and their length as a multiple of radius / STEPS, as in the nets' own training."""

SETTING = ("images", "precision", "timeout", "seed")
UNDECIDED = 3
NOTE = (
    "FGSM and PGD ascend the cross-entropy of the label, with softmax and gradient in float32 as a deployed net has "
    "them; PGD starts at random. Carlini-Wagner looks at logits. The transfer attack sees the net's labels alone: one "
    "substitute a net, trained around all images. A distance is that of the nearest point found that ONNX Runtime "
    "misclassifies; null: none within 0.5."
)

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """One image under one net: distances of the attacks (inf: not found), and the bracket on the minimum."""

    model: str
    index: int
    label: int
    flat: bool
    fgsm: float
    pgd: float
    carlini_wagner: float
    transfer: float
    lower: float
    upper: float
    status: str
    seconds: float

    @property
    def key(self) -> tuple[Any, ...]:
        return self.model, self.index

    @property
    def closed(self) -> bool:
        return self.status != Status.BRACKETED


def cross_entropy(logits: Float32, label: int) -> Float32:
    """∂/∂z of −log softmax(z)_label: softmax(z) − e_label, exactly 0 in float32 once the softmax saturates."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float32)
    pull: Float32 = powers / powers.sum(axis=1, keepdims=True)
    pull[:, label] -= 1.0
    return pull


@cache
def surrogate(name: str) -> Surrogate:
    """The net for gradients, on one thread."""
    return Surrogate(loaded(name).network.graph, "cpu", 1)


def fgsm(name: str, image: Image, label: int) -> Float32:
    """x + radius · sign ∇loss(x), cut to [0, 1], for each of RADII."""
    net, start = surrogate(name), image[np.newaxis]
    slope = np.sign(net.vjp(start, cross_entropy(net.logits(start), label)))
    return np.clip(start + RADII[:, np.newaxis] * slope, 0.0, 1.0).astype(np.float32)


def pgd(name: str, image: Image, label: int, seed: int) -> Float32:
    """STEPS projected steps from a random point of each ball, for each of RADII."""
    net, rng = surrogate(name), np.random.default_rng(seed)
    radii = RADII[:, np.newaxis].astype(np.float32)
    low, high = np.maximum(image - radii, 0.0), np.minimum(image + radii, 1.0)
    points: Float32 = low + rng.random(low.shape, dtype=np.float32) * (high - low)
    for _ in range(STEPS):
        slope = np.sign(net.vjp(points, cross_entropy(net.logits(points), label)))
        points = np.clip(points + STEP / STEPS * radii * slope, low, high)
    return points


def nearest(name: str, image: Image, label: int, points: Float32) -> float:
    """The L-infinity distance of the nearest point that ONNX Runtime puts into another class; inf for none."""
    wrong = loaded(name).replay.logits(points).argmax(axis=1) != label
    lengths = np.abs(points.astype(np.float64) - image).max(axis=1)
    return float(lengths[wrong].min(initial=math.inf))


def carlini_wagner(name: str, image: Image, label: int, seed: int) -> float:
    """The distance of the attack that `verifier minimal` begins with."""
    found = attack_named("cw")(
        surrogate(name), [Case(image.astype(np.float64), label)], Norm.LINF, 0.0, 1.0, seed=seed, budget=Budget()
    )
    point = found.points[0]
    return math.inf if point is None else nearest(name, image, label, point[np.newaxis])


def transfer(name: str, images: Float32, labels: npt.NDArray[np.int64], seed: int) -> list[float]:
    """The distances, up to 0.5 as for the others, of what carries over from one substitute for all images."""
    cases = [Case(image.astype(np.float64), int(label)) for image, label in zip(images, labels, strict=True)]
    found = attack_named("transfer")(surrogate(name), cases, Norm.LINF, 0.0, 1.0, seed=seed, budget=Budget())
    lengths = [
        math.inf if point is None else nearest(name, image, int(label), point[np.newaxis])
        for image, label, point in zip(images, labels, found.points, strict=True)
    ]
    return [length if length <= RADII[-1] else math.inf for length in lengths]


def measured(
    name: str, index: int, image: Image, label: int, carried_over: float, arguments: argparse.Namespace
) -> Row:
    """Everything about one image under one net; carried_over: the transfer attack's distance."""
    net, seed = surrogate(name), arguments.seed
    start = image[np.newaxis]
    slope = net.vjp(start, cross_entropy(net.logits(start), label))
    bracket = verifier.minimal(
        loaded(name),
        image,
        precision=arguments.precision,
        timeout=arguments.timeout,
        semantics="real",
        device="cpu",
        seed=seed,
    )
    return Row(
        model=name,
        index=index,
        label=label,
        flat=not slope.any(),
        fgsm=nearest(name, image, label, fgsm(name, image, label)),
        pgd=nearest(name, image, label, pgd(name, image, label, seed)),
        carlini_wagner=carlini_wagner(name, image, label, seed),
        transfer=carried_over,
        lower=bracket.lower,
        upper=bracket.upper,
        status=bracket.status.value,
        seconds=bracket.seconds,
    )


def chosen(images: Float32, labels: npt.NDArray[np.int64], count: int, seed: int) -> list[int]:
    """Indices of `count` test images that all nets classify correctly, drawn by seed."""
    right = np.ones(len(labels), dtype=bool)
    for name in NETS:
        right &= loaded(name).replay.logits(images).argmax(axis=1) == labels
    drawn = np.random.default_rng(seed).choice(np.flatnonzero(right), count, replace=False)
    return [int(index) for index in sorted(drawn)]


HEADER = (
    "defence", "test accuracy", "gradient is 0", "FGSM: found", "median", "PGD: found", "median", "CW: found", "median",
    "transfer: found", "median", "minimum: lower end", "upper end", "closed",
)  # fmt: skip


def summary(rows: Sequence[Row]) -> str:
    """A line for each net. Medians are over all images, an attack that found nothing counting as infinitely far."""
    recorded: Mapping[str, Any] = json.loads(models.path(UNDEFENDED).with_name("record.json").read_text("utf-8"))
    lines = []
    for name, defence in NETS.items():
        part = [row for row in rows if row.model == name]
        if not part:
            continue
        cells = [defence, f"{recorded[name]['test_correct'] / recorded[name]['test_total']:.2%}"]
        cells.append(f"{sum(row.flat for row in part)}/{len(part)}")
        for attack in ATTACKS:
            lengths = [float(getattr(row, attack)) for row in part]
            cells += [f"{sum(map(math.isfinite, lengths))}/{len(part)}", shown(lengths)]
        cells += [shown([row.lower for row in part]), shown([row.upper for row in part])]
        cells.append(f"{sum(row.closed for row in part)}/{len(part)}")
        lines.append(tuple(cells))
    return table(HEADER, lines)


def shown(lengths: Sequence[float]) -> str:
    """The median; where half of all failed it lies beyond every radius."""
    median = statistics.median(lengths)
    return f"{median:.4f}" if math.isfinite(median) else f"> {RADII[-1]:g}"


def main(words: Sequence[str] | None = None) -> int:
    """Measure what the record lacks, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=count, default=20, help="how many (default: %(default)d)")
    parser.add_argument("--precision", type=at_least_zero, default=1e-3, help="default: %(default)g")
    add_options(parser, timeout=60.0, out=RESULTS / "defences.json")
    arguments = parser.parse_args(words)
    try:
        compile_kernels()
        record: Record[Row] = Record.of(arguments, SETTING, Row, note=NOTE)
        mnist = load_mnist(arguments.data)
        picked = chosen(mnist.test_images, mnist.test_labels, arguments.images, arguments.seed)
        done = {row.key for row in record.rows}
        todo = [(name, index) for name in NETS for index in picked if (name, index) not in done]
        images, labels = mnist.test_images[picked], mnist.test_labels[picked]
        lengths = {name: transfer(name, images, labels, arguments.seed) for name in {name for name, _ in todo}}
        try:
            for name, index in track(todo, "defences", disable=not sys.stderr.isatty()):
                place = picked.index(index)
                record.add(measured(name, index, images[place], int(labels[place]), lengths[name][place], arguments))
        except KeyboardInterrupt:
            print("interrupted: the same command goes on from here", file=sys.stderr)
    except InputError as error:
        print(f"defences: error: {error}", file=sys.stderr)
        return 2
    if record.rows:
        print(summary(record.rows))
    complete = len(record.rows) == len(NETS) * len(picked)
    return 0 if complete and all(row.closed for row in record.rows) else UNDECIDED


if __name__ == "__main__":
    raise SystemExit(main())
