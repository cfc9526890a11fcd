"""Steps by linear programs: the point near another one where the least of several half-spaces' rows is largest.

Where a goal has several rows the gradient of the smallest one walks from row to row and arrives nowhere: points that
reach all of them may lie in a sliver of the box (reach_prob_density, three of whose rows bound two outputs on both
sides). Sequential linear programming (Griffith & Stewart 1961), with a trust region: max t over |d_i| ≤ δ·width_i with
f_k(x) + ∇f_k(x)·d ≥ t for every row k. Within an activation region of a ReLU network such a step is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from encoders.formulations.highs import run, simplex
from encoders.lazy import Lazy
from encoders.network.graph import Array
from verifier.problem.budget import Budget
from verifier.search.property_attack import Ascent, by_random_steps, drawn_in, uphill

if TYPE_CHECKING:
    import highspy
else:
    highspy = Lazy("highspy")

MOST_ROWS = 64
"""Rows up to which steps are taken by linear programs: each is a pass back through the network at every step."""

STEPS = 20
"""Linear programs from one point; three reach a robot's sliver."""

FIRST, LEAST = 0.5, 2.0**-10
"""The trust region at first and the smallest one, as a share of each side of the box."""

GOOD = 0.5
"""The share of the gain that an LP promised from which its region is trusted to be larger."""

GROWN, SHRUNK = 2.0, 0.25
"""What the trust region is multiplied by after a step that kept its promise, and after one that gained nothing."""

SLICE = 0.2
"""Seconds that an LP may take: a slow one is given up, and the budget is looked at."""


def climbed(ascent: Ascent, start: Array, rng: np.random.Generator, budget: Budget) -> tuple[Array, float]:
    """The best point on the way uphill from the start (n,), and its margin, by the steps that suit the goal.

    Where it has several rows, random steps first: they cost a tenth of linear programs, and end elsewhere.
    """
    if not 1 < len(ascent.goal.offset) <= MOST_ROWS:
        return uphill(ascent, start, budget)
    best, margin = by_random_steps(ascent, start, rng, budget)
    return (best, margin) if margin >= 0 else by_linear_programs(ascent, start, budget)


def by_linear_programs(ascent: Ascent, start: Array, budget: Budget) -> tuple[Array, float]:
    """The last of the steps from the start (n,), each with a larger margin than the one before, and that margin.

    Stops at a margin of at least 0, as floats see it, where no step of the least size gains, and when the budget ends.
    """
    lo, hi = ascent.ball.interval
    x, trust = start, FIRST
    rows, gradients = ascent.rows(x)
    for _ in range(STEPS):
        if not rows.min() < 0 or budget.ended or trust < LEAST:
            break
        found = _step(rows, gradients, np.maximum(lo - x, -trust * (hi - lo)), np.minimum(hi - x, trust * (hi - lo)))
        if found is None:
            break
        step, promised = found
        there = drawn_in(ascent.ball, np.clip(x + step, lo, hi))
        reached, slopes = ascent.rows(there)
        gain = reached.min() - rows.min()
        if not gain > 0:
            trust *= SHRUNK
            continue
        if gain >= GOOD * (promised - rows.min()):
            trust = min(1.0, GROWN * trust)
        x, rows, gradients = there, reached, slopes
    return x, float(rows.min())


def _step(rows: Array, gradients: Array, low: Array, high: Array) -> tuple[Array, float] | None:
    """The step (n,) between low and high after which the least linearised row is largest, and that; None where HiGHS
    has none. The variables are the share of the way from low to high, so that sides of any length are alike."""
    span = high - low
    coefficients = gradients * span
    model, infinite = highspy.HighsLp(), highspy.kHighsInf
    count, entries = coefficients.shape
    model.num_col_, model.num_row_ = entries + 1, count
    model.col_cost_ = np.append(np.zeros(entries), -1.0)
    model.col_lower_ = np.append(np.zeros(entries), -infinite)
    model.col_upper_ = np.append(np.ones(entries), infinite)
    # t − ∇f_k·d ≤ f_k
    model.row_lower_ = np.full(count, -infinite)
    model.row_upper_ = rows + gradients @ low
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_ = np.arange(count + 1) * (entries + 1)
    model.a_matrix_.index_ = np.tile(np.arange(entries + 1), count)
    model.a_matrix_.value_ = np.hstack([-coefficients, np.ones((count, 1))]).reshape(-1)
    highs = simplex()
    highs.setOptionValue("time_limit", SLICE)
    finite = np.all(np.isfinite(model.row_upper_)) and np.all(np.isfinite(coefficients))
    if not finite or highs.passModel(model) == highspy.HighsStatus.kError:
        return None
    if run(highs) != highspy.HighsModelStatus.kOptimal:
        return None
    values = np.array(highs.getSolution().col_value)
    return low + values[:-1] * span, float(values[-1])
