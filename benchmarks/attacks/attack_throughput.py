"""Attack steps per second: ONNX Runtime with this engine's own reverse pass, and PyTorch's autograd, in turn.

`python -m benchmarks.attacks.attack_throughput` runs both sides on the same network, the same rows and the same
number of threads, round by round in one process, and prints the median rates and the median of the rounds' ratios.
Three kinds of step: the gradient alone, a PGD step (L∞), a Carlini–Wagner step (L∞, Adam, best point kept). Needs the
`bench` extra.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.arguments import above_zero, count
from benchmarks.harness.record import load_average, session, write_atomically
from encoders.errors import InputError
from encoders.network.graph import Affine, Graph, GraphBuilder
from encoders.network.linear_maps import Dense, readonly
from encoders.onnx_io.builder import BATCH
from encoders.onnx_io.from_onnx import read_network
from verifier.attacks.base.objective import loss_at
from verifier.attacks.carlini_wagner import BETA1, BETA2, EPSILON, FIRST_SECOND, linf_step
from verifier.attacks.gradient import sign_step
from verifier.runtime.device import Device, resolve
from verifier.runtime.step_model import StepBuilder, StepLoop, StepModel

MODEL = Path(__file__).parents[2] / "verifier" / "models" / "mnist_n.onnx"
SIZES = (784, 24, 24, 24, 10)  # the network that stands in where the file is absent
TAU, RATE, SHRINK, RADIUS = 0.1, 0.01, 0.995, 0.1

Step = Callable[[int], None]


@dataclass(frozen=True)
class Row:
    """One line of the table: gradient evaluations per second of both sides, and the median of the rounds' ratios."""

    step: str
    device: str
    ours: float
    torch: float | None
    ratio: float | None


def network() -> tuple[str, Graph]:
    """The shipped MNIST network, or a random one of its shape."""
    if MODEL.exists():
        return MODEL.name, read_network(MODEL).graph
    rng = np.random.default_rng(0)
    builder, last = GraphBuilder(SIZES[0]), 0
    for layer, (n, m) in enumerate(pairwise(SIZES)):
        source = builder.relu(last) if layer else last
        weight = readonly((rng.standard_normal((m, n)) / np.sqrt(n)).astype(np.float32).astype(np.float64))
        last = builder.affine([(Dense(weight), source)], rng.standard_normal(m).astype(np.float32))
    return "random 784-24-24-24-10", builder.graph(last)


def layers(graph: Graph) -> list[tuple[Any, Any]]:
    """(weight, bias) of a plain chain of dense layers, for the other side."""
    found = []
    for node in graph.nodes:
        if isinstance(node, Affine) and isinstance(node.terms[0].map, Dense):
            found.append((node.terms[0].map.weight.astype(np.float32), node.bias.astype(np.float32)))
    return found


def gradient_step(b: StepBuilder) -> StepModel:
    """∂ max(f, 0)/∂x at one fixed x."""
    n = b.graph.input_size
    b.state("gradient", BATCH, n)
    loss = loss_at(b, b.given("x", BATCH, n))
    return b.step({"gradient": (loss.gradient, (BATCH, n))})


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows that both sides attack: x (batch, n), own one-hot targets (batch, classes)."""

    x: Any
    own: Any


def our_step(kind: str, graph: Graph, rows: Rows, device: Device, threads: int) -> Step:
    """Runs `count` steps of ours on the device and waits for the last."""
    build = {"gradient": gradient_step, "pgd": sign_step, "carlini-wagner": linf_step}[kind]
    loop = StepLoop(build(StepBuilder(graph)), device, threads)
    x, column = rows.x, np.ones((len(rows.x), 1))
    zeros = np.zeros_like(x)
    # The margin keeps the loss of every row active, so that no side stops early.
    goal = {"own": rows.own, "sign": column, "margin": [[1e6]]}
    box = {
        "low": zeros[:1],
        "high": zeros[:1] + 1,
        "lower": np.maximum(x - RADIUS, 0),
        "upper": np.minimum(x + RADIUS, 1),
    }
    constants = {
        **goal, **box, "x": x, "centre": x, "weight": column, "decay": [[1.0]], "shrink": [[SHRINK]],
    }  # fmt: skip
    state = {
        "gradient": zeros, "x": x, "step": RATE * column, "gap": column, "tau": TAU * column, "rate": [[RATE]],
        "best": x, "distance": 3e38 * column, "first": zeros, "second": zeros + FIRST_SECOND,
        "power1": [[1.0]], "power2": [[1.0]],
    }  # fmt: skip
    loop.start(constants, state)

    def run(count: int) -> None:
        loop.run(count)
        loop.read("gradient" if kind == "gradient" else "x")

    return run


def torch_step(torch: Any, kind: str, graph: Graph, rows: Rows, place: str) -> Step:
    """The same step in PyTorch with autograd."""
    parts = [tuple(torch.from_numpy(array).to(place) for array in layer) for layer in layers(graph)]
    start, own = torch.from_numpy(rows.x).to(place), torch.from_numpy(rows.own).to(place)
    hot = own > 0
    lower, upper = (start - RADIUS).clamp(min=0.0), (start + RADIUS).clamp(max=1.0)

    def gap_and_gradient(x: Any) -> tuple[Any, Any]:
        x = x.detach().requires_grad_(True)
        h = x
        for index, (weight, bias) in enumerate(parts):
            h = torch.nn.functional.linear(torch.relu(h) if index else h, weight, bias)
        rival = h.masked_fill(hot, -3e38).amax(dim=1, keepdim=True)
        gap = rival - (h * own).sum(dim=1, keepdim=True) + 1e6
        (gradient,) = torch.autograd.grad(gap.clamp(min=0.0).sum(), x)
        return gap.detach(), gradient

    state = _TorchState(torch, start)

    def gradient() -> None:
        gap_and_gradient(state.x)

    def pgd() -> None:
        _, g = gap_and_gradient(state.x)
        state.x = torch.minimum(torch.maximum(state.x - RATE * g.sign(), lower), upper)

    def carlini_wagner() -> None:
        gap, g = gap_and_gradient(state.x)
        state.adam(gap, g)

    one = {"gradient": gradient, "pgd": pgd, "carlini-wagner": carlini_wagner}[kind]

    def run(count: int) -> None:
        for _ in range(count):
            one()
        if place == "cuda":
            torch.cuda.synchronize()

    return run


class _TorchState:
    """The variables of the Carlini–Wagner step; its arithmetic is that of `linf_step`, in place where PyTorch can."""

    def __init__(self, torch: Any, start: Any) -> None:
        self.torch, self.x, self.centre = torch, start.clone(), start
        self.first, self.second = torch.zeros_like(start), torch.zeros_like(start)
        self.best = start.clone()
        self.distance = torch.full((len(start), 1), 3e38, device=start.device)
        self.tau = torch.full((len(start), 1), TAU, device=start.device)
        self.count = 0

    def adam(self, gap: Any, gradient: Any) -> None:
        torch = self.torch
        delta = self.x - self.centre
        length = delta.abs().amax(dim=1, keepdim=True)
        better = (gap <= 0) & (length < self.distance)
        self.best = torch.where(better, self.x, self.best)
        self.distance = torch.where(better, length, self.distance)
        self.tau = torch.minimum(self.tau, SHRINK * self.distance)
        gradient += (delta - torch.maximum(torch.minimum(delta, self.tau), -self.tau)).sign_()
        self.first.mul_(BETA1).add_(gradient, alpha=1 - BETA1)
        self.second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        self.count += 1
        correction = (1 - BETA2**self.count) ** 0.5 / (1 - BETA1**self.count)
        move = self.first / self.second.sqrt().add_(EPSILON)
        self.x = (self.x - move.mul_(RATE * correction * self.tau)).clamp_(0.0, 1.0)


def rate(step: Step, batch: int, seconds: float) -> float:
    """Gradient evaluations per second over about `seconds`."""
    begin = time.perf_counter()
    step(5)
    count = max(5, int(5 * seconds / (time.perf_counter() - begin)))
    begin = time.perf_counter()
    step(count)
    return count * batch / (time.perf_counter() - begin)


def compare(ours: Step, theirs: Step | None, batch: int, rounds: int, seconds: float) -> tuple[float, Any, Any]:
    """Median rates of both, and the median of the rounds' ratios; the sides take turns, and turns at going first."""
    pairs = []
    for turn in range(rounds):
        sides = [ours, theirs] if turn % 2 == 0 else [theirs, ours]
        rates = [rate(side, batch, seconds) if side else float("nan") for side in sides]
        pairs.append(rates if turn % 2 == 0 else rates[::-1])
    mine = statistics.median(pair[0] for pair in pairs)
    if theirs is None:
        return mine, None, None
    return mine, statistics.median(pair[1] for pair in pairs), statistics.median(a / b for a, b in pairs)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--device", default="cpu", help="cpu, or cuda: then the CUDA rows come after the CPU's")
    parser.add_argument("--batch", type=count, default=512)
    parser.add_argument("--threads", type=count, default=1, help="of each side; above 1 only on idle cores")
    parser.add_argument("--rounds", type=count, default=7)
    parser.add_argument("--seconds", type=above_zero, default=0.5, help="per side and round")
    parser.add_argument("--out", type=Path, help="write the table as JSON")
    options = parser.parse_args(words)
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        print("this benchmark compares with PyTorch: pip install 'relu-verifier[bench]'", file=sys.stderr)
        return 2
    try:
        chosen = resolve(options.device)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads)
    before = session(("torch",))
    name, graph = network()
    rng = np.random.default_rng(0)
    x = rng.random((options.batch, graph.input_size), dtype=np.float32)
    rows_of = Rows(x, np.eye(graph.output_size, dtype=np.float32)[rng.integers(graph.output_size, size=len(x))])
    devices = [Device.CPU] + ([Device.CUDA] if chosen is Device.CUDA else [])
    table = []
    print(f"{name}, batch {options.batch}, {options.threads} threads, {options.rounds} rounds; gradients per second")
    print(f"{'step':16} {'device':6} {'ours':>12} {'PyTorch':>12} {'ratio':>7}")
    for device in devices:
        for kind in ("gradient", "pgd", "carlini-wagner"):
            ours = our_step(kind, graph, rows_of, device, options.threads)
            there = device is Device.CPU or torch.cuda.is_available()
            theirs = torch_step(torch, kind, graph, rows_of, device.value) if there else None
            row = Row(kind, device.value, *compare(ours, theirs, options.batch, options.rounds, options.seconds))
            table.append(row)
            other = "-" if row.torch is None else f"{row.torch:,.0f}"
            print(
                f"{kind:16} {device.value:6} {row.ours:12,.0f} {other:>12} {row.ratio or float('nan'):7.2f}", flush=True
            )
    if options.out:
        settings = {"network": name, "batch": options.batch, "threads": options.threads, "rounds": options.rounds}
        result = {**settings, **before, "load_average_at_end": load_average()}
        result["rows"] = [asdict(row) for row in table]
        write_atomically(options.out, (json.dumps(result, indent=2) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
