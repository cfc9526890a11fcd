"""A plan → its tasks: the inputs that are selected, and their targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from verifier.campaign.plan.data import Data, open_data
from verifier.campaign.plan.plan import Plan, Selection
from verifier.campaign.plan.points import with_points
from verifier.campaign.plan.task_models import models_of
from verifier.campaign.plan.tasks import Target, Task, Wanted
from verifier.problem.inputs.box import inside, read_box
from verifier.runtime.model import Model
from verifier.runtime.transformed import load_transforms
from verifier.solvers.milp import solver_class

Remarks = dict[str, dict[str, None]]
"""By remark the inputs, or files of points, that it is about, in order."""


def tasks_of(plan: Plan, remarks: Remarks | None = None) -> list[Wanted]:
    """Every model × selected input × norm, with the targets that are wanted and the points of others for them.

    Fills `remarks`. Raises InputError.
    """
    remarks = {} if remarks is None else remarks
    if plan.solver is not None:
        solver_class(plan.solver)
    asked = models_of(plan)
    models = [model for model, _ in asked]
    data = open_data(plan.data, plan.split)
    chosen = select(data, models, plan.select)
    wanted = [
        each
        for model, output in asked
        for norm in plan.norms
        for each in _of_model(plan, model, output, norm, data, chosen, remarks)
    ]
    found, told = with_points(plan.points, wanted)
    for path, remark in told:
        remarks.setdefault(remark, {})[path] = None
    return found


def _of_model(
    plan: Plan, model: Model, output: str | None, norm: str, data: Data, chosen: Sequence[int], remarks: Remarks
) -> Iterator[Wanted]:
    transforms = None if plan.transforms is None else load_transforms(model, plan.transforms)
    columns = plan.columns
    for index in chosen:
        place = f"{data.name}, input {index}"
        given, told = data.told(index, model)
        lo, hi = read_box(plan.box, given.size)
        try:
            point, moved = inside(given, lo, hi)
        except InputError as error:
            raise InputError(f"{place}: {error}") from None
        for remark in (*told, *([moved] if moved else ())):
            remarks.setdefault(remark, {})[place] = None
        logits = model.logits(point)
        label = int(data.labels[index]) if data.labels is not None else model.predict(point)
        if not 0 <= label < model.classes:
            raise InputError(f"{place}: label {label}; {model.path} has {model.classes} classes")
        task = Task(
            model=model.path.absolute(),
            model_sha256=model.network.sha256,
            point=point,
            shape=tuple(model.network.input_shape),
            label=label,
            norm=norm,
            lo=lo,
            hi=hi,
            margin=plan.margin,
            precision=plan.precision,
            method=plan.method,
            solver=plan.solver or ("highs" if plan.method.startswith("milp") else None),
            source=data.name,
            index=index,
            transforms=transforms,
            name=data.names[index] if data.names else "",
            output=output,
            columns=columns,
        )
        try:
            if task.lattice is not None:  # its box is that of what can occur: no other point is within reach
                task = replace(task, lo=task.lattice.lo, hi=task.lattice.hi)
        except InputError as error:
            raise InputError(f"{place}: {error}") from None
        targets = targets_of(plan.targets, label, logits, [plan.select.seed, index])
        if targets:
            score = float(logits[label]) - float(np.delete(logits, label).max())
            yield Wanted(task, targets, score=score, wrong=model.predict(point) != label)


def select(data: Data, models: Sequence[Model], wanted: Selection) -> list[int]:
    """The indices of the selected inputs, ascending, but for `wanted.indices`, which stay in their order.

    Raises InputError for indices that are not there, or where fewer inputs than wanted fit.
    """
    for index in wanted.indices:
        if index >= data.count:
            raise InputError(f"indices: {index} is out of range: {data.name} holds {data.count} inputs, from 0")
    if wanted.indices:
        return [index for index in wanted.indices if _fits(data, models, wanted, index)]
    order = np.random.default_rng(wanted.seed).permutation(data.count).tolist()
    if wanted.per_class is None:
        return sorted(_first(data, models, wanted, order, wanted.count, f"{wanted.count} inputs"))
    if data.labels is None:
        raise InputError(f"per_class: {data.name} has no labels")
    found: list[int] = []
    for label in np.unique(data.labels).tolist():
        own = [index for index in order if data.labels[index] == label]
        found += _first(data, models, wanted, own, wanted.per_class, f"{wanted.per_class} inputs of class {label}")
    return sorted(found)


def _first(
    data: Data, models: Sequence[Model], wanted: Selection, order: Sequence[int], count: int | None, what: str
) -> list[int]:
    """The first `count` inputs in `order` that fit, all of them where count is None."""
    found: list[int] = []
    for index in order:
        if count is not None and len(found) == count:
            break
        if _fits(data, models, wanted, index):
            found.append(index)
    if count is not None and len(found) < count:
        raise InputError(f"{data.name}: {what} were asked for; {len(found)} fit")
    return found


def _fits(data: Data, models: Sequence[Model], wanted: Selection, index: int) -> bool:
    if not wanted.correct:
        return True
    if data.labels is None:
        raise InputError(f"correct: {data.name} has no labels")
    return all(model.predict(data.point(index, model)) == data.labels[index] for model in models)


def targets_of(
    kind: str | tuple[int, ...], label: int, logits: npt.NDArray[np.floating], seed: Sequence[int]
) -> tuple[Target, ...]:
    """The targets of one input: never its label. Raises InputError for a class that the model does not have."""
    if isinstance(kind, str):
        return KINDS[kind](label, logits, seed)
    for target in kind:
        if target >= len(logits):
            raise InputError(f"targets: {target} is not a class: the model has classes 0 to {len(logits) - 1}")
    return tuple(target for target in kind if target != label)


def _others(label: int, logits: npt.NDArray[np.floating]) -> list[int]:
    return [target for target in range(len(logits)) if target != label]


KINDS: Mapping[str, Callable[[int, npt.NDArray[np.floating], Sequence[int]], tuple[Target, ...]]] = {
    "all": lambda label, logits, _: tuple(_others(label, logits)),
    "next": lambda label, logits, _: ((label + 1) % len(logits),),
    "least-likely": lambda label, logits, _: (min(_others(label, logits), key=lambda target: float(logits[target])),),
    "random": lambda label, logits, seed: (int(np.random.default_rng(seed).choice(_others(label, logits))),),
    "untargeted": lambda _, __, ___: (None,),
}
