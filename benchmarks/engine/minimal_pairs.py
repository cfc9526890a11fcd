"""Brackets on (input, target) pairs chosen by seed: seconds, initial distance, minimal distance, evidence.

`python -m benchmarks.engine.minimal_pairs --model mnist_n --data DIR --method milp --timeout 120` runs 20 pairs in
both norms. The images are drawn by seed; the target is a random class, or the runner-up class (--targets next). The
record is written after every instance, so an interrupted run goes on where it stopped when the same command is given
again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.harness.arguments import count
from benchmarks.harness.instances import Call, Instance, Result, add_options, in_processes, loaded, pending, solve
from benchmarks.harness.mnist import load_mnist
from benchmarks.harness.record import Record
from encoders.errors import InputError
from verifier import models

SETTING = ("model", "method", "solver", "pairs", "targets", "norm", "seed", "timeout", "jobs")


def inputs(model: str, data: Path | None) -> npt.NDArray[np.float32]:
    """The images that pairs are drawn from: the shipped digits, or the MNIST test set."""
    if model == "digits":
        return np.asarray(np.load(models.path("digits").parent / "digits_inputs.npz")["x"])
    return load_mnist(data).test_images


def choose(arguments: argparse.Namespace, images: npt.NDArray[np.float32]) -> list[Instance]:
    """The (image, target) pairs by seed, the same for every norm."""
    network = loaded(arguments.model)
    rng = np.random.default_rng(arguments.seed)
    pairs: list[Instance] = []
    for index in rng.permutation(len(images))[: arguments.pairs].tolist():
        logits = network.logits(images[index])
        label = int(np.argmax(logits))
        drawn = int(rng.choice([t for t in range(network.classes) if t != label]))
        target = drawn if arguments.targets == "random" else int(np.argsort(-logits, kind="stable")[1])
        pairs += [Instance(arguments.model, index, label, target, norm) for norm in arguments.norm]
    return pairs


def run(arguments: argparse.Namespace) -> list[Result]:
    """The rows; instances that the record holds already are not run again."""
    images = inputs(arguments.model, arguments.data)
    call = Call(arguments.method, arguments.solver, timeout=arguments.timeout)
    older = {"model": arguments.model, "method": call.name}
    record = Record.of(arguments, SETTING, Result, defaults=older)
    for row in record.rows:
        show(row)
    todo = pending(choose(arguments, images), call.name, record)
    for row in in_processes(arguments.jobs, solve, [(each, images[each.index], call) for each in todo]):
        show(row)
        record.add(row)
    return record.rows


def show(row: Result) -> None:
    print(
        f"{row.norm:4} {row.index:5} {row.label} -> {row.target}  [{row.lower:.5f}, {row.upper:.5f}]  "
        f"initial {row.initial:.5f}  {row.status} ({row.evidence})  {row.seconds:.1f} s  {row.reason}",
        flush=True,
    )


def summary(rows: Sequence[Result]) -> str:
    """One line a norm: closed of all, mean seconds, mean distances of the closed ones."""
    lines = []
    for norm in sorted({row.norm for row in rows}):
        chosen = [row for row in rows if row.norm == norm]
        closed = [row for row in chosen if row.status == "minimal"]
        means = [float(np.mean([getattr(row, name) for row in closed])) for name in ("seconds", "initial", "upper")]
        lines.append(
            f"{norm}: {len(closed)}/{len(chosen)} closed; of these mean {means[0]:.1f} s, "
            f"initial distance {means[1]:.4f}, minimal distance {means[2]:.4f}"
            if closed
            else f"{norm}: 0/{len(chosen)} closed"
        )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=models.NAMES, default="digits")
    parser.add_argument("--pairs", type=count, default=20)
    parser.add_argument("--targets", choices=("random", "next"), default="random", help="next: the runner-up class")
    parser.add_argument("--norm", nargs="+", choices=("linf", "l1"), default=["linf", "l1"])
    parser.add_argument("--method", default="milp")
    parser.add_argument("--solver")
    parser.add_argument("--jobs", type=count, default=1, help="instances at a time, each on one core")
    add_options(parser, timeout=120.0, out=None)
    arguments = parser.parse_args(words)
    try:
        rows = run(arguments)
    except InputError as error:
        print(f"minimal_pairs: error: {error}", file=sys.stderr)
        return 2
    print(summary(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
