"""Formulas in clauses as nets of one hidden layer, as the competition's sat_relu writes them, and their truth."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np
import numpy.typing as npt

from verifier.problem.query import Halfspaces

REACHED = Halfspaces(np.array([[1.0, 0.0], [0.0, -1.0]]), np.array([-1.0, 0.0]))
"""y0 ≥ 1 and y1 ≤ 0: no clause is violated, and every input is 0 or 1."""


@dataclass(frozen=True, eq=False)
class Formula:
    """Clauses of literals ±(variable + 1)."""

    variables: int
    clauses: tuple[tuple[int, ...], ...]

    @classmethod
    def drawn(cls, rng: np.random.Generator, variables: int, clauses: int, shortest: int) -> Formula:
        made = []
        for _ in range(clauses):
            places = rng.choice(variables, size=int(rng.integers(shortest, 4)), replace=False)
            made.append(tuple(int(place + 1) * int(rng.choice((-1, 1))) for place in places))
        return cls(variables, tuple(made))

    @classmethod
    def tree(cls, rng: np.random.Generator, variables: int, depth: int, wider: int) -> Formula:
        """A formula without models: of a tree of decisions that differ from branch to branch each leaf is contradicted
        by a clause, which so many further literals hide that resolution with their opposites brings back."""

        def grown(path: tuple[int, ...]) -> list[tuple[int, ...]]:
            if len(path) == depth:
                return [tuple(-one for one in path)]
            free = [k for k in range(1, variables + 1) if k not in {abs(one) for one in path}]
            place = int(rng.choice(free))
            return grown((*path, place)) + grown((*path, -place))

        made = []
        for clause in grown(()):
            free = [k for k in range(1, variables + 1) if k not in {abs(one) for one in clause}]
            hidden = [int(place) * int(rng.choice((-1, 1))) for place in rng.choice(free, wider, replace=False)]
            made += [
                (*clause, *(-one if k == n else one for n, one in enumerate(hidden[: k + 1]))) for k in range(wider)
            ]
            made.append((*clause, *hidden))
        return cls(variables, tuple(made))

    @property
    def models(self) -> list[tuple[Fraction, ...]]:
        """All points of the goal: the satisfying assignments."""
        found = []
        for values in product((0, 1), repeat=self.variables):
            if all(any(values[abs(one) - 1] == (one > 0) for one in clause) for clause in self.clauses):
                found.append(tuple(Fraction(value) for value in values))
        return found

    @property
    def layers(self) -> tuple[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]], ...]:
        """y0 = 1 − Σ relu(1 − true literals), y1 = Σ relu(x) − relu(2x − 1)."""
        count = self.variables
        weight, bias = np.zeros((len(self.clauses), count)), np.ones(len(self.clauses))
        for row, clause in enumerate(self.clauses):
            for one in clause:
                weight[row, abs(one) - 1] -= np.sign(one)
                bias[row] -= one < 0
        eye = np.eye(count)
        hidden = np.vstack([weight, eye, 2.0 * eye])
        constants = np.concatenate([bias, np.zeros(count), -np.ones(count)])
        out = np.zeros((2, len(hidden)))
        out[0, : len(weight)] = -1.0
        out[1, len(weight) : -count], out[1, -count:] = 1.0, -1.0
        return (hidden, constants), (out, np.array([1.0, 0.0]))
