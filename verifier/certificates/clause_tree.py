"""The clauses by which propagation and learning contradict a case, as steps that the checker follows.

The search of `solvers/learning.py` is run anew and notes, for each contradiction, what it learns and which changes of
its trail took part. Nothing here is believed: the checker takes each step again, in exact numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from encoders.network.graph import Array
from verifier.certificates.checker import CLAUSES, ClauseProof, InvalidError, Layer, Numbers, Proof
from verifier.certificates.format import STEP, varints
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.solvers.learning import Derivation, LearningSearch, Multipliers, pays
from verifier.solvers.propagation.rows import STEP_BITS, in_steps
from verifier.solvers.propagation.trail import FIRST_NOGOOD
from verifier.solvers.tree.protocol import TreeRoot

SHARE = 4.0
"""One part of so many of the time that is left: trees have the others."""

MOST = 1 << 20
"""Pairs of ReLUs in one layer, up to which there are clauses: the checker makes rows of all of a layer at once, which
takes a gigabyte of 10,000."""


class FollowedClauses(ClauseProof):
    """The checker's clauses, which look at a budget wherever entries are counted: it may end before the proof's own."""

    def __init__(self, proof: Proof, layers: Sequence[Layer], step: int, budget: Budget) -> None:
        self._budget = budget
        super().__init__(proof, layers, step)

    def _count(self, work: int) -> None:
        """As the checker does. Raises OutOfTimeError."""
        self._budget.check()
        super()._count(work)


def clauses_of(root: TreeRoot, proof: Proof, budget: Budget) -> list[int] | None:
    """The integers of the clauses that contradict a case, which follow exactly; None where propagation does not pay or
    does not come to that. Raises OutOfTimeError.

    What the search concludes from bounds that the checker does not have may not follow: then it begins anew with those
    from which the checker begins.
    """
    if not pays(root.stages) or sum(stage.size**2 for stage in root.stages.hidden) > MOST:
        return None
    share = budget.share(SHARE)
    try:
        for _ in range(2):
            made = _searched(root, share)
            if made is None:
                return None
            exact = FollowedClauses(proof, proof.rooted, STEP, share)
            lower, upper = _ends(exact)
            if _follow(exact, made):
                return made
            root = replace(root, lower=lower, upper=upper)
    except InvalidError:
        return None
    except OutOfTimeError:
        budget.check()
    return None


def _searched(root: TreeRoot, budget: Budget) -> list[int] | None:
    """The integers of what a search learns, where it comes to an end. Raises OutOfTimeError."""
    search = LearningSearch(root.stages, root.ball, root.goal, root.lower, root.upper, look=budget.check, notes=True)
    while search.explore(budget) is not None:
        search.refuse()
    rows = len(search.about_goal)
    complete = rows - sum(part is not None for part in search.about_goal) == len(root.goal.offset)
    return _numbers(search, budget) if search.closed and search.derivations and complete else None


def _ends(exact: ClauseProof) -> tuple[Array, Array]:
    """What the checker knows of ReLU arguments before the first clause."""
    ends = np.ldexp(exact.bound.astype(np.float64), -STEP)
    ends = np.nextafter(ends, -np.inf)  # an end is an integer of more bits than a float has, perhaps
    return ends[exact.variables - exact.relus : exact.variables], -ends[2 * exact.variables - exact.relus :]


def _follow(exact: ClauseProof, learnt: Sequence[int]) -> bool:
    """Do a case's clauses follow exactly? What floats conclude by a hair does not."""
    _, _, *rest = learnt
    try:
        exact.refuted(Numbers(memoryview(varints(np.array(rest, dtype=np.int64)))))
    except InvalidError:
        return False
    return True


def _numbers(search: LearningSearch, budget: Budget) -> list[int]:
    """Raises OutOfTimeError."""
    sums = [part for part in search.about_goal if part is not None]
    rows = 2 * search.relus + len(search.about_goal)
    found = [CLAUSES, STEP, len(sums)]
    for part in sums:
        found += _sum(part)
    found.append(len(search.derivations))
    for each in search.derivations:
        budget.check()
        found += _derived(each, rows)
    return found


def _sum(part: Multipliers) -> list[int]:
    """λ and ν of a row as integers: their common factor does not matter."""
    nu, count = -in_steps(part.nu), round(1.0 / float(part.weights.max()))
    most = int(np.frexp(np.abs(nu).max(initial=0.0))[1])
    fine = 2.0 ** max(STEP_BITS - most, 0)
    return [*np.rint(part.weights * count * fine).astype(np.int64).tolist(), *_whole(nu * count * fine)]


def _whole(values: Array) -> list[int]:
    return [int(value) for value in np.rint(values).tolist()]


def _derived(each: Derivation, rows: int) -> list[int]:
    """Literals, then steps: of a row with the end that it raises, of a clause alone."""
    literals = [
        number
        for end, value in zip(each.end.tolist(), each.value.tolist(), strict=True)
        for number in (end, math.ceil(value * 2.0**STEP))
    ]
    steps: list[int] = []
    for reason, end in zip(each.reasons.tolist(), each.raised.tolist(), strict=True):
        steps += [rows + FIRST_NOGOOD - reason] if reason <= FIRST_NOGOOD else [reason, end]
    return [len(literals) // 2, *literals, len(steps), *steps]
