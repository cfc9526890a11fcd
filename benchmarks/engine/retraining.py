"""After retraining: what the answers about a model before say about it, in time.

`python -m benchmarks.engine.retraining --images 20` asks every target of MNIST test images, in both norms, about
`mnist_n_tuned`, which is `mnist_n` after one more epoch (`benchmarks.training.mnist_tuned`): the whole bracket, to
--precision, and whether a gate's share KEPT of the old lower end is kept. Each is asked twice, in turn, on one core:
afresh, and beginning with what a search about `mnist_n` has left, which is its witness and its split tree, by way of
the bytes that a store keeps. The record is written after every instance; the same command goes on where it stopped.
Exit code 1: two answers contradict each other.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.harness.arguments import at_least_zero, count
from benchmarks.harness.instances import (
    Image,
    Instance,
    Stopwatch,
    add_options,
    compile_kernels,
    in_processes,
    key_of,
    loaded,
    one_core,
)
from benchmarks.harness.mnist import load_mnist
from benchmarks.harness.record import RESULTS, Record, table
from encoders.errors import InputError
from verifier.problem.budget import Budget
from verifier.problem.phase_tree import decoded
from verifier.problem.verdict import Bracket, Holds, Status, Violated
from verifier.search import minimum, robustness
from verifier.search.earlier import Earlier
from verifier.search.question import InputRegion, Misclassification, Specification, specify
from verifier.search.robustness import Check
from verifier.search.settings import Settings

BEFORE, AFTER = "mnist_n", "mnist_n_tuned"
NORMS = ("linf", "l1")
SETTING = ("precision", "timeout")
NOTE = (
    "CPU seconds of one process on one core, fresh and again in turn; writing the tree down is part of `again`, as in "
    "a gate, reading the old one too. bytes: of the old trees as a store keeps them."
)
KEPT = 0.95
"""The share of the old lower end that a gate requires to be kept."""
TENTH = 0.1
"""The share of a fresh search's time that is aimed at."""


@dataclass(frozen=True, kw_only=True)
class Row(Instance):
    """An instance of the tuned net: bracket and check, fresh and again."""

    old_lower: float
    old_upper: float
    bytes: int
    fresh_lower: float
    fresh_upper: float
    fresh_nodes: int
    fresh_cpu: float
    again_lower: float
    again_upper: float
    again_nodes: int
    again_cpu: float
    again_closed: bool
    check_fresh: str
    check_fresh_cpu: float
    check_again: str
    check_again_cpu: float

    @property
    def key(self) -> tuple[Any, ...]:
        return key_of(self, "again")

    @property
    def contradicts(self) -> bool:
        """Is a lower end above an upper one, or a check's answer another one?"""
        crossed = self.again_lower > self.fresh_upper or self.fresh_lower > self.again_upper
        return crossed or {self.check_fresh, self.check_again} == {"holds", "violated"}


@dataclass(frozen=True)
class Options:
    """Of every question."""

    precision: float
    timeout: float


def question(model: str, instance: Instance, image: Image, options: Options, budget: Budget) -> Specification:
    """The instance asked about this model."""
    goal = Misclassification(instance.target, instance.label)
    return specify(loaded(model), InputRegion(image, instance.norm), goal, budget, precision=options.precision)


def bracket(
    model: str, instance: Instance, image: Image, options: Options, earlier: Earlier | None
) -> tuple[Bracket, float]:
    """The last bracket, and CPU seconds."""
    watch, budget = Stopwatch(), Budget(options.timeout)
    asked = question(model, instance, image, options, budget)
    found = minimum.minimal(asked, Settings(budget, device="cpu", earlier=earlier))
    return found, float(watch.read()["cpu_seconds"])


def check(
    instance: Instance, image: Image, options: Options, radius: float, earlier: Earlier | None
) -> tuple[str, float]:
    """The tuned net's answer at a radius, and CPU seconds."""
    watch, budget = Stopwatch(), Budget(options.timeout)
    asked = question(AFTER, instance, image, options, budget)
    found: Check = robustness.check(asked, Settings(budget, device="cpu", earlier=earlier), radius)
    words = {Holds: "holds", Violated: "violated"}
    return words.get(type(found.verdict), "unknown"), float(watch.read()["cpu_seconds"])


def known(packed: dict[int, bytes], before: Bracket) -> Earlier:
    """What a store hands to a search."""
    trees = {target: tree for target, content in packed.items() if (tree := decoded(content)) is not None}
    return Earlier(() if before.witness is None else (before.witness.point,), trees)


def take_turns(instance: Instance, image: Image, options: Options) -> Row:
    """Ask about the old net once, about the tuned one twice."""
    before, _ = bracket(BEFORE, instance, image, options, Earlier())
    packed = {target: tree.encoded() for target, tree in before.trees.items()}
    fresh, fresh_cpu = bracket(AFTER, instance, image, options, None)
    watch = Stopwatch()
    earlier = known(packed, before)
    reading = float(watch.read()["cpu_seconds"])
    again, again_cpu = bracket(AFTER, instance, image, options, earlier)
    radius = KEPT * before.lower
    first, first_cpu = check(instance, image, options, radius, None)
    second, second_cpu = check(instance, image, options, radius, earlier)
    return Row(
        **asdict(instance),
        old_lower=before.lower,
        old_upper=before.upper,
        bytes=sum(map(len, packed.values())),
        fresh_lower=fresh.lower,
        fresh_upper=fresh.upper,
        fresh_nodes=fresh.search.nodes if fresh.search is not None else 0,
        fresh_cpu=fresh_cpu,
        again_lower=again.lower,
        again_upper=again.upper,
        again_nodes=again.search.nodes if again.search is not None else 0,
        again_cpu=again_cpu + reading,
        again_closed=again.status is not Status.BRACKETED,
        check_fresh=first,
        check_fresh_cpu=first_cpu,
        check_again=second,
        check_again_cpu=second_cpu + reading,
    )


def begin(instance: Instance, image: Image, options: Options) -> None:
    """In the process that measures: one core, and an untimed turn for each norm."""
    one_core()
    for norm in NORMS:
        take_turns(Instance(BEFORE, instance.index, instance.label, instance.target, norm), image, options)


HEADER = (
    "norm", "instances", "closed again", "within a tenth", "again / fresh", "median", "checks again", "within a tenth",
    "again / fresh", "median",
)  # fmt: skip


def share(again: Sequence[float], fresh: Sequence[float]) -> tuple[str, str, str]:
    """(how many took at most a tenth, the ratio of the sums, the median ratio)."""
    ratios = sorted(a / f for a, f in zip(again, fresh, strict=True))
    within = sum(each <= TENTH for each in ratios)
    return f"{within}/{len(ratios)}", f"{sum(again) / sum(fresh):.2f}", f"{ratios[len(ratios) // 2]:.2f}"


def summary(rows: Sequence[Row]) -> str:
    """A line for each norm."""
    lines = []
    for norm in NORMS:
        part = [row for row in rows if row.norm == norm]
        if not part:
            continue
        whole = share([row.again_cpu for row in part], [row.fresh_cpu for row in part])
        checks = share([row.check_again_cpu for row in part], [row.check_fresh_cpu for row in part])
        closed = sum(row.again_closed for row in part)
        held = sum(row.check_again == row.check_fresh for row in part)
        lines.append((norm, str(len(part)), f"{closed}/{len(part)}", *whole, f"{held}/{len(part)}", *checks))
    return table(HEADER, lines)


def instances(arguments: argparse.Namespace) -> list[tuple[Instance, Image]]:
    """All targets of the first test images that both nets classify as labelled, in both norms, image by image."""
    mnist, found = load_mnist(arguments.data), list[tuple[Instance, Image]]()
    nets, taken = [loaded(name) for name in (BEFORE, AFTER)], 0
    for index, (image, label) in enumerate(zip(mnist.test_images, mnist.test_labels.tolist(), strict=True)):
        if taken == arguments.images:
            break
        if any(net.predict(image) != label for net in nets):
            continue
        taken += 1
        targets = [target for target in range(10) if target != label]
        found += [(Instance(AFTER, index, label, target, norm), image) for target in targets for norm in NORMS]
    return found


def main() -> int:
    """Run the instances and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=count, default=20, help="test images, each with nine targets (default: 20)")
    parser.add_argument("--precision", type=at_least_zero, default=1e-3, help="default: %(default)g")
    add_options(parser, timeout=120.0, out=RESULTS / "retraining.json")
    arguments = parser.parse_args()
    options = Options(arguments.precision, arguments.timeout)
    try:
        record: Record[Row] = Record.of(arguments, SETTING, Row, note=NOTE)
        wanted = instances(arguments)
        compile_kernels()
        done = {row.key for row in record.rows}
        tasks = [(one, image, options) for one, image in wanted if key_of(one, "again") not in done]
        first, spare = wanted[0]
        for row in in_processes(1, take_turns, tasks, begin, (first, spare, options)):
            record.add(row)
            print(
                f"{row.norm:4} {row.index} {row.label} -> {row.target}: bracket {row.fresh_cpu:.2f} s, again "
                f"{row.again_cpu:.2f}; check {row.check_fresh_cpu:.2f} s, again {row.check_again_cpu:.2f}",
                flush=True,
            )
    except InputError as error:
        print(f"retraining: error: {error}", file=sys.stderr)
        return 2
    rows = [row for row in record.rows if row.instance in [one for one, _ in wanted]]
    print(summary(rows))
    return 1 if any(row.contradicts for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
