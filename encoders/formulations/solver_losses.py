"""What a MILP solver may take from a goal's margin by leaving small numbers out.

HiGHS drops coefficients up to 1e-9 without a word, and presolve fixes variables in ranges about as narrow. Unlike a
tolerance, which lets more points in, that shuts points out: after large weights a "no solution" may be wrong by any
amount. Small coefficients are therefore taken out beforehand, and the range of their sum is left to the row, so that
the model lets more points in. What cannot be mended so is counted: a row that loses Σ|c|·max|v| moves its node by no
more, and the margin by at most the product of the absolute weights behind it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Affine, Array, Graph, Relu, reverse

SMALLEST, LARGEST = 1e-9, 1e15
"""HiGHS's `small_matrix_value` and `large_matrix_value`: it drops what is smaller and refuses what is larger."""


NEGLIGIBLE = 1e-9
"""A loss far below what a solver's tolerances let in; bounds that are 0 but for their rounding stay below it too."""

TOLERANCE = 1e-6
"""A MILP solver's feasibility tolerance: HiGHS was seen to call a feasible ball of radius 1e-7 infeasible."""

SLACK = 10 * SMALLEST
"""What is left to a row reaches at least this far to either side: presolve would fix a range as narrow as SMALLEST."""

MENDED = 1e-3
"""What ranges may stand for in the margin: HiGHS's presolve called a feasible model infeasible where it was 1 (2^-34,
with 2^34 behind it); on networks trained with Adam, whose idle weights fade to 1e-10, it is about 1e-5."""


class Losses:
    """Losses by node and entry while a model is being built; `goal` collects those of the goal's own rows."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._lost = [np.zeros(node.size) for node in graph.nodes]
        self._mended = [np.zeros(node.size) for node in graph.nodes]
        self.goal = 0.0

    def row(self, index: int, entry: int, coefficients: Any, unit: float = 1.0) -> None:
        """Note what is left out of a row that ties entry `entry` of node `index`, in multiples of `unit`; (variable,
        coefficient) pairs."""
        self._lost[index][entry] += left_out(coefficients) * unit

    def mended(self, index: int, entry: int, low: float, high: float) -> None:
        """Note that such a row has a range [low, high] in the place of its small terms."""
        self._mended[index][entry] += max(-low, high)

    def range(self, index: int, entry: int, low: float, high: float) -> None:
        """Note that presolve may fix a variable that has this range."""
        if high - low <= (TOLERANCE if index == 0 else SMALLEST):
            self._lost[index][entry] += max(0.0, high - low)

    def margin(self, rows: Array, alive: dict[int, npt.NDArray[np.bool_]]) -> float:
        """What the goal rows · z + … ≥ 0 may lose in all; `alive`: entries of each Relu node that are not always 0.

        That is infinite where ranges stand for more than MENDED.
        """
        if self._reach(self._mended, rows, alive) > MENDED:
            return math.inf
        return self.goal + self._reach(self._lost, rows, alive)

    def _reach(self, lost: list[Array], rows: Array, alive: dict[int, npt.NDArray[np.bool_]]) -> float:
        """How far the margin moves by moving each node's entries by `lost`."""
        if not any(of_node.any() for of_node in lost):
            return 0.0
        total = 0.0

        def affine(index: int, node: Affine, gain: Array) -> list[tuple[int, Array]]:
            add(index, gain)
            return [(term.source, term.map.magnitude().adjoint(gain)) for term in node.terms]

        def relu(index: int, node: Relu, gain: Array) -> list[tuple[int, Array]]:
            add(index, gain)
            return [(node.source, gain * alive[index])]

        def add(index: int, gain: Array) -> None:
            nonlocal total
            total += float(np.where(lost[index] > 0, lost[index] * gain[0], 0.0).sum())

        seed = np.abs(rows).max(axis=0, initial=0.0)[np.newaxis]
        with np.errstate(over="ignore", invalid="ignore"):
            reached = reverse(self._graph, {Affine: affine, Relu: relu}, self._graph.output, seed, np.add)
            if 0 in reached:
                add(0, reached[0])
        return total if math.isfinite(total) else math.inf


def without_small(terms: Mapping[Any, float]) -> tuple[dict[Any, float], tuple[float, float]]:
    """The terms that a solver keeps, and the least and the most of Σ c·v over the others; all are kept if that is ∞."""
    kept, low, high = {}, 0.0, 0.0
    for variable, coefficient in terms.items():
        if 0.0 < abs(coefficient) <= SMALLEST:
            ends = (variable.lowBound, variable.upBound)
            products = [coefficient * (math.inf if end is None else end) for end in ends]
            low, high = low + min(products), high + max(products)
        else:
            kept[variable] = coefficient
    if math.isfinite(low) and math.isfinite(high):
        return kept, (low, high)
    return dict(terms), (0.0, 0.0)


def left_out(coefficients: Any) -> float:
    """Σ|c|·max|v| over the (variable, coefficient) pairs that a solver drops; infinite for one that it refuses."""
    total = 0.0
    for variable, coefficient in coefficients:
        size = abs(coefficient)
        if size >= LARGEST:
            return math.inf
        if 0.0 < size <= SMALLEST:
            low, high = variable.lowBound, variable.upBound
            total += math.inf if low is None or high is None else size * max(abs(low), abs(high))
    return total
