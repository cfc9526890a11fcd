"""The Lagrangian bound on stages: any multipliers give a valid bound, in closed form, rounding included.

Is there an x of the region with C·z(x) + d ≥ 0? Weights λ ≥ 0 turn the rows into one form, m(x) = −λ·(C z + d), which
is ≤ 0 at such an x. With a multiplier ν_j on each ReLU's argument z_j = Σ B h + c,

    min m ≥ K + Σ_j min {μ_j relu(t) − ν_j t : l_j ≤ t ≤ u_j} + min {g·x : x ∈ region}

with μ and g what ν and λ send back through B. Every ReLU's share is least at l, 0 or u: no relaxation is chosen, splits
and tighter bounds only change l and u. At an LP's duals the bound equals the LP's value (the hull of a ReLU over [l, u]
is its triangle). Multipliers come from floats; all rounding is charged as γ·Σ|ν_j|·t_j with sizes t_j that are known
beforehand (Neumaier & Shcherbina 2004).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.relu_lines import lower_slope, upper_slope
from verifier.problem.norms.geometry import Geometry
from verifier.problem.query import Ball, Halfspaces
from verifier.problem.rounding import UNDERFLOW, evaluation_error, gamma, underflow

SNAP = 1e-9
"""Relative: an LP's dual of an active ReLU that is this near to μ is meant to be μ."""

CHARGE = 8.0
"""Multiples of γ that each product is charged: it is formed once going back and used up to four times."""


Choice = Callable[[slice, Array], Array]
"""The ν of a stage, by its place among the ReLUs and its μ."""


@dataclass(frozen=True, eq=False)
class Dual:
    """One evaluation: the bound at radius r is `constant` − S(r), S of `Geometry` for `row`, all rounding subtracted.

    `real` ≥ constant is the same with what holds over the real numbers alone subtracted, where that is wanted.
    """

    constant: float
    real: float
    row: Array
    shares: Array
    """min {μ t⁺ − ν t} of each ReLU: (relu_count,)."""
    mu: Array
    nu: Array
    geometry: Geometry

    def value(self, radius: float) -> float:
        """A proved lower bound of min m over the ball of this radius; > 0: nothing there reaches the goal."""
        return self.constant - self.geometry.fall(self.row, radius)

    def real_value(self, radius: float) -> float:
        """`value` over the real numbers, whatever evaluations round."""
        return self.real - self.geometry.fall(self.row, radius)

    def radius(self, most: float) -> float:
        """The largest radius ≤ most that this evaluation excludes: nothing closer reaches the goal."""
        found = self.geometry.excluded(self.row, self.constant, most)
        return max(0.0, found * (1.0 - RADIUS_SLACK))


@dataclass(frozen=True, eq=False)
class Duals:
    """A batch of `Dual`: constant, real (nodes,); row (nodes, n); shares, mu, nu (nodes, relu_count)."""

    geometry: Geometry
    constant: Array
    real: Array
    row: Array
    shares: Array
    mu: Array
    nu: Array

    @classmethod
    def of(cls, duals: Sequence[Dual]) -> Duals:
        """Those of one ball."""
        parts = (np.array([getattr(dual, name) for dual in duals]) for name in ARRAYS)
        return cls(duals[0].geometry, *parts)

    def __len__(self) -> int:
        return len(self.constant)

    def __iter__(self) -> Iterator[Dual]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, place: int | np.integer[Any]) -> Dual:
        row, shares, mu, nu = (getattr(self, name)[place] for name in ARRAYS[2:])
        return Dual(float(self.constant[place]), float(self.real[place]), row, shares, mu, nu, self.geometry)

    def at(self, places: npt.NDArray[np.integer]) -> Duals:
        """Those at some places."""
        return Duals(self.geometry, *(getattr(self, name)[places] for name in ARRAYS))

    def within(self, relus: npt.NDArray[np.integer]) -> Duals:
        """The same, of which shares, mu and nu say what they are for these ReLUs alone; contiguous, as kernels want."""
        return Duals(
            self.geometry,
            *(getattr(self, name) for name in ARRAYS[:3]),
            *(np.take(part, relus, axis=1) for part in (self.shares, self.mu, self.nu)),
        )

    def replace(self, place: int, dual: Dual, relus: npt.NDArray[np.integer]) -> None:
        """Put another one of the same node in, where these are the ReLUs that shares, mu and nu are of."""
        for name in ARRAYS:
            found = getattr(dual, name)
            getattr(self, name)[place] = found[relus] if name in ARRAYS[3:] else found

    def values(self, radius: float) -> tuple[Array, Array]:
        """`Dual.value` and `Dual.real_value` of each (nodes,)."""
        falls = self.geometry.falls(self.row, radius)
        return self.constant - falls, self.real - falls

    def radii(self, most: float) -> Array:
        """`Dual.radius` of each (nodes,)."""
        found = self.geometry.excluded_each(self.row, self.constant, most)
        return np.maximum(0.0, found * (1.0 - RADIUS_SLACK))


def measured(duals: Duals, radius: float) -> tuple[Array, Array, Array]:
    """`Duals.values` and `Duals.radii`."""
    return *duals.values(radius), duals.radii(radius)


ARRAYS = "constant", "real", "row", "shares", "mu", "nu"
"""What a `Dual` consists of besides its geometry."""

RADIUS_SLACK = 1e-13
"""Relative: more than the rounding of the last tangent step, whose sums were charged before."""


class Lagrangian:
    """Evaluates multipliers for one goal over one ball, with `lower`, `upper` (relu_count,) proved on that ball."""

    def __init__(self, stages: Stages, ball: Ball, goal: Halfspaces, lower: Array, upper: Array) -> None:
        self.stages, self.ball, self.goal = stages, ball, goal
        self.geometry = ball.geometry
        self.rate = CHARGE * gamma(stages.operations + stages.input_size + len(goal.offset))
        magnitudes = [np.maximum(*np.abs(ball.interval))]
        starts = stages.starts
        self.magnitude = np.maximum(np.abs(lower), np.abs(upper))
        self._slices = [slice(a, b) for a, b in pairwise(starts)]
        magnitudes += [np.maximum(upper[part], 0.0) for part in self._slices]
        sizes = [
            stage.magnitude
            + sum(
                block.magnitude @ magnitudes[source] if source else ball.geometry.sizes(block.magnitude)
                for source, block in stage.blocks.items()
            )
            for stage in stages.stages
        ]
        largest = max(float(part.max(initial=0.0)) for part in (*magnitudes, self.magnitude, *sizes))
        self.slack = math.inf if stages.underflows else underflow(largest)
        # What evaluations round too is charged as that much more of the same sizes.
        errors = [evaluation_error(stage.operations, stages.unit) for stage in stages.stages]
        self.sizes = [
            size * (1.0 + error / self.rate) if error else size for size, error in zip(sizes, errors, strict=True)
        ]
        self.charge, self.goal_size = self._charges(self.sizes)
        self.real_charge, self.real_goal_size = self._charges(sizes if stages.both else self.sizes)
        self.constants = np.concatenate([*(stage.constant for stage in stages.hidden), np.zeros(0)])

    def within(self, ball: Ball) -> Lagrangian:
        """The same, with the same charges, over a ball that lies in this one's."""
        other = copy(self)
        other.ball, other.geometry = ball, ball.geometry
        return other

    def _charges(self, sizes: list[Array]) -> tuple[Array, Array]:
        """What a unit of ν at each ReLU, and of λ at each row, is charged, in multiples of `rate`."""
        charge = np.concatenate([*sizes[:-1], np.zeros(0)]) + self.magnitude
        return charge, np.abs(self.goal.matrix) @ sizes[-1] + np.abs(self.goal.offset)

    def evaluate(self, weights: Array, nu: Array, lower: Array, upper: Array) -> Dual:
        """The bound for row weights λ (m,) ≥ 0 and multipliers ν (relu_count,), ReLU arguments within lower, upper.

        ν is taken as given, except that it becomes μ where an active ReLU's given ν differs from that by rounding only.
        """
        active = lower >= 0

        def given(part: slice, mu: Array) -> Array:
            own = nu[part]
            return np.where(active[part] & (np.abs(mu - own) <= SNAP * np.abs(mu)), mu, own)

        return self._dual(self._walk(weights, given, lower, upper))

    def crown(self, weights: Array, lower: Array, upper: Array) -> Dual:
        """The bound for the multipliers that the default lines of CROWN choose: ν = slope · μ (Zhang et al. 2018)."""
        alpha = lower_slope(lower, upper)
        return self._dual(self._walk(weights, _on_lines(alpha, 0.0, lower, upper), lower, upper))

    def on_lines(self, weights: Array, alpha: Array, beta: Array, lower: Array, upper: Array) -> Duals:
        """The bounds of a batch of nodes: lower lines of slope `alpha`, split multipliers `beta` (Wang et al. 2021).

        ν = α μ⁺ − s μ⁻ + β, s the slope of the upper line; weights (m, batch) ≥ 0, all others (relu_count, batch). The
        value is a proved bound for any α and β.
        """
        found = self._walk(weights, _on_lines(alpha, beta, lower, upper), lower, upper)
        arrays = (np.ascontiguousarray(part.T) for part in found[2:])
        return Duals(self.geometry, found.constant, found.real, *arrays)

    def chosen(self, weights: Array, choose: Choice, lower: Array, upper: Array) -> tuple[Array, Array]:
        """`Dual.constant` (batch,) and `Dual.row` (batch, n) of a batch of nodes whose ν are chosen stage by stage.

        weights (m, batch) ≥ 0, lower and upper (relu_count, batch); choose: (the stage's place, its μ) → ν.
        """
        found = self._walk(weights, choose, lower, upper)
        return found.constant, np.ascontiguousarray(found.row.T)

    def _dual(self, found: _Walked) -> Dual:
        return Dual(
            float(found.constant), float(found.real), found.row, found.shares, found.mu, found.nu, self.geometry
        )

    def _walk(self, weights: Array, choose: Choice, lower: Array, upper: Array) -> _Walked:
        """One pass back through the stages; every array may have a last axis more, for a batch of nodes."""
        stages, batch = self.stages, weights.shape[1:]
        message = -(self.goal.matrix.T @ weights)
        constant = -(self.goal.offset @ weights) + stages.output.constant @ message
        mu, nu = np.zeros((stages.relu_count, *batch)), np.zeros((stages.relu_count, *batch))
        row = np.zeros((stages.input_size, *batch))
        for number in range(len(stages.stages), 0, -1):
            if number < len(stages.stages):
                part = self._slices[number - 1]
                message = nu[part] = choose(part, mu[part])
            for source, block in stages.stages[number - 1].blocks.items():
                sent = block.adjoint @ message
                if source:
                    mu[self._slices[source - 1]] += sent
                else:
                    row += sent
        shares = relu_shares(mu, nu, lower, upper)
        total = constant + self.constants @ nu + shares.sum(axis=0) + self.ball.centre @ row
        size = self.charge @ np.abs(nu) + self.goal_size @ weights
        real = self.real_charge @ np.abs(nu) + self.real_goal_size @ weights
        return _Walked(
            np.asarray(total - self.rate * size - self.slack),
            np.asarray(total - self.rate * real - self.slack),
            row,
            shares,
            mu,
            nu,
        )


class _Walked(NamedTuple):
    """What a pass back has found: the constants, rounding subtracted, and the arrays of `Dual`."""

    constant: Array
    real: Array
    row: Array
    shares: Array
    mu: Array
    nu: Array


def _on_lines(alpha: Array, beta: Array | float, lower: Array, upper: Array) -> Choice:
    """ν = α μ⁺ − s μ⁻ + β for one stage's μ, s the slope of the upper line."""
    slope = upper_slope(lower, upper)

    def chosen(part: slice, mu: Array) -> Array:
        extra = beta if isinstance(beta, float) else beta[part]
        return np.asarray(np.where(mu > 0, alpha[part], slope[part]) * mu + extra)

    return chosen


def relu_shares(mu: Array, nu: Array, lower: Array, upper: Array) -> Array:
    """min {μ max(t, 0) − ν t : lower ≤ t ≤ upper}, entry by entry."""
    at_lower = mu * np.maximum(lower, 0.0) - nu * lower
    at_upper = mu * np.maximum(upper, 0.0) - nu * upper
    least = np.minimum(at_lower, at_upper)
    return np.where((lower < 0) & (upper > 0), np.minimum(least, 0.0), least)


def tightened(dual: Dual, value: float, lower: Array, upper: Array) -> tuple[Array, Array]:
    """`lower` and `upper` cut down to where m ≤ 0 is still possible, given that `value` < 0 bounds m from below.

    Any x with m(x) ≤ 0 satisfies μ_j relu(t) − ν_j t ≤ share_j − value for each ReLU (reduced-cost tightening).
    """
    if math.isnan(value):
        return lower, upper
    spare = (dual.shares - value) * (1.0 + CUT_SLACK) + CUT_SLACK * np.abs(dual.shares) + UNDERFLOW
    rising, falling = dual.mu - dual.nu, dual.nu
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        top = np.where(rising > 0, np.maximum(spare, 0.0) / rising, np.inf)
        bottom = np.where(falling > 0, -np.maximum(spare, 0.0) / falling, -np.inf)
    return np.maximum(lower, bottom * (1.0 + CUT_SLACK)), np.minimum(upper, top * (1.0 + CUT_SLACK))


CUT_SLACK = 1e-12
"""Relative widening of a tightened bound: a hundred times the rounding of the few operations that form it."""


def ranks(chosen: npt.NDArray[np.integer], count: int) -> npt.NDArray[np.int64]:
    """Where each of so many is among the chosen ones, −1: nowhere."""
    found = np.full(count, -1, dtype=np.int64)
    found[chosen] = np.arange(chosen.size)
    return found
