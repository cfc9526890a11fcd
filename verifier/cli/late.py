"""What a command knows when its time is up while the engine is still at work: the last bracket, or nothing yet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from verifier.problem.budget import Budget
from verifier.problem.verdict import Bracket, Evidence, Initial, Status, Unknown
from verifier.search.all_targets import AllTargets, overall
from verifier.search.robustness import Check


def bracket(last: Bracket | None, target: int | None, precision: float, attack: str, budget: Budget) -> Bracket:
    """The last bracket as the answer; where there is none, one that says nothing: 0 ≤ d* ≤ ∞."""
    if last is not None and last.final:
        return last
    known = last or Bracket(
        lower=0.0,
        upper=math.inf,
        witness=None,
        evidence=Evidence.PROVED,
        precision=precision,
        status=Status.BRACKETED,
        initial=Initial(attack, math.inf),
        target=target,
        seconds=0.0,
    )
    reason = budget.reason if known.status is Status.BRACKETED else ""
    return replace(known, seconds=budget.spent, reason=reason, final=True)


def check(answer: Check | None, target: int | None, budget: Budget) -> Check:
    """The answer, or that there is none."""
    reason = budget.reason
    return answer or Check(Unknown(reason), None, reason, None, budget.spent, target)


def every_target(
    last: Mapping[int | None, Bracket], targets: Sequence[int], precision: float, budget: Budget
) -> AllTargets:
    """The last bracket of each target, and of all."""
    return overall([bracket(last.get(target), target, precision, "cw", budget) for target in targets], budget)
