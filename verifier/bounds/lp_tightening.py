"""LP tightening: the dearest bounds, only for ReLU arguments whose sign is still open.

Each is the least and the largest value of one argument over the LP relaxation of the whole query, goal included: what
has no solution in common with the goal needs no room. The numbers rest on the LP solver's tolerance, and say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.errors import SolverError
from encoders.formulations.highs import run
from encoders.formulations.solver_losses import NEGLIGIBLE
from encoders.formulations.solver_tolerances import row_errors
from encoders.formulations.to_milp import SOFT, MilpModel, to_milp
from encoders.lazy import Lazy
from encoders.network.graph import Graph
from encoders.network.node_bounds import NodeBounds
from verifier.problem.budget import Budget
from verifier.problem.query import Halfspaces

if TYPE_CHECKING:
    import highspy
    import pulp
else:
    highspy = Lazy("highspy")
    pulp = Lazy("pulp")

FEASIBILITY = 1e-9
"""The tolerance asked of HiGHS for rows, bounds and multipliers. The goal is as soft as that asks for, so that a tie
stays in; and bounds are widened by SOFT times what it may move their entries."""

LP_SLACK = 1e-6
"""Bounds are widened by this too, relative to 1 + |bound|: what HiGHS reports may be scaled and rounded."""


def lp_bounds(graph: Graph, bounds: NodeBounds, goal: Halfspaces, budget: Budget) -> NodeBounds | None:
    """`bounds` tightened layer by layer as far as the budget goes; None when the relaxation has no solution at all.

    Raises SolverError.
    """
    lower, upper = [np.array(a) for a in bounds.lower], [np.array(a) for a in bounds.upper]
    touched = False
    for index in sorted({graph.nodes[relu].sources[0] for relu in graph.relus()}):
        current = NodeBounds(tuple(map(np.array, lower)), tuple(map(np.array, upper)), proved=bounds.proved)
        entries = np.flatnonzero(current.unstable(index))
        if entries.size == 0 or index == 0 or budget.remaining <= 0:
            continue
        model = to_milp(graph, current, goal.matrix, goal.offset, relaxed=True, tolerance=FEASIBILITY)
        if model.lost > NEGLIGIBLE:
            continue
        chosen = np.eye(lower[index].size)[entries]
        moved = SOFT * row_errors(graph, current, index, chosen, FEASIBILITY)
        errors = dict(zip(entries.tolist(), moved.tolist(), strict=True))
        solver = _Extremes(model)
        for entry in entries.tolist():
            if budget.remaining <= 0:
                break
            ends = solver.ends(index, entry, budget)
            if ends is None:
                return None
            touched = True
            lower[index][entry] = max(lower[index][entry], ends[0] - errors[entry])
            upper[index][entry] = min(upper[index][entry], ends[1] + errors[entry])
    return NodeBounds(tuple(lower), tuple(upper), proved=bounds.proved and not touched)


class _Extremes:
    """One relaxed model in HiGHS, solved again and again with another objective from the last basis."""

    def __init__(self, model: MilpModel) -> None:
        from encoders.formulations.pulp_highs import PulpHighs  # noqa: PLC0415, imports PuLP, which only MILP methods need

        self._values = model.values
        asked = {f"{kind}_feasibility_tolerance": FEASIBILITY for kind in ("primal", "dual")}
        builder = PulpHighs(msg=False, threads=1, **asked)
        builder.createAndConfigureSolver(model.problem)
        builder.buildSolverModel(model.problem)
        self._highs = model.problem.solverModel
        self._costs: dict[int, float] = {}

    def ends(self, index: int, entry: int, budget: Budget) -> tuple[float, float] | None:
        """(least, largest) value of one entry, infinite where the LP did not finish; None when there is no solution."""
        value = self._values[index][entry]
        if isinstance(value, float):
            return value, value
        form = pulp.LpAffineExpression(value)
        least = self._least(form, 1.0, budget)
        most = self._least(form, -1.0, budget) if least is not None else None
        return None if least is None or most is None else (least, -most)

    def _least(self, form: Any, sign: float, budget: Budget) -> float | None:
        """The least value of sign · form."""
        for column in self._costs:
            self._highs.changeColCost(column, 0.0)
        self._costs = {variable.index: sign * coefficient for variable, coefficient in form.items()}
        for column, cost in self._costs.items():
            self._highs.changeColCost(column, cost)
        # HiGHS counts its time limit over all runs of one object.
        self._highs.setOptionValue("time_limit", self._highs.getRunTime() + max(budget.remaining, 0.01))
        try:
            status = run(self._highs)
        except SolverError:
            # Numbers that the simplex cannot cope with: this end stays as it was known. Where HiGHS runs no model at
            # all, the MILP that these bounds are for says so.
            self._highs.clearSolver()
            return -np.inf
        if status == highspy.HighsModelStatus.kInfeasible:
            return None
        if status != highspy.HighsModelStatus.kOptimal:
            return -np.inf
        value = self._highs.getInfo().objective_function_value + sign * form.constant
        return float(value - LP_SLACK * (1.0 + abs(value)))
