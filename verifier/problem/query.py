"""The question: a ball around an input, a goal over the logits, and the query that a decider answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array, Graph, frozen
from encoders.network.norm import Norm
from verifier.problem.arguments import plain
from verifier.problem.norms.geometry import Geometry
from verifier.problem.norms.table import GEOMETRIES

__all__ = [
    "ELSEWHERE",
    "Ball",
    "Goal",
    "Halfspaces",
    "Norm",
    "Query",
    "Targeted",
    "Untargeted",
    "disjuncts",
    "distance_exact",
]


@dataclass(frozen=True, eq=False)
class Ball:
    """{x : lo ≤ x ≤ hi, ‖x − centre‖_norm ≤ radius}; centre, lo, hi have shape (n,); radius may be infinite."""

    norm: Norm
    centre: Array
    radius: float
    lo: Array
    hi: Array

    def __post_init__(self) -> None:
        for name in ("centre", "lo", "hi"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    @classmethod
    def of_box(cls, lo: npt.ArrayLike, hi: npt.ArrayLike) -> Ball:
        """The whole box {x : lo ≤ x ≤ hi}, for questions without an input: the centre is its middle."""
        low, high = np.asarray(lo, dtype=np.float64), np.asarray(hi, dtype=np.float64)
        ended = np.isfinite(low) & np.isfinite(high)
        middle = 0.5 * np.where(ended, low, 0.0) + 0.5 * np.where(ended, high, 0.0)
        return cls(Norm.LINF, np.clip(middle, low, high), math.inf, low, high)

    def with_radius(self, radius: float) -> Ball:
        return replace(self, radius=radius)

    @cached_property
    def geometry(self) -> Geometry:
        """What the ball's norm says of it."""
        return GEOMETRIES[self.norm](self.centre, self.lo, self.hi, self.radius)

    @property
    def interval(self) -> tuple[Array, Array]:
        """The smallest box around the region, rounded outwards: (lower, upper), each (n,)."""
        return self.geometry.interval

    @property
    def bounded(self) -> bool:
        """True when the region is a bounded set."""
        lower, upper = self.interval
        return bool(np.all(np.isfinite(lower)) and np.all(np.isfinite(upper)))

    @property
    def finite(self) -> Ball:
        """The same region with a finite radius and a box of finite ends. Raises ValueError when it is unbounded."""
        if not self.bounded:
            raise ValueError("the region is unbounded: neither its box nor its radius ends it")
        lo, hi = self.interval
        ball = self if np.all(np.isfinite(self.hi - self.lo)) else replace(self, lo=lo, hi=hi)
        return ball if math.isfinite(ball.radius) else ball.with_radius(ball.reach)

    @property
    def reach(self) -> float:
        """A radius that no point of the box exceeds: the distance to its farthest corner, rounded up."""
        return self.geometry.reach

    def length(self, points: Array) -> Array:
        """‖x − centre‖ to within rounding: points (…, n) → (…)."""
        return self.geometry.length(points - self.centre)


def distance_exact(norm: Norm, x: npt.ArrayLike, centre: npt.ArrayLike) -> Fraction:
    """‖x − centre‖ as an exact rational. Raises ValueError for NaN, OverflowError for an infinity."""
    return GEOMETRIES[norm].distance_exact(x, centre)


@dataclass(frozen=True, eq=False)
class Halfspaces:
    """{z : matrix · z + offset ≥ 0, every row}; matrix (m, K), offset (m,). Closed, so ties belong to it."""

    matrix: Array
    offset: Array

    def __post_init__(self) -> None:
        matrix = np.array(plain(self.matrix), dtype=np.float64)
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "offset", frozen(plain(self.offset)))

    def deeper(self, margin: float) -> Halfspaces:
        """The points that lie at least `margin` inside each row."""
        return Halfspaces(self.matrix, self.offset - margin) if margin else self

    def margin(self, logits: npt.ArrayLike) -> Array:
        """The smallest row value, in float64, infinite without rows: logits (batch, K) → (batch,)."""
        values = np.atleast_2d(logits) @ self.matrix.T + self.offset
        return np.asarray(values.min(axis=1, initial=np.inf), dtype=np.float64)

    def margin_exact(self, logits: list[Fraction]) -> Fraction:
        """The smallest row value of exact logits."""
        return self.margin_between(logits, logits)[0]

    def margin_between(self, lower: list[Fraction], upper: list[Fraction]) -> tuple[Fraction, Fraction]:
        """Between what the smallest row value is for logits between these."""
        least, most = [], []
        for row, offset in zip(self.matrix.tolist(), self.offset.tolist(), strict=True):
            read = [(Fraction(c), low, high) for c, low, high in zip(row, lower, upper, strict=True) if c]
            least.append(sum((c * (low if c > 0 else high) for c, low, high in read), Fraction(offset)))
            most.append(sum((c * (high if c > 0 else low) for c, low, high in read), Fraction(offset)))
        return min(least), min(most)


@dataclass(frozen=True)
class Targeted:
    """z_target ≥ z_i + margin for every other i: the network prefers `target` (ties count)."""

    target: int
    margin: float = 0.0


@dataclass(frozen=True)
class Untargeted:
    """Some class other than `label` reaches its targeted goal: the union of Targeted(t, margin) over t ≠ label."""

    label: int
    margin: float = 0.0


Goal = Targeted | Untargeted

ELSEWHERE = -1
"""Stands for a target where each of several copies of the network may go to a class of its own, off the label."""


def disjuncts(goal: Goal, classes: int) -> tuple[tuple[int, Halfspaces], ...]:
    """The goal as a union of (target, half-spaces over `classes` logits)."""
    match goal:
        case Targeted():
            return ((goal.target, _prefer(goal.target, goal.margin, classes)),)
        case Untargeted():
            return tuple((t, _prefer(t, goal.margin, classes)) for t in range(classes) if t != goal.label)


def _prefer(target: int, margin: float, classes: int) -> Halfspaces:
    matrix = np.delete(-np.eye(classes), target, axis=0)
    matrix[:, target] = 1.0
    return Halfspaces(matrix, np.full(classes - 1, -margin))


@dataclass(frozen=True, eq=False)
class Query:
    """Is there an x in `region` whose output lies in `goal`? `graph` is lowered and its output is the logits."""

    graph: Graph
    region: Ball
    goal: Halfspaces
