"""The classic experiment and its proof: what FGSM leaves of a net's accuracy, and how much of it is certified.

`python -m benchmarks.attacks.fgsm_accuracy` takes one step x + r · sign ∇ cross-entropy (Goodfellow, Shlens and
Szegedy 2015), clipped to [0, 1], from every MNIST test image and counts those that ONNX Runtime still classifies
correctly. Beside it stand the first --images test images, each asked `verifier.check` at the same L∞ radius: robust
(proved), violated (a witness that replays), or undecided within --timeout seconds; a misclassified image counts as
violated. What is violated at a radius is not asked again at a larger one. The record is written after every radius;
the same command goes on where it stopped. Exit code 0: every image is decided; 3: not all.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import verifier
from benchmarks.harness.arguments import at_least_zero, count
from benchmarks.harness.instances import add_options, compile_kernels, loaded
from benchmarks.harness.mnist import Mnist, load_mnist
from benchmarks.harness.record import RESULTS, Record, table
from benchmarks.harness.table_set import PAIRS
from benchmarks.paper.table1 import UNDECIDED
from encoders.errors import InputError
from verifier.attacks.base.search import Surrogate
from verifier.problem.verdict import Holds, Violated

RADII = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
NETS = tuple(natural for natural, _ in PAIRS.values())
BLOCK = 500  # images of one batch
NOTE = (
    "fgsm_correct of fgsm_images: ONNX Runtime on the model's file, after one FGSM step. robust, violated, undecided: "
    "of the first `images` test images; misclassified ones are violated. seconds: of the calls of verifier.check at "
    "this radius, one thread, attack included; asked: how many there were."
)


@dataclass(frozen=True)
class Accuracy:
    """One net at one L∞ radius; `open_images` are the indices of undecided test images."""

    model: str
    radius: float
    fgsm_correct: int
    fgsm_images: int
    images: int
    robust: int
    violated: int
    undecided: int
    asked: int
    seconds: float
    slowest: float
    violated_images: tuple[int, ...]
    open_images: tuple[int, ...]

    @property
    def key(self) -> tuple[Any, ...]:
        return self.model, self.radius


def fgsm(surrogate: Surrogate, images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], radius: float) -> Any:
    """clip(x + radius · sign ∇ cross-entropy, 0, 1) for images (count, n)."""
    logits = surrogate.logits(images).astype(np.float64)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    softmax = weights / weights.sum(axis=1, keepdims=True)
    cotangents = (softmax - np.eye(softmax.shape[1])[labels]).astype(np.float32)
    moved = images + np.float32(radius) * np.sign(surrogate.vjp(images, cotangents))
    return np.clip(moved, np.float32(0.0), np.float32(1.0))


def fgsm_correct(name: str, mnist: Mnist, radius: float) -> int:
    """How many test images the model still classifies correctly after the step."""
    model = loaded(name)
    surrogate = Surrogate(model.network.graph, "cpu", 1)
    correct = 0
    for start in range(0, len(mnist.test_images), BLOCK):
        images, labels = mnist.test_images[start : start + BLOCK], mnist.test_labels[start : start + BLOCK]
        moved = fgsm(surrogate, images, labels, radius)
        correct += int((model.replay.logits(moved).argmax(axis=1) == labels).sum())
    return correct


def decided(
    name: str, mnist: Mnist, count: int, radius: float, timeout: float, fallen: Sequence[int], progress: Progress
) -> Accuracy:
    """Ask about each of the first `count` images that is not known to have fallen at a smaller radius."""
    model, known = loaded(name), set(fallen)
    violated, undecided, seconds = sorted(known), [], []
    bar = progress.add_task(f"{name}, radius {radius:g}", total=count)
    for index, (image, label) in enumerate(zip(mnist.test_images[:count], mnist.test_labels[:count], strict=True)):
        if index not in known:
            begin = time.perf_counter()
            answer = verifier.check(model, image, radius, label=int(label), timeout=timeout, device="cpu")
            seconds.append(time.perf_counter() - begin)
            match answer.verdict:
                case Violated():
                    violated.append(index)
                case Holds():
                    pass
                case _:
                    undecided.append(index)
        progress.update(bar, advance=1)
    return Accuracy(
        model=name,
        radius=radius,
        fgsm_correct=fgsm_correct(name, mnist, radius),
        fgsm_images=len(mnist.test_images),
        images=count,
        robust=count - len(violated) - len(undecided),
        violated=len(violated),
        undecided=len(undecided),
        asked=len(seconds),
        seconds=sum(seconds),
        slowest=max(seconds, default=0.0),
        violated_images=tuple(sorted(violated)),
        open_images=tuple(undecided),
    )


HEADER = ("net", "radius", "FGSM accuracy", "certified", "violated", "undecided", "s an image (mean)", "slowest")


def summary(rows: Sequence[Accuracy]) -> str:
    """A line for each net and radius, in per cent."""
    lines = [
        (
            row.model,
            f"{row.radius:g}",
            f"{100 * row.fgsm_correct / row.fgsm_images:.2f} %",
            *(f"{100 * part / row.images:.1f} %" for part in (row.robust, row.violated, row.undecided)),
            f"{row.seconds / row.asked:.2f}" if row.asked else "-",
            f"{row.slowest:.1f}",
        )
        for row in rows
    ]
    return table(HEADER, lines)


def main(words: Sequence[str] | None = None) -> int:
    """Run the experiment and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--radii", nargs="+", type=at_least_zero, default=list(RADII), metavar="R")
    parser.add_argument("--images", type=count, default=100, help="test images to decide (default: %(default)d)")
    add_options(parser, timeout=20.0, out=RESULTS / "fgsm_accuracy.json")
    arguments = parser.parse_args(words)
    try:
        compile_kernels()
        record: Record[Accuracy] = Record.of(arguments, ("images", "timeout"), Accuracy, note=NOTE)
        run(arguments, record)
    except InputError as error:
        print(f"fgsm_accuracy: error: {error}", file=sys.stderr)
        return 2
    wanted = {(model, radius) for model in arguments.model for radius in arguments.radii}
    rows = [row for row in record.rows if row.key in wanted]
    print(summary(rows))
    return 0 if len(rows) == len(wanted) and not any(row.undecided for row in rows) else UNDECIDED


def run(arguments: argparse.Namespace, record: Record[Accuracy]) -> None:
    """Fill the record, radii upwards, so that what has fallen need not be asked again; Ctrl-C ends it early."""
    mnist = load_mnist(arguments.data)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        for name in arguments.model:
            for radius in sorted(arguments.radii):
                earlier = [row for row in record.rows if row.model == name]
                if any(row.radius == radius for row in earlier):
                    continue
                fallen = {index for row in earlier if row.radius < radius for index in row.violated_images}
                try:
                    record.add(
                        decided(name, mnist, arguments.images, radius, arguments.timeout, sorted(fallen), progress)
                    )
                except KeyboardInterrupt:
                    progress.console.print("interrupted: the same command goes on from here")
                    return


if __name__ == "__main__":
    raise SystemExit(main())
