"""A tree that is to become a proof, grown as one kernel: the nodes in preorder, and what closes each leaf.

As `plunge`, but that nothing is tightened on the way, no point is looked for, and every closed node is kept.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.kernels.jit import Integers, compiled
from verifier.bounds.kernels.network import CompiledNetwork
from verifier.solvers.kernels.node import CLOSED, FAILED, Found, NodeState, Rules, Shared, evaluate_node
from verifier.solvers.kernels.plunge import ENDED, HANDED, Stack
from verifier.solvers.kernels.simplex_program import Program


class Grown(NamedTuple):
    """Room for `tokens`, 0 for a leaf and 1 + j for a split at ReLU j, and for leaves, one a row: bounds lower and
    upper, mu and nu (rows, relus), weights (rows, goals), and the `values` (rows,) that these multipliers prove."""

    tokens: Integers
    lower: Array
    upper: Array
    weights: Array
    mu: Array
    nu: Array
    values: Array


@compiled
def grow(
    net: CompiledNetwork,
    program: Program,
    radius: float,
    rules: Rules,
    shared: Shared,
    stack: Stack,
    depth: int,
    grown: Grown,
) -> tuple[int, int, int, int]:
    """(how it ends, rows of the stack in use, tokens, leaves): below the first `depth` rows, as long as there is room.

    The side ≤ 0 of a split comes first. HANDED: before a node whose LP the kernel gives up. A node that is neither
    closed nor has a ReLU to split at is a leaf too.
    """
    relus = stack.lower.shape[1]
    low, high = np.empty(relus), np.empty(relus)
    basic, key = np.empty_like(stack.basic[0]), np.empty_like(stack.key[0])
    point, arguments = np.empty(net.around.centre.size), np.empty(relus)
    tokens, leaves = 0, 0
    while depth > 0 and tokens < grown.tokens.size and leaves < grown.values.size:
        top = depth - 1
        low[:], high[:] = stack.lower[top], stack.upper[top]
        basic[:], key[:] = stack.basic[top], stack.key[top]
        weights, mu, nu = grown.weights[leaves], grown.mu[leaves], grown.nu[leaves]
        weights[:], mu[:], nu[:] = 0.0, 0.0, 0.0
        node, found = NodeState(low, high, basic, key, stack.boxes[top]), Found(point, arguments, weights, mu, nu)
        state, _, value, place = evaluate_node(net, program, radius, rules, shared, node, found)
        if state == FAILED:
            return HANDED, depth, tokens, leaves
        if state == CLOSED or place < 0:
            grown.lower[leaves], grown.upper[leaves] = low, high
            grown.values[leaves] = value if state == CLOSED else -np.inf
            grown.tokens[tokens] = 0
            leaves, depth = leaves + 1, top
        else:
            for row in range(top, top + 2):
                stack.lower[row], stack.upper[row] = low, high
                stack.basic[row], stack.key[row] = basic, key
            stack.lower[top, place] = 0.0
            stack.upper[top + 1, place] = 0.0
            grown.tokens[tokens] = 1 + place
            depth = top + 2
        tokens += 1
    return ENDED, depth, tokens, leaves
