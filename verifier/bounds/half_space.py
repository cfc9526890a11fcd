"""How low a linear form gets in a ball and a half-space: what the goal's bound says of everything else.

A node's multipliers prove m(x) ≥ K + g·δ for the steps δ = x − x0 (`lagrangian`): an x that reaches the goal, with
m(x) ≤ 0, has g·δ ≤ −K. By linear programming's duality (cf. Kotha et al. 2023, who bound neurons under constraints on
the output),

    min {a·δ : x0 + δ ∈ box, ‖δ‖ ≤ r, g·δ ≤ t}  =  max {−S(a + λ g) − λ t : λ ≥ 0}

with S of `Geometry`. Every λ gives a valid bound. The right side is concave in λ, and two tangents are known from the
start: that at 0, and a·δ' + λ (g·δ' − t) with the δ' at which g·δ is least. Where two tangents meet is the next λ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encoders.network.graph import Array
from verifier.problem.norms.geometry import Geometry
from verifier.problem.rounding import SPARE_OPERATIONS, SUMMED

WEIGHTS = 3
"""Multipliers λ tried at most: with 2 trees had up to 8 % more nodes, with 12 as many."""

SETTLED = 0.05
"""Share of what the half-space may add to a bound that is not worth another λ."""


@dataclass(frozen=True, eq=False)
class HalfSpace:
    """The steps δ from the centre with row·δ ≤ amount; row (n,)."""

    row: Array
    amount: float


def least(geometry: Geometry, rows: Array, radius: float, cut: HalfSpace) -> Array:
    """A safe lower bound of row·δ over the ball of this radius and the half-space, for each row (R, n): (R,)."""
    reach = SUMMED * (rows.shape[1] + SPARE_OPERATIONS) * radius
    fallen, steps = geometry.falls(rows, radius), geometry.steps(rows, radius)
    size, cut_size = geometry.dual_norm(rows), float(geometry.dual_norm(cut.row[np.newaxis])[0])
    best: Array = -fallen - reach * size
    deepest = geometry.steps(cut.row[np.newaxis], radius)[0]
    left, rise = -fallen, steps @ cut.row - cut.amount
    right, decline = rows @ deepest, np.full(len(rows), float(cut.row @ deepest) - cut.amount)
    for _ in range(WEIGHTS):
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = (right - left) / (rise - decline)
            highest = left + weight * rise
        wanted = (rise > 0) & (decline < 0) & (weight > 0) & (highest - best > SETTLED * (highest + fallen))
        on = np.flatnonzero(wanted)
        if on.size == 0:
            break
        factor = weight[on]
        mixed = rows[on] + factor[:, np.newaxis] * cut.row
        found = -geometry.falls(mixed, radius) - factor * cut.amount
        charge = reach * (size[on] + factor * cut_size) + SUMMED * np.abs(factor * cut.amount)
        best[on] = np.maximum(best[on], found - charge)
        slope = geometry.steps(mixed, radius) @ cut.row - cut.amount
        up = slope > 0
        start = found - slope * factor
        left[on[up]], rise[on[up]] = start[up], slope[up]
        right[on[~up]], decline[on[~up]] = start[~up], slope[~up]
    return best
