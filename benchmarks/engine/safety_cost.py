"""What safe arithmetic costs: the search tree as it is, beside one whose bounds are charged nothing (`engine.unsafe`).

`python -m benchmarks.engine.safety_cost` runs 20 instances of table 1 (its accurate pair) by each variant in turn,
`--repeats` times over, in one process on one core, and keeps the least CPU time of each; the attack runs once for
all. `safe, again` is the control: the same as `safe`, so that its ratio is noise. `safe, float32 too` proves the
float32 end beside the real one. What is measured is what charges make necessary (nodes, LPs that are gone on with) and
exact witnesses: the sums of the charges are formed on both sides. Exit code 1: the safe engine costs more than the
goal of 15 %.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from benchmarks.engine.ablations import LP, Options, problem_of
from benchmarks.engine.unsafe import UNCHARGED, float_witnesses
from benchmarks.harness.arguments import at_least_zero, count
from benchmarks.harness.instances import (
    Image,
    Instance,
    Result,
    Stopwatch,
    add_options,
    compile_kernels,
    in_processes,
    loaded,
    one_core,
    pending,
    result_of,
)
from benchmarks.harness.ratios import ratio
from benchmarks.harness.record import RESULTS, Record, table
from benchmarks.harness.table_set import ACCURATE, PAIRS, sample, table_set
from encoders.errors import InputError
from verifier.problem.budget import Budget
from verifier.problem.verdict import Bracket, Semantics
from verifier.search.float32 import follow_both
from verifier.search.incumbent import follow
from verifier.search.state import Problem

SETTING = ("precision", "timeout", "seed", "per_norm", "repeats")
NOTE = (
    "Every variant in turn, in one process on one core, after an untimed call of each; the least CPU time of `repeats` "
    "rounds. The attack runs once an instance and is not counted; root bounds are the same for all variants."
)
GOAL = 1.15
"""The safe engine may take so many times the unsafe one's CPU time."""

UNSAFE, SAFE, AGAIN, FLOAT32 = "unsafe", "safe", "safe, again", "safe, float32 too"


def unsafely(problem: Problem, budget: Budget) -> Iterator[Bracket]:
    return follow(problem, UNCHARGED, budget)


def safely(problem: Problem, budget: Budget) -> Iterator[Bracket]:
    return follow(problem, LP, budget)


def for_float32_too(problem: Problem, budget: Budget) -> Iterator[Bracket]:
    return follow_both(replace(problem, semantics=Semantics.BOTH), LP, budget)


@dataclass(frozen=True)
class Variant:
    """How brackets are made, and within what."""

    search: Callable[[Problem, Budget], Iterator[Bracket]]
    within: Callable[[], AbstractContextManager[None]] = nullcontext


VARIANTS: Mapping[str, Variant] = {
    UNSAFE: Variant(unsafely, float_witnesses),
    SAFE: Variant(safely),
    AGAIN: Variant(safely),
    FLOAT32: Variant(for_float32_too),
}
COMPARED = ((SAFE, UNSAFE), (AGAIN, SAFE), (FLOAT32, SAFE))


def solve(instance: Instance, image: Image, name: str, options: Options) -> Result:
    """One bracket by one variant."""
    problem, variant = problem_of(instance, image.tobytes(), options.precision), VARIANTS[name]
    with variant.within():
        watch = Stopwatch()
        *_, found = variant.search(problem, Budget(options.timeout))
        return result_of(instance, name, found, watch)


def take_turns(instance: Instance, image: Image, repeats: int, options: Options) -> list[Result]:
    """The instance's results by all variants; of each the quickest."""
    rounds = [[solve(instance, image, name, options) for name in VARIANTS] for _ in range(repeats)]
    return [min(results, key=lambda row: row.cpu_seconds or math.inf) for results in zip(*rounds, strict=True)]


def begin(instances: Sequence[Instance], spare: Image, options: Options) -> None:
    """In the process that measures: one core, and an untimed call of each variant for each model and norm."""
    one_core()
    for model, norm in {(instance.model, instance.norm) for instance in instances}:
        label = loaded(model).predict(spare)
        first = Instance(model, -1, label, (label + 1) % loaded(model).classes, norm)
        take_turns(first, spare, 1, replace(options, timeout=1.0))


HEADER = ("variant", "against", "norm", "closed", "CPU s: ratio", "worst", "nodes: ratio", "CPU s a node: ratio")


def summary(rows: Sequence[Result], limit: float) -> str:
    """A line for each comparison and norm; ratios are geometric means, `worst` the largest of them."""
    lines = []
    for name, against in COMPARED:
        for norm in (*sorted({row.norm for row in rows}), "both"):
            part = [row for row in rows if norm in (row.norm, "both")]
            mine, theirs = ([row for row in part if row.method == each] for each in (name, against))
            singles = [
                ratio([their], [our], limit, "cpu_seconds").mean for our, their in zip(mine, theirs, strict=True)
            ]
            seconds, nodes = (ratio(theirs, mine, limit, measure) for measure in ("cpu_seconds", "nodes"))
            closed = f"{sum(row.closed for row in mine)}/{len(mine)}"
            each = f"{seconds.mean / nodes.mean:.3f}"
            lines.append((name, against, norm, closed, str(seconds), f"{max(singles):.3g}", str(nodes), each))
    return table(HEADER, lines)


def cost(rows: Sequence[Result], limit: float) -> float:
    """How many times the unsafe engine's CPU time the safe one takes."""
    safe, unsafe = ([row for row in rows if row.method == name] for name in (SAFE, UNSAFE))
    return ratio(unsafe, safe, limit, "cpu_seconds").mean


def main(words: Sequence[str] | None = None) -> int:
    """Run the instances and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-norm", type=count, default=10, help="instances a norm (default: %(default)d)")
    parser.add_argument("--precision", type=at_least_zero, default=1e-3, help="default: %(default)g")
    parser.add_argument("--repeats", type=count, default=3, help="rounds (default: %(default)d)")
    parser.add_argument("--limit", type=count, help="run only the first so many instances")
    add_options(parser, timeout=60.0, out=RESULTS / "safety_cost.json")
    arguments = parser.parse_args(words)
    options = Options(arguments.precision, arguments.timeout)
    try:
        record: Record[Result] = Record.of(arguments, SETTING, Result, note=NOTE)
        chosen = table_set(arguments.data, arguments.seed, PAIRS[ACCURATE])
        wanted = sample(chosen.instances, arguments.per_norm, arguments.seed)[: arguments.limit]
        compile_kernels()
        todo = [one for one in wanted if any(pending([one], name, record) for name in VARIANTS)]
        tasks = [(one, chosen.images[one.index], arguments.repeats, options) for one in todo]
        for results in in_processes(1, take_turns, tasks, begin, (todo, chosen.spare, options)):
            for row in results:
                record.add(row)
            seconds = ", ".join(f"{row.method} {row.cpu_seconds:.2f} s" for row in results)
            one = results[0]
            print(f"{one.model} {one.norm} {one.index} -> {one.target}: {seconds}", flush=True)
    except InputError as error:
        print(f"safety_cost: error: {error}", file=sys.stderr)
        return 2
    rows = [row for row in record.rows if row.instance in wanted]
    print(summary(rows, arguments.timeout))
    return 0 if cost(rows, arguments.timeout) <= GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())
