"""Random networks of 100 to 2,000 ReLUs: what is said of them is certified, replayed, and the same in batches.

`python -m benchmarks.engine.soundness` asks of each network, dense or convolutional, in the three norms in turn,
whether an adversarial point lies within a share of an attack's distance. What holds has to have a certificate that the
lone checker takes; what is violated, a point that a session of our own sends to another class. At a radius that was
proved for float32 no point that is drawn may get another class, at any level of ONNX Runtime's optimisations: corners,
random points, and what lies towards the attack's point. On every tenth network the bounds of 1,000 nodes are computed
as one batch and as 1,000 batches of one, and may differ by less than the rounding that both are charged. Exit code 1:
something contradicts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

import verifier
from benchmarks.harness.arguments import above_zero, count
from benchmarks.harness.instances import Stopwatch, compile_kernels, in_processes
from benchmarks.harness.record import RESULTS, Record, table
from encoders.errors import InputError
from encoders.formulations.to_stages import to_stages
from encoders.onnx_io.weights import OnnxModel
from verifier.bounds.lagrangian import Lagrangian
from verifier.certificates import checker
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.blas import single_threaded_blas
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Norm, Targeted, disjuncts
from verifier.problem.verdict import Holds, Violated
from verifier.runtime.session import Level, session
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.root_bounds import root_bounds

SETTING = ("timeout", "points", "nodes")
NOTE = (
    "A row: one network. `share`: of the attack's distance; `certified`: None where nothing was to be; `points`: those "
    "that ONNX Runtime ran within a radius proved for float32, at four levels each; `apart`: the largest difference "
    "between a batch of all nodes and batches of one, as a share of what both are charged."
)
SHARES = (0.05, 0.1, 0.2, 1.05)
"""Radii, of an attack's distance: small ones close within seconds at 2,000 ReLUs too, the last one is violated."""
RELUS = (100, 2000)
INWARDS = 1.0 - 1e-5
"""Points that are to lie within a radius are drawn so much nearer: rounding them to float32 takes less."""

ATTACK_SECONDS = 2.0

BATCHED = 10
"""Of every so-many-th network nodes are bounded in batches."""


@dataclass(frozen=True)
class Row:
    """What one network gave."""

    seed: int
    kind: str
    norm: str
    inputs: int
    relus: int
    share: float
    verdict: str
    float32: bool
    certified: bool | None
    leaves: int
    points: int
    nodes: int
    apart: float
    contradictions: tuple[str, ...]
    reason: str
    seconds: float
    cpu_seconds: float

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.seed,)


@dataclass
class Layers:
    """A random ONNX network, a layer after the other; `shape` is that of the last one's output."""

    rng: np.random.Generator
    shape: tuple[int, ...]
    relus: int = 0
    last: str = "x"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, kind: str, shape: tuple[int, ...], *weights: npt.NDArray[np.float32], **attributes: Any) -> None:
        names = [f"c{len(self.constants) + place}" for place in range(len(weights))]
        self.constants += [numpy_helper.from_array(weight, name) for name, weight in zip(names, weights, strict=True)]
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self.last, *names], [name], **attributes))
        self.last, self.shape = name, shape

    def normal(self, *shape: int, fan_in: int) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = (self.rng.normal(size=shape) * np.sqrt(2.0 / fan_in)).astype(np.float32)
        return found

    def bias(self, size: int) -> npt.NDArray[np.float32]:
        return (0.1 * self.rng.normal(size=size)).astype(np.float32)

    def relu(self) -> None:
        self.add("Relu", self.shape)
        self.relus += int(np.prod(self.shape))

    def dense(self, size: int) -> None:
        given = int(np.prod(self.shape))
        if len(self.shape) > 1:
            self.add("Flatten", (given,))
        self.add("Gemm", (size,), self.normal(given, size, fan_in=given), self.bias(size))

    def conv(self, channels: int, stride: int) -> None:
        given, *sides = self.shape
        weight = self.normal(channels, given, 3, 3, fan_in=9 * given)
        shape = (channels, *((side - 1) // stride + 1 for side in sides))
        self.add("Conv", shape, weight, self.bias(channels), pads=[1, 1, 1, 1], strides=[stride, stride])

    def model(self, shape: Sequence[int]) -> onnx.ModelProto:
        value = helper.make_tensor_value_info
        given = value("x", TensorProto.FLOAT, ["batch", *shape])
        gives = value(self.last, TensorProto.FLOAT, ["batch", *self.shape])
        graph = helper.make_graph(self.nodes, "random", [given], [gives], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@dataclass(frozen=True, eq=False)
class RandomNet:
    """A random network with an input of its own in [0, 1]."""

    model: onnx.ModelProto
    kind: str
    relus: int
    x: npt.NDArray[np.float32]


def random_net(seed: int) -> RandomNet:
    """Every third one is convolutional; sizes are drawn evenly by their logarithm."""
    rng = np.random.default_rng(seed)
    wanted = float(np.exp(rng.uniform(*np.log(RELUS))))
    shape: tuple[int, ...]
    if seed % 3 == 2:
        side, channels = int(rng.integers(6, 11)), int(rng.integers(1, 4))
        layers = Layers(rng, (channels, side, side))
        first = max(2, round(wanted / (1.5 * side * side)))
        layers.conv(first, 1)
        layers.relu()
        layers.conv(max(2, 2 * first), 2)
        kind, shape = "conv", (channels, side, side)
    else:
        kind, shape = "dense", (int(rng.integers(5, 41)),)
        layers, depth = Layers(rng, shape), int(rng.integers(1, 5))
        for _ in range(depth - 1):
            layers.dense(max(2, round(wanted / depth)))
            layers.relu()
        layers.dense(max(2, round(wanted / depth)))
    layers.relu()
    layers.dense(int(rng.integers(2, 6)))
    x = rng.random(int(np.prod(shape))).astype(np.float32)
    return RandomNet(layers.model(shape), kind, layers.relus, x)


def ask(seed: int, timeout: float, points: int, nodes: int) -> Row:
    """Everything about the network of this seed."""
    with tempfile.TemporaryDirectory() as folder, single_threaded_blas():
        return _ask(seed, Path(folder) / "net.onnx", timeout, points, nodes)


def _ask(seed: int, path: Path, timeout: float, points: int, nodes: int) -> Row:
    watch, net, norm = Stopwatch(), random_net(seed), tuple(Norm)[seed // 3 % len(Norm)]
    onnx.save(net.model, path)
    model = verifier.load(path)
    share = SHARES[seed // 9 % len(SHARES)]
    near = verifier.attack(model, net.x, norm=norm, attack="pgd", timeout=ATTACK_SECONDS, device="cpu", seed=seed)
    reach = near.upper if np.isfinite(near.upper) else 1.0
    radius = share * reach
    found = verifier.check(model, net.x, radius, norm=norm, timeout=timeout, device="cpu", seed=seed)
    wrong: list[str] = []
    certified, leaves, reason, ran = None, 0, found.reason, 0
    if isinstance(found.verdict, Holds):
        certified = True
        try:
            claimed = radius if found.float32 else 0.0
            made = verifier.certificate(model, net.x, radius, norm=norm, timeout=2.0 * timeout, float32=claimed)
            checker.checked(made.content, path.read_bytes(), path.parent)
            leaves = made.leaves
        except (NotCertifiedError, OutOfTimeError) as error:
            certified, reason = False, str(error)
        except checker.InvalidError as error:
            wrong.append(f"the checker refuses the certificate: {error}")
    label = model.predict(net.x)
    if isinstance(found.verdict, Violated):
        assert found.witness is not None, "who finds a point shows it"
        if not margins(path, found.witness.point[np.newaxis], label, [Level.ALL])[0] <= 0.0:
            wrong.append("the witness has the class of the input")
    if found.float32:
        drawn = points_within(net.x, norm, radius, None if near.witness is None else near.witness.point, points, seed)
        ran = len(drawn)
        if not np.all(margins(path, drawn, label, list(Level)) > 0.0):
            wrong.append(f"proved for float32 within {radius!r}, and ONNX Runtime finds another class there")
    centre = net.x.astype(np.float64)
    ball = Ball(norm, centre, radius, np.zeros_like(centre), np.ones_like(centre))
    apart = batches_apart(model, ball, nodes, seed) if nodes else 0.0
    if apart > 1.0:
        wrong.append(f"a batch of {nodes} nodes differs from {nodes} batches by {apart:.3g} times what is charged")
    return Row(
        seed=seed,
        kind=net.kind,
        norm=norm.value,
        inputs=net.x.size,
        relus=net.relus,
        share=share,
        verdict=type(found.verdict).__name__.lower(),
        float32=bool(found.float32),
        certified=certified,
        leaves=leaves,
        points=ran,
        nodes=nodes,
        apart=apart,
        contradictions=tuple(wrong),
        reason=reason,
        **watch.read(),
    )


def margins(path: Path, points: npt.NDArray[Any], label: int, levels: Sequence[Level]) -> npt.NDArray[np.floating]:
    """By how much the label leads at each point, run alone: the least of the levels, in sessions of our own."""
    loaded, found = OnnxModel(onnx.load(path)), np.full(len(points), np.inf)
    shape = [dim.dim_value or 1 for dim in loaded.proto.graph.input[0].type.tensor_type.shape.dim]
    for level in levels:
        opened = session(loaded, threads=1, level=level)
        for place, point in enumerate(points):
            logits = opened.run(None, {"x": point.astype(np.float32).reshape(shape)})[0][0]
            found[place] = min(found[place], logits[label] - np.delete(logits, label).max())
    return found


def points_within(
    x: npt.NDArray[np.float32], norm: Norm, radius: float, towards: Any, count: int, seed: int
) -> npt.NDArray[np.float32]:
    """Float32 points of [0, 1]ⁿ within the radius: corners of the ball, random ones, and some towards a point."""
    rng, centre = np.random.default_rng(seed), x.astype(np.float64)
    moves = rng.uniform(-1.0, 1.0, (count, x.size))
    moves[: count // 3] = np.sign(moves[: count // 3])
    if towards is not None:
        moves[-(count // 3) :] = towards - centre + 0.01 * moves[-(count // 3) :] * np.abs(towards - centre).max()
    order = {Norm.LINF: np.inf, Norm.L1: 1, Norm.L2: 2}[norm]
    lengths = np.linalg.norm(moves, order, axis=1, keepdims=True)
    drawn = np.clip(centre + INWARDS * radius * moves / lengths, 0.0, 1.0).astype(np.float32)
    inside = np.linalg.norm(drawn - centre, order, axis=1) <= radius * (1.0 - 1e-7)
    found: npt.NDArray[np.float32] = drawn[inside]
    return found


def batches_apart(model: verifier.Model, ball: Ball, nodes: int, seed: int) -> float:
    """How far bounds of random nodes in one batch and each by itself are apart, as a share of what both are charged."""
    graph, rng = model.graph, np.random.default_rng(seed)
    stages = to_stages(graph)
    bounds = root_bounds(graph, ball, Budget())
    low, high = hidden_bounds(stages, bounds)
    label = model.predict(ball.centre)
    ((_, goal),) = disjuncts(Targeted((label + 1) % model.classes), graph.output_size)
    evaluated = Lagrangian(stages, ball, goal, low, high)
    lower, upper = (np.repeat(end[:, np.newaxis], nodes, axis=1) for end in (low, high))
    open_ = (lower < 0) & (upper > 0)
    split, positive = rng.random(lower.shape) < 0.1, rng.random(lower.shape) < 0.5
    lower[open_ & split & positive], upper[open_ & split & ~positive] = 0.0, 0.0
    alpha, beta = rng.random(lower.shape), np.where(open_ & split, rng.normal(size=lower.shape), 0.0)
    weights = rng.dirichlet(np.ones(len(goal.offset)), nodes).T
    together = evaluated.on_lines(weights, alpha, beta, lower, upper)
    most = 0.0
    for node, dual in enumerate(together):
        here = [part[:, node : node + 1] for part in (weights, alpha, beta, lower, upper)]
        (alone,) = evaluated.on_lines(*here)
        size = evaluated.charge @ np.abs(dual.nu) + evaluated.goal_size @ weights[:, node]
        charged = 2.0 * (evaluated.rate * float(size) + evaluated.slack)
        most = max(most, abs(dual.value(ball.radius) - alone.value(ball.radius)) / charged)
    return most


def summary(rows: Sequence[Row]) -> str:
    """A line a kind and norm."""
    lines = []
    for kind, norm in sorted({(row.kind, row.norm) for row in rows}):
        part = [row for row in rows if (row.kind, row.norm) == (kind, norm)]
        count = {name: sum(row.verdict == name for row in part) for name in ("holds", "violated", "unknown")}
        lines.append(
            (
                kind,
                norm,
                str(len(part)),
                *(str(number) for number in count.values()),
                str(sum(row.certified is True for row in part)),
                str(sum(row.points for row in part)),
                f"{max(row.apart for row in part):.2g}",
                str(sum(len(row.contradictions) for row in part)),
                f"{sum(row.cpu_seconds for row in part):.0f}",
            )
        )
    header = ("nets", "norm", "", "hold", "violated", "open", "certified", "replays", "apart", "wrong", "CPU s")
    return table(header, lines)


def main(words: Sequence[str] | None = None) -> int:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=count, default=200, help="networks (default: %(default)d)")
    parser.add_argument("--timeout", type=above_zero, default=60.0, help="seconds a check (default: %(default)g)")
    parser.add_argument("--points", type=count, default=150, help="points a network (default: %(default)d)")
    parser.add_argument("--nodes", type=count, default=1000, help="nodes of a batch (default: %(default)d)")
    parser.add_argument("--jobs", type=count, default=1, help="networks at a time, each on one core")
    parser.add_argument("--out", type=Path, default=RESULTS / "soundness.json", help="the JSON record, continued")
    parser.add_argument("--fresh", action="store_true", help="begin the record anew")
    arguments = parser.parse_args(words)
    try:
        compile_kernels()
        record: Record[Row] = Record.of(arguments, SETTING, Row, note=NOTE)
        known = {row.seed for row in record.rows}
        asked = (arguments.timeout, arguments.points)
        seeds = [seed for seed in range(arguments.nets) if seed not in known]
        todo = [(seed, *asked, arguments.nodes if seed % BATCHED == 0 else 0) for seed in seeds]
        for row in in_processes(arguments.jobs, ask, todo):
            record.add(row)
            print(f"{row.seed} {row.kind} {row.norm} {row.relus} ReLUs: {row.verdict}, {row.cpu_seconds:.1f} CPU s",
                  row.reason, *row.contradictions, flush=True)  # fmt: skip
    except InputError as error:
        print(f"soundness: error: {error}", file=sys.stderr)
        return 2
    print(summary(record.rows))
    return 1 if any(row.contradictions for row in record.rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
