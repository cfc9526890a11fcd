"""Every attack against a reference implementation: the same model, the same inputs, whose points are nearer?

`python -m benchmarks.attacks.attack_references` attacks the first --images correctly classified test images of the
shipped digits and MNIST nets (MNIST only where its files are) with each registered attack that has a counterpart in
foolbox, ART, torchattacks or AdverTorch, both on one thread, and compares the median distortion over the images on
which both succeed. Attacks are untargeted but for L-BFGS and JSMA, which aim at the class after the label. Points of
both sides are judged in float64. The record is written after every pair; the same command goes on where it stopped.
Needs the `bench` extra. Exit code 0: no median of ours is more than 2 % above the reference's; 1: some are.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.attacks import references
from benchmarks.attacks.references import (
    PACKAGES,
    Labels,
    Peer,
    Points,
    Reference,
    foolbox_grid,
    foolbox_minimum,
    torchattacks_grid,
    torchattacks_minimum,
)
from benchmarks.harness.arguments import count
from benchmarks.harness.instances import loaded
from benchmarks.harness.mnist import load_mnist, shared
from benchmarks.harness.record import RESULTS, Record, table
from encoders.errors import InputError
from encoders.network.norm import Norm
from verifier import models
from verifier.attacks.base.problem import LENGTH, Case, Metric
from verifier.attacks.base.search import Surrogate
from verifier.attacks.jsma import JsmaSettings
from verifier.attacks.registry import ATTACKS
from verifier.problem.budget import Budget

ALLOWED = 1.02
"""How many times the reference's median ours may be."""

NOTE = (
    "Medians over the images on which both succeed. cpu seconds of the whole call, one thread. References within a "
    f"radius ran over radii {100 * (references.FINE - 1):.0f} % apart below their first success."
)


@dataclass(frozen=True, eq=False)
class Pair:
    """An attack of ours in a norm, what it is measured by, and its reference.

    targeted: both aim at the class after the label. each: ours aims at every other class in turn and keeps the nearest
    point, as `verifier attack` does; otherwise it is untargeted.
    """

    attack: str
    norm: Norm
    measure: str
    name: str
    reference: Reference
    settings: Any = None
    targeted: bool = False
    each: bool = False
    most: int = 1000
    """Images at most: fewer for references that take seconds an image."""


@dataclass(frozen=True)
class Row:
    """One pair on one model: successes of both, medians over the images on which both succeed, CPU seconds."""

    model: str
    attack: str
    measure: str
    reference: str
    images: int
    found: int
    reference_found: int
    median: float
    reference_median: float
    seconds: float
    reference_seconds: float

    @property
    def key(self) -> tuple[Any, ...]:
        return self.model, self.attack, self.measure

    @property
    def ratio(self) -> float:
        """Our median as a multiple of the reference's."""
        return self.median / self.reference_median


def _eps(name: str, norm: str, **options: Any) -> Any:
    return lambda library, model, radius: getattr(library, name)(model, norm=norm, eps=radius, **options)


def _ensemble(library: Any, model: Any, radius: float) -> Any:
    """The members of AutoAttack, each with the effort that ours has."""
    members = [
        library.APGD(model, norm="Linf", eps=radius, steps=50, loss="ce"),
        library.APGD(model, norm="Linf", eps=radius, steps=50, loss="dlr"),
        library.FAB(model, norm="Linf", eps=radius, steps=100),
        library.Square(model, norm="Linf", eps=radius, n_queries=300),
    ]
    return library.MultiAttack(members)


LINF, L1, L2 = Metric.LINF, Metric.L1, Metric.L2
PAIRS: Sequence[Pair] = (
    Pair("fgsm", Norm.LINF, "linf", "foolbox LinfFGM", foolbox_grid(LINF, "LinfFastGradientAttack")),
    Pair("fgsm", Norm.L1, "l1", "foolbox L1FGM", foolbox_grid(L1, "L1FastGradientAttack")),
    Pair("fgm-l2", Norm.LINF, "l2", "foolbox L2FGM", foolbox_grid(L2, "L2FastGradientAttack")),
    Pair("bim", Norm.LINF, "linf", "foolbox LinfBIM", foolbox_grid(LINF, "LinfBasicIterativeAttack", steps=20),
         each=True),
    Pair("bim", Norm.L1, "l1", "foolbox L1BIM", foolbox_grid(L1, "L1BasicIterativeAttack", steps=20)),
    Pair("pgd", Norm.LINF, "linf", "foolbox LinfPGD", foolbox_grid(LINF, "LinfPGD", steps=40)),
    Pair("pgd", Norm.L1, "l1", "foolbox SparseL1Descent", foolbox_grid(L1, "SparseL1DescentAttack", steps=40)),
    Pair("pgd-l2", Norm.LINF, "l2", "foolbox L2PGD", foolbox_grid(L2, "L2PGD", steps=40)),
    Pair("cw", Norm.LINF, "linf", "ART CarliniLInf", references.art_linf, most=10),
    Pair("cw", Norm.L1, "l1", "foolbox EAD", foolbox_minimum("EADAttack", steps=1000, decision_rule="L1")),
    Pair("cw-l2", Norm.LINF, "l2", "foolbox L2CarliniWagner", foolbox_minimum("L2CarliniWagnerAttack", steps=1000)),
    Pair("lbfgs-l2", Norm.LINF, "l2", "AdverTorch LBFGS", references.advertorch_lbfgs, targeted=True,
         most=30),
    Pair("deepfool", Norm.LINF, "linf", "foolbox LinfDeepFool", foolbox_minimum("LinfDeepFoolAttack", steps=50)),
    Pair("deepfool-l2", Norm.LINF, "l2", "foolbox L2DeepFool", foolbox_minimum("L2DeepFoolAttack", steps=50)),
    Pair("jsma", Norm.L1, "l1", "ART SaliencyMap", references.art_jsma, targeted=True),
    Pair("jsma", Norm.L1, "l0", "ART SaliencyMap", references.art_jsma, JsmaSettings(directions=(1.0,)), True),
    # torchattacks' FAB fails in L1: it has no residual for that norm.
    Pair("fab", Norm.LINF, "linf", "torchattacks FAB", torchattacks_minimum(_eps("FAB", "Linf", steps=100), 0.3)),
    Pair("fab-l2", Norm.LINF, "l2", "torchattacks FAB", torchattacks_minimum(_eps("FAB", "L2", steps=100), 2.0)),
    Pair("apgd-ce", Norm.LINF, "linf", "torchattacks APGD", torchattacks_grid(LINF, _eps("APGD", "Linf", steps=50))),
    Pair("apgd-dlr", Norm.LINF, "linf", "torchattacks APGD",
         torchattacks_grid(LINF, _eps("APGD", "Linf", steps=50, loss="dlr"))),
    Pair("square", Norm.LINF, "linf", "torchattacks Square",
         torchattacks_grid(LINF, _eps("Square", "Linf", n_queries=300))),
    Pair("autoattack", Norm.LINF, "linf", "torchattacks, same members", torchattacks_grid(LINF, _ensemble)),
    Pair("transfer", Norm.LINF, "linf", "PyTorch substitute, foolbox LinfPGD", references.torch_transfer,
         each=True),
)  # fmt: skip


def distance(measure: str, delta: Any) -> Any:
    """The length of each row of δ; l0 counts the pixels that differ."""
    return np.count_nonzero(delta, axis=1) if measure == "l0" else LENGTH[Metric(measure)](delta)


def ours(pair: Pair, peer: Peer, images: Points, labels: Labels) -> Points:
    """Our points; the image itself where there is none."""
    classes = peer.graph.output_size
    shifts: Sequence[int | None] = (1,) if pair.targeted else range(1, classes) if pair.each else (None,)
    cases = [
        Case(image, int(label), None if shift is None else int(label + shift) % classes)
        for shift in shifts
        for image, label in zip(images.astype(np.float64), labels, strict=True)
    ]
    surrogate = Surrogate(peer.graph, "cpu", 1)
    attack = ATTACKS[pair.attack]
    attack = replace(attack, settings=pair.settings or attack.settings)
    found = attack(surrogate, cases, pair.norm, 0.0, 1.0, budget=Budget())
    best = found.distances.reshape(len(shifts), len(images)).argmin(axis=0) * len(images) + np.arange(len(images))
    points = [found.points[place] for place in best.tolist()]
    return np.array([image if point is None else point for image, point in zip(images, points, strict=True)])


def compare(model: str, pair: Pair, peer: Peer, images: Points, labels: Labels) -> Row:
    """Both sides on the same images, in turn."""
    target = (labels + 1) % peer.graph.output_size if pair.targeted else None
    lengths, good, seconds = [], [], []
    sides: tuple[Reference, Reference] = (partial(ours, pair), pair.reference)
    for side in sides:
        begin = time.process_time()
        points = side(peer, images, labels)
        seconds.append(time.process_time() - begin)
        good.append(peer.adversarial(points, labels, target))
        lengths.append(distance(pair.measure, (points - images).astype(np.float64)))
    both = good[0] & good[1]
    median = [float(np.median(one[both])) if both.any() else float("inf") for one in lengths]
    return Row(
        model, pair.attack, pair.measure, pair.name, len(images), int(good[0].sum()), int(good[1].sum()), *median,
        *seconds,
    )  # fmt: skip


def chosen_images(model: str, count: int, data: Path | None) -> tuple[Points, Labels]:
    """The first `count` test images that the model classifies correctly."""
    if model == "digits":
        with np.load(models.path(model).with_name("digits_inputs.npz")) as arrays:
            images, labels = arrays["x"].astype(np.float32), arrays["y"].astype(np.int64)
    else:
        mnist = load_mnist(data)
        images, labels = mnist.test_images, mnist.test_labels
    right = np.flatnonzero(loaded(model).replay.logits(images[: 4 * count]).argmax(axis=1) == labels[: 4 * count])
    return images[right[:count]], labels[right[:count]]


HEADER = ("net", "attack", "measure", "reference", "found", "median", "ratio", "CPU s", "times as fast")


def summary(rows: Sequence[Row]) -> str:
    """A line for each pair: ours / theirs."""
    return table(
        HEADER,
        [
            (
                row.model,
                f"`{row.attack}`",
                row.measure,
                row.reference,
                f"{row.found} / {row.reference_found} of {row.images}",
                f"{row.median:.4g} / {row.reference_median:.4g}",
                f"{row.ratio:.3f}",
                f"{row.seconds:.2f}",
                f"{row.reference_seconds / row.seconds:.1f}",
            )
            for row in rows
        ],
    )


def main(words: Sequence[str] | None = None) -> int:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=("digits", "mnist_n"), default=["digits", "mnist_n"])
    parser.add_argument("--attack", nargs="+", choices=tuple(ATTACKS), default=list(ATTACKS))
    parser.add_argument("--images", type=count, default=50, help="at most (default: %(default)d)")
    parser.add_argument("--data", type=Path, help="the folder of the MNIST idx files (default: beside the project)")
    parser.add_argument("--out", type=Path, default=RESULTS / "attack_references.json", help="the JSON record")
    parser.add_argument("--fresh", action="store_true", help="begin the record anew")
    arguments = parser.parse_args(words)
    try:
        torch: Any = importlib.import_module("torch")
        for package in ("foolbox", "art", "torchattacks"):
            importlib.import_module(package)
    except ImportError as error:
        print(f"{error}: this benchmark needs pip install 'relu-verifier[bench]'", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    try:
        record: Record[Row] = Record.of(arguments, ("images",), Row, note=NOTE, packages=PACKAGES)
        rows = run(arguments, record)
    except InputError as error:
        print(f"attack_references: error: {error}", file=sys.stderr)
        return 2
    print(summary(rows))
    behind = [row for row in rows if not row.ratio <= ALLOWED]
    for row in behind:
        print(f"{row.model} {row.attack} {row.measure}: {100 * (row.ratio - 1):.1f} % above {row.reference}")
    return 1 if behind else 0


def run(arguments: argparse.Namespace, record: Record[Row]) -> list[Row]:
    """Fill the record; Ctrl-C ends it early. The rows that were asked for."""
    wanted: Mapping[tuple[Any, ...], tuple[str, Pair]] = {
        (model, pair.attack, pair.measure): (model, pair)
        for model in arguments.model
        for pair in PAIRS
        if pair.attack in arguments.attack
        and (model == "digits" or arguments.data is not None or shared("mnist") is not None)
    }
    done = {row.key for row in record.rows}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("references", total=len(wanted), completed=len(done & set(wanted)))
        try:
            for key, (model, pair) in wanted.items():
                if key in done:
                    continue
                progress.update(bar, description=f"{model} {pair.attack} {pair.measure}")
                images, labels = chosen_images(model, min(pair.most, arguments.images), arguments.data)
                record.add(compare(model, pair, Peer.of(loaded(model).network.graph), images, labels))
                progress.update(bar, advance=1)
        except KeyboardInterrupt:
            progress.console.print("interrupted: the same command goes on from here")
    return [row for row in record.rows if row.key in wanted]


if __name__ == "__main__":
    raise SystemExit(main())
