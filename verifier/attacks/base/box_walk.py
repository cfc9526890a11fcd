"""A walk through the whole box, for cases that no attack within a radius has reached.

Far from the goal the gradient of the margin belongs to whatever class is ahead, and large steps end where all ReLUs are
dead. Small steps of one size, x ← clip(x − step · sign ∇), arrive more often, most of all along the goal's own logit,
which says nothing of the others: of 18 targets of the `256x2` net of VNN-COMP's mnist_fc sweeps within L∞ balls reached
6. Every case walks both gradients, with several steps; what is found is far, and where other attacks begin.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.attacks.base.problem import LENGTH, Float32, Indices, Metric
from verifier.attacks.base.search import AttackSearch
from verifier.attacks.base.sweep import FARTHEST

SHARES = tuple(2.0**-power for power in range(5, 9))
"""Steps as shares of the farthest that any input entry may go."""

STEPS = 200


def box_walk(search: AttackSearch) -> None:
    """Offer to `search` what the walks of its open cases without a point meet first."""
    lost = search.lost
    far = _farthest(search)[lost]
    lost, far = lost[np.isfinite(far)], far[np.isfinite(far)]
    ways = len(SHARES)
    steps = np.outer(far, SHARES).repeat(2, axis=0).reshape(-1)
    alone = np.tile(np.repeat([True, False], ways), len(lost))
    cases = np.repeat(lost, 2 * ways)
    for rows in search.chunks(np.arange(len(cases))):
        _walk(search, cases[rows], steps[rows, None], alone[rows, None])


def _farthest(search: AttackSearch) -> Array:
    """How far an input entry may go: to the end of the box, or a multiple of the first-order distance; (cases,)."""
    problem = search.problem
    room = LENGTH[Metric.LINF](np.maximum(problem.hi - problem.centres, problem.centres - problem.lo))
    slope = LENGTH[Metric.L1](search.slopes.astype(np.float64))
    told = np.isfinite(slope) & (slope > 0)
    linear = np.divide(search.gaps, slope, out=np.full(len(slope), np.inf), where=told)
    farthest: Array = np.minimum(room, FARTHEST * linear)
    return farthest


def _walk(search: AttackSearch, cases: Indices, step: Array, alone: npt.NDArray[np.bool_]) -> None:
    """Rows walk from their cases' starts until they reach the goal; `alone`: along the goal's own logit."""
    problem, surrogate = search.problem, search.surrogate
    points = problem.starts[cases]
    for _ in range(STEPS):
        if search.over:
            return
        logits = surrogate.logits(points)
        arrived = np.asarray(problem.gap(cases, logits) <= 0.0)
        search.offer(cases, points, arrived)
        under_way = ~arrived
        cases, step, alone = cases[under_way], step[under_way], alone[under_way]
        points, logits = points[under_way], logits[under_way]
        if not len(cases):
            return
        own, sign = problem.own[cases], problem.sign[cases]
        rivals: Float32 = np.where(alone, np.float32(0.0), search.rivals(cases, logits))
        slopes = surrogate.vjp(points, sign * (rivals - own))
        points = problem.clipped(points - step * np.sign(slopes))
        search.evaluations += len(cases)
