"""What work costs as networks grow: seconds and memory of reading, bounds, `check` and `minimal` by number of ReLUs.

`python -m benchmarks.engine.growth` makes random networks by seed, dense ones of 72 ReLUs to 50 layers of 2,000 (198
million weights) and convolutional ones of 1,636 to 98,404, and takes each step in a process of its own, on one thread.
Reading is timed alone. The same command goes on where it stopped. Exit code 1: a step took more than 8 GiB, or was
later than its limit allows.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

import verifier
from benchmarks.engine.soundness import Layers
from benchmarks.harness.arguments import above_zero
from benchmarks.harness.instances import Stopwatch, compile_kernels, in_processes
from benchmarks.harness.record import RESULTS, Record, table
from encoders.errors import InputError
from encoders.network.node_bounds import unstable_count
from verifier.problem.blas import single_threaded_blas
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Norm
from verifier.solvers.root_bounds import root_bounds

SETTING = ("timeout",)
NOTE = (
    "Each step in a process of its own, which reads the network first; `peak_mib`: the most that it held, in MiB. "
    "`answer`: of bounds, how many ReLUs they leave open."
)
PIXELS, IMAGE, CLASSES = 784, (3, 32, 32), 10
RADIUS = 1e-3
"""In L∞, of the ball that is bounded and checked: deep random networks have points of other classes not far from it."""

MOST_MIB = 8 * 1024.0
LATE, LATER = 1.0, 0.05
"""What `--timeout` may be overrun by: a second, and this share."""

Image = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """What one step took."""

    net: str
    relus: int
    step: str
    answer: str
    seconds: float
    cpu_seconds: float
    peak_mib: float

    @property
    def key(self) -> tuple[Any, ...]:
        return self.relus, self.net, self.step

    @property
    def dense(self) -> bool:
        return not self.net.startswith("conv")


def dense(depth: int, width: int) -> tuple[onnx.ModelProto, int]:
    """So many layers of so many ReLUs, and how many these are."""
    shape = (PIXELS,)
    layers = Layers(np.random.default_rng(depth * width), shape)
    for _ in range(depth):
        layers.dense(width)
        layers.relu()
    layers.dense(CLASSES)
    return layers.model(shape), layers.relus


def convolutional(channels: int) -> tuple[onnx.ModelProto, int]:
    """Two convolutions, of so many channels and of twice as many on a quarter of the places, and 100 dense ReLUs."""
    layers = Layers(np.random.default_rng(channels), IMAGE)
    layers.conv(channels, 1)
    layers.relu()
    layers.conv(2 * channels, 2)
    layers.relu()
    layers.dense(100)
    layers.relu()
    layers.dense(CLASSES)
    return layers.model(IMAGE), layers.relus


NETS: Mapping[str, Callable[[], tuple[onnx.ModelProto, int]]] = {
    "3x24": lambda: dense(3, 24),
    "3x100": lambda: dense(3, 100),
    "2x256": lambda: dense(2, 256),
    "4x256": lambda: dense(4, 256),
    "6x256": lambda: dense(6, 256),
    "conv-1": lambda: convolutional(1),
    "conv-8": lambda: convolutional(8),
    "conv-64": lambda: convolutional(64),
    "50x2000": lambda: dense(50, 2000),
}


def made(name: str, folder: Path) -> tuple[Path, int]:
    """The file of a network, large weights beside it, and its number of ReLUs."""
    (model, relus), path = NETS[name](), folder / f"{name}.onnx"
    onnx.save(model, path, save_as_external_data=True, location=f"{name}.bin")
    return path, relus


def read(model: verifier.Model, _: Image, __: float) -> str:
    """What is left to do of reading: the graph that proofs are about."""
    return f"{model.graph.relu_count} ReLUs"


def bounds(model: verifier.Model, x: Image, timeout: float) -> str:
    """Proved bounds of all arguments."""
    centre = x.astype(np.float64)
    ball = Ball(Norm.LINF, centre, RADIUS, np.zeros_like(centre), np.ones_like(centre))
    return f"{unstable_count(model.graph, root_bounds(model.graph, ball, Budget(timeout)))} open"


def check(model: verifier.Model, x: Image, timeout: float) -> str:
    return type(verifier.check(model, x, RADIUS, timeout=timeout, device="cpu").verdict).__name__.lower()


def minimal(model: verifier.Model, x: Image, timeout: float) -> str:
    found = verifier.minimal(model, x, timeout=timeout, device="cpu")
    return f"{found.status.value}, {found.lower:.4g} to {found.upper:.4g}"


STEPS: Mapping[str, Callable[[verifier.Model, Image, float], str]] = {
    "read": read,
    "bounds": bounds,
    "check": check,
    "minimal": minimal,
}


def measure(name: str, relus: int, path: Path, step: str, timeout: float) -> Row:
    """One step, in a process that does nothing else."""
    with single_threaded_blas():
        watch = Stopwatch()
        model = verifier.load(path)
        x = np.random.default_rng(relus).random(model.graph.input_size).astype(np.float32)
        if step != "read":
            watch = Stopwatch()
        answer = STEPS[step](model, x, timeout)
        return Row(name, relus, step, answer, **watch.read(), peak_mib=peak())


def peak() -> float:
    """MiB that this process has held at most; what `getrusage` says of it may be of the process that began it."""
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="ascii"))):
        return int(found[1]) / 1024
    return getrusage(RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))


def missed(rows: Sequence[Row], timeout: float) -> list[Row]:
    """The steps that took too much memory, or were too late."""
    latest = timeout * (1.0 + LATER) + LATE
    return [
        row for row in rows if row.peak_mib > MOST_MIB or (row.step in ("check", "minimal") and row.seconds > latest)
    ]


def summary(rows: Sequence[Row]) -> str:
    """A line a network: CPU seconds and MiB of each step."""
    lines = []
    for net, relus in dict.fromkeys((row.net, row.relus) for row in rows):
        steps = {row.step: row for row in rows if row.net == net}
        cells = [
            f"{steps[name].cpu_seconds:.1f} s, {steps[name].peak_mib:,.0f}, {steps[name].answer}"
            if name in steps
            else ""
            for name in STEPS
        ]
        lines.append((net, f"{relus:,}", *cells))
    return table(("net", "ReLUs", *(f"{name}: CPU s, MiB" for name in STEPS)), lines)


def main(words: Sequence[str] | None = None) -> int:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=tuple(NETS), default=list(NETS), help="default: all")
    parser.add_argument("--timeout", type=above_zero, default=20.0, help="seconds a step (default: %(default)g)")
    parser.add_argument("--out", type=Path, default=RESULTS / "growth.json", help="the JSON record, continued")
    parser.add_argument("--fresh", action="store_true", help="begin the record anew")
    arguments = parser.parse_args(words)
    try:
        compile_kernels()
        record: Record[Row] = Record.of(arguments, SETTING, Row, note=NOTE)
        for name in arguments.nets:
            todo = [step for step in STEPS if step not in {row.step for row in record.rows if row.net == name}]
            with tempfile.TemporaryDirectory() as folder:
                path, relus = made(name, Path(folder)) if todo else (Path(folder), 0)
                for step in todo:
                    for row in in_processes(1, measure, [(name, relus, path, step, arguments.timeout)]):
                        record.add(row)
                        print(
                            f"{name} {step}: {row.answer}, {row.cpu_seconds:.1f} CPU s, {row.peak_mib:,.0f} MiB",
                            flush=True,
                        )
    except InputError as error:
        print(f"growth: error: {error}", file=sys.stderr)
        return 2
    print(summary(record.rows))
    return 1 if missed(record.rows, arguments.timeout) else 0


if __name__ == "__main__":
    raise SystemExit(main())
