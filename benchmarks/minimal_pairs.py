"""Brackets on (input, target) pairs chosen by seed: seconds, initial distance, minimal distance, evidence.

`python -m benchmarks.minimal_pairs --model mnist_n --data DIR --method milp --timeout 120` runs 20 pairs in both norms.
The images are drawn by seed; the target is a random class, or the runner-up class (--targets next). The record is
written after every instance, so an interrupted run goes on where it stopped when the same command is given again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import verifier
from benchmarks.mnist import load_mnist
from encoders.errors import InputError
from verifier import models

LIBRARIES = ("relu-verifier", "numpy", "onnxruntime-gpu", "highspy", "pulp", "z3-solver")


@dataclass(frozen=True)
class Pair:
    """One instance: input `index` of the data, its label, the target, the norm."""

    index: int
    label: int
    target: int
    norm: str


@dataclass(frozen=True)
class Row:
    """One result; distances in the instance's norm, seconds of wall time on one process."""

    index: int
    label: int
    target: int
    norm: str
    status: str
    lower: float
    upper: float
    initial: float
    evidence: str
    seconds: float
    reason: str


def inputs(model: str, data: Path | None) -> npt.NDArray[np.float32]:
    """The images that pairs are drawn from: the shipped digits, or the MNIST test set."""
    if model == "digits":
        return np.asarray(np.load(models.path("digits").parent / "digits_inputs.npz")["x"])
    return load_mnist(data).test_images


def choose(arguments: argparse.Namespace, images: npt.NDArray[np.float32]) -> list[Pair]:
    """The (image, target) pairs by seed, the same for every norm."""
    network = verifier.load(models.path(arguments.model))
    rng = np.random.default_rng(arguments.seed)
    pairs: list[Pair] = []
    for index in rng.permutation(len(images))[: arguments.pairs].tolist():
        logits = network.logits(images[index])
        label = int(np.argmax(logits))
        drawn = int(rng.choice([t for t in range(network.classes) if t != label]))
        target = drawn if arguments.targets == "random" else int(np.argsort(-logits, kind="stable")[1])
        pairs += [Pair(index, label, target, norm) for norm in arguments.norm]
    return pairs


def solve(model: str, image: npt.NDArray[np.float32], pair: Pair, method: str, solver: str | None, limit: float) -> Row:
    """One bracket."""
    start = time.perf_counter()
    network = verifier.load(models.path(model))
    found = verifier.minimal(
        network, image, target=pair.target, norm=pair.norm, method=method, solver=solver, timeout=limit
    )
    return Row(
        **asdict(pair),
        status=found.status.value,
        lower=found.lower,
        upper=found.upper,
        initial=found.initial.distance,
        evidence=found.evidence.label,
        seconds=time.perf_counter() - start,
        reason=found.reason,
    )


def run(arguments: argparse.Namespace) -> Iterator[Row]:
    """The rows, as they come; instances that the record holds already are not run again."""
    images = inputs(arguments.model, arguments.data)
    pairs = choose(arguments, images)
    known = {(row.index, row.target, row.norm): row for row in recorded(arguments)}
    with ProcessPoolExecutor(arguments.jobs) as pool:
        tasks = []
        for pair in pairs:
            if (row := known.get((pair.index, pair.target, pair.norm))) is not None:
                yield row
                continue
            image = images[pair.index]
            options = (arguments.method, arguments.solver, arguments.timeout)
            tasks.append(pool.submit(solve, arguments.model, image, pair, *options))
        for task in as_completed(tasks):
            yield task.result()


def setting(arguments: argparse.Namespace) -> dict[str, Any]:
    """What must agree for a record to be continued."""
    names = ("model", "method", "solver", "pairs", "targets", "norm", "seed", "timeout", "jobs")
    return {name: getattr(arguments, name) for name in names}


def recorded(arguments: argparse.Namespace) -> list[Row]:
    """The rows of an earlier run with the same setting."""
    if arguments.out is None or not arguments.out.exists():
        return []
    record = json.loads(arguments.out.read_text())
    return [Row(**row) for row in record["rows"]] if record["setting"] == setting(arguments) else []


def write(arguments: argparse.Namespace, rows: Sequence[Row], load_before: float) -> None:
    """The record, under a temporary name first."""
    record = {
        "command": "python -m benchmarks.minimal_pairs " + " ".join(sys.argv[1:]),
        "setting": setting(arguments),
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "load_average_at_start": load_before,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "rows": [asdict(row) for row in sorted(rows, key=lambda row: (row.norm, row.index))],
    }
    temporary = arguments.out.with_suffix(".tmp")
    temporary.write_text(json.dumps(record, indent=1) + "\n")
    os.replace(temporary, arguments.out)


def summary(rows: Sequence[Row]) -> str:
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


def main() -> int:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=models.NAMES, default="digits")
    parser.add_argument("--data", type=Path, help="the folder of the MNIST idx files")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--targets", choices=("random", "next"), default="random", help="next: the runner-up class")
    parser.add_argument("--norm", nargs="+", choices=("linf", "l1"), default=["linf", "l1"])
    parser.add_argument("--method", default="milp")
    parser.add_argument("--solver")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds an instance")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="instances at a time, each on one core")
    parser.add_argument("--out", type=Path, help="the JSON record")
    arguments = parser.parse_args()
    rows: list[Row] = []
    load_before = os.getloadavg()[0]
    try:
        for row in run(arguments):
            rows.append(row)
            print(
                f"{row.norm:4} {row.index:5} {row.label} -> {row.target}  [{row.lower:.5f}, {row.upper:.5f}]  "
                f"initial {row.initial:.5f}  {row.status} ({row.evidence})  {row.seconds:.1f} s  {row.reason}",
                flush=True,
            )
            if arguments.out is not None:
                write(arguments, rows, load_before)
    except InputError as error:
        print(f"minimal_pairs: error: {error}", file=sys.stderr)
        return 2
    print(summary(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
