"""Instances and their results, and how they are run: one API call each, in processes of one thread."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

import verifier
from benchmarks.harness.arguments import above_zero
from benchmarks.harness.record import Record
from encoders.errors import InputError
from verifier import models
from verifier.problem.verdict import Bracket, Status
from verifier.solvers.kernels import cache as kernels

Image = npt.NDArray[np.float32]
Outcome = TypeVar("Outcome")

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
HOLDS, VIOLATED, UNKNOWN = "holds", "violated", "unknown"
CLOSED = (Status.MINIMAL, Status.UNREACHABLE, Status.ALREADY_ADVERSARIAL, HOLDS, VIOLATED)
ERROR = "error"
"""The status of an instance whose run raised an exception: it is not closed, and runs again when the record goes on."""

WARM_UP = 10.0
"""Seconds that a warm-up call may take at most: imports and compilation take less."""


@dataclass(frozen=True)
class Instance:
    """One question: the model, input `index` of the data, its label, the target, the norm.

    The question is for the minimum, or with a `radius` whether the target can be reached within it.
    """

    model: str
    index: int
    label: int
    target: int
    norm: str
    radius: float | None = None

    @property
    def instance(self) -> Instance:
        """The question alone, without what a row of a record adds."""
        return Instance(**{field.name: getattr(self, field.name) for field in fields(Instance)})


@dataclass(frozen=True, kw_only=True)
class Result(Instance):
    """What a method found. Distances are in the instance's norm; seconds are wall and CPU time, children included.

    initial: the attack's distance. `cpu_seconds`, `engine`, `nodes`, `open_nodes` are None where unknown.
    """

    method: str
    status: str
    lower: float
    upper: float
    initial: float
    evidence: str
    seconds: float
    reason: str = ""
    cpu_seconds: float | None = None
    engine: str | None = None
    nodes: int | None = None
    open_nodes: int | None = None
    threads: int = 1

    @property
    def key(self) -> tuple[Any, ...]:
        return key_of(self, self.method)

    @property
    def closed(self) -> bool:
        return self.status in CLOSED


def key_of(instance: Instance, method: str) -> tuple[Any, ...]:
    """The key of the instance's result by a method."""
    return instance.model, instance.norm, instance.index, instance.target, instance.radius or 0.0, method


@dataclass(frozen=True)
class Call:
    """How `verifier.minimal` is called."""

    method: str
    solver: str | None = None
    precision: float = 1e-3
    timeout: float = 120.0
    threads: int = 1

    @property
    def name(self) -> str:
        return self.method if self.solver is None else f"{self.method}-{self.solver}"


class Stopwatch:
    """Wall and CPU seconds since it was made; the CPU's are those of this process and of its children that ended."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), self._used()

    @staticmethod
    def _used() -> float:
        children = os.times()
        return time.process_time() + children.children_user + children.children_system

    def read(self) -> dict[str, Any]:
        """The fields `seconds` and `cpu_seconds` of a result."""
        return {"seconds": time.perf_counter() - self._wall, "cpu_seconds": self._used() - self._cpu}


@cache
def loaded(name: str) -> verifier.Model:
    """A shipped model, read once in each process."""
    return verifier.load(models.path(name))


def solve(instance: Instance, image: Image, call: Call) -> Result:
    """One bracket. An exception of the engine becomes a result of its own; InputError is the caller's mistake."""
    model, watch = loaded(instance.model), Stopwatch()
    try:
        found = verifier.minimal(
            model,
            image,
            target=instance.target,
            norm=instance.norm,
            method=call.method,
            solver=call.solver,
            precision=call.precision,
            timeout=call.timeout,
            threads=call.threads,
            device="cpu",
        )
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - one failure must not end a run of hours; it is counted as not closed
        return failed(instance, call.name, error, watch)
    return replace(result_of(instance, call.name, found, watch), threads=call.threads)


def failed(instance: Instance, method: str, error: Exception, watch: Stopwatch) -> Result:
    """The result of a run that raised an exception."""
    reason = f"{type(error).__name__}: {error}"
    return Result(**asdict(instance), method=method, status=ERROR, lower=0.0, upper=math.inf, initial=math.inf,
                  evidence="", reason=reason, **watch.read())  # fmt: skip


def result_of(instance: Instance, method: str, found: Bracket, watch: Stopwatch) -> Result:
    """A bracket as a result."""
    search = found.search
    return Result(
        **asdict(instance),
        method=method,
        status=found.status.value,
        lower=found.lower,
        upper=found.upper,
        initial=found.initial.distance,
        evidence=found.evidence.label,
        reason=found.reason,
        engine=search.engine if search is not None else None,
        nodes=search.nodes if search is not None else None,
        open_nodes=search.open_nodes if search is not None else None,
        **watch.read(),
    )


def pending(instances: Sequence[Instance], method: str, record: Record[Result]) -> list[Instance]:
    """The instances that the record has no result for, or an error."""
    done = {row.key for row in record.rows if row.status != ERROR}
    return [instance for instance in instances if key_of(instance, method) not in done]


def compile_kernels() -> None:
    """Have the engine's compiled kernels at hand: a question would go on without them while they are compiled."""
    if kernels.available() and not kernels.ready():
        kernels.compile_now()


def warm_up(instances: Sequence[Instance], image: Image, call: Call) -> None:
    """One untimed call for each model and norm, so that no instance pays for imports, compilation or a cold cache."""
    first = {(instance.model, instance.norm): instance for instance in reversed(instances)}
    for instance in first.values():
        label = loaded(instance.model).predict(image)
        target = (label + 1) % loaded(instance.model).classes
        solve(Instance(instance.model, -1, label, target, instance.norm), image,
              replace(call, timeout=min(WARM_UP, call.timeout)))  # fmt: skip


def one_core() -> None:
    """Keep this process, and the children that it will have, to one core, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def in_processes(
    jobs: int,
    function: Callable[..., Outcome],
    arguments: Sequence[tuple[Any, ...]],
    start: Callable[..., None] | None = None,
    start_arguments: tuple[Any, ...] = (),
) -> Iterator[Outcome]:
    """function(*each) in `jobs` new processes of one thread each, begun in order, given back as they end.

    `start` runs first in each process. Ctrl-C, a caller that stops reading, and the end of this process, end the others
    at once.
    """
    os.environ.update(ONE_THREAD)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _begin, (start, start_arguments)) as pool:
        tasks = [pool.submit(function, *each) for each in arguments]
        try:
            for task in as_completed(tasks):
                yield task.result()
        except BaseException:
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _begin(start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its children itself
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start(*arguments)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def add_options(parser: argparse.ArgumentParser, *, timeout: float | None, out: Path | None) -> None:
    """The options that the benchmarks of brackets share."""
    default = f" (default: {timeout:g})" if timeout is not None else ""
    parser.add_argument("--data", type=Path, help="the folder of the MNIST idx files (default: beside the project)")
    parser.add_argument("--timeout", type=above_zero, default=timeout, help=f"seconds an instance{default}")
    parser.add_argument("--seed", type=int, default=0, help="that chooses the instances (default: %(default)d)")
    parser.add_argument("--out", type=Path, default=out, help="the JSON record, which is continued if it is there")
    parser.add_argument("--fresh", action="store_true", help="begin the record anew")
