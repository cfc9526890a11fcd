"""How a worker judges points that other tools have found: each as it is, the nearest witness of each target counts."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from encoders.files.array_files import AnyArray
from verifier.campaign.plan.attack_tasks import AttackTask, Finding
from verifier.campaign.plan.messages import Work
from verifier.campaign.plan.task_models import specification
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.verdict import Witness
from verifier.runtime.model import Model
from verifier.runtime.refusal import Refusal, replayed
from verifier.runtime.witness import Judge
from verifier.search.question import Specification


def judge_points(work: Work, model: Model, budget: Budget, take: Callable[[Finding], None]) -> None:
    """Judge the points of a piece of work, target by target; each finding goes to `take`. One that the end of the
    budget cuts short is none."""
    each = any(one.target is not None for one in work.attack_tasks)
    with suppress(OutOfTimeError):
        asked = specification(work.task, model, budget, each=each)
        for attack_task in work.attack_tasks:
            take(_judged(asked, work.task.id, attack_task, budget))


def _judged(asked: Specification, task: str, attack_task: AttackTask, budget: Budget) -> Finding:
    assert attack_task.given is not None
    begin, target = time.monotonic(), attack_task.target
    judge = asked.only(None if target is None else [target]).judge
    found = [_replayed(asked, judge, point, budget) for point in attack_task.given]
    nearest = min((one for one in found if isinstance(one, Witness)), key=lambda one: one.distance, default=None)
    refused = Counter(one.value for one in found if isinstance(one, Refusal))
    return Finding(
        task,
        target,
        attack_task.kind,
        attack_task.attack,
        distance=math.inf if nearest is None else nearest.distance,
        witness=nearest,
        facts={"given": len(found), "refused": dict(refused)},
        seconds=time.monotonic() - begin,
    )


def _replayed(asked: Specification, judge: Judge, point: AnyArray, budget: Budget) -> Witness | Refusal:
    """What a point is, with the model's numbers for those that can occur where it has another rounding of them."""
    if asked.lattice is not None:
        with np.errstate(over="ignore"):
            occurring = asked.lattice.occurring(point.astype(judge.dtype).astype(np.float64))
        if occurring is None:
            return Refusal.NEVER
        point = occurring
    return replayed(judge, asked.label, point, budget)
