"""Certificates for lower ends: a file for each, built and checked; a campaign's are those of its closed brackets, a
gate's those of what it has proved.

What is certified stays certified: the same command makes those that are missing, and checks files that it finds.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import InputError, without_folders
from encoders.files.packed import without_gz
from encoders.onnx_io.file import model_bytes
from verifier.campaign.plan.task_models import specification, task_model
from verifier.campaign.plan.tasks import Target, Task
from verifier.campaign.pool import Lost, Piece, Pool
from verifier.campaign.store.records import Counts, Result
from verifier.campaign.store.store import Store
from verifier.certificates import checker
from verifier.certificates.builder import OF_SOME_INPUTS, certified, covers, not_covered
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.inputs.columns import units_of
from verifier.problem.verdict import Evidence
from verifier.search.question import Specification


@dataclass(frozen=True, eq=False)
class CertificateJob:
    """A lower end to be certified, with that of `float32` evaluations (0: none is known) and a `witness`, or None; the
    certificate goes to `path`."""

    instance: str
    task: Task
    target: Target
    lower: float
    witness: Any
    path: Path
    seconds: float
    float32: float = 0.0


@dataclass(frozen=True)
class Done:
    """What became of a job: the error is empty where the checker has found the file at `path` valid. float32: the lower
    end that it proves for float32 evaluations; 0: none."""

    job: CertificateJob
    error: str = ""
    float32: float = 0.0


def certify(
    store: Store,
    results: Sequence[Result],
    folder: Path,
    jobs: int,
    budget: Budget,
    limit: float,
    watch: Callable[[Counts], None] = lambda _: None,
) -> list[Done]:
    """Certify the lower ends of these results, `jobs` at a time, each within `limit` seconds; what was made or failed.

    The store says "certified", and where the file is, as soon as its checker has said so. Ends with the budget. Raises
    InputError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--certificates {folder}: cannot be made: {error.strerror or error}") from None
    todo = [_job(store, result, folder, limit) for result in results if not made(result)]
    found: list[Done] = []
    for done in certificates(todo, jobs, budget):
        if not done.error:
            store.certified(done.job.instance, done.job.lower, done.job.path)
        found.append(done)
        failed = sum(bool(each.error) for each in found)
        watch(Counts(len(results), len(results) - len(todo) + len(found) - failed, 0, failed, 0))
    return found


def made(result: Result) -> bool:
    """Is its lower end certified, and the file there?"""
    return result.evidence == Evidence.CERTIFIED.label and Path(result.certificate).is_file()


def _job(store: Store, result: Result, folder: Path, limit: float) -> CertificateJob:
    target = "any" if result.target is None else result.target
    name = f"{without_gz(result.model).stem}-{result.index}-{result.norm}-{target}-{result.id[:12]}.cert"
    witness = result.witness.point if result.witness is not None and result.closed else None
    path = folder.resolve() / name
    task, float32 = store.task(result.task), result.float32 or 0.0
    return CertificateJob(result.id, task, result.target, result.lower, witness, path, limit, float32)


@dataclass(frozen=True, eq=False)
class _Certify:
    """A call of `certificate` in another process."""

    job: CertificateJob

    def run(self) -> Done:
        """What becomes of the job."""
        return certificate(self.job)


def certificates(jobs: Sequence[CertificateJob], count: int, budget: Budget) -> Iterator[Done]:
    """The jobs' ends as they come, until the budget ends: in this process, or `count` at a time in others, which end
    with it.

    Files are whole or not there.
    """
    if count == 1:
        for job in jobs:
            if budget.ended:
                return
            yield certificate(job, budget)
        return
    pool: Pool[CertificateJob] = Pool(count, budget)
    for job, found in pool.run(Piece(job, _Certify(job), job.seconds) for job in jobs):
        yield Done(job, found.why) if isinstance(found, Lost) else found


def certificate(job: CertificateJob, whole: Budget | None = None) -> Done:
    """Build a job's certificate within the `whole` budget, or take the file that is there, which is checked."""
    task = covered(job.task)
    if why := not_covered(task.norm, task.transforms is not None):
        return Done(job, why)
    some = (
        "" if job.task.columns is None else f"{OF_SOME_INPUTS}, and of {'these' if task.columns is None else 'one'}: "
    )
    try:
        budget = Budget(job.seconds) if whole is None else whole.first_of(Budget(job.seconds))
        asked = specification(task, task_model(task, budget), budget, job.target)
        ends = _Ends.of(job, asked)
        known = _standing(job, asked, ends, model_bytes(task.model))
        if known is not None:
            return Done(job, float32=ends.float32_of(known))
        found = certified(asked, ends.lower, job.witness, budget, ends.float32)
        if not ends.proved(found.result):
            return Done(job, f"{OF_SOME_INPUTS}, and from none that holds the lower end follows")
        with _put_in_place(job.path) as temporary:
            temporary.write_bytes(found.content)
        written = job.path.read_bytes() == found.content
        error = "" if written else f"{job.path.name}: the file does not hold what was written to it"
        return Done(job, error, ends.float32_of(found.result))
    except (InputError, NotCertifiedError, OutOfTimeError, OSError) as error:
        return Done(job, some + without_folders(str(error), task.model, job.path))


def covered(task: Task) -> Task:
    """The task as a certificate is about it: what holds of all of the box holds of the inputs that can occur, and of a
    grid without units less does."""
    columns = task.columns
    if columns is None:
        return task
    offset, scale = units_of(columns.units, task.point.size)
    if not np.any(offset) and np.all(scale == 1.0):
        columns = replace(columns, units=None)
    return replace(task, columns=None if not_covered(task.norm, transformed=False, columns=columns) else columns)


@dataclass(frozen=True, eq=False)
class _Ends:
    """A job's lower ends as radii of open balls; where some inputs occur these hold what lies at the ends too."""

    job: CertificateJob
    asked: Specification
    lower: float
    float32: float

    @staticmethod
    def of(job: CertificateJob, asked: Specification) -> _Ends:
        """Those of a question."""
        lower, float32 = job.lower, job.float32
        if (lattice := job.task.lattice) is not None:
            ball = lattice.in_steps if asked.lattice is None else lattice.ball_around
            lower, float32 = (ball(end) if 0 < end < math.inf else end for end in (lower, float32))
        return _Ends(job, asked, lower, float32)

    def proved(self, found: checker.CheckedResult) -> bool:
        """Is the lower end?"""
        return covers(self.asked, found, found.lower, self.lower)

    def float32_of(self, found: checker.CheckedResult) -> float:
        """What is proved of float32 evaluations, on a grid as a lower end that nothing lies at."""
        grid, lattice = found.grid, self.asked.lattice
        if grid is None or lattice is None:
            return found.float32
        if covers(self.asked, found, found.float32, self.float32):
            return self.job.float32
        return lattice.short_of(Fraction(int(grid.steps(found.float32)), grid.per**grid.power))


def _standing(job: CertificateJob, asked: Specification, ends: _Ends, content: bytes) -> checker.CheckedResult | None:
    """What the file proves to the independent checker, where that is the job's lower end, for the job's question, and
    something of float32 where something is known of that."""
    ball, columns = asked.ball, None if asked.lattice is None else asked.lattice.asked
    query = checker.CheckedQuery(
        ball.norm.value, asked.label, asked.target, asked.margin, ball.centre, ball.lo, ball.hi
    )
    try:
        found = checker.checked(job.path.read_bytes(), content, job.task.model.parent)
        found = found if columns is None or columns.grid is None else found.on_grid(columns.grid)
    except (OSError, checker.InvalidError):
        return None
    shown = found.distance is not None or job.witness is None
    enough = ends.proved(found) and (found.float32 > 0) >= (job.float32 > 0)
    return found if found.digest == query.digest(job.task.model_sha256) and enough and shown else None


@contextmanager
def _put_in_place(path: Path) -> Iterator[Path]:
    """A file to write that takes the place of `path` when the block ends well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
