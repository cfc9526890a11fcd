"""What the engine promises beside closed brackets: fine precision, all targets together, two threads, many open nodes.

`python -m benchmarks.engine.promises` compares two ways to the same brackets, in turn, instance by instance:
precision 1e-3 and 1e-6; one target after the other and all of an input side by side; one thread and two. Then it
grows a tree to a million open nodes and looks at the memory of the process. --part runs one of them. Seconds are
totals, so that hard instances weigh most; what is open counts with what it took. Exit code: 0: every promise is kept;
1: two ways contradict each other, or a promise is broken; 3: something stayed open.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

import verifier
from benchmarks.harness.arguments import count
from benchmarks.harness.instances import (
    Call,
    Image,
    Instance,
    Result,
    Stopwatch,
    add_options,
    compile_kernels,
    in_processes,
    key_of,
    loaded,
    one_core,
    result_of,
    solve,
    warm_up,
)
from benchmarks.harness.record import Record, table
from benchmarks.harness.table_set import NORMS, PAIRS, add_pair, record_path, sample, table_set
from benchmarks.paper.table1 import UNDECIDED
from encoders.errors import InputError
from encoders.formulations.to_stages import to_stages
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.memory import resident
from verifier.problem.query import Ball, Norm, Targeted, disjuncts
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.tree.lp_tree import LpTree
from verifier.solvers.tree.protocol import TreeRoot

SETTING = ("timeout", "seed", "per_norm", "nodes")
NOTE = (
    "Wall and CPU seconds of calls of verifier.minimal and minimal_all_targets, the attack included, after an untimed "
    "call; one process, on one core but for `threads`. `megabytes`: resident memory that the open nodes have added."
)
EVERY = -1
"""The target of a row about all targets of an input."""

FAR = 0.2
"""The L∞ radius of the tree that shall not close: most ReLUs of `mnist_n` are open there."""


@dataclass(frozen=True, kw_only=True)
class Row(Instance):
    """One way to one bracket, or to all brackets of an input, whose ends are then the sums of theirs."""

    part: str
    way: str
    closed: bool
    lower: float
    upper: float
    seconds: float
    cpu_seconds: float
    nodes: int
    megabytes: float | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        return (*key_of(self, self.way), self.part)


def _row(instance: Instance, part: str, way: str, found: Sequence[Result], watch: Stopwatch) -> Row:
    return Row(
        **asdict(instance),
        part=part,
        way=way,
        closed=all(result.closed for result in found),
        lower=math.fsum(result.lower for result in found),
        upper=math.fsum(result.upper for result in found),
        nodes=sum(result.nodes or 0 for result in found),
        **watch.read(),
    )


CALL = Call("tree")
TOGETHER, APART = "together", "one by one"


def by_call(instance: Instance, image: Image, timeout: float, *, part: str, calls: Mapping[str, Call]) -> list[Row]:
    """A bracket by each of the calls."""
    rows = []
    for way, call in calls.items():
        watch = Stopwatch()
        found = solve(instance, image, replace(call, timeout=timeout))
        rows.append(_row(instance, part, way, [found], watch))
    return rows


by_precision = partial(by_call, part="precision", calls={f"{p:g}": replace(CALL, precision=p) for p in (1e-3, 1e-6)})
by_threads = partial(by_call, part="threads", calls={f"{n}": replace(CALL, threads=n) for n in (1, 2)})


def by_targets(instance: Instance, image: Image, timeout: float) -> list[Row]:
    """All brackets of an input, one call a target and one call for all."""
    model = loaded(instance.model)
    others = [replace(instance, target=target) for target in range(model.classes) if target != instance.label]
    watch = Stopwatch()
    apart = [solve(other, image, replace(CALL, timeout=timeout)) for other in others]
    rows = [_row(instance, "targets", APART, apart, watch)]
    watch = Stopwatch()
    every = verifier.minimal_all_targets(model, image, norm=instance.norm, timeout=timeout * len(others), device="cpu")
    found = [result_of(instance, TOGETHER, bracket, watch) for bracket in every.results]
    return [*rows, _row(instance, "targets", TOGETHER, found, watch)]


def grown(instance: Instance, image: Image, nodes: int) -> list[Row]:
    """A tree that closes nothing, grown best-first to so many open nodes; points that reach its goal are refused."""
    model, x = loaded(instance.model), image.astype(float).reshape(-1)
    ball = Ball(Norm(instance.norm), x, FAR, np.zeros(x.size), np.ones(x.size))
    goal = disjuncts(Targeted(instance.target), model.classes)[0][1]
    stages = to_stages(model.graph)
    bounds = hidden_bounds(stages, linear_bounds(model.graph, ball, Budget()))
    tree = LpTree(TreeRoot(stages, ball, goal, *bounds))
    tree.explore(Budget())
    before, watch = resident(), Stopwatch()
    while 0 < tree.open_nodes < nodes:
        if tree.explore(Budget()) is not None:
            tree.refuse()
    row = _row(instance, "memory", f"{nodes} open nodes", [], watch)
    return [
        replace(row, closed=tree.open_nodes >= nodes, nodes=tree.open_nodes, megabytes=(resident() - before) / 2**20)
    ]


def begin(instances: Sequence[Instance], spare: Image, single: bool) -> None:
    """In the process that measures: one core where that is enough, and an untimed call for each model and norm."""
    if single:
        one_core()
    warm_up(instances, spare, CALL)


@dataclass(frozen=True)
class Part:
    """A promise: `ways` are compared by `measure`, the second's total at most `most` times the first's."""

    run: Callable[..., list[Row]]
    ways: tuple[str, str]
    measure: str
    most: float
    single: bool = True


PARTS = {
    "precision": Part(by_precision, ("0.001", "1e-06"), "cpu_seconds", 2.0),
    "targets": Part(by_targets, (APART, TOGETHER), "cpu_seconds", 1.0),
    "threads": Part(by_threads, ("1", "2"), "seconds", 0.5 / 0.85, single=False),
}
MEMORY = "memory"
MOST_BYTES = 4_000
"""For an open node: a million of them in 4 GB."""


def chosen_for(part: str, arguments: argparse.Namespace, instances: Sequence[Instance]) -> list[Instance]:
    """The instances of a part: --per-norm of each norm, or as many inputs, or one."""
    if part == MEMORY:
        return [next(one for one in instances if one.norm == "linf")]
    if part != "targets":
        return sample(instances, arguments.per_norm, arguments.seed)
    inputs = list(dict.fromkeys(replace(one, target=EVERY) for one in instances))
    return sample(inputs, arguments.per_norm, arguments.seed)


HEADER = ("promise", "norm", "of", "first", "second", "second / first", "at most")


def summary(rows: Sequence[Row]) -> tuple[str, list[str]]:
    """A line for each part and norm; what is broken, or contradicts."""
    lines, broken = [], []
    known = {(row.part, row.way, row.instance): row for row in rows}
    for (name, part), norm in product(PARTS.items(), NORMS):
        firsts = [row for row in rows if (row.part, row.way, row.norm) == (name, part.ways[0], norm)]
        seconds = [known[name, part.ways[1], row.instance] for row in firsts]
        if not firsts:
            continue
        for first, second in zip(firsts, seconds, strict=True):
            if first.lower > second.upper or second.lower > first.upper:
                broken.append(f"{name}: {first.way} and {second.way} contradict each other on {first.instance}")
        one, other = (math.fsum(getattr(row, part.measure) for row in side) for side in (firsts, seconds))
        cells = [f"{way}: {total:.1f} s" for way, total in zip(part.ways, (one, other), strict=True)]
        lines.append((name, norm, str(len(firsts)), *cells, f"{other / one:.2f}", f"{part.most:.2f}"))
        if other > part.most * one:
            broken.append(f"{name}, {norm}: {other / one:.2f} times the seconds, more than {part.most:.2f}")
    for row in rows:
        if row.megabytes is not None:
            each = row.megabytes * 2**20 / max(row.nodes, 1)
            cells = [f"{row.megabytes:.0f} MiB", f"{each:.0f} bytes a node"]
            lines.append((MEMORY, row.norm, f"{row.nodes} nodes", *cells, "", f"{MOST_BYTES} bytes"))
            if each > MOST_BYTES:
                broken.append(f"memory: {each:.0f} bytes a node, more than {MOST_BYTES}")
    return table(HEADER, lines), broken


def main(words: Sequence[str] | None = None) -> int:
    """Run the parts and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=(*PARTS, MEMORY), default=[*PARTS, MEMORY], help="default: all")
    parser.add_argument("--per-norm", type=count, default=6, help="instances, or inputs, a norm (default: %(default)d)")
    parser.add_argument("--nodes", type=count, default=1_000_000, help="open nodes (default: %(default)d)")
    add_pair(parser)
    add_options(parser, timeout=120.0, out=None)
    arguments = parser.parse_args(words)
    arguments.out = arguments.out or record_path("promises", arguments.pair)
    try:
        compile_kernels()
        record: Record[Row] = Record.of(arguments, SETTING, Row, note=NOTE)
        chosen = table_set(arguments.data, arguments.seed, PAIRS[arguments.pair])
        for name in arguments.part:
            part = PARTS.get(name)
            known = {(row.instance, row.part) for row in record.rows}
            wanted = chosen_for(name, arguments, chosen.instances)
            todo = [one for one in wanted if (one, name) not in known]
            run = part.run if part is not None else grown
            last = arguments.timeout if part is not None else arguments.nodes
            tasks = [(one, chosen.images[one.index], last) for one in todo]
            single = part is None or part.single
            for rows in in_processes(1, run, tasks, begin, (todo, chosen.spare, single)):
                for row in rows:
                    record.add(row)
                    question = f"{row.model:19} {row.norm:4} {row.label} -> {row.target:2}"
                    print(f"{row.part:9} {question}  {row.way:16} {row.cpu_seconds:8.2f} CPU s {row.seconds:8.2f} s")
    except InputError as error:
        print(f"promises: error: {error}", file=sys.stderr)
        return 2
    text, broken = summary(record.rows)
    print(text)
    for line in broken:
        print(f"BROKEN: {line}", file=sys.stderr)
    return 1 if broken else 0 if all(row.closed for row in record.rows) else UNDECIDED


if __name__ == "__main__":
    raise SystemExit(main())
