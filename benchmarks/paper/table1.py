"""The set of Carlini, Katz, Barrett and Dill (2018), table 1: 10 images × 9 targets × {N, N̄} × {L∞, L1}.

`python -m benchmarks.paper.table1 --engine` runs this project's own method on all 360 instances, two at a time,
`--method NAME` another one. The images are MNIST test images, one of each class, drawn by seed among those that both
nets classify correctly. `--pair decayed` takes nets of the same shape that were trained with more weight decay, whose
search trees are small: the work that a net makes depends on its training no less than on its size. What one thread
leaves open is asked once more, alone, with as many threads as jobs. The record is written after every instance; the
same command goes on where it stopped, and --norm, --model and --limit run a part of it; `--norm l2` is no norm of the
paper, and has a record of its own. Exit code 0: all closed; 3:
not all.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks.harness.arguments import at_least_zero, count
from benchmarks.harness.instances import (
    ONE_THREAD,
    Call,
    Instance,
    Result,
    add_options,
    compile_kernels,
    in_processes,
    pending,
    solve,
    warm_up,
)
from benchmarks.harness.record import Record, table
from benchmarks.harness.table_set import (
    ALL_NORMS,
    MODELS,
    NORMS,
    PAIRS,
    Pair,
    TableSet,
    add_pair,
    record_path,
    table_set,
)
from benchmarks.paper import published
from encoders.errors import InputError
from verifier.search.methods import METHODS
from verifier.solvers.milp import solver_class

ENGINE = "tree"
UNDECIDED = 3
SETTING = ("method", "solver", "precision", "timeout", "seed", "jobs")
TIMING = (
    "Each instance is one call of verifier.minimal, the attack included, in one of `jobs` processes; each of these "
    f"loads the models and makes one untimed call for each model and norm first. {', '.join(ONE_THREAD)}: 1. A row "
    "with more threads is a second run of an instance that one thread left open: alone, with the same limit."
)


def selected(arguments: argparse.Namespace, instances: Sequence[Instance]) -> list[Instance]:
    """The part that the command line asks for, shuffled by seed: an unfinished run is then a sample of the whole."""
    order = np.random.default_rng(arguments.seed).permutation(len(instances)).tolist()
    fit = [instances[place] for place in order]
    fit = [one for one in fit if one.model in arguments.model and one.norm in arguments.norm]
    return fit[: arguments.limit]


def run(call: Call, jobs: int, record: Record[Result], chosen: TableSet, wanted: Sequence[Instance]) -> None:
    """Run what the record lacks, `jobs` at a time, then open instances again, alone; Ctrl-C ends it early."""
    todo = pending(wanted, call.name, record)
    done = len(wanted) - len(todo)
    if done:
        print(f"{done} of {len(wanted)} results are in {record.path}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())

    def ask(instances: Sequence[Instance], call: Call, at_a_time: int, bar: TaskID) -> None:
        tasks = [(instance, chosen.images[instance.index], call) for instance in instances]
        for row in in_processes(at_a_time, solve, tasks, warm_up, (instances, chosen.spare, call)):
            record.add(row)
            progress.update(bar, advance=1, description=progress_line(call.name, record.rows))

    with Progress(*columns) as progress:
        try:
            ask(todo, call, jobs, progress.add_task(call.name, total=len(wanted), completed=done))
            again = [row.instance for row in record.rows if row.threads < jobs and not row.closed]
            again = [instance for instance in again if instance in wanted]
            if call.method == ENGINE and again:
                second = replace(call, threads=jobs)
                ask(again, second, 1, progress.add_task("second run", total=len(again)))
        except KeyboardInterrupt:
            progress.console.print("interrupted: the same command goes on from here")


def progress_line(name: str, rows: Sequence[Result]) -> str:
    cpu = statistics.fmean(row.cpu_seconds or 0.0 for row in rows)
    return f"{name}: {sum(row.closed for row in rows)}/{len(rows)} closed, mean {cpu:.2f} CPU s"


HEADER = (
    "net", "norm", "closed", "CPU s: mean", "median", "max", "nodes (mean)", "distance (mean)", "attack / minimum",
)  # fmt: skip


def summary(rows: Sequence[Result], pair: Pair = MODELS) -> str:
    """A line for each net and norm. Means of seconds are over all instances, of distances over the closed ones."""
    lines = []
    for model, norm in product(pair, ALL_NORMS):
        part = [row for row in rows if (row.model, row.norm) == (model, norm)]
        if not part:
            continue
        lines.append((model, norm, *figures(part)))
    return table(HEADER, lines)


def figures(part: Sequence[Result]) -> tuple[str, ...]:
    """The cells of a line from `closed` on: of the results of one net and norm."""
    closed = [row for row in part if row.closed and np.isfinite(row.upper) and row.upper > 0]
    attacked = [row.initial / row.upper for row in closed if np.isfinite(row.initial)]
    cpu = [row.cpu_seconds for row in part if row.cpu_seconds is not None]
    nodes = [row.nodes for row in part if row.nodes is not None]
    return (
        f"{sum(row.closed for row in part)}/{len(part)}",
        *(f"{of(cpu):.2f}" for of in (statistics.fmean, statistics.median, max)),
        _mean([float(count) for count in nodes], ".0f"),
        _mean([row.upper for row in closed], ".4f"),
        _mean(attacked, ".4f"),
    )


PAPER_HEADER = (
    "net", "norm", "closed: paper", "ours", "initial distance: paper", "ours", "minimal: paper", "ours",
    "improvement: paper", "ours",
)  # fmt: skip


def beside_the_paper(rows: Sequence[Result], pair: Pair = MODELS) -> str:
    """Table 1 as published, and ours; distances are means over what each closed, so they speak of other instances."""
    lines = []
    standing = dict(zip(published.NETS, pair, strict=True))
    for (net, norm), printed in published.TABLE1.items():
        model = standing[net]
        part = [row for row in rows if (row.model, row.norm) == (model, norm)]
        closed = [row for row in part if row.closed and np.isfinite(row.upper) and np.isfinite(row.initial)]
        if not closed:
            continue
        initial, minimal = (statistics.fmean(getattr(row, end) for row in closed) for end in ("initial", "upper"))
        lines.append(
            (
                model,
                norm,
                f"{printed.closed}/{published.INSTANCES}",
                f"{sum(row.closed for row in part)}/{len(part)}",
                f"{printed.initial:g}",
                f"{initial:.4f}",
                f"{printed.minimal:g}",
                f"{minimal:.4f}",
                f"{printed.improvement:.1%}",
                f"{1.0 - minimal / initial:.1%}",
            )
        )
    return table(PAPER_HEADER, lines)


def _mean(values: Sequence[float], form: str) -> str:
    return format(statistics.fmean(values), form) if values else "-"


def add_part(parser: argparse.ArgumentParser) -> None:
    """The options that say which pair, and which part of the set."""
    add_pair(parser)
    parser.add_argument("--model", nargs="+", choices=sum(PAIRS.values(), ()), help="one of the pair (default: both)")
    parser.add_argument("--norm", nargs="+", choices=ALL_NORMS, default=list(NORMS), help="default: the paper's")
    parser.add_argument("--limit", type=count, help="run so many instances, drawn by seed")


def nets_of(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Pair:
    """The pair that is asked for; `arguments.model` is a part of it, by default both nets."""
    pair = PAIRS[arguments.pair]
    arguments.model = arguments.model or list(pair)
    if not set(arguments.model) <= set(pair):
        parser.error(f"--model: --pair {arguments.pair} has {' and '.join(pair)}")
    return pair


def main(words: Sequence[str] | None = None) -> int:
    """Run the set and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    method = parser.add_mutually_exclusive_group(required=True)
    method.add_argument("--engine", dest="method", action="store_const", const=ENGINE, help="the project's own method")
    method.add_argument("--method", choices=tuple(METHODS), help="any other method of the project")
    parser.add_argument("--solver", help="of the method milp")
    add_part(parser)
    parser.add_argument("--jobs", type=count, default=2, help="instances at a time (default: %(default)d)")
    parser.add_argument("--precision", type=at_least_zero, default=1e-3, help="default: %(default)g")
    add_options(parser, timeout=120.0, out=None)
    arguments = parser.parse_args(words)
    call = Call(arguments.method, arguments.solver, arguments.precision, arguments.timeout)
    pair = nets_of(parser, arguments)
    name = "engine" if arguments.method == ENGINE else call.name
    if not set(arguments.norm) <= set(NORMS):
        if len(arguments.norm) > 1:
            parser.error("--norm: l2 is run by itself")
        name += "_l2"
    arguments.out = arguments.out or record_path(f"table1_{name}", arguments.pair)
    try:
        if arguments.solver is not None:
            solver_class(arguments.solver)
        compile_kernels()  # before the record's clock starts: it happens once for each installation
        record: Record[Result] = Record.of(arguments, SETTING, Result, note=TIMING)
        norms = NORMS if set(arguments.norm) <= set(NORMS) else arguments.norm
        chosen = table_set(arguments.data, arguments.seed, pair, norms)
        wanted = selected(arguments, chosen.instances)
        run(call, arguments.jobs, record, chosen, wanted)
    except InputError as error:
        print(f"table1: error: {error}", file=sys.stderr)
        return 2
    rows = [row for row in record.rows if row.instance in wanted]
    closed = sum(row.closed for row in rows)
    if rows:
        print(f"{summary(rows, pair)}\n\n{beside_the_paper(rows, pair)}\n")
    wall = f"{record.wall_seconds:.0f} s wall for {len(record.rows)} instances, {arguments.jobs} at a time"
    print(f"{closed} of {len(wanted)} closed; {wall}: {record.path}")
    return 0 if closed == len(wanted) else UNDECIDED


if __name__ == "__main__":
    raise SystemExit(main())
