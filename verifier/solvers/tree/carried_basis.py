"""Bases of an earlier tree's LPs as bases of this network's: ReLUs and goal rows that both have keep their places."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from verifier.problem.phase_tree import PhaseTree
from verifier.solvers.kernels.simplex_program import ACTIVE, INACTIVE, SLACK, Program

KINDS = 3
"""Variables of each ReLU in the LP: w, a, p."""


class CarriedBases:
    """The bases of `tree` for this `program`, whose goal rows are `rows` of the question's.

    A ReLU that the earlier LP did not have begins active, a goal row with its slack.
    """

    def __init__(self, tree: PhaseTree, program: Program, rows: npt.NDArray[np.integer]) -> None:
        self._tree, self._program = tree, program
        moves, before, now = program.room.size, len(tree.kept), program.relus
        relu, goal = _places(tree.kept, program.kept), _places(tree.rows, rows)
        kinds = np.where(relu >= 0, moves + np.arange(KINDS)[:, None] * now + relu, -1).ravel()
        top = moves + KINDS * now
        slacks = np.where(goal >= 0, top + goal, -1)
        free = top + program.goals
        self._free, self._last = free, free + 1 + program.split
        self._now = np.concatenate([np.arange(moves), kinds, slacks, np.arange(free, self._last)])
        new = np.setdiff1d(np.arange(now), relu)
        self._added = np.concatenate([moves + ACTIVE * now + new, top + np.setdiff1d(np.arange(program.goals), goal)])
        self._relus = relu
        self._sound = bool(np.all(tree.basic < len(self._now))) and before == tree.keys.shape[1]

    def of(self, node: int) -> tuple[Any, Any] | None:
        """A leaf's basis, None where it is none of this LP: the kernel looks at nothing again that is checked here."""
        found = self._tree.basis(node) if self._sound else None
        if found is None or found[0].min() < 0:
            return None
        program = self._program
        carried = self._now[found[0]]
        basic = np.concatenate([carried[carried >= 0], self._added])
        key = np.full(program.relus, SLACK, dtype=np.int64)
        both = self._relus >= 0
        key[self._relus[both]] = found[1][both]
        if basic.size != program.constants.size or key.min(initial=SLACK) < SLACK or key.max(initial=0) > INACTIVE:
            return None
        keys = program.room.size + key * program.relus + np.arange(program.relus)
        named = np.sort(np.concatenate([basic, keys[key != SLACK]]))
        if np.any(named[1:] == named[:-1]) or self._free not in basic:
            return None
        return basic.astype(np.int16), key.astype(np.int8)


def _places(before: npt.NDArray[np.integer], now: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Where each of `before` stands among `now`, −1 where it does not."""
    found = np.full(len(before), -1, dtype=np.int64)
    _, mine, theirs = np.intersect1d(before, now, assume_unique=True, return_indices=True)
    found[mine] = theirs
    return found
