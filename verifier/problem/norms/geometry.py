"""What a norm says of its balls {x : lo ≤ x ≤ hi, ‖x − x0‖ ≤ r}: the methods that every norm's class has.

Most are about how far a linear form falls within r of the centre, the support function of the steps that are allowed,

    S(r) = max {g·(x0 − x) : x ∈ box, ‖x − x0‖ ≤ r}.

S is concave in r. Because it is, a tangent lies above it: the radius at which a tangent uses up an amount is never too
large.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from encoders.network.graph import Array, frozen
from encoders.network.norm import Norm
from verifier.problem.rounding import down, gamma

Floats = npt.NDArray[np.float32]

FIRST_STEP = 0.5
"""The first step of an ascent as a share of the radius; steps shrink to nothing linearly."""

REACH_SLACK = 1e-12
"""Relative: what summing the sides of a box may lose, many times over."""


class Room:
    """How far the box lets each entry move `down` and `up` from the centre: a little too far rather than too little."""

    def __init__(self, centre: Array, lo: Array, hi: Array) -> None:
        self.down, self.up = _widened(centre - lo), _widened(hi - centre)

    def at(self, rows: Array) -> Array:
        """The room on the side to which each entry pulls: x falls where the coefficient is positive."""
        return np.where(rows > 0, self.down, self.up)


def _widened(room: Array) -> Array:
    """The next float above what subtraction has rounded; 0 is exact, and products with 5e-324 take 20 times as long."""
    return np.where(room > 0, np.nextafter(room, np.inf), 0.0)


class Geometry(ABC):
    """A norm, and the ball around `centre` (n,) of one radius, which may be infinite, cut with the box lo, hi (n,).

    Methods that take a `radius` are about the ball of that finite radius instead. Linear forms are rows (R, n) or one
    row (n,). "Up to rounding" is a few units of the last digit of Σ |row_i|·|x_i|, which callers charge.
    """

    norm: ClassVar[Norm]
    has_flat_sides: ClassVar[bool] = False
    """Are balls polyhedra? Trees that need LPs are chosen for no others."""
    is_euclidean: ClassVar[bool] = False
    """Is the nearest point of a polyhedron that of least squares (`nearest_point`)?"""
    has_kernels: ClassVar[bool] = False
    """Do compiled kernels know the norm? Where they do not, trees are explored with numpy."""

    def __init__(self, centre: Array, lo: Array, hi: Array, radius: float) -> None:
        self.centre, self.lo, self.hi, self.radius = centre, lo, hi, radius

    @cached_property
    def room(self) -> Room:
        """What the box leaves on both sides of the centre."""
        return Room(self.centre, self.lo, self.hi)

    @cached_property
    def interval(self) -> tuple[Array, Array]:
        """The smallest box around the region, rounded outwards: (lower, upper), each (n,)."""
        if math.isinf(self.radius):
            return self.lo, self.hi
        lower, upper = self.interval_at(self.radius)
        return frozen(lower), frozen(upper)

    def interval_at(self, radius: float) -> tuple[Array, Array]:
        """`interval` at a finite radius: no entry moves farther than the whole step is long."""
        lower = np.maximum(self.lo, np.nextafter(self.centre - radius, -np.inf))
        upper = np.minimum(self.hi, np.nextafter(self.centre + radius, np.inf))
        return lower, upper

    @property
    def is_box(self) -> bool:
        """Is the region the box `interval`, up to rounding?"""
        return math.isinf(self.radius)

    @property
    def split_moves(self) -> bool:
        """How linear programs say ‖x − x0‖ ≤ r: by one row Σ (p + m) ≤ r, x = x0 + p − m with p, m ≥ 0, else by bounds.

        Raises InputError for a norm whose balls no such program describes.
        """
        raise InputError(
            f"balls of the norm '{self.norm}' have no flat sides, as LPs, MILP and Z3 need: take linf or l1"
        )

    @property
    def reach(self) -> float:
        """A radius that no point of the box exceeds: the distance to its farthest corner, rounded up."""
        room = np.maximum(self.hi - self.centre, self.centre - self.lo)
        return math.nextafter(math.nextafter(self.longest(room), math.inf), math.inf) * (1 + REACH_SLACK)

    @staticmethod
    @abstractmethod
    def length(steps: Array) -> Array:
        """‖step‖ to within rounding: steps (…, n) → (…)."""

    @staticmethod
    @abstractmethod
    def longest(room: Array) -> float:
        """‖room‖ of one vector (n,) ≥ 0 to within two units of the last digit; entries may be infinite."""

    @staticmethod
    @abstractmethod
    def distance_exact(x: npt.ArrayLike, centre: npt.ArrayLike) -> Fraction:
        """‖x − centre‖ in rational arithmetic; where that is irrational, a rational just above it.

        Raises ValueError for NaN, OverflowError for an infinity.
        """

    def left(self, radius: float, step: Array) -> float:
        """How far from x0 + step the x of a box may lie that lie within `radius` of x0, where no point of the box is
        nearer to x0 than x0 + step in any entry: rounded up."""
        del step
        return radius

    @staticmethod
    @abstractmethod
    def directions(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
        """Random steps of length 1, each entry as likely up as down: `shape` (count, n)."""

    @staticmethod
    @abstractmethod
    def dual_norm(rows: Array) -> Array:
        """The most that each row (R, n) can fall over a ball of radius 1 without a box: (R,)."""

    @abstractmethod
    def minimum(self, rows: Array) -> Array:
        """A lower bound, rounding included, of min {ν·x : x ∈ region} for each row ν of `rows` (R, n): shape (R,)."""

    @abstractmethod
    def minimiser(self, rows: Array) -> Array:
        """A point of the region where each row is least, up to rounding: (R, n) for rows (R, n)."""

    @abstractmethod
    def sizes(self, magnitudes: Any) -> Array:
        """At least Σ_j magnitudes_ij |x_j|, but for rounding, for every x of the region; magnitudes (m, n) ≥ 0: (m,).

        They may be sparse.
        """

    @abstractmethod
    def falls(self, rows: Array, radius: float) -> Array:
        """S(radius) for each row (R, n), up to rounding, or slightly more: (R,)."""

    def fall(self, row: Array, radius: float) -> float:
        """S(radius) for one row (n,), up to rounding."""
        return float(self.falls(row[np.newaxis], radius)[0])

    @abstractmethod
    def excluded_each(self, rows: Array, amounts: Array, most: float) -> Array:
        """A radius r ≤ most with S(r) ≤ amount for each row (R, n), as large as it can be; 0 when the amount is
        negative, or no finite number, as where rows overflow: (R,)."""

    def excluded(self, row: Array, amount: float, most: float) -> float:
        """`excluded_each` for one row (n,)."""
        return float(self.excluded_each(row[np.newaxis], np.array([amount]), most)[0])

    @abstractmethod
    def gains(self, row: Array, radius: float, present: Array) -> Array:
        """What each entry's own move adds to S(radius) above the price among the `present` ones: (n,)."""

    @abstractmethod
    def steps(self, rows: Array, radius: float) -> Array:
        """The steps from the centre at which each row (R, n) falls by S(radius), up to rounding: (R, n)."""

    @abstractmethod
    def farthest(self, row: Array, radius: float) -> Array:
        """The x (n,) of the ball at which row·x is least."""

    @staticmethod
    def ascent_share(step: int, steps: int) -> float:
        """`share` of `ascended` for one of so many steps."""
        return FIRST_STEP * (1.0 - step / steps)

    @abstractmethod
    def ascended(self, x: Array, gradient: Array, radius: float, share: float) -> Array:
        """x (n,) after a step of steepest ascent, as long as that share of the radius, that stays in the ball."""

    @abstractmethod
    def least_of_batch(self, rows: Floats) -> tuple[Floats, Floats]:
        """Where forms are least in the region, in float32 and without proof: (points (n, batch), their values there).

        rows (n, batch): one form a column.
        """

    def _minimum(self, rows: Array, falls: Array) -> Array:
        """`minimum` of rows (R, n) that fall by at most so much below their values at the centre: (R,)."""
        size = np.abs(rows) @ np.abs(self.centre) + falls
        return down(rows @ self.centre - falls, gamma(3 * rows.shape[1]) * size)

    def _sizes(self, magnitudes: Any, steepest: Array) -> Array:
        """`sizes` of rows that rise by at most radius · steepest (m,) above their values at |x0|: (m,)."""
        near = magnitudes @ np.abs(self.centre) + self.radius * steepest
        least: Array = np.fmin(self.box_sizes(magnitudes), near)
        return least

    def box_minimum(self, rows: Array) -> Array:
        """`minimum` over the interval: each coordinate goes to its end."""
        lower, upper = self.interval
        low_part = np.where(rows > 0, rows, 0.0)
        high_part = np.where(rows < 0, rows, 0.0)
        value = _product(low_part, lower) + _product(high_part, upper)
        size = _product(low_part, np.abs(lower)) - _product(high_part, np.abs(upper))
        return down(value, gamma(2 * rows.shape[1]) * size)

    def box_minimiser(self, rows: Array) -> Array:
        """`minimiser` over the interval."""
        lower, upper = self.interval
        return np.where(rows > 0, lower, np.where(rows < 0, upper, self.centre))

    def box_sizes(self, magnitudes: Any) -> Array:
        """`sizes` over the interval."""
        lower, upper = self.interval
        with np.errstate(invalid="ignore"):
            whole: Array = magnitudes @ np.maximum(np.abs(lower), np.abs(upper))
        return whole


def _product(rows: Array, vector: Array) -> Array:
    """rows @ vector where 0 · ∞ counts as 0: a coordinate that a row does not read may be unbounded."""
    if np.all(np.isfinite(vector)):
        return rows @ vector
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(rows == 0, 0.0, rows * vector).sum(axis=1))


def largest_entries(magnitudes: Any) -> Array:
    """The largest entry of each row, which may be sparse: (m, n) → (m,)."""
    largest = magnitudes.max(axis=1)
    return largest if isinstance(largest, np.ndarray) else np.asarray(largest.toarray().reshape(-1))


def exact_gaps(pairs: Iterable[tuple[float, float]]) -> list[Fraction]:
    """|a − b| of each pair that differs."""
    return [abs(Fraction(a) - Fraction(b)) for a, b in pairs if a != b]
