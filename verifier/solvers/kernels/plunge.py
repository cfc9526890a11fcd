"""Plunging as one kernel: node evaluations, splits and the stack of what is still open below one node.

Between two nodes nothing is left to the interpreter, whose lock threads would have to wait for.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.kernels.jit import Integers, compiled
from verifier.bounds.kernels.lagrangian import descend
from verifier.bounds.kernels.network import CompiledNetwork
from verifier.solvers.kernels.node import CLOSED, FAILED, Found, NodeState, Rules, Shared, evaluate_node
from verifier.solvers.kernels.simplex_program import Program
from verifier.solvers.node_constants import AGAIN, BEYOND, CLOSES, STEPS

ENDED, FOUND, HANDED = 0, 1, 2
"""How a plunge ends: nothing is left, or nothing more was asked for; at a point that reaches the goal; before a node
that the kernel cannot close or split."""


class Journal(NamedTuple):
    """What a plunge notes of every node that it takes from the stack, in order: the `split`, and whether the active
    child is evaluated `first`; of those that it evaluates the multipliers and the last basis, by `row`, else −1.
    length (1,): how many. wanted: is it to be written?"""

    wanted: bool
    length: Integers
    split: Integers
    first: npt.NDArray[np.bool_]
    row: Integers
    weights: Array
    nu: Array
    basic: Integers
    key: Integers


class Stack(NamedTuple):
    """Open nodes, one a row, the next one to be evaluated last: bounds (rows, relus), the radius that each excludes
    (rows,), the basis that its LP starts from (rows, …), whether points of it were refused (rows,)."""

    lower: Array
    upper: Array
    ends: Array
    basic: Integers
    key: Integers
    refused: npt.NDArray[np.bool_]
    journal: Journal


def stack_of(rows: int, relus: int, basic: int, key: int, goals: int, *, wanted: bool) -> Stack:
    """An empty stack with room for so many nodes; wanted: with a journal."""
    written = rows if wanted else 0
    journal = Journal(
        wanted,
        np.zeros(1, dtype=np.int64),
        np.empty(ENTRIES * written, dtype=np.int64),
        np.empty(ENTRIES * written, dtype=np.bool_),
        np.empty(ENTRIES * written, dtype=np.int64),
        np.empty((written, goals)),
        np.empty((written, relus)),
        np.empty((written, basic), dtype=np.int64),
        np.empty((written, key), dtype=np.int64),
    )
    return Stack(
        np.empty((rows, relus)),
        np.empty((rows, relus)),
        np.empty(rows),
        np.empty((rows, basic), dtype=np.int64),
        np.empty((rows, key), dtype=np.int64),
        np.empty(rows, dtype=np.bool_),
        journal,
    )


ENTRIES = 3
"""Entries of a journal for each node that is evaluated: itself, and its children where they lie beyond the radius."""


class Extent(NamedTuple):
    """How far a plunge goes: at most `most` nodes, until their LPs have had so many `pivots`, which measure the time.

    number: of nodes before the first one. inherit: children of a refused node are refused too.
    """

    most: int
    pivots: int
    number: int
    inherit: bool


@compiled
def _note(journal: Journal, split: int, first: bool, row: int) -> None:
    if journal.wanted:
        k = journal.length[0]
        journal.split[k], journal.first[k], journal.row[k] = split, first, row
        journal.length[0] = k + 1


@compiled
def plunge(
    net: CompiledNetwork,
    program: Program,
    radius: float,
    rules: Rules,
    shared: Shared,
    stack: Stack,
    extent: Extent,
    point: Array,
) -> tuple[int, int, int, float]:
    """(how it ends, rows of the stack in use, nodes, radius within which no evaluation of a closed node is bad).

    Nodes below the stack's first row are evaluated, depth-first; at every so-many-th a descent begins. `point` (n,) is
    filled in; the node of a point that was found stays on the stack, as it was.
    """
    relus = stack.lower.shape[1]
    low, high, arguments = np.empty(relus), np.empty(relus), np.empty(relus)
    basic, key = np.empty_like(stack.basic[0]), np.empty_like(stack.key[0])
    weights, mu, nu = np.empty(program.goals), np.empty(relus), np.empty(relus)
    node, found = NodeState(low, high, basic, key), Found(point, arguments, weights, mu, nu)
    moved, best = np.empty_like(point), np.empty_like(point)
    depth, nodes, float32 = 1, 0, math.inf
    journal = stack.journal
    journal.length[0] = 0
    while depth > 0 and nodes < extent.most and shared.spent[0] < extent.pivots:
        top = depth - 1
        if stack.ends[top] >= radius > 0.0:
            _note(journal, BEYOND, False, -1)
            depth = top
            continue
        low[:], high[:] = stack.lower[top], stack.upper[top]
        basic[:], key[:] = stack.basic[top], stack.key[top]
        weights[:], mu[:], nu[:] = 0.0, 0.0, 0.0
        state, within, margin, place = evaluate_node(net, program, radius, rules, shared, node, found)
        stuck = state != CLOSED and place < 0 and not np.any((stack.lower[top] < 0.0) & (stack.upper[top] > 0.0))
        if state == FAILED or stuck:
            return HANDED, depth, nodes, float32
        if journal.wanted:
            journal.weights[nodes], journal.nu[nodes] = weights, nu
            journal.basic[nodes], journal.key[nodes] = basic, key
        nodes += 1
        within = max(stack.ends[top], within)
        if state == CLOSED:
            _note(journal, CLOSES, False, nodes - 1)
            float32 = min(float32, within)
            depth = top
            continue
        known, refused = margin > -math.inf, stack.refused[top]
        if known and not refused:
            if margin >= 0.0:
                return FOUND, depth, nodes, float32
            if rules.descend_every and (extent.number + nodes - 1) % rules.descend_every == 0:
                moved[:] = point
                if descend(net, shared.ends, moved, radius, STEPS, best) >= 0.0:
                    point[:] = best
                    return FOUND, depth, nodes, float32
        # Where nothing is open any more, but the LP knew less, the node is evaluated again with its new bounds.
        depth = top + 2 if place >= 0 else top + 1
        for row in range(top, depth):
            stack.lower[row], stack.upper[row] = low, high
            stack.basic[row], stack.key[row] = basic, key
            stack.ends[row] = within
            stack.refused[row] = refused and extent.inherit
        if place >= 0:
            # The child that the point lies in is evaluated first.
            active = top + 1 if known and arguments[place] > 0.0 else top
            stack.lower[active, place] = 0.0
            stack.upper[2 * top + 1 - active, place] = 0.0
            _note(journal, place, active == top + 1, nodes - 1)
        else:
            _note(journal, AGAIN, False, nodes - 1)
    return ENDED, depth, nodes, float32
