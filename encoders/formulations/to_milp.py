"""Graph and bounds to a PuLP model: big-M for unstable ReLUs (Tjeng, Xiao, Tedrake 2019), none for the others.

For h = relu(a), l ≤ a ≤ u: h = a where l ≥ 0; h = 0 where u ≤ 0; else h ≥ 0, h ≥ a, and, unless polarity makes these
two exact already, h ≤ a − l·(1 − s), h ≤ u·s with a binary s. The relaxation replaces the last two by the triangle's
third side h ≤ u·(a − l)/(u − l), which is what s ∈ [0, 1] leaves. Entries far from 1 in size are modelled in units of
a power of 2 (`solver_tolerances.scale`): solvers judge rows and ranges by absolute tolerances. Terms so small that
solvers drop them are replaced by one variable e that has their sum's range, which makes the model an outer relaxation
there (see `solver_losses`).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from encoders.formulations.solver_losses import SLACK, Losses, left_out, without_small
from encoders.formulations.solver_tolerances import margin_error, scale
from encoders.formulations.to_stages import LEAST
from encoders.lazy import Lazy
from encoders.network.graph import Affine, Graph, Relu, forward
from encoders.network.node_bounds import NodeBounds
from encoders.network.relu_lines import chord_slope, intercepts
from encoders.passes.polarity import wanted_large

if TYPE_CHECKING:
    import pulp
else:
    pulp = Lazy("pulp")

MilpVariable: TypeAlias = Any
"""A pulp.LpVariable: PuLP has no types."""

Scalar: TypeAlias = Any
"""An entry of a node in the model: a variable, a pulp.LpAffineExpression of few, or a float where only one is left."""

SOFT = 10.0
"""Times what tolerances can move the margin by, a goal is soft: solvers keep theirs on models that they have scaled."""

SOFT_COST = 1e-6
"""What missing a goal's rows as far as may be adds to a distance that is minimised: points meet them where they can."""

INLINE_TERMS = 2
"""Sums of at most this many variables get no name and no equation: they stand where they are read."""


@dataclass(frozen=True, eq=False)
class MilpModel:
    """A PuLP problem; `values[i]` are the entries of node i; `binaries` counts the case splits.

    `lost`: what a solver that leaves small numbers out may take from the goal's margin (see `solver_losses`); `soft`:
    by how much the goal's rows may be missed in the model; `depth`: the variable that is made largest, if there is one.
    """

    problem: pulp.LpProblem
    values: tuple[list[Scalar], ...]
    binaries: int
    lost: float
    soft: float = 0.0
    depth: MilpVariable = None

    def point(self) -> npt.NDArray[np.float64]:
        """The inputs' values after a solve, shape (n,); inputs that no constraint reads stay near 0 in their bounds."""
        return np.array([entry if isinstance(entry, float) else _value(entry) for entry in self.values[0]])

    def read_inputs(self) -> list[MilpVariable]:
        """The inputs' variables that some constraint reads: those to which a solver gives a value."""
        read = {id(variable) for variable in self.problem.variables()}
        return [entry for entry in self.values[0] if id(entry) in read]


def to_milp(
    graph: Graph,
    bounds: NodeBounds,
    matrix: npt.ArrayLike,
    offset: npt.ArrayLike,
    *,
    minimise: npt.ArrayLike | None = None,
    deepest: bool = False,
    relaxed: bool = False,
    tolerance: float = 0.0,
) -> MilpModel:
    """The model of {x : matrix · z(x) + offset ≥ 0} for a lowered graph's output z over the region of `bounds`.

    matrix (m, K), offset (m,). The objective is minimise · z for `minimise` (K,); with deepest=True the smallest row is
    made largest, which tells a solver's branching where the goal lies; else there is none. relaxed=True gives the LP
    relaxation. tolerance: of the solver's rows, bounds and integrality; the goal's rows may then be missed by SOFT
    times what that can move the margin (see `solver_tolerances`), so that a solver that finds none of these points has
    not lost one that reaches the goal. Where the distance is minimised, missing them costs up to SOFT_COST. Raises
    ValueError where a bound that the encoding needs is infinite.
    """
    rows, offsets = np.atleast_2d(np.asarray(matrix, dtype=np.float64)), np.asarray(offset, dtype=np.float64)
    objective = None if minimise is None else np.asarray(minimise, dtype=np.float64)
    wants = rows if objective is None else np.vstack([rows, -objective])
    encoding = _Encoding(graph, bounds, wants, relaxed)
    first = [encoding.input(i, *ends) for i, ends in enumerate(encoding.ends(0))]
    values = forward(graph, {Affine: encoding.affine, Relu: encoding.relu}, first)
    outputs = values[graph.output]
    soft = SOFT * margin_error(graph, bounds, rows, tolerance)
    if not math.isfinite(soft):
        encoding.losses.goal, soft = math.inf, 0.0
    soft = max(soft, SLACK) if soft else 0.0
    depth, missed = _softened(soft, deepest=deepest, priced=objective is not None)
    for row, constant in zip(rows, offsets, strict=True):
        wanted = _combination(enumerate(row), outputs, constant)
        terms, (_, most) = without_small(wanted)
        encoding.losses.goal = max(encoding.losses.goal, left_out(terms.items()))
        encoding.problem.addConstraint(pulp.LpAffineExpression(terms, wanted.constant + most) - depth + missed >= 0)
    if objective is not None:
        price = pulp.LpAffineExpression(dict.fromkeys(missed, SOFT_COST))
        encoding.problem.setObjective(_combination(enumerate(objective), outputs, 0.0) + price)
    else:
        encoding.problem.setObjective(pulp.LpAffineExpression({depth: -1.0} if deepest else {}))
    alive = {index: bounds.upper[graph.nodes[index].sources[0]] > 0 for index in graph.relus()}
    lost = encoding.losses.margin(rows, alive)
    return MilpModel(encoding.problem, tuple(values), encoding.binaries, lost, soft, depth if deepest else None)


def _softened(soft: float, *, deepest: bool, priced: bool) -> tuple[Scalar, Any]:
    """(depth, what goal rows may be missed by): a model that looks for depth has it in that, one that has a price for
    missing them in a variable, any other in a constant."""
    if deepest:
        return pulp.LpVariable("depth", -soft), pulp.LpAffineExpression({})
    if priced and soft:
        return 0.0, pulp.LpAffineExpression({pulp.LpVariable("missed", 0.0, 1.0): soft})
    return 0.0, pulp.LpAffineExpression({}, soft)


class _Encoding:
    """The problem while it is being built; `affine` and `relu` are the rules for the forward walker."""

    def __init__(self, graph: Graph, bounds: NodeBounds, wants: npt.NDArray[np.float64], relaxed: bool) -> None:
        self.problem = pulp.LpProblem("query", pulp.LpMinimize)
        self.binaries = 0
        self.losses = Losses(graph)
        self._graph, self._bounds, self._relaxed = graph, bounds, relaxed
        self._large = wanted_large(graph, wants)

    def ends(self, index: int) -> list[tuple[float, float]]:
        return list(zip(self._bounds.lower[index].tolist(), self._bounds.upper[index].tolist(), strict=True))

    def input(self, i: int, low: float, high: float) -> Scalar:
        """Entry i of the input as a variable, or as the number that it is."""
        if low == high:
            return low
        self.losses.range(0, i, low, high)
        return self._variable(f"x_{i}", low, high)

    @staticmethod
    def _variable(name: str, low: float, high: float) -> MilpVariable:
        # Float bounds of an empty region may cross; the solver is then to say "infeasible", not to refuse the model.
        return pulp.LpVariable(name, low if math.isfinite(low) else None, high if high < math.inf else None)

    def affine(self, index: int, node: Affine, values: list[list[Scalar]]) -> list[Scalar]:
        entries = [dict[str, Any](constant=float(b), parts=[]) for b in node.bias]
        for term in node.terms:
            matrix, source = term.map.rows(), values[term.source]
            starts = matrix.indptr.tolist()
            columns, data = matrix.indices.tolist(), matrix.data.tolist()
            for entry, (begin, end) in zip(entries, itertools.pairwise(starts), strict=True):
                entry["parts"].extend((data[k], source[columns[k]]) for k in range(begin, end))
        return [
            self._sum(index, i, entry["parts"], entry["constant"], ends)
            for i, (entry, ends) in enumerate(zip(entries, self.ends(index), strict=True))
        ]

    def _sum(
        self, index: int, i: int, parts: list[tuple[float, Scalar]], constant: float, ends: tuple[float, float]
    ) -> Scalar:
        """Σ c·v + constant: a number, the one variable itself, a short sum, or a new variable tied by an equation."""
        if any(_underflows(coefficient, value) for coefficient, value in parts):
            self.losses.goal = math.inf
        unit = scale(*ends)
        collected, constant = _collected([(coefficient / unit, value) for coefficient, value in parts], constant / unit)
        terms = self._loosened(index, i, collected, unit)
        if not terms:
            return constant * unit
        if len(terms) <= INLINE_TERMS:
            inline = {variable: coefficient * unit for variable, coefficient in terms.items()}
            return _one(inline, constant * unit)
        if ends[0] == ends[1]:
            return ends[0]
        self.losses.range(index, i, *ends)
        result = self._variable(f"z_{_place(index, i)}", ends[0] / unit, ends[1] / unit)
        self.losses.row(index, i, terms.items(), unit)
        terms[result] = -1.0
        self.problem.addConstraint(pulp.LpAffineExpression(terms, constant) == 0)
        return _one({result: unit})

    def _loosened(self, index: int, i: int, terms: dict[MilpVariable, float], unit: float) -> dict[MilpVariable, float]:
        """The terms that solvers keep, and one variable in a range that they see for all that they would drop."""
        kept, (low, high) = without_small(terms)
        if low < high:
            self.losses.mended(index, i, low * unit, high * unit)
            slack = pulp.LpVariable(f"e_{_place(index, i)}", min(low, -SLACK), max(high, SLACK))
            kept[slack] = 1.0
        return kept

    def relu(self, index: int, node: Relu, values: list[list[Scalar]]) -> list[Scalar]:
        large = self._large[index]
        return [
            self._relu_entry(index, i, argument, *ends, split=bool(large[i]))
            for i, (argument, ends) in enumerate(zip(values[node.source], self.ends(node.source), strict=True))
        ]

    def _relu_entry(self, index: int, i: int, a: Scalar, low: float, high: float, *, split: bool) -> Scalar:
        if isinstance(a, float):
            return max(0.0, a)
        if low >= 0.0:
            return a
        if high <= 0.0:
            return 0.0
        unit = scale(low, high)
        h = self._variable(f"h_{_place(index, i)}", 0.0, high / unit)
        self.losses.range(index, i, 0.0, high)
        a, low, high = pulp.LpAffineExpression(a) * (1.0 / unit), low / unit, high / unit
        self.losses.row(index, i, a.items(), unit)
        self.problem.addConstraint(h - a >= 0)
        if not split:
            return _one({h: unit})
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("an unstable ReLU without finite bounds has no big-M encoding: bound the region first")
        if self._relaxed:
            slope = chord_slope(low, high)
            self.problem.addConstraint(h - slope * a <= intercepts(slope, low, high)[0])
            return _one({h: unit})
        s = pulp.LpVariable(f"s_{_place(index, i)}", cat=pulp.LpBinary)
        self.problem.addConstraint(h - a - low * s <= -low)
        self.problem.addConstraint(h - high * s <= 0)
        self.binaries += 1
        return _one({h: unit})


def _place(index: int, i: int) -> str:
    return f"{index}_{i}" if index else str(i)


def _value(variable: MilpVariable) -> float:
    if variable.varValue is not None:
        return float(variable.varValue)
    low = -math.inf if variable.lowBound is None else variable.lowBound
    high = math.inf if variable.upBound is None else variable.upBound
    return float(min(max(0.0, low), high))


def _underflows(coefficient: float, value: Scalar) -> bool:
    """Is a number formed here too small for float64 to hold it?"""
    if coefficient == 0.0:
        return False
    if isinstance(value, float):
        return value != 0.0 and abs(coefficient * value) < LEAST
    if isinstance(value, pulp.LpAffineExpression):
        return any(own and abs(coefficient * own) < LEAST for own in (value.constant, *value.values()))
    return False


def _one(terms: dict[MilpVariable, float], constant: float = 0.0) -> Scalar:
    """Σ c·v + constant as an entry: the one variable itself, where it is no more than that."""
    if constant == 0.0 and list(terms.values()) == [1.0]:
        return next(iter(terms))
    return pulp.LpAffineExpression(terms, constant)


def _combination(coefficients: Any, values: list[Scalar], constant: float) -> pulp.LpAffineExpression:
    terms, rest = _collected([(float(c), values[place]) for place, c in coefficients if c], float(constant))
    return pulp.LpAffineExpression(terms, rest)


def _collected(parts: list[tuple[float, Scalar]], constant: float) -> tuple[dict[MilpVariable, float], float]:
    """Σ c·v + constant as (coefficient by variable, constant)."""
    terms: dict[MilpVariable, float] = {}
    for coefficient, value in parts:
        if isinstance(value, float):
            constant += coefficient * value
        elif isinstance(value, pulp.LpAffineExpression):
            constant += coefficient * value.constant
            for variable, own in value.items():
                terms[variable] = terms.get(variable, 0.0) + coefficient * own
        else:
            terms[value] = terms.get(value, 0.0) + coefficient
    return terms, constant
