"""How far the engine reaches above the paper's size: brackets on nets that a user might bring, within a minute each.

`python -m benchmarks.engine.reach --images 20` asks `verifier.minimal`, with any other class as goal, about MNIST test
images and two nets of our own, trained naturally: three dense layers of 256 ReLUs, and two convolutions before a dense
layer (4,804 ReLUs). Most brackets stay open, so what is told is their width, upper end / lower end, and how far the
upper end has come after 10 and after 30 CPU seconds. One process, on one core; the record is written after every
bracket, and the same command goes on where it stopped. Exit code 3: some median is wider than what is aimed at.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

import verifier
from benchmarks.harness.arguments import at_least_zero, count
from benchmarks.harness.instances import (
    ERROR,
    Image,
    Instance,
    Result,
    Stopwatch,
    add_options,
    compile_kernels,
    failed,
    in_processes,
    key_of,
    one_core,
    result_of,
)
from benchmarks.harness.mnist import load_mnist
from benchmarks.harness.record import RESULTS, Record, table
from benchmarks.harness.table_set import ALL_NORMS
from benchmarks.paper.table1 import UNDECIDED
from encoders.errors import InputError
from verifier.report.norm_signs import NORM_SIGNS

FOLDER = Path(__file__).parents[1] / "nets"
NETS: Mapping[str, str] = {"mlp": "mnist_3x256", "conv": "mnist_conv"}
"""The nets by what the command line calls them, each a file of FOLDER made by the module of benchmarks.training."""

AIMS: Mapping[tuple[str, str], float] = {("mlp", "linf"): 1.3, ("mlp", "l1"): 1.4, ("conv", "linf"): 1.3}
"""Upper end / lower end that the median is to reach within 60 s."""

ANY = -1
"""The target of a question about any class but the label."""

MARKS = 10.0, 30.0
"""CPU seconds after which the upper end is noted."""

METHOD = "tree"
WARM_UP = 2.0
SETTING = ("timeout", "seed", "precision")
NOTE = (
    "One bracket after the other in one process on one core, after an untimed call for each net and norm. The limit is "
    "wall time: how much of it the process had is cpu_seconds. upper_10, upper_30: after so many CPU seconds."
)


@dataclass(frozen=True, kw_only=True)
class Row(Result):
    """A bracket, and how far its upper end was after some CPU seconds: infinite for no witness by then."""

    upper_10: float
    upper_30: float

    @property
    def width(self) -> float:
        """Upper end / lower end: 1 for a closed bracket at 0, infinite where nothing is proved or found."""
        if self.upper == self.lower:
            return 1.0
        return self.upper / self.lower if self.lower > 0 else math.inf


@cache
def net(name: str) -> verifier.Model:
    """A net of FOLDER, read once in each process."""
    return verifier.load(FOLDER / f"{NETS[name]}.onnx")


def bracket(instance: Instance, image: Image, timeout: float, precision: float) -> Row:
    """One bracket; an exception of the engine becomes a row of its own."""
    model, watch, uppers = net(instance.model), Stopwatch(), dict.fromkeys(MARKS, math.inf)
    last = None
    try:
        for last in verifier.brackets(
            model, image, norm=instance.norm, label=instance.label, precision=precision, timeout=timeout, device="cpu"
        ):
            used = watch.read()["cpu_seconds"]
            uppers = {mark: last.upper if used <= mark else upper for mark, upper in uppers.items()}
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - one failure must not end a run of an hour; it is counted as not closed
        result = failed(instance, METHOD, error, watch)
    else:
        assert last is not None
        result = result_of(instance, METHOD, last, watch)
    return Row(**asdict(result), upper_10=uppers[MARKS[0]], upper_30=uppers[MARKS[1]])


def begin(instances: Sequence[Instance], image: Image, precision: float) -> None:
    """In the process that measures: one core, and a short untimed call for each net and norm."""
    one_core()
    for instance in {(one.model, one.norm): one for one in instances}.values():
        label = net(instance.model).predict(image)
        bracket(Instance(instance.model, ANY, label, ANY, instance.norm), image, WARM_UP, precision)


def instances(
    data: Path | None, nets: Sequence[str], norms: Sequence[str], images: int, seed: int
) -> tuple[list[tuple[Instance, Image]], Image]:
    """The questions about the first `images` test images, drawn by seed, that both nets classify as labelled; one more
    image. Every net and norm about an image before the next one, so that an unfinished record is about all alike."""
    mnist, found = load_mnist(data), list[tuple[Instance, Image]]()
    taken = 0
    for index in np.random.default_rng(seed).permutation(len(mnist.test_images)).tolist():
        image, label = mnist.test_images[index], int(mnist.test_labels[index])
        if any(net(name).predict(image) != label for name in NETS):
            continue
        if taken == images:
            return found, image
        taken += 1
        found += [(Instance(name, index, label, ANY, norm), image) for name, norm in product(nets, norms)]
    raise InputError(f"there are no {images} test images that the nets classify as labelled, and one more")


HEADER = (
    "net", "norm", "images", "closed", "upper / lower: median", "aim", "worst", "upper at 10 s / at the end", "at 30 s",
    "CPU s",
)  # fmt: skip


def of_each(rows: Sequence[Row]) -> list[tuple[str, str, list[Row]]]:
    """(net, norm, rows without errors), for each net and norm that there are rows of."""
    parts = ((name, norm, [row for row in rows if (row.model, row.norm) == (name, norm) and row.status != ERROR])
             for name, norm in product(NETS, ALL_NORMS))  # fmt: skip
    return [(name, norm, part) for name, norm, part in parts if part]


def median_width(rows: Sequence[Row]) -> float:
    """The median of upper end / lower end."""
    return statistics.median(row.width for row in rows)


def summary(rows: Sequence[Row]) -> str:
    """A line for each net and norm."""
    lines = []
    for name, norm, part in of_each(rows):
        found = [row for row in part if 0 < row.upper < math.inf]
        early = [statistics.median(getattr(row, field) / row.upper for row in found) if found else math.inf
                 for field in ("upper_10", "upper_30")]  # fmt: skip
        aim = AIMS.get((name, norm))
        lines.append(
            (
                name,
                NORM_SIGNS[norm],
                str(len(part)),
                f"{sum(row.closed for row in part)}/{len(part)}",
                f"{median_width(part):.3f}",
                "" if aim is None else f"{aim:g}",
                f"{max(row.width for row in part):.3f}",
                *(f"{each:.3f}" for each in early),
                f"{statistics.fmean(row.cpu_seconds or 0.0 for row in part):.1f}",
            )
        )
    return table(HEADER, lines)


def missed(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The nets and norms whose median is wider than what is aimed at."""
    return [
        (name, norm)
        for name, norm, part in of_each(rows)
        if median_width(part) > AIMS.get((name, norm), math.inf)
    ]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the questions and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=tuple(NETS), default=list(NETS), help="default: all")
    parser.add_argument("--norms", nargs="+", choices=ALL_NORMS, default=list(ALL_NORMS), help="default: all")
    parser.add_argument("--images", type=count, default=20, help="test images (default: %(default)d)")
    parser.add_argument("--precision", type=at_least_zero, default=1e-3, help="default: %(default)g")
    parser.add_argument("--limit", type=count, help="run only the first so many questions")
    add_options(parser, timeout=60.0, out=RESULTS / "reach.json")
    arguments = parser.parse_args(argv)
    try:
        record: Record[Row] = Record.of(arguments, SETTING, Row, note=NOTE)
        wanted, spare = instances(arguments.data, arguments.nets, arguments.norms, arguments.images, arguments.seed)
        wanted = wanted[: arguments.limit]
        asked = [instance for instance, _ in wanted]
        done = {row.key for row in record.rows if row.status != ERROR}
        todo = {one for one in asked if key_of(one, METHOD) not in done}
        compile_kernels()
        tasks = [(one, image, arguments.timeout, arguments.precision) for one, image in wanted if one in todo]
        start = (list(todo), spare, arguments.precision)
        for row in in_processes(1, bracket, tasks, begin, start) if tasks else ():
            record.add(row)
            print(f"{row.model:4} image {row.index:5} {row.norm:4} {row.status:9} [{row.lower:.5f}, {row.upper:.5f}] "
                  f"× {row.width:.3f}  {row.cpu_seconds:.1f} CPU s  {row.reason}", flush=True)  # fmt: skip
    except InputError as error:
        print(f"reach: error: {error}", file=sys.stderr)
        return 2
    rows = [row for row in record.rows if row.instance in asked]
    print(summary(rows))
    return UNDECIDED if missed(rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
