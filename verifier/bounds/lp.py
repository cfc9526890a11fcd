"""LP tightening: the dearest bounds, only for ReLU arguments whose sign is still open.

Each is the least and the largest value of one argument over the LP relaxation of the whole query, goal included: what
has no solution in common with the goal needs no room. The numbers rest on the LP solver's tolerance, and say so.
"""

from __future__ import annotations

import highspy
import numpy as np
import pulp

from encoders.graph import Array, Graph
from encoders.node_bounds import NodeBounds
from encoders.to_milp import to_milp
from verifier.query import Halfspaces
from verifier.verdict import Budget

LP_SLACK = 1e-6
"""Bounds are widened by this, relative to 1 + |bound|: ten times HiGHS's feasibility and optimality tolerance of 1e-7."""


def lp_bounds(graph: Graph, bounds: NodeBounds, goal: Halfspaces, budget: Budget) -> NodeBounds | None:
    """`bounds` tightened layer by layer as far as the budget goes; None when the relaxation has no solution at all."""
    lower, upper = [np.array(a) for a in bounds.lower], [np.array(a) for a in bounds.upper]
    touched = False
    for index in sorted({graph.nodes[relu].sources[0] for relu in graph.relus()}):
        current = NodeBounds(tuple(map(np.array, lower)), tuple(map(np.array, upper)), proved=bounds.proved)
        entries = np.flatnonzero(current.unstable(index))
        if entries.size == 0 or index == 0 or budget.remaining <= 0:
            continue
        solver = _Extremes(graph, current, goal)
        for entry in entries.tolist():
            if budget.remaining <= 0:
                break
            ends = solver.ends(index, entry, budget)
            if ends is None:
                return None
            touched = True
            lower[index][entry] = max(lower[index][entry], ends[0])
            upper[index][entry] = min(upper[index][entry], ends[1])
    return NodeBounds(tuple(lower), tuple(upper), proved=bounds.proved and not touched)


class _Extremes:
    """One relaxed model in HiGHS, solved again and again with another objective from the last basis."""

    def __init__(self, graph: Graph, bounds: NodeBounds, goal: Halfspaces) -> None:
        model = to_milp(graph, bounds, goal.matrix, goal.offset, relaxed=True)
        self._values = model.values
        builder = pulp.HiGHS(msg=False, threads=1)
        builder.createAndConfigureSolver(model.problem)
        builder.buildSolverModel(model.problem)
        self._highs = model.problem.solverModel
        self._cost = -1

    def ends(self, index: int, entry: int, budget: Budget) -> tuple[float, float] | None:
        """(least, largest) value of one entry, infinite where the LP did not finish; None when there is no solution."""
        variable = self._values[index][entry]
        if isinstance(variable, float):
            return variable, variable
        least = self._least(variable.index, 1.0, budget)
        most = self._least(variable.index, -1.0, budget) if least is not None else None
        return None if least is None or most is None else (least, -most)

    def _least(self, column: int, sign: float, budget: Budget) -> float | None:
        if self._cost not in (-1, column):
            self._highs.changeColCost(self._cost, 0.0)
        self._highs.changeColCost(column, sign)
        self._cost = column
        # HiGHS counts its time limit over all runs of one object.
        self._highs.setOptionValue("time_limit", self._highs.getRunTime() + max(budget.remaining, 0.01))
        self._highs.run()
        status = self._highs.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            return None
        if status != highspy.HighsModelStatus.kOptimal:
            return -np.inf
        value = self._highs.getInfo().objective_function_value
        return float(value - LP_SLACK * (1.0 + abs(value)))


def widths(bounds: NodeBounds, graph: Graph) -> Array:
    """The widths of all ReLU arguments whose sign is open, for reports and tests."""
    sources = {graph.nodes[relu].sources[0] for relu in graph.relus()}
    return np.concatenate([(bounds.upper[i] - bounds.lower[i])[bounds.unstable(i)] for i in sorted(sources)])
