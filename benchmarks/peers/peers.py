"""Ours and other solvers on the same instances of table 1, in turn: seconds as ratios, and whether the optima agree.

`python -m benchmarks.peers.peers` takes 10 instances a norm, over both nets, and runs for each of them, on one core
of one process: our tree; our MILP with HiGHS and with CBC (each a bisection with its own attack); Gurobi, one MILP
that minimises the distance, given our bounds and our attack's ball in both norms; Marabou by bisection from our
attack's distance, in an environment that the script makes. What the gifts cost us is not counted for those who get
them. Peers that are not to be had are skipped with a word. Exit code 1: an optimum contradicts our bracket.
"""

from __future__ import annotations

import argparse
import importlib
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.harness.arguments import at_least_zero, count
from benchmarks.harness.instances import (
    ERROR,
    Call,
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
    solve,
    warm_up,
)
from benchmarks.harness.ratios import contradictions, ratio
from benchmarks.harness.record import Record, table
from benchmarks.harness.table_set import NORMS, PAIRS, TableSet, add_pair, record_path, sample, table_set
from benchmarks.peers import gurobi_milp
from benchmarks.peers.marabou import Marabou, MarabouMissingError, default_environment, interpreter
from benchmarks.peers.peer_case import Case, Found, case_of
from encoders.errors import InputError
from verifier import available_solvers
from verifier.problem.verdict import Status

OURS = "tree"
SETTING = ("precision", "timeout", "seed", "per_norm")
CONTRADICTION = 1
NOTE = (
    "For each instance every method in turn, in one process that may use one core, after untimed warm-up calls. "
    "Gurobi is given our linear bounds on the ball of our attack's witness, Marabou that witness's distance: both for "
    "nothing. Marabou's interpreter is started before its clock. A time limit is a whole bracket's, not a query's."
)


@dataclass(frozen=True)
class Options:
    """What all methods are given."""

    precision: float
    timeout: float
    marabou: Path | None = None
    """The interpreter that has maraboupy."""


Method = Callable[[Instance, Image, Options], Result]


def _api(method: str, solver: str | None = None) -> Method:
    def run(instance: Instance, image: Image, options: Options) -> Result:
        return solve(instance, image, Call(method, solver, options.precision, options.timeout))

    return run


def _gurobi(instance: Instance, image: Image, options: Options) -> Result:
    case, watch = _case(instance, image.tobytes()), Stopwatch()
    return _result(
        instance, "gurobi", options, watch, lambda: gurobi_milp.minimise(case, options.precision, options.timeout)
    )


def _marabou(instance: Instance, image: Image, options: Options) -> Result:
    assert options.marabou is not None
    with Marabou(options.marabou, _case(instance, image.tobytes())) as process:
        watch = Stopwatch()
        row = _result(instance, "marabou", options, watch, lambda: process.bisect(options.precision, options.timeout))
    return replace(row, cpu_seconds=max(0.0, watch.read()["cpu_seconds"] - process.cpu_seconds))


METHODS: Mapping[str, Method] = {
    OURS: _api("tree"),
    "milp-highs": _api("milp", "highs"),
    "milp-cbc": _api("milp", "cbc"),
    "gurobi": _gurobi,
    "marabou": _marabou,
}
"""In the order of their turns."""


@lru_cache(maxsize=1)
def _case(instance: Instance, image: bytes) -> Case:
    """The case of the instance in hand, made once for all peers that need it."""
    return case_of(loaded(instance.model), np.frombuffer(image, dtype=np.float32), instance.target, instance.norm)


def _result(instance: Instance, method: str, options: Options, watch: Stopwatch, search: Callable[[], Found]) -> Result:
    """A foreign solver's word as a result; what it raises is a result too."""
    try:
        found = search()
    except Exception as error:  # noqa: BLE001 - solvers raise what they like; it is written down, never counted
        return failed(instance, method, error, watch)
    if math.isinf(found.lower):
        status = Status.UNREACHABLE
    else:
        status = Status.MINIMAL if found.upper - found.lower <= options.precision else Status.BRACKETED
    return Result(
        **asdict(instance),
        method=method,
        status=status.value,
        lower=found.lower,
        upper=found.upper,
        initial=math.inf,
        evidence="solver",
        reason=found.reason,
        nodes=found.nodes,
        **watch.read(),
    )


def take_turns(instance: Instance, image: Image, methods: Sequence[str], options: Options) -> list[Result]:
    """The instance's results by all methods, one after the other."""
    return [METHODS[name](instance, image, options) for name in methods]


def begin(instances: Sequence[Instance], spare: Image, methods: Sequence[str], options: Options) -> None:
    """In the process that measures: keep it and its children to one core, and pay for imports and compilation."""
    one_core()
    warm_up(instances, spare, Call(OURS, None, options.precision, options.timeout))
    if "gurobi" in methods:
        model = instances[0].model
        label = loaded(model).predict(spare)
        first = Instance(model, -1, label, (label + 1) % 10, NORMS[0])
        _gurobi(first, spare, replace(options, timeout=1.0))


def missing(name: str, marabou: Path) -> str:
    """Why a method cannot run here, empty when it can."""
    if name == "milp-cbc" and "cbc" not in available_solvers():
        return "PuLP finds no CBC"
    if name == "gurobi":
        try:
            importlib.import_module("gurobipy")
        except ImportError:
            return "gurobipy is not installed: pip install 'relu-verifier[bench]'"
    if name == "marabou":
        try:
            interpreter(marabou)
        except MarabouMissingError as error:
            return str(error)
    return ""


HEADER = ("norm", "method", "closed", "open", "error", "times ours (wall)", "times ours (CPU)", "median wall s")


def summary(rows: Sequence[Result], methods: Sequence[str], limit: float) -> str:
    """A line for each norm and method."""
    lines = []
    for norm, method in product(NORMS, methods):
        part = [row for row in rows if (row.norm, row.method) == (norm, method)]
        ours = [row for row in rows if (row.norm, row.method) == (norm, OURS)]
        if not part:
            continue
        closed, errors = sum(row.closed for row in part), sum(row.status == ERROR for row in part)
        lines.append(
            (
                norm,
                method,
                f"{closed}/{len(part)}",
                str(len(part) - closed - errors),
                str(errors),
                str(ratio(ours, part, limit)),
                str(ratio(ours, part, limit, "cpu_seconds")),
                f"{statistics.median(row.seconds for row in part):.2f}",
            )
        )
    return table(HEADER, lines)


def run(
    arguments: argparse.Namespace, record: Record[Result], chosen: TableSet, methods: Sequence[str]
) -> list[Instance]:
    """Run what the record lacks; returns the instances. An instance is recorded when all have had their turn."""
    python = interpreter(arguments.marabou_env) if "marabou" in methods else None
    options = Options(arguments.precision, arguments.timeout, python)
    drawn = sample(chosen.instances, arguments.per_norm, arguments.seed)
    wanted = [instance for instance in drawn if instance.norm in arguments.norm][: arguments.limit]
    lacking = {instance for name in methods for instance in pending(wanted, name, record)}
    todo = [instance for instance in wanted if instance in lacking]
    compile_kernels()
    tasks = [(instance, chosen.images[instance.index], methods, options) for instance in todo]
    start = time.monotonic()
    for done, rows in enumerate(in_processes(1, take_turns, tasks, begin, (todo, chosen.spare, methods, options)), 1):
        for row in rows:
            record.add(row)
            print(
                f"{row.model:20} {row.norm:4} {row.label} -> {row.target}  {row.method:10} "
                f"[{row.lower:.5f}, {row.upper:.5f}]  {row.status:9} {row.seconds:7.2f} s  {row.reason}"
            )
        print(f"{done} of {len(todo)} instances, {time.monotonic() - start:.0f} s", flush=True)
    return wanted


def main(words: Sequence[str] | None = None) -> int:
    """Run all peers on the sample and print the ratios and the contradictions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_pair(parser)
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=list(METHODS))
    parser.add_argument("--norm", nargs="+", choices=NORMS, default=list(NORMS))
    parser.add_argument("--per-norm", type=count, default=10, help="instances of each norm (default: %(default)d)")
    parser.add_argument("--limit", type=count, help="run only the first so many instances")
    parser.add_argument("--precision", type=at_least_zero, default=1e-3, help="default: %(default)g")
    parser.add_argument("--marabou-env", type=Path, default=default_environment(), help="default: %(default)s")
    add_options(parser, timeout=60.0, out=None)
    arguments = parser.parse_args(words)
    arguments.out = arguments.out or record_path("peers", arguments.pair)
    reasons = {name: missing(name, arguments.marabou_env) for name in arguments.methods}
    for name, reason in reasons.items():
        if reason:
            print(f"{name} is skipped: {reason}")
    methods = [name for name in METHODS if name == OURS or reasons.get(name) == ""]
    try:
        record: Record[Result] = Record.of(arguments, SETTING, Result, note=NOTE, packages=("gurobipy",))
        wanted = run(arguments, record, table_set(arguments.data, arguments.seed, PAIRS[arguments.pair]), methods)
    except InputError as error:
        print(f"peers: error: {error}", file=sys.stderr)
        return 2
    rows = [row for row in record.rows if row.instance in wanted]
    print(summary(rows, tuple(METHODS), arguments.timeout))
    print("Geometric means; what is open counts at the time limit (wall) or with what it spent (CPU): ≥ a lower bound.")
    against = contradictions([row for row in rows if row.method == OURS], [row for row in rows if row.method != OURS])
    for line in against:
        print(f"CONTRADICTION: {line}", file=sys.stderr)
    return CONTRADICTION if against else 0


if __name__ == "__main__":
    raise SystemExit(main())
