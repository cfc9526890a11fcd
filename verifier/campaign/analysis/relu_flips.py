"""How many ReLUs switch between an input and its minimal adversarial example: how nonlinear the network is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from encoders.errors import InputError, without_folders
from encoders.network.graph import Relu, evaluate
from verifier.campaign.analysis.table1 import TableGroup, grouped
from verifier.campaign.plan.task_models import task_model
from verifier.campaign.plan.tasks import Task
from verifier.campaign.store.records import Result
from verifier.problem.budget import Budget
from verifier.runtime.model import Model


@dataclass(frozen=True, eq=False)
class Switches:
    """One group: for each instance the number of ReLUs of each layer that are active at one of the two points only.

    layers: ReLUs in each layer of the network, lowered. missing: why nothing was counted, "" where it was.
    """

    group: TableGroup
    layers: tuple[int, ...]
    by_instance: Mapping[str, tuple[int, ...]]
    missing: str = ""

    @property
    def totals(self) -> list[int]:
        """Over all layers, ascending."""
        return sorted(sum(counts) for counts in self.by_instance.values())

    @property
    def layer_means(self) -> list[float]:
        """The mean number of switched ReLUs of each layer."""
        return np.array(list(self.by_instance.values())).mean(axis=0).tolist() if self.by_instance else []


def switches(results: Iterable[Result], tasks: Mapping[str, Task]) -> list[Switches]:
    """For each group, over the closed instances with a witness. A model that has moved or changed is told."""
    return [_of_group(group, members, tasks) for group, members in grouped(results).items()]


PATIENCE = 60.0
"""Seconds for a model that is read again, with its comparison: reports have no limit of their own."""


def _of_group(group: TableGroup, members: Sequence[Result], tasks: Mapping[str, Task]) -> Switches:
    closed = [one for one in members if one.closed and one.witness is not None and one.upper > 0]
    if group.transforms is not None:
        return Switches(group, (), {}, "not counted under transformations, where each copy of the network has its own")
    try:
        model = task_model(members[0], Budget(PATIENCE))
    except InputError as error:
        return Switches(group, (), {}, without_folders(str(error), members[0].model))
    sources = [model.graph.nodes[index] for index in model.graph.relus()]
    before = dict.fromkeys(dict.fromkeys(one.task for one in closed))
    patterns = _patterns(model, [tasks[task].point for task in before] + [_point(one) for one in closed])
    by_task = dict(zip(before, patterns, strict=False))
    found = {
        one.id: tuple(int(np.count_nonzero(a != b)) for a, b in zip(by_task[one.task], after, strict=True))
        for one, after in zip(closed, patterns[len(before) :], strict=True)
    }
    return Switches(group, tuple(node.size for node in sources if isinstance(node, Relu)), found)


def _point(one: Result) -> np.ndarray:
    assert one.witness is not None
    return one.witness.point


def _patterns(model: Model, points: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """For each point and ReLU layer: which are active, their argument > 0."""
    if not points:
        return []
    values = evaluate(model.graph, np.array(points, dtype=np.float64))
    return [[values[index][place] > 0 for index in model.graph.relus()] for place in range(len(points))]
