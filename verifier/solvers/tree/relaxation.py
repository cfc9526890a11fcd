"""What a tree asks of an LP relaxation: multipliers and a relaxed point for a node's bounds, never an answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from encoders.network.graph import Array
from verifier.bounds.lagrangian import Dual, Lagrangian
from verifier.problem.budget import Budget
from verifier.solvers.node_constants import ADDED, PRICE_GAP


@dataclass(frozen=True, eq=False)
class Solved:
    """What an LP left: row weights λ, multipliers ν (relu_count,) and its optimum s (None when it has no solution).

    Where there is an optimum, `point` (n,) is the relaxed point's input and `violation` (relu_count,) how far that
    point lies off each ReLU's graph, min(a, p). `usable` is False where the LP ended without multipliers.
    """

    usable: bool
    weights: Array
    nu: Array
    optimum: float | None
    point: Array
    violation: Array


class Relaxation(Protocol):
    """The triangle relaxation, moved from node to node."""

    def solve(self, lower: Array, upper: Array, budget: Budget, basis: Any = None) -> Solved: ...
    def basis(self) -> Any: ...
    def set_radius(self, radius: float) -> None: ...
    def price(self, dual: Dual, radius: float) -> bool:
        """Let more of the input move, where that lowers the optimum; False when nothing does."""


def priced(
    lp: Relaxation, lagrangian: Lagrangian, radius: float, lower: Array, upper: Array, budget: Budget, basis: Any = None
) -> tuple[Solved, Dual | None]:
    """A node's LP and the safe evaluation of its multipliers; columns are added while their absence is dear."""
    for attempt in range(ADDED):
        solved = lp.solve(lower, upper, budget, basis)
        basis = None
        if not solved.usable:
            if attempt == 0:
                continue
            return solved, None
        dual = lagrangian.evaluate(solved.weights, solved.nu, lower, upper)
        value = dual.value(radius)
        optimum = math.inf if solved.optimum is None else solved.optimum
        if value > 0:
            break
        # Columns only lower the optimum: above 0 it may yet be that they decide.
        if optimum <= 0 and optimum - value <= PRICE_GAP * abs(value):
            break
        if not lp.price(dual, radius):
            break
    return solved, (None if solved.optimum is None and value <= 0 else dual)
