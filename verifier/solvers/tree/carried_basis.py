"""An earlier tree for the kernel: its bases as bases of this network's LP, ReLUs and goal rows in their places."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from verifier.problem.phase_tree import LEAF, PhaseTree
from verifier.solvers.kernels.plunge import EarlierTree
from verifier.solvers.kernels.simplex_program import ACTIVE, INACTIVE, SLACK, Program

KINDS = 3
"""Variables of each ReLU in the LP: w, a, p."""


def known_tree(tree: PhaseTree | None, program: Program, rows: npt.NDArray[np.integer], relus: int) -> EarlierTree:
    """The tree, about these `rows` of the goal, for the LP of a network of so many ReLUs; no nodes for None."""
    nothing = np.zeros(0, dtype=np.int32)
    if tree is None:
        numbers = np.zeros((0, len(rows) + relus), dtype=np.int16)
        leaf, basic, key = np.zeros(0, dtype=np.int64), *(np.zeros((0, 0), dtype=np.int64) for _ in range(2))
        return EarlierTree(nothing, nothing, numbers, leaf, basic, key)
    usable, basic, key = carried(tree, program, rows)
    leaf = np.full(tree.nodes, -1)
    leaf[np.flatnonzero(tree.split == LEAF)[usable]] = np.arange(usable.size)
    return EarlierTree(tree.split, tree.first, tree.numbers, leaf, basic, key)


def carried(
    tree: PhaseTree, program: Program, rows: npt.NDArray[np.integer]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(which leaves have a basis of this LP, these, their keys): the kernel does not check them again.

    A ReLU that the earlier LP did not have begins active, a goal row with its slack.
    """
    moves, now = program.room.size, program.relus
    relu, goal = _places(tree.kept, program.kept), _places(tree.rows, rows)
    kinds = np.where(relu >= 0, moves + np.arange(KINDS)[:, None] * now + relu, -1).ravel()
    top = moves + KINDS * now
    free = top + program.goals
    places = np.concatenate(
        [np.arange(moves), kinds, np.where(goal >= 0, top + goal, -1), np.arange(free, free + 1 + program.split)]
    )
    new, slack = np.setdiff1d(np.arange(now), relu), np.setdiff1d(np.arange(program.goals), goal)
    added = np.concatenate([moves + ACTIVE * now + new, top + slack])
    wanted = program.constants.size - added.size
    basic = tree.basic.astype(np.int64)
    whole = basic.shape[1] > 0 and len(tree.kept) == tree.keys.shape[1] and wanted >= 0
    known = whole & np.all((basic >= 0) & (basic < len(places)), axis=1)
    found = np.where(known[:, None], places[np.where(known[:, None], basic, 0)], -1) if whole else basic
    known &= np.count_nonzero(found >= 0, axis=1) == wanted
    usable = np.flatnonzero(known)
    found = found[usable]
    basis = np.hstack([found[found >= 0].reshape(usable.size, max(wanted, 0)), np.tile(added, (usable.size, 1))])
    key = np.full((usable.size, now), SLACK, dtype=np.int64)
    both = relu >= 0
    key[:, relu[both]] = tree.keys[usable][:, both]
    sound = _sound(basis, key, program, free)
    return usable[sound], basis[sound], key[sound]


def _sound(basis: Any, key: Any, program: Program, free: int) -> npt.NDArray[np.bool_]:
    """Which of these are bases: no variable twice, the LP's value among them."""
    if not key.size:
        return np.full(len(basis), bool(len(basis)))
    keys = np.where(key != SLACK, program.room.size + key * program.relus + np.arange(program.relus), -1)
    named = np.sort(np.hstack([basis, keys]), axis=1)
    twice = np.any((named[:, 1:] == named[:, :-1]) & (named[:, 1:] >= 0), axis=1)
    inside = np.all((key >= SLACK) & (key <= INACTIVE), axis=1)
    return np.asarray(~twice & inside & np.any(basis == free, axis=1))


def _places(before: npt.NDArray[np.integer], now: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Where each of `before` stands among `now`, −1 where it does not."""
    found = np.full(len(before), -1, dtype=np.int64)
    _, mine, theirs = np.intersect1d(before, now, assume_unique=True, return_indices=True)
    found[mine] = theirs
    return found
