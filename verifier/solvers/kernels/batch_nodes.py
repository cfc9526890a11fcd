"""A batch of open nodes from what is kept of each, and back, as kernels: for trees that bound many nodes at once.

What is kept of several nodes lies one behind another, that of node b from ends[b] to ends[b + 1].
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.kernels.jit import Integers, compiled
from verifier.problem.norms.geometry import Floats
from verifier.solvers.node_constants import STEPS_OF_ALPHA

_Bytes = npt.NDArray[np.uint8]
_Places = npt.NDArray[np.int32]

STEPS = np.float32(STEPS_OF_ALPHA)


@compiled
def unpack_bounds(
    ranks: Integers, ends: Integers, places: _Places, low: Floats, high: Floats, lower: Array, upper: Array
) -> None:
    """Tighten lower, upper (nodes, relus), which are the root's, by what nodes differ in at these ReLUs. ranks: the
    column of each, −1 for none."""
    for b in range(ends.size - 1):
        for k in range(ends[b], ends[b + 1]):
            at = ranks[places[k]]
            if at >= 0:
                lower[b, at] = max(lower[b, at], low[k])
                upper[b, at] = min(upper[b, at], high[k])


@compiled
def unpack_multipliers(
    steps: _Bytes, ends: Integers, places: _Places, values: Floats, alpha: Floats, beta: Floats
) -> None:
    """Fill in alpha and beta (open, nodes), the latter at these places; steps (nodes, open): α as it is kept."""
    for i in range(alpha.shape[0]):
        for b in range(alpha.shape[1]):
            alpha[i, b], beta[i, b] = np.float32(steps[b, i]) / STEPS, np.float32(0.0)
    for b in range(ends.size - 1):
        for k in range(ends[b], ends[b + 1]):
            beta[places[k], b] = values[k]


@compiled
def pack_multipliers(
    chosen: Integers, alpha: Floats, beta: Floats, steps: _Bytes, ends: Integers, places: _Places, values: Floats
) -> None:
    """The reverse, of the nodes chosen; places and values are long enough."""
    count = 0
    for row in range(chosen.size):
        b = chosen[row]
        for i in range(alpha.shape[0]):
            steps[row, i] = np.uint8(np.rint(alpha[i, b] * STEPS))
            if beta[i, b] != np.float32(0.0):
                places[count], values[count] = i, beta[i, b]
                count += 1
        ends[row + 1] = count


@compiled
def differing(
    chosen: Integers,
    lower: Array,
    upper: Array,
    root: Array,
    splits: Integers,
    ends: Integers,
    at: Integers,
    columns: _Places,
    low: Array,
    high: Array,
) -> None:
    """The columns in which the chosen ones of nodes with bounds lower, upper (nodes, relus) differ from the root's
    (2, relus), and the bounds there; those at splits (chosen,) are among them: `at` says where. Arrays are long enough.
    """
    count = 0
    for row in range(chosen.size):
        b = chosen[row]
        for i in range(lower.shape[1]):
            if i == splits[row]:
                at[row] = count
            elif lower[b, i] == root[0, i] and upper[b, i] == root[1, i]:
                continue
            columns[count], low[count], high[count] = i, lower[b, i], upper[b, i]
            count += 1
        ends[row + 1] = count
