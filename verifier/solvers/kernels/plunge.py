"""Plunging as one kernel: node evaluations, splits and the stack of what is still open below one node.

Between two nodes nothing is left to the interpreter, whose lock threads would have to wait for. Nodes that an earlier
tree has as well are evaluated by the multipliers that they had there, and split where that split them; a leaf of it
that these leave open is gone on with as any other node, from its basis there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.kernels.jit import Integers, compiled, inner
from verifier.bounds.kernels.lagrangian import descend
from verifier.bounds.kernels.network import CompiledNetwork
from verifier.problem.phase_tree import STEPS as PARTS
from verifier.solvers.kernels.node import (
    CLOSED,
    FAILED,
    Found,
    NodeState,
    Rules,
    Shared,
    evaluate_node,
    evaluate_proposed,
)
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
    (rows,), the basis that its LP starts from (rows, …), whether points of it were refused (rows,); known (rows,):
    which node of the earlier tree it is, or −1; boxes (rows, 2, n): their own of the input, or (rows, 2, 0)."""

    lower: Array
    upper: Array
    ends: Array
    basic: Integers
    key: Integers
    refused: npt.NDArray[np.bool_]
    known: Integers
    boxes: Array
    journal: Journal


class EarlierTree(NamedTuple):
    """An earlier tree: `split` and `first` of its nodes and their multipliers `numbers` (nodes, goals + relus), as
    `PhaseTree` has them; the bases basic and key (leaves, …) of its leaves, of which a node is the `leaf`-th; −1 where
    it is none that has a basis of this LP. Without one all are empty."""

    split: npt.NDArray[np.int32]
    first: npt.NDArray[np.int32]
    numbers: npt.NDArray[np.int16]
    leaf: Integers
    basic: Integers
    key: Integers


def stack_of(rows: int, relus: int, basic: int, key: int, goals: int, boxed: int, *, wanted: bool) -> Stack:
    """An empty stack with room for so many nodes, whose boxes have that many entries; wanted: with a journal."""
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
        np.full(rows, -1, dtype=np.int64),
        np.empty((rows, 2, boxed)),
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


PROPOSED = 2
"""Pivots that the evaluation of a node by known multipliers counts as."""


@inner
def _note(journal: Journal, split: int, first: bool, row: int) -> None:
    if journal.wanted:
        k = journal.length[0]
        journal.split[k], journal.first[k], journal.row[k] = split, first, row
        journal.length[0] = k + 1


@inner
def _follow(
    net: CompiledNetwork, radius: float, rules: Rules, stack: Stack, earlier: EarlierTree, top: int, row: int
) -> tuple[bool, float, int]:
    """Evaluate the last node, at `top`, by its earlier multipliers: (does it close, radius that no charged evaluation
    reaches within, rows of the stack in use then). `row`: its place in the journal."""
    came, goals = stack.known[top], earlier.numbers.shape[1] - stack.lower.shape[1]
    low, high, journal = stack.lower[top], stack.upper[top], stack.journal
    numbers, relu, leaf = earlier.numbers[came], earlier.split[came], earlier.leaf[came]
    weights, nu = numbers[:goals] / PARTS, numbers[goals:] / PARTS
    if journal.wanted:
        journal.weights[row], journal.nu[row] = weights, nu
        journal.basic[row, :], journal.key[row, :] = -1, 0
        if leaf >= 0:
            journal.basic[row], journal.key[row] = earlier.basic[leaf], earlier.key[leaf]
    state, within = evaluate_proposed(net, radius, rules, weights, nu, low, high)
    within = max(stack.ends[top], within)
    if state == CLOSED:
        _note(journal, CLOSES, False, row)
        return True, within, top
    stack.ends[top], stack.known[top] = within, -1
    if relu < 0:
        if leaf >= 0:
            stack.basic[top], stack.key[top] = earlier.basic[leaf], earlier.key[leaf]
        _note(journal, AGAIN, False, -1)
        return False, within, top + 1
    child = earlier.first[came]
    if low[relu] > 0.0 or high[relu] < 0.0:
        stack.known[top] = child + (1 if low[relu] > 0.0 else 0)
        _note(journal, AGAIN, False, -1)
        return False, within, top + 1
    active = top + 1
    stack.lower[active], stack.upper[active] = low, high
    stack.basic[active], stack.key[active], stack.boxes[active] = stack.basic[top], stack.key[top], stack.boxes[top]
    stack.ends[active], stack.refused[active] = within, stack.refused[top]
    stack.known[top], stack.known[active] = child, child + 1
    high[relu], stack.lower[active, relu] = 0.0, 0.0
    _note(journal, relu, True, row)
    return False, within, top + 2


@compiled
def plunge(
    net: CompiledNetwork,
    program: Program,
    radius: float,
    rules: Rules,
    shared: Shared,
    stack: Stack,
    earlier: EarlierTree,
    extent: Extent,
    point: Array,
) -> tuple[int, int, int, float]:
    """(how it ends, rows of the stack in use, nodes, radius within which no evaluation of a closed node is bad).

    Nodes below the stack's first row are evaluated, depth-first; at every so-many-th a descent begins. `point` (n,) is
    filled in; the node of a point that was found stays on the stack, as it was.
    """
    relus = stack.lower.shape[1]
    low, high, arguments = np.empty(relus), np.empty(relus), np.empty(relus)
    basic, key, box = np.empty_like(stack.basic[0]), np.empty_like(stack.key[0]), np.empty_like(stack.boxes[0])
    weights, mu, nu = np.empty(program.goals), np.empty(relus), np.empty(relus)
    node, found = NodeState(low, high, basic, key, box), Found(point, arguments, weights, mu, nu)
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
        if stack.known[top] >= 0:
            closes, within, depth = _follow(net, radius, rules, stack, earlier, top, nodes)
            nodes += 1
            shared.spent[0] += PROPOSED
            if closes:
                float32 = min(float32, within)
            continue
        low[:], high[:] = stack.lower[top], stack.upper[top]
        basic[:], key[:], box[:] = stack.basic[top], stack.key[top], stack.boxes[top]
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
                # No constant, for which numba would compile `descend` anew.
                steps = int(np.int64(STEPS))
                if descend(net, shared.ends, moved, radius, steps, best) >= 0.0:
                    point[:] = best
                    return FOUND, depth, nodes, float32
        # Where nothing is open any more, but the LP knew less, the node is evaluated again with its new bounds.
        depth = top + 2 if place >= 0 else top + 1
        for row in range(top, depth):
            stack.lower[row], stack.upper[row] = low, high
            stack.basic[row], stack.key[row], stack.boxes[row] = basic, key, box
            stack.ends[row] = within
            stack.refused[row] = refused and extent.inherit
            stack.known[row] = -1
        if place >= 0:
            # The child that the point lies in is evaluated first.
            active = top + 1 if known and arguments[place] > 0.0 else top
            stack.lower[active, place] = 0.0
            stack.upper[2 * top + 1 - active, place] = 0.0
            _note(journal, place, active == top + 1, nodes - 1)
        else:
            _note(journal, AGAIN, False, nodes - 1)
    return ENDED, depth, nodes, float32
