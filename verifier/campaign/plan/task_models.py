"""A task as the engine takes it: its model, kept loaded in each process, what it asks, and how that is answered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Protocol

from encoders.errors import InputError
from encoders.onnx_io.file import load_model, outputs
from verifier.campaign.plan.messages import Work
from verifier.campaign.plan.plan import Plan
from verifier.campaign.plan.tasks import Target, Task
from verifier.problem.budget import Budget
from verifier.problem.phase_tree import decoded
from verifier.runtime.model import Model, load
from verifier.search.earlier import Earlier
from verifier.search.question import InputRegion, Misclassification, Specification, specify
from verifier.search.settings import Settings

KEPT = 4
"""Models that a process keeps loaded."""

Key = tuple[Path, str, str | None]


class Asked(Protocol):
    """A task, or what a store says of one of its targets."""

    @property
    def model(self) -> Path: ...
    @property
    def model_sha256(self) -> str: ...
    @property
    def output(self) -> str | None: ...


def models_of(plan: Plan) -> list[tuple[Model, str | None]]:
    """A plan's models, each with the output that was chosen: the plan's where it is one of several, else None.

    Raises InputError where a model cannot be read, or none has an output of that name.
    """
    if plan.output is None:
        return [(load(path), None) for path in plan.models]
    named = {path: [port.name for port in outputs(load_model(path)[0].proto)] for path in plan.models}
    known = dict.fromkeys(name for names in named.values() for name in names)
    if plan.output not in known:
        listed = ", ".join(f"'{name}'" for name in known)
        raise InputError(f"output: no model of the plan has an output '{plan.output}'; there are {listed}")
    chosen = {path: plan.output if len(names) > 1 and plan.output in names else None for path, names in named.items()}
    return [(load(path, output=output), output) for path, output in chosen.items()]


def task_model(task: Asked, budget: Budget) -> Model:
    """The model that a task is about, read within the budget once in each process.

    One whose comparison with ONNX Runtime the budget cut short serves its caller alone. Raises InputError when the file
    is not the one that was asked about.
    """
    key = task.model, task.model_sha256, task.output
    with _lock:
        found = _kept.pop(key, None)
        if found is not None:
            _kept[key] = found  # the last one used is the last one to go
    if found is not None:
        return found
    model = load(task.model, budget, output=task.output)
    if model.network.sha256 != task.model_sha256:
        raise InputError(f"{task.model} has changed since the campaign began: begin it again")
    if model.agreement.complete:
        with _lock:
            _kept[key] = model
            while len(_kept) > KEPT:
                del _kept[next(iter(_kept))]
    return model


def specification(
    task: Task,
    model: Model,
    budget: Budget,
    target: Target = None,
    *,
    each: bool = False,
    targets: Sequence[int] | None = None,
) -> Specification:
    """What a task asks about one target (None: any but the label), or about each on its own. Raises InputError."""
    goal = Misclassification(target, task.label, task.margin, each, targets)
    region = InputRegion(task.point.reshape(task.shape), task.norm, (task.lo, task.hi), task.columns)
    return specify(model, region, goal, budget, task.transforms, precision=task.precision)


def settings(work: Work, budget: Budget) -> Settings:
    """How a piece of work is to be done. Raises InputError."""
    before, earlier = work.before, None
    if before is not None:
        trees = {goal: tree for goal, packed in before.trees.items() if (tree := decoded(packed)) is not None}
        earlier = Earlier(before.minima, trees)
    task = work.task
    return Settings(budget, task.method, task.solver, work.threads, work.device, work.seed, earlier=earlier)


_kept: dict[Key, Model] = {}
_lock = Lock()
