"""Root bounds and trees of larger networks: CPU seconds of the bounds, and nodes a second of the bound trees below.

`python -m benchmarks.vnncomp.roots` takes questions of VNN-COMP's oval21 from the data beside the project. Root bounds
are those of `check --property`, without the reading, the median of some runs; then the bound tree of each goal that
they leave open grows, one goal after the other, until it closes or its part of the time is over.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import verifier
from benchmarks.harness.arguments import above_zero
from benchmarks.harness.instances import compile_kernels, one_core
from benchmarks.harness.mnist import SHARED
from benchmarks.harness.record import RESULTS, Record, table
from benchmarks.vnncomp.instances import stored
from encoders.errors import InputError
from encoders.formulations.to_stages import to_stages
from verifier.bounds.alpha_crown import goal_upper
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.properties.cases import cases
from verifier.problem.properties.from_vnnlib import read_vnnlib
from verifier.problem.query import Query
from verifier.solvers.branch_and_bound import BranchAndBound, hidden_bounds
from verifier.solvers.root_bounds import root_bounds

FOLDER = Path("vnncomp") / "oval21"
ASKED = {
    "deep 9931": ("cifar_deep_kw", "cifar_deep_kw-img9931-eps0.02496732026143791"),
    "wide 9916": ("cifar_wide_kw", "cifar_wide_kw-img9916-eps0.053202614379084974"),
    "base 3568": ("cifar_base_kw", "cifar_base_kw-img3568-eps0.030457516339869282"),
}
"""Network and property of each question."""

RUNS = 3
"""Of the root bounds."""

SETTING = ("seconds",)
NOTE = (
    "root_seconds: CPU seconds, the median of three; tree_seconds: of the trees of the goals that root bounds leave "
    "open, one after the other, safe arithmetic over the reals; node_rate: their nodes a CPU second."
)


@dataclass(frozen=True)
class Row:
    """One question: its ReLUs, what of them is open at the root, and what bounds and trees cost."""

    question: str
    relus: int
    open_relus: int
    root_seconds: float
    goals: int
    closed: int
    nodes: int
    tree_seconds: float

    @property
    def key(self) -> tuple[int, str]:
        return list(ASKED).index(self.question), self.question

    @property
    def node_rate(self) -> float:
        """Nodes a CPU second of the trees; 0 where none was needed."""
        return self.nodes / self.tree_seconds if self.nodes else 0.0


def measured(question: str, data: Path, seconds: float) -> Row:
    """What root bounds cost, then trees in so many seconds altogether. Raises InputError for data that is not there."""
    network, spec = ASKED[question]
    model = verifier.load(stored(data / FOLDER / "onnx" / f"{network}.onnx"))
    asked = read_vnnlib(stored(data / FOLDER / "vnnlib" / f"{spec}.vnnlib"))
    conjunctions = list(cases(asked))
    ball, graph = conjunctions[0].box.region(asked.inputs), model.graph
    stages, costs = to_stages(graph), []
    for _ in range(RUNS):
        begun = time.process_time()
        bounds = root_bounds(graph, ball, Budget(), stages=lambda: stages)
        costs.append(time.process_time() - begun)
    goals = [one.goal(model.outputs) for one in conjunctions]
    left = [goal for goal in goals if not goal_upper(graph, ball, bounds, goal, Budget()) < 0]
    nodes, closed, begun = 0, 0, time.process_time()
    for place, goal in enumerate(left):
        spent = time.process_time() - begun
        budget = Budget(max(0.0, seconds - spent) / (len(left) - place))
        tree = BranchAndBound(engine="bound").tree(
            Query(graph, ball, goal), stages, bounds, floor=0.0, slack=0.0, tolerance=1e-7
        )
        with suppress(OutOfTimeError):
            while tree.open_nodes and not tree.stuck and tree.explore(budget) is None:
                pass
        nodes, closed = nodes + tree.nodes, closed + (not tree.open_nodes)
    lower, upper = hidden_bounds(stages, bounds)
    return Row(
        question,
        graph.relu_count,
        int(np.count_nonzero((lower < 0) & (upper > 0))),
        round(statistics.median(costs), 3),
        len(left),
        closed,
        nodes,
        round(time.process_time() - begun, 2),
    )


HEADER = ("question", "ReLUs", "open", "root bounds, CPU s", "goals left", "closed", "nodes", "nodes / CPU s")


def summary(rows: Sequence[Row]) -> str:
    """A line a row."""
    lines = [
        (
            row.question,
            str(row.relus),
            str(row.open_relus),
            f"{row.root_seconds:.2f}",
            str(row.goals),
            str(row.closed),
            str(row.nodes),
            f"{row.node_rate:,.0f}",
        )
        for row in rows
    ]
    return table(HEADER, lines)


def main(words: Sequence[str] | None = None) -> int:
    """Measure what the record lacks, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", nargs="+", choices=tuple(ASKED), default=list(ASKED), help="default: all")
    parser.add_argument("--seconds", type=above_zero, default=30.0, help="of a question's trees (default: %(default)g)")
    parser.add_argument("--data", type=Path, default=SHARED, metavar="DIR", help="holds vnncomp")
    parser.add_argument("--out", type=Path, default=RESULTS / "roots.json", metavar="FILE")
    parser.add_argument("--fresh", action="store_true", help="begin the record anew")
    asked = parser.parse_args(words)
    try:
        record: Record[Row] = Record.of(asked, SETTING, Row, note=NOTE)
        one_core()
        compile_kernels()
        done = {row.question for row in record.rows}
        for question in asked.questions:
            if question not in done:
                record.add(measured(question, asked.data, asked.seconds))
    except InputError as error:
        print(f"roots: error: {error}", file=sys.stderr)
        return 2
    print(summary(record.rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
