"""The part `sizes` of the ablations: the LP tree and the batched bound tree on nets of growing size.

For each net some images, the runner-up class as target, and radii that are shares of the attack's distance: is there an
adversarial point within? Both engines get the same bounds, the same radius and the same time limit, in turn.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import math
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import verifier
from benchmarks.harness.arguments import above_zero, count
from benchmarks.harness.instances import (
    ERROR,
    HOLDS,
    UNKNOWN,
    VIOLATED,
    Image,
    Instance,
    Result,
    Stopwatch,
    compile_kernels,
    failed,
    in_processes,
    one_core,
    pending,
)
from benchmarks.harness.mnist import load_mnist, shared
from benchmarks.harness.ratios import ratio
from benchmarks.harness.record import Record, cache_folder, table, write_atomically
from benchmarks.training import mnist_3x100
from encoders.errors import InputError
from encoders.network.graph import Relu
from encoders.network.node_bounds import unstable_count
from verifier import models
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Norm, Query, Targeted, disjuncts
from verifier.problem.verdict import Holds, Unknown, Violated
from verifier.solvers.branch_and_bound import BranchAndBound

SETTING = ("timeout", "seed", "per_net", "shares")
ENGINES = ("lp", "bound", "auto")
NOTE = (
    "For each image and radius every engine in turn, in one process that may use one core, after an untimed call of "
    "each; the linear bounds that all are given are not timed. `initial` is the attack's distance."
)

NORMALISED = (-3.0, 3.0)
"""A box that no CIFAR-10 pixel leaves once mean and deviation are divided out."""


@dataclass(frozen=True, eq=False)
class Images:
    """Inputs of a net with their labels (None: the net's own prediction is taken), and the box they lie in."""

    x: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64] | None
    box: tuple[float, float]


def _mnist(data: Path | None) -> Images:
    mnist = load_mnist(data)
    return Images(mnist.test_images, mnist.test_labels, (0.0, 1.0))


def _vnncomp(name: str) -> Path:
    found = shared(f"vnncomp/{name}")
    if found is None:
        raise InputError(f"vnncomp/{name} is not among the data beside the project")
    return found


def _oval21(_: Path | None) -> Images:
    """The centres of the input boxes of the properties of `cifar_base_kw`: normalised CIFAR-10 images."""
    folder = _vnncomp("oval21")
    with (folder / "instances.csv").open(encoding="utf-8") as file:
        names = [row[1] for row in csv.reader(file) if row[0].endswith("cifar_base_kw.onnx")]
    return Images(np.array([_centre(folder / name) for name in names]), None, NORMALISED)


BOUND = re.compile(r"\(assert \((<=|>=) X_(\d+) (\S+)\)\)")


def _centre(path: Path) -> npt.NDArray[np.float32]:
    """The middle of the box that a VNN-LIB file, perhaps gzipped, gives for X."""
    zipped = path.with_name(f"{path.name}.gz")
    text = gzip.decompress(zipped.read_bytes()).decode() if zipped.exists() else path.read_text(encoding="utf-8")
    ends: dict[str, dict[int, float]] = {"<=": {}, ">=": {}}
    for sign, place, value in BOUND.findall(text):
        ends[sign][int(place)] = float(value)
    return np.array([(ends["<="][i] + ends[">="][i]) / 2 for i in range(len(ends["<="]))], dtype=np.float32)


def _trained(data: Path | None) -> Path:
    path = cache_folder("nets") / f"{mnist_3x100.RECIPE.name}.onnx"
    if not path.exists():
        try:
            content = mnist_3x100.train(load_mnist(data))
        except ImportError as error:
            raise InputError(
                f"3x100 is trained by scikit-learn: pip install 'relu-verifier[bench]' ({error})"
            ) from error
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    return path


def _fully_connected(depth: int) -> Callable[[Path | None], Path]:
    return lambda _: _vnncomp(f"mnist_fc/onnx/mnist-net_256x{depth}.onnx")


NETS: Mapping[str, tuple[Callable[[Path | None], Path], Callable[[Path | None], Images]]] = {
    "3x24": (lambda _: models.path("mnist_n"), _mnist),
    "3x100": (_trained, _mnist),
    "2x256": (_fully_connected(2), _mnist),
    "4x256": (_fully_connected(4), _mnist),
    "6x256": (_fully_connected(6), _mnist),
    "conv": (lambda _: _vnncomp("oval21/onnx/cifar_base_kw.onnx"), _oval21),
}
"""For each net where its ONNX file and its images come from."""


@dataclass(frozen=True, eq=False)
class Task:
    """An instance with its input, the box, the attack's distance and the net's file."""

    instance: Instance
    image: Image
    box: tuple[float, float]
    attacked: float
    path: Path


@cache
def _loaded(path: Path) -> verifier.Model:
    return verifier.load(path)


def tasks_of(name: str, data: Path | None, per_net: int, shares: Sequence[float], seed: int) -> list[Task]:
    """For images drawn by seed among those that the net classifies correctly: one task for each share."""
    find, images_of = NETS[name]
    path, images = find(data), images_of(data)
    model, found = _loaded(path), []
    for index in np.random.default_rng(seed).permutation(len(images.x)).tolist():
        x = images.x[index]
        label, target = np.argsort(-model.logits(x), kind="stable")[:2].tolist()
        if images.labels is not None and label != images.labels[index]:
            continue
        attacked = verifier.attack(model, x, target=target, box=images.box, device="cpu").upper
        if math.isfinite(attacked):
            asked = [Instance(name, index, label, target, "linf", share * attacked) for share in shares]
            found += [Task(instance, x, images.box, attacked, path) for instance in asked]
        if len(found) >= per_net * len(shares):
            break
    return found


def decide(task: Task, engines: Sequence[str], timeout: float) -> list[Result]:
    """The task's results by all engines, one after the other."""
    instance, graph = task.instance, _loaded(task.path).graph
    centre = task.image.astype(np.float64)
    assert instance.radius is not None
    ball = Ball(Norm.LINF, centre, instance.radius, *(np.full_like(centre, end) for end in task.box))
    ((_, goal),) = disjuncts(Targeted(instance.target), graph.output_size)
    query, bounds = Query(graph, ball, goal), linear_bounds(graph, ball, Budget())
    note = f"{unstable_count(graph, bounds)} unstable"
    results = []
    for engine in engines:
        chosen: dict[str, Any] = {"engine": engine}
        watch = Stopwatch()
        try:
            verdict = BranchAndBound(**chosen).decide(query, bounds, Budget(timeout))
        except Exception as error:  # noqa: BLE001 - an engine that fails is a line of the table
            results.append(failed(instance, engine, error, watch))
            continue
        status = {Holds: HOLDS, Violated: VIOLATED, Unknown: UNKNOWN}[type(verdict)]
        results.append(
            Result(
                **asdict(instance),
                method=engine,
                status=status,
                lower=instance.radius if status == HOLDS else 0.0,
                upper=instance.radius if status == VIOLATED else math.inf,
                initial=task.attacked,
                evidence=verdict.evidence.label if isinstance(verdict, Holds) else "",
                reason="; ".join([note, *([verdict.reason] if isinstance(verdict, Unknown) else [])]),
                **watch.read(),
            )
        )
    return results


def begin(first: Sequence[Task], engines: Sequence[str]) -> None:
    """In the process that measures: one core, and an untimed call of each engine for each net."""
    one_core()
    for task in first:
        assert task.instance.radius is not None
        small = replace(task, instance=replace(task.instance, radius=task.instance.radius / 4))
        decide(small, engines, timeout=2.0)


HEADER = ("net", "ReLUs", "engine", "decided", "error", "times LP tree (wall)", "median wall s")


def summary(rows: Sequence[Result], relus: Mapping[str, int], limit: float) -> str:
    """A line for each net and engine."""
    lines = []
    for name, engine in ((name, engine) for name in relus for engine in ENGINES):
        of = {each: [row for row in rows if (row.model, row.method) == (name, each)] for each in (engine, ENGINES[0])}
        mine = of[engine]
        if mine:
            closed, errors = sum(row.closed for row in mine), sum(row.status == ERROR for row in mine)
            times, median = ratio(of[ENGINES[0]], mine, limit), statistics.median(row.seconds for row in mine)
            decided = f"{closed}/{len(mine)}"
            lines.append((name, str(relus[name]), engine, decided, str(errors), str(times), f"{median:.2f}"))
    return table(HEADER, lines)


def contradictions(rows: Sequence[Result]) -> list[str]:
    """Questions to which two engines give opposite answers: one line each."""
    answers: dict[Instance, dict[str, str]] = {}
    for row in rows:
        if row.closed:
            answers.setdefault(row.instance, {})[row.method] = row.status
    return [f"{instance}: {given}" for instance, given in answers.items() if len(set(given.values())) > 1]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this part alone."""
    parser.add_argument("--nets", nargs="+", choices=tuple(NETS), default=list(NETS), help="sizes: default all")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), help="sizes: default all")
    parser.add_argument("--per-net", type=count, default=3, help="sizes: images a net (default: %(default)d)")
    parser.add_argument("--shares", nargs="+", type=above_zero, default=[0.15, 0.3, 0.6, 0.9],
                        help="sizes: radii as shares of the attack's distance (default: 0.15 0.3 0.6 0.9)")  # fmt: skip


def run(arguments: argparse.Namespace) -> list[str]:
    """Run the part `sizes` and print its table; returns the contradictions."""
    record: Record[Result] = Record.of(arguments, SETTING, Result, note=NOTE)
    wanted: list[Task] = []
    relus: dict[str, int] = {}
    for name in arguments.nets:
        try:
            found = tasks_of(name, arguments.data, arguments.per_net, arguments.shares, arguments.seed)
        except InputError as error:
            print(f"{name} is skipped: {error}")
            continue
        wanted += found[: arguments.limit]
        relus[name] = sum(node.size for node in _loaded(found[0].path).graph.nodes if isinstance(node, Relu))
    instances = [task.instance for task in wanted]
    lacking = {instance for engine in arguments.engines for instance in pending(instances, engine, record)}
    todo = [task for task in wanted if task.instance in lacking]
    first = list({task.path: task for task in reversed(todo)}.values())
    compile_kernels()
    jobs = [(task, arguments.engines, arguments.timeout) for task in todo]
    for rows in in_processes(1, decide, jobs, begin, (first, arguments.engines)):
        for row in rows:
            record.add(row)
            print(f"{row.model:6} image {row.index:5} radius {row.radius:.4f}  {row.method:6} {row.status:9} "
                  f"{row.seconds:8.2f} s  {row.reason}", flush=True)  # fmt: skip
    rows = [row for row in record.rows if row.instance in instances]
    print(summary(rows, relus, arguments.timeout))
    print("Geometric means of the multiples; what is undecided counts at the time limit: ≥ is a lower bound.")
    return contradictions(rows)
