"""What each part of the search tree is worth, and which engine is the faster one at which size of net.

`python -m benchmarks.engine.ablations --part settings` runs the tree with one setting changed at a time over 12
instances of table 1 on its accurate pair, whose trees are large; `--part sizes` asks whether a target can be reached
within a radius, by the LP tree and by the batched bound tree, for nets from 3×24 to 6×256 and a convolutional one.
Both run their variants in turn, instance by instance, on one core; without --part both are run. Records:
ablations_settings.json, ablations_sizes.json. Exit code 1: two of them contradict each other.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.engine import sizes
from benchmarks.harness.arguments import at_least_zero, count
from benchmarks.harness.instances import (
    Image,
    Instance,
    Result,
    Stopwatch,
    add_options,
    compile_kernels,
    failed,
    in_processes,
    loaded,
    one_core,
    pending,
    result_of,
)
from benchmarks.harness.ratios import contradictions, ratio
from benchmarks.harness.record import RESULTS, Record, table
from benchmarks.harness.table_set import ACCURATE, PAIRS, sample, table_set
from encoders.errors import InputError
from verifier.problem.budget import Budget
from verifier.search import minimum
from verifier.search.incumbent import follow
from verifier.search.initial_attack import attacker
from verifier.search.question import InputRegion, Misclassification, specify
from verifier.search.settings import Settings
from verifier.search.state import Problem
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.branching import LOSS, VIOLATION

BASELINE = "baseline"
SETTING = ("precision", "timeout", "seed", "per_norm")
NOTE = (
    "For each instance every variant in turn, in one process that may use one core, after an untimed call of each. The "
    "attack runs once an instance; its points are given to all variants, and its time is not counted."
)


LP = BranchAndBound(engine="lp")
BOUND = BranchAndBound(engine="bound")


@dataclass(frozen=True)
class Variant:
    """A decider, to be compared with the variant `against`."""

    decider: BranchAndBound
    against: str = BASELINE


def lp_tree(**changed: Any) -> BranchAndBound:
    """The LP tree with these fields of `LpSettings` replaced."""
    return LP.having("lp", **changed)


def bound_tree(**changed: Any) -> BranchAndBound:
    """The bound tree with these fields of `BoundSettings` replaced."""
    return BOUND.having("bound", **changed)


HIGHS = "nodes by numpy and HiGHS"
BATCHES = "bound tree"
VARIANTS: Mapping[str, Variant] = {
    BASELINE: Variant(LP),
    "branching by the loss alone": Variant(lp_tree(branching=LOSS)),
    "branching by violation": Variant(lp_tree(branching=VIOLATION)),
    "no bounds per child": Variant(lp_tree(child_bounds=False)),
    "no half-space": Variant(lp_tree(half_space=False)),
    "no reduced costs": Variant(lp_tree(reduced_costs=False)),
    "no restart": Variant(replace(LP, restart=0.0)),
    "no inner balls": Variant(replace(LP, inner_balls=False)),
    "no flips in polishing": Variant(lp_tree(flips=0)),
    "no descents": Variant(lp_tree(descend_every=0)),
    "a descent at every node": Variant(lp_tree(descend_every=1)),
    "best-first node by node": Variant(lp_tree(slice=1)),
    "depth-first, 1024 nodes": Variant(lp_tree(slice=1024)),
    HIGHS: Variant(lp_tree(kernels=False)),
    "all L1 columns from the start": Variant(lp_tree(kernels=False, seed_columns=-1), against=HIGHS),
    "50 L1 columns to start with": Variant(lp_tree(kernels=False, seed_columns=50), against=HIGHS),
    BATCHES: Variant(BOUND),
    "bound tree, no half-space": Variant(bound_tree(half_space=False), against=BATCHES),
    "bound tree, no reduced costs": Variant(bound_tree(reduced_costs=False), against=BATCHES),
    "bound tree, 5 steps a node": Variant(bound_tree(steps=5), against=BATCHES),
    "bound tree, 20 steps a node": Variant(bound_tree(steps=20), against=BATCHES),
}


@dataclass(frozen=True)
class Options:
    """What all variants are given."""

    precision: float
    timeout: float


@lru_cache(maxsize=1)
def problem_of(instance: Instance, image: bytes, precision: float) -> Problem:
    """The instance's question with the points of one run of the attack."""
    x = np.frombuffer(image, dtype=np.float32)
    region = InputRegion(x, instance.norm)
    goal = Misclassification(instance.target, instance.label)
    asked = specify(loaded(instance.model), region, goal, Budget(), precision=precision)
    settings = Settings(Budget(), device="cpu")
    points = attacker(asked, settings)(Budget())
    return minimum.problem_of(asked, settings, lambda _: points)


def solve(instance: Instance, image: Image, name: str, options: Options) -> Result:
    """One bracket by one variant."""
    problem = problem_of(instance, image.tobytes(), options.precision)
    watch = Stopwatch()
    try:
        *_, found = follow(problem, VARIANTS[name].decider, Budget(options.timeout))
    except Exception as error:  # noqa: BLE001 - a variant that fails is a line of the table
        return failed(instance, name, error, watch)
    return result_of(instance, name, found, watch)


def take_turns(instance: Instance, image: Image, names: Sequence[str], options: Options) -> list[Result]:
    """The instance's results by all variants, one after the other."""
    return [solve(instance, image, name, options) for name in names]


def begin(instances: Sequence[Instance], spare: Image, names: Sequence[str], options: Options) -> None:
    """In the process that measures: one core, and an untimed call of each variant for each model and norm."""
    one_core()
    for model, norm in {(instance.model, instance.norm) for instance in instances}:
        label = loaded(model).predict(spare)
        first = Instance(model, -1, label, (label + 1) % loaded(model).classes, norm)
        take_turns(first, spare, names, replace(options, timeout=1.0))


HEADER = ("variant", "against", "norm", "closed", "nodes", "CPU s")


def summary(rows: Sequence[Result], names: Sequence[str], limit: float) -> str:
    """A line for each variant and norm: nodes and CPU seconds as multiples of the variant compared with."""
    lines = []
    for name in names:
        for norm in sorted({row.norm for row in rows}):
            of = {each: [row for row in rows if (row.method, row.norm) == (each, norm)] for each in VARIANTS}
            mine, theirs = of[name], of[VARIANTS[name].against]
            ratios = [str(ratio(theirs, mine, limit, measure)) for measure in ("nodes", "cpu_seconds")]
            against = "" if name == BASELINE else VARIANTS[name].against
            lines.append((name, against, norm, f"{sum(row.closed for row in mine)}/{len(mine)}", *ratios))
    return table(HEADER, lines)


def run_settings(arguments: argparse.Namespace) -> list[str]:
    """Run the part `settings` and print its table; returns the contradictions."""
    names = arguments.variants or list(VARIANTS)
    options = Options(arguments.precision, arguments.timeout)
    record: Record[Result] = Record.of(arguments, SETTING, Result, note=NOTE)
    chosen = table_set(arguments.data, arguments.seed, PAIRS[ACCURATE])
    wanted = sample(chosen.instances, arguments.per_norm, arguments.seed)[: arguments.limit]
    compile_kernels()
    lacking_one = {instance for name in names for instance in pending(wanted, name, record)}
    todo = [instance for instance in wanted if instance in lacking_one]
    tasks = [(instance, chosen.images[instance.index], names, options) for instance in todo]
    for rows in in_processes(1, take_turns, tasks, begin, (todo, chosen.spare, names, options)):
        for row in rows:
            record.add(row)
            print(f"{row.model:20} {row.norm:4} {row.label} -> {row.target}  {row.method:30} {row.status:9} "
                  f"{row.nodes or 0:7} nodes {row.cpu_seconds:8.2f} CPU s  {row.reason}", flush=True)  # fmt: skip
    rows = [row for row in record.rows if row.instance in wanted]
    print(summary(rows, names, arguments.timeout))
    print("Geometric means of the multiples; what is open counts with what it spent: ≥ is a lower bound.")
    baseline = [row for row in rows if row.method == BASELINE]
    return contradictions(baseline, [row for row in rows if row.method in names])


PARTS = {"settings": (run_settings, 60.0), "sizes": (sizes.run, 20.0)}
"""Each part and its time limit in seconds, unless another is given."""


def main(words: Sequence[str] | None = None) -> int:
    """Run one part or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=tuple(PARTS), help="default: both")
    parser.add_argument("--per-norm", type=count, default=6, help="settings: instances a norm (default: %(default)d)")
    parser.add_argument("--precision", type=at_least_zero, default=1e-3, help="settings: default %(default)g")
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), help="settings: only these (default: all)")
    parser.add_argument("--limit", type=count, help="run only the first so many instances")
    add_options(parser, timeout=None, out=None)
    sizes.add_options(parser)
    arguments = parser.parse_args(words)
    out, timeout = arguments.out, arguments.timeout
    if out is not None and arguments.part is None:
        parser.error("--out is the record of one part: name it by --part")
    against: list[str] = []
    try:
        for part in [arguments.part] if arguments.part else PARTS:
            arguments.out = out or RESULTS / f"ablations_{part}.json"
            run, limit = PARTS[part]
            arguments.timeout = limit if timeout is None else timeout
            against += run(arguments)
    except InputError as error:
        print(f"ablations: error: {error}", file=sys.stderr)
        return 2
    for line in against:
        print(f"CONTRADICTION: {line}", file=sys.stderr)
    return 1 if against else 0


if __name__ == "__main__":
    raise SystemExit(main())
