"""Bound trees by numpy, by the kernel, and by ONNX Runtime on a device: steps and nodes a second.

`python -m benchmarks.engine.throughput --device cuda` takes the trees' steps of α, β and λ on the GPU, beside numpy's
and the kernel's on one core: node-steps a second of nodes drawn below one root, how much their bounds gain, and the
nodes a second of a whole tree with batches of that size. Two nets of our own, an MNIST test image, its runner-up as
goal, a radius at which a tree stays open. With `--device cpu` the same ONNX models run on ONNX Runtime's CPU provider.
Exit code 1: an engine's bounds gain less than `LEAST` of numpy's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import verifier
from benchmarks.harness.arguments import above_zero, count
from benchmarks.harness.instances import compile_kernels, one_core
from benchmarks.harness.mnist import load_mnist
from benchmarks.harness.record import RESULTS, Record, table
from encoders.errors import InputError
from encoders.formulations.to_stages import to_stages
from encoders.network.graph import Array, outputs
from verifier.bounds.alpha_beta_crown import Ascending, BatchedBound, Start
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.kernels.compiled_bound import CompiledBound
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Norm, Query, Targeted, disjuncts
from verifier.runtime.device import Device, resolve
from verifier.solvers.branch_and_bound import BranchAndBound, hidden_bounds
from verifier.solvers.tree.bound_tree import BoundSettings
from verifier.solvers.tree.onnx_steps import OnnxSteps
from verifier.solvers.tree.steps import rooted

FOLDER = Path(__file__).parents[1] / "nets"
RADII = {"mnist_3x256": 0.03, "mnist_conv": 0.055}
"""The nets, and radii at which a tree does not close in the time of a measurement."""

NUMPY, KERNEL = "numpy", "kernel"
STEPS = 10
"""Steps for each batch: those of a bound tree."""

DEPTH = 12
"""Open ReLUs of the root that are split in each node that is drawn."""

LEAST = 0.9
SETTING = ("seconds", "seed")
NOTE = (
    "One core for what runs on the CPU. step_rate: nodes × steps a second, the median of rounds in turn; gain: of the "
    "bounds in ten steps, as a share of numpy's; node_rate: of a whole tree, safe evaluation and narrowing on the CPU."
)


@dataclass(frozen=True)
class Row:
    """One net, batch and engine."""

    net: str
    batch: int
    engine: str
    step_rate: float
    gain: float
    node_rate: float

    @property
    def key(self) -> tuple[str, int, str]:
        return (self.net, self.batch, self.engine)


class Below:
    """Nodes below one root: the ball of a net's radius around a test image, its runner-up as goal."""

    def __init__(self, net: str, data: Path | None, seed: int) -> None:
        model, mnist = verifier.load(FOLDER / f"{net}.onnx"), load_mnist(data)
        self._rng = np.random.default_rng(seed)
        picks = self._rng.permutation(len(mnist.test_images)).tolist()
        index = next(i for i in picks if model.predict(mnist.test_images[i]) == mnist.test_labels[i])
        image, label = mnist.test_images[index].reshape(-1).astype(float), int(mnist.test_labels[index])
        (scores,) = outputs(model.graph, image)
        scores[label] = -np.inf
        self.ball = Ball(Norm.LINF, image, RADII[net], np.zeros(image.size), np.ones(image.size))
        ((_, goal),) = disjuncts(Targeted(int(np.argmax(scores))), model.classes)
        self.query = Query(model.graph, self.ball, goal)
        self.bounds = linear_bounds(model.graph, self.ball, Budget())
        self.stages = to_stages(model.graph)
        self.ends = hidden_bounds(self.stages, self.bounds)
        self.bound = BatchedBound(self.stages, self.ball, goal, *self.ends)

    def engine(self, name: str, device: Device) -> Ascending:
        """What takes the steps."""
        if name == NUMPY:
            return self.bound
        if name == KERNEL:
            return CompiledBound(self.bound)
        return OnnxSteps(self.bound, self.query.graph, self.stages, self.query.goal, device)

    def nodes(self, batch: int) -> tuple[Array, Array, Start]:
        """Bounds (open, batch) of nodes that hold a random point of the ball each, and the root's multipliers."""
        own, rng, (low, high) = self.bound.undecided, self._rng, self.ball.interval
        lower, upper = (np.repeat(end[own, np.newaxis], batch, axis=1) for end in self.ends)
        arguments, _ = self.stages.values(low + (high - low) * rng.random((batch, low.size)))
        for node in range(batch):
            chosen = rng.choice(own.size, min(DEPTH, own.size), replace=False)
            active = arguments[node, own[chosen]] > 0
            lower[chosen[active], node] = 0.0
            upper[chosen[~active], node] = 0.0
        low, high = (end[own, np.newaxis] for end in self.ends)
        best = rooted(self.bound, low, high, BoundSettings.first_steps, Budget()).best
        return lower, upper, best.columns(np.zeros(batch, dtype=np.intp))

    def node_rate(self, name: str, device: Device, batch: int, seconds: float) -> float:
        """Nodes a second of a tree by this engine, its first ones included; 0 for numpy, whose trees the kernel takes
        over. Raises InputError where a tree ends before its time."""
        if name == NUMPY:
            return 0.0
        decider = BranchAndBound(engine="bound").having("bound", batch=batch, device=None if name == KERNEL else device)
        budget = Budget(seconds)
        tree = decider.tree(self.query, self.stages, self.bounds, floor=0.0, slack=0.0, tolerance=1e-7)
        begun = time.perf_counter()
        with suppress(OutOfTimeError):
            while tree.open_nodes and not tree.stuck and tree.explore(budget) is None:
                pass
            raise InputError(f"the tree about a ball of {self.ball.radius:g} ended after {tree.nodes} nodes")
        return tree.nodes / (time.perf_counter() - begun)


@cache
def below(net: str, data: Path | None, seed: int) -> Below:
    """Made once for each net."""
    return Below(net, data, seed)


def measured(root: Below, net: str, batch: int, engines: Sequence[str], device: Device, seconds: float) -> list[Row]:
    """The rows of one net and batch: rounds in turn for so many seconds an engine, then a tree each."""
    lower, upper, start = root.nodes(batch)
    ascends = {name: root.engine(name, device) for name in engines}
    before = root.bound.optimise(lower, upper, start, 0, Budget()).values
    gains = {
        name: float(np.mean(ascend.optimise(lower, upper, start, STEPS, Budget()).values - before))
        for name, ascend in ascends.items()
    }
    rates: dict[str, list[float]] = {name: [] for name in engines}
    until = time.perf_counter() + seconds * len(engines)
    while time.perf_counter() < until:
        for name, ascend in ascends.items():
            begun = time.perf_counter()
            ascend.optimise(lower, upper, start, STEPS, Budget())
            rates[name].append(batch * STEPS / (time.perf_counter() - begun))
    return [
        Row(
            net,
            batch,
            name,
            round(statistics.median(rates[name]), 1),
            round(gains[name] / gains[NUMPY], 4),
            round(root.node_rate(name, device, batch, seconds), 1),
        )
        for name in engines
    ]


HEADER = ("net", "batch", "engine", "node-steps / s", "gain / numpy's", "nodes / s of a tree")


def summary(rows: Sequence[Row]) -> str:
    """A line a row."""
    lines = []
    for row in rows:
        node_rate = f"{row.node_rate:,.0f}" if row.node_rate else ""
        lines.append((row.net, str(row.batch), row.engine, f"{row.step_rate:,.0f}", f"{row.gain:.3f}", node_rate))
    return table(HEADER, lines)


def main(words: Sequence[str] | None = None) -> int:
    """Measure what the record lacks, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=[Device.CPU, Device.CUDA], default=Device.CPU, help="default: %(default)s")
    parser.add_argument("--nets", nargs="+", choices=tuple(RADII), default=list(RADII), help="default: all")
    parser.add_argument("--batches", nargs="+", type=count, default=[32, 128, 512], help="default: %(default)s")
    parser.add_argument("--seconds", type=above_zero, default=10.0, help="of each measurement (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="of image and nodes (default: %(default)d)")
    parser.add_argument("--data", type=Path, help="the folder of the MNIST idx files (default: beside the project)")
    parser.add_argument("--out", type=Path, default=RESULTS / "throughput.json", metavar="FILE")
    parser.add_argument("--fresh", action="store_true", help="begin the record anew")
    asked = parser.parse_args(words)
    try:
        device = resolve(asked.device)
        record: Record[Row] = Record.of(asked, SETTING, Row, note=NOTE)
        one_core()
        compile_kernels()
        engines = (NUMPY, KERNEL, f"onnxruntime {device}")
        done = {row.key for row in record.rows}
        for net in asked.nets:
            for batch in asked.batches:
                if any((net, batch, name) not in done for name in engines):
                    root = below(net, asked.data, asked.seed)
                    for row in measured(root, net, batch, engines, device, asked.seconds):
                        record.add(row)
                    print(summary([row for row in record.rows if (row.net, row.batch) == (net, batch)]), flush=True)
    except InputError as error:
        print(f"throughput: error: {error}", file=sys.stderr)
        return 2
    print(summary(record.rows))
    return int(any(row.gain < LEAST for row in record.rows))


if __name__ == "__main__":
    raise SystemExit(main())
