"""The MILP decider: the query as a big-M model (Tjeng, Xiao, Tedrake 2019), solved by whatever PuLP finds.

HiGHS is the default. A solver's "infeasible" holds within its tolerances, so that a tie met exactly may be lost. The
goal is therefore soft by what its tolerances can move the margin: it holds only where no point comes that near to it.
Evidence `solver`, and no more: how a solver computes inside its tolerances is its own affair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.errors import InputError, SolverError
from encoders.formulations.solver_losses import LARGEST, NEGLIGIBLE, SMALLEST
from encoders.formulations.to_milp import SOFT_COST, MilpModel, to_milp
from encoders.lazy import Lazy
from encoders.network.node_bounds import NodeBounds
from verifier.bounds.lp_tightening import lp_bounds
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Query
from verifier.problem.verdict import Evidence, Holds, Unknown, Verdict, Violated
from verifier.solvers.linear_query import LinearQuery, distance_query, linear_query
from verifier.solvers.process import Decider, LeastDistance

if TYPE_CHECKING:
    import pulp
else:
    pulp = Lazy("pulp")

SOLVERS: Mapping[str, tuple[str, ...]] = {
    "highs": ("HiGHS", "HiGHS_CMD"),
    "cbc": ("PULP_CBC_CMD", "COIN_CMD"),
    "scip": ("SCIP_PY", "SCIP_CMD", "FSCIP_CMD"),
    "gurobi": ("GUROBI", "GUROBI_CMD"),
    "cplex": ("CPLEX_PY", "CPLEX_CMD"),
    "xpress": ("XPRESS_PY", "XPRESS"),
    "mosek": ("MOSEK",),
    "copt": ("COPT", "COPT_CMD"),
    "glpk": ("GLPK_CMD",),
}
"""Our names, and under which names PuLP may know the solver, the preferred first."""

PULP_MAJORS = ("2", "3")
"""PuLP 4 makes variables and sums only through a problem's methods, gives variables of equal number that are not one
object, and has no CBC of its own."""

TOLERANCE = 1e-9
"""The tolerance asked of a solver for rows, bounds and integrality, where it is known how to ask."""

DEFAULT_TOLERANCE = 1e-6
"""What a solver is taken to have that is not asked: most do."""

ASKED: Mapping[str, Mapping[str, Any]] = {
    "HiGHS": {f"{kind}_feasibility_tolerance": TOLERANCE for kind in ("mip", "primal", "dual")},
    "PULP_CBC_CMD": {"options": [f"{kind}Tolerance {TOLERANCE:g}" for kind in ("primal", "dual", "integer")]},
    "COIN_CMD": {"options": [f"{kind}Tolerance {TOLERANCE:g}" for kind in ("primal", "dual", "integer")]},
    "GUROBI": {"FeasibilityTol": TOLERANCE, "IntFeasTol": TOLERANCE, "OptimalityTol": TOLERANCE},
}
"""How PuLP's solvers are asked for TOLERANCE."""

REACHED = 1e-6
"""A point whose smallest margin is at least minus this is handed over: the judge secures it, or refuses it."""

BOUND_SLACK = 1e-6
"""A solver's dual bound is lowered by this, relative to 1 + |bound|: the size of its feasibility tolerances."""

RESERVE = 0.05
"""Seconds kept back from a solver's own time limit, to read its answer."""

DEEP_ENOUGH = 1e-3
"""A point whose smallest margin reaches this needs no deeper one: it is far above rounding errors of logits."""


def available_solvers() -> tuple[str, ...]:
    """Our names of the MILP solvers that PuLP finds on this machine."""
    found = set(pulp.listSolvers(onlyAvailable=True))
    return tuple(name for name, names in SOLVERS.items() if found & set(names))


def pulp_version() -> str:
    """Of the PuLP that is installed."""
    from importlib.metadata import version  # noqa: PLC0415, which only this method needs

    return version("pulp")


def solver_class(name: str) -> str:
    """PuLP's name for one of ours; raises InputError when it is unknown or not installed."""
    if name.lower() not in SOLVERS:
        raise InputError(f"unknown solver '{name}': choose one of {', '.join(available_solvers())}")
    for candidate in SOLVERS[name.lower()]:
        if candidate in pulp.listSolvers() and pulp.getSolver(candidate, msg=False).available():
            return candidate
    raise InputError(f"the solver '{name}' is not installed here; PuLP finds {', '.join(available_solvers())}")


@dataclass(frozen=True)
class Milp(Decider):
    """Decides queries by a MILP solver; `tighten` asks for LP bounds before the model is built."""

    solver: str = "highs"
    threads: int = 1
    tighten: bool = True

    def __post_init__(self) -> None:
        if (installed := pulp_version()).split(".")[0] not in PULP_MAJORS:
            known = " and ".join(PULP_MAJORS)
            raise InputError(
                f"MILP models are built with PuLP {known}, and {installed} is installed: pip install 'pulp<4'"
            )

    @property
    def name(self) -> str:
        return "milp"

    @property
    def evidence(self) -> Evidence:
        return Evidence.SOLVER

    def decide(self, query: Query, bounds: NodeBounds, budget: Budget) -> Verdict:
        """Violated, Holds (evidence solver) or Unknown with the solver's reason. Raises SolverError."""
        if bounds.empty:
            return Holds(bounds_evidence(bounds))
        try:
            linear = self._tightened(linear_query(query, bounds), budget)
            if linear is None:
                return Holds(Evidence.SOLVER)
            model = self._model(linear, deepest=True)
            if model.lost > NEGLIGIBLE:
                return Unknown(_out_of_range(model))
            reason = self._solve(model, budget, target=-DEEP_ENOUGH)
        except OutOfTimeError as error:
            return Unknown(str(error))
        if model.problem.status == pulp.LpStatusInfeasible:
            return Holds(Evidence.SOLVER)
        if not _has_point(model):
            return Unknown(reason)
        if model.depth.varValue < -REACHED:
            return Unknown(self._near(-model.depth.varValue, model.soft))
        return Violated(linear.point(model.point()))

    def _model(self, linear: LinearQuery, **options: Any) -> MilpModel:
        goal, tolerance = linear.goal, TOLERANCE if solver_class(self.solver) in ASKED else DEFAULT_TOLERANCE
        return to_milp(linear.graph, linear.bounds, goal.matrix, goal.offset, tolerance=tolerance, **options)

    def _near(self, missed: float, soft: float) -> str:
        return f"the goal is missed by {missed:.1g}; {self.solver}'s tolerances may hide {soft:.1g} in this network"

    def nearest(self, query: Query, bounds: NodeBounds, budget: Budget) -> LeastDistance:
        """Minimise the distance itself over the query's region, with the distance as ReLUs of the same model.

        Raises SolverError.
        """
        linear = self._tightened(distance_query(query, bounds, budget), budget)
        if linear is None:
            return LeastDistance(math.inf, None, infeasible=True)
        objective = np.append(np.zeros(query.graph.output_size), 1.0)
        model = self._model(linear, minimise=objective)
        if model.lost > NEGLIGIBLE:
            return LeastDistance(0.0, None, infeasible=False, reason=_out_of_range(model))
        try:
            reason = self._solve(model, budget)
        except OutOfTimeError as error:
            return LeastDistance(0.0, None, infeasible=False, reason=str(error))
        if model.problem.status == pulp.LpStatusInfeasible:
            return LeastDistance(math.inf, None, infeasible=True)
        bound = _dual_bound(model)
        lower = max(0.0, bound - SOFT_COST - BOUND_SLACK * (1.0 + abs(bound))) if math.isfinite(bound) else 0.0
        point = linear.point(model.point()) if _has_point(model) else None
        return LeastDistance(lower, point, infeasible=False, reason=reason)

    def _tightened(self, linear: LinearQuery, budget: Budget) -> LinearQuery | None:
        if not self.tighten:
            return linear
        bounds = lp_bounds(linear.graph, linear.bounds, linear.goal, budget)
        return None if bounds is None or bounds.empty else replace(linear, bounds=bounds)

    def _solve(self, model: MilpModel, budget: Budget, target: float | None = None) -> str:
        """Run the solver; the reason why nothing is known, in case nothing is. HiGHS may stop at a value ≤ `target`."""
        options: dict[str, Any] = {"msg": False, "threads": self.threads}
        budget.check()
        if math.isfinite(budget.remaining):
            options["timeLimit"] = max(0.05, budget.remaining - RESERVE)
        name = solver_class(self.solver)
        if name == "HiGHS" and target is not None:
            options["objective_target"] = target
        options |= ASKED.get(name, {})
        solver = _highs(options) if name == "HiGHS" else pulp.getSolver(name, **options)
        try:
            model.problem.solve(solver)
        except pulp.PulpSolverError as error:
            raise SolverError(f"the solver '{self.solver}' failed: {error}") from error
        return f"{self.solver} stopped without an answer ({pulp.LpStatus[model.problem.status]})"


def _highs(options: Mapping[str, Any]) -> Any:
    from encoders.formulations.pulp_highs import PulpHighs  # noqa: PLC0415, imports PuLP, which only this method needs

    return PulpHighs(**options)


def bounds_evidence(bounds: NodeBounds) -> Evidence:
    """What an empty set of bounds proves."""
    return Evidence.PROVED if bounds.proved else Evidence.SOLVER


def _out_of_range(model: MilpModel) -> str:
    how_far = f"change the margin by {model.lost:.1g}" if math.isfinite(model.lost) else "decide the answer"
    return (
        f"MILP solvers drop coefficients and ranges below {SMALLEST:g} and refuse those above {LARGEST:g}; "
        f"here that could {how_far}"
    )


def _has_point(model: MilpModel) -> bool:
    solved = model.problem.sol_status in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible)
    values = [variable.varValue for variable in model.read_inputs()]
    return solved and all(value is not None and math.isfinite(value) for value in values)


def _dual_bound(model: MilpModel) -> float:
    """The least distance that the solver leaves open: HiGHS's dual bound, elsewhere the value of a proved optimum."""
    problem = model.problem
    highs = getattr(problem, "solverModel", None)
    if model.binaries and highs is not None and hasattr(highs, "getInfo"):
        # PuLP hands HiGHS the objective without its constant.
        return float(highs.getInfo().mip_dual_bound + problem.objective.constant)
    proved = problem.status == pulp.LpStatusOptimal and problem.sol_status == pulp.LpSolutionOptimal
    return float(pulp.value(problem.objective)) if proved else -math.inf
