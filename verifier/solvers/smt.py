"""The exact decider: Z3 over the phases of ReLUs, linear arithmetic over the rationals, no tolerance.

Monolithic rational simplex drowns in long numbers, so the theory is lazy. A float LP over the relaxed system proposes
why a set of phases has no solution; the proposal is checked in exact arithmetic (`farkas`) and, once true, becomes
a clause over the phases that it needs. Z3 holds the clauses and says which phases are left; where an LP's proposal does
not survive the check, Z3 decides that case on the exact formula itself. A solution counts when it is one exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import highspy
import numpy as np

from encoders.formulations.highs import run, simplex
from encoders.formulations.to_rows import Column, Ends, Row, Rows, to_rows
from encoders.formulations.to_z3 import to_z3
from encoders.lazy import Lazy
from encoders.network.exact import exact_outputs
from encoders.network.graph import Array, outputs
from encoders.network.node_bounds import NodeBounds
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Query, distance_exact
from verifier.problem.verdict import Evidence, Holds, Unknown, Verdict, Violated
from verifier.solvers.farkas import Refutation, Refuter, phase_columns
from verifier.solvers.linear_query import LinearQuery, linear_query
from verifier.solvers.process import Decider

if TYPE_CHECKING:
    import z3
else:
    z3 = Lazy("z3")

FEASIBLE = 1e-9
"""A relaxed LP whose least violation is below this counts as feasible: a hint only, every answer is checked exactly."""

PULLS = (1.0, 1.0 - 1e-9, 1.0 - 1e-7, 1.0 - 1e-6)
"""An LP point may lie outside the ball by the solver's tolerance (1e-7): it is pulled inwards by these factors."""


@dataclass(frozen=True)
class Smt(Decider):
    """Decides queries exactly over the rationals, by Z3 with lazily checked linear conflicts."""

    @property
    def name(self) -> str:
        return "z3"

    @property
    def evidence(self) -> Evidence:
        return Evidence.EXACT

    def decide(self, query: Query, bounds: NodeBounds, budget: Budget) -> Verdict:
        """Violated, Holds (evidence exact) or Unknown when the budget ends."""
        if bounds.empty:
            return Holds(Evidence.EXACT)
        try:
            linear = linear_query(query, bounds)
            system = to_rows(linear.graph, linear.bounds, linear.goal.matrix, linear.goal.offset)
            return _Search(query, linear, exact_box(system, query.region), budget).run()
        except OutOfTimeError as error:
            return Unknown(str(error))


def exact_box(system: Rows, region: Ball) -> Rows:
    """`system` with the exact ends centre ± radius of a box; the float bounds carry them rounded outwards."""
    if math.isinf(region.radius) or region.geometry.split_moves:
        return system
    columns, rows, radius = list(system.columns), list(system.rows), Fraction(region.radius)
    for entry, centre in zip(system.inputs, map(Fraction, region.centre.tolist()), strict=True):
        ball = centre - radius, centre + radius
        if isinstance(entry, Column):
            low, high = columns[entry.number]
            columns[entry.number] = (
                ball[0] if low is None else max(low, ball[0]),
                ball[1] if high is None else min(high, ball[1]),
            )
        elif not ball[0] <= entry <= ball[1]:
            rows.append(Row((), (Fraction(1), None)))
    return replace(system, columns=tuple(columns), rows=tuple(rows))


class _Search:
    """Depth-first over the phases; each closed case leaves a clause with Z3, which proves that none is left."""

    def __init__(self, query: Query, linear: LinearQuery, system: Rows, budget: Budget) -> None:
        self._query, self._linear, self._system, self._budget = query, linear, system, budget
        self._refuter = Refuter(system)
        self._relaxed = _RelaxedLp(system)
        self._phases = [z3.Bool(f"active_{number}") for number in range(len(system.splits))]
        self._clauses = z3.Solver()

    def run(self) -> Verdict:
        found = self._explore({})
        if isinstance(found, Violated):
            return found
        if self._clauses.check() != z3.unsat:
            return Unknown("the clauses that were learned do not close every case")
        return Holds(Evidence.EXACT)

    def _explore(self, phases: dict[int, bool]) -> Violated | frozenset[int]:
        """A solution under `phases`, or the part of them that has none."""
        self._budget.check()
        solved = self._relaxed.solve(phases)
        if solved.multipliers is not None:
            refutation = self._refuter.refute(solved.multipliers, phases)
            if refutation is not None:
                return self._learn(refutation, phases)
        elif (point := self._solution(solved.columns)) is not None:
            return Violated(point)
        branch = self._branch(solved, phases)
        if branch is None:
            return self._by_z3(phases)
        first = bool(solved.columns[self._system.splits[branch].a] > 0)
        needed: frozenset[int] = frozenset()
        for active in (first, not first):
            found = self._explore({**phases, branch: active})
            if isinstance(found, Violated) or branch not in found:
                return found  # a conflict that does not need this split closes its other phase too
            needed |= found
        return needed - {branch}

    def _learn(self, refutation: Refutation, phases: dict[int, bool]) -> frozenset[int]:
        literals = [self._phases[n] if phases[n] else z3.Not(self._phases[n]) for n in sorted(refutation.needed)]
        self._clauses.add(z3.Not(z3.And(*literals)) if literals else z3.BoolVal(False))
        return refutation.needed

    def _solution(self, columns: Array) -> Array | None:
        """The LP's point when it is a solution exactly: inside the box and the ball, every goal row ≥ 0."""
        region, goal, graph = self._query.region, self._query.goal, self._query.graph
        entries = self._system.inputs
        values = self._linear.point(
            np.array([columns[e.number] if isinstance(e, Column) else float(e) for e in entries])
        )
        for pull in PULLS:
            x = np.clip(region.centre + pull * (values - region.centre), region.lo, region.hi)
            if goal.margin(outputs(graph, x))[0] < -FEASIBLE:
                return None
            inside = math.isinf(region.radius) or distance_exact(region.norm, x, region.centre) <= region.radius
            if inside and goal.margin_exact(exact_outputs(graph, x)) >= 0:
                return x
        return None

    def _branch(self, solved: _Solved, phases: dict[int, bool]) -> int | None:
        """The open split with the largest pull on its upper side × that side's height; else the most violated one."""
        best, choice = 0.0, None
        for number, split in enumerate(self._system.splits):
            if number in phases:
                continue
            a, h = solved.columns[split.a], solved.columns[split.h]
            violation = h - max(a, 0.0)
            if violation <= FEASIBLE:
                continue
            high = self._system.rows[split.side].ends[1]
            score = violation * 1e-6 + abs(solved.duals[split.side]) * float(high or 0)
            if score > best:
                best, choice = score, number
        if choice is None and solved.multipliers is not None:
            # The LP says "no solution" but its multipliers did not survive: any open split makes the case smaller.
            choice = next((n for n in range(len(self._system.splits)) if n not in phases), None)
        return choice

    def _by_z3(self, phases: dict[int, bool]) -> Violated | frozenset[int]:
        """Z3's own exact answer for one set of phases."""
        model = to_z3(self._system, phases)
        solver = z3.SolverFor("QF_LRA")
        if math.isfinite(self._budget.remaining):
            solver.set("timeout", max(1, int(self._budget.remaining * 1000)))
        solver.add(*model.assertions)
        answer = solver.check()
        if answer == z3.sat:
            exact = model.point(solver.model())
            return Violated(self._linear.point(np.array([float(value) for value in exact])))
        if answer != z3.unsat:
            self._budget.check()
            raise OutOfTimeError(f"Z3 gave up: {solver.reason_unknown()}")
        return self._learn(Refutation(frozenset(phases)), phases)


@dataclass(frozen=True, eq=False)
class _Solved:
    """One LP: column values, row duals, and multipliers where it says that there is no solution."""

    columns: Array
    duals: Array
    multipliers: Array | None


class _RelaxedLp:
    """The rows in HiGHS with one more column, the goal's violation (negative: its margin), which is minimised.

    Minimising on below 0 puts a feasible point as deep into the goal as the rows allow, clear of rounding.
    """

    def __init__(self, system: Rows) -> None:
        self._system = system
        self.phases: dict[int, bool] = {}
        self._goal_rows = _goal_rows(system)
        self._highs = simplex()
        self._highs.passModel(self._model())

    def _model(self) -> highspy.HighsLp:
        system, model = self._system, highspy.HighsLp()
        model.num_col_, model.num_row_ = len(system.columns) + 1, len(system.rows)
        model.col_cost_ = np.append(np.zeros(len(system.columns)), 1.0)
        columns, rows = (_end_arrays(ends) for ends in (system.columns, [row.ends for row in system.rows]))
        model.col_lower_, model.col_upper_ = np.append(columns[0], -np.inf), np.append(columns[1], np.inf)
        model.row_lower_, model.row_upper_ = rows
        starts, index, value = [0], [], []
        for number, row in enumerate(system.rows):
            index += [column for column, _ in row.terms]
            value += [float(coefficient) for _, coefficient in row.terms]
            if number in self._goal_rows:
                index.append(len(system.columns))
                value.append(1.0)
            starts.append(len(index))
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = np.array(starts)
        model.a_matrix_.index_ = np.array(index)
        model.a_matrix_.value_ = np.array(value)
        return model

    def solve(self, phases: dict[int, bool]) -> _Solved:
        self._set(phases)
        status = run(self._highs)
        solution = self._highs.getSolution()
        columns, duals = np.array(solution.col_value), np.array(solution.row_dual)
        if status == highspy.HighsModelStatus.kOptimal:
            violation = self._highs.getInfo().objective_function_value
            return _Solved(columns, duals, duals if violation > FEASIBLE else None)
        ray = np.array(self._highs.getDualRay()[2])  # status, has a ray, ray
        if columns.size == 0:
            columns = np.zeros(len(self._system.columns) + 1)
        if duals.size == 0:
            duals = np.zeros(len(self._system.rows))
        return _Solved(columns, duals, ray if ray.size else np.zeros(len(self._system.rows)))

    def _set(self, phases: dict[int, bool]) -> None:
        for number in self.phases.keys() - phases.keys():
            split = self._system.splits[number]
            for column in (split.a, split.h):
                self._highs.changeColBounds(column, *_floats(self._system.columns[column]))
            self._highs.changeRowBounds(split.order, 0.0, highspy.kHighsInf)
        for number, active in phases.items():
            if self.phases.get(number) == active:
                continue
            split = self._system.splits[number]
            changed = phase_columns(self._system, number, active)
            for column in (split.a, split.h):
                self._highs.changeColBounds(column, *_floats(changed.get(column, self._system.columns[column])))
            self._highs.changeRowBounds(split.order, 0.0, 0.0 if active else highspy.kHighsInf)
        self.phases = dict(phases)


def _goal_rows(system: Rows) -> frozenset[int]:
    """The rows that may be violated at a price: those after the last equation and split, that is, the goal's."""
    last = max((n for n, row in enumerate(system.rows) if row.ends[0] == row.ends[1]), default=-1)
    last = max(last, *(split.side for split in system.splits), -1)
    return frozenset(range(last + 1, len(system.rows)))


def _end_arrays(ends: Sequence[Ends]) -> tuple[Array, Array]:
    pairs = np.array([_floats(pair) for pair in ends], dtype=np.float64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _floats(ends: Ends) -> tuple[float, float]:
    low, high = ends
    return -highspy.kHighsInf if low is None else float(low), highspy.kHighsInf if high is None else float(high)
