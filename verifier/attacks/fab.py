"""FAB, the fast adaptive boundary attack (Croce and Hein 2020a): steps to the linearised boundary, biased towards x0.

With δ(y) the shortest step within the box from y to the hyperplane of the network linearised at x,
x ← clip((1 − a) · (x + η δ(x)) + a · (x0 + η δ(x0))), a = min(‖δ(x)‖ / (‖δ(x)‖ + ‖δ(x0)‖), a_max).
An adversarial x is kept, and the next step begins at x0 + β (x − x0). It needs no radius and no step size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encoders.network.graph import Array
from verifier.attacks.base.hyperplane import nearest_plane, shortest_step
from verifier.attacks.base.problem import LENGTH, AttackProblem, Candidates, Float32, Indices, Metric
from verifier.attacks.base.search import AttackSearch, Surrogate
from verifier.problem.budget import Budget


@dataclass(frozen=True)
class FabSettings:
    """η, β and a_max are the authors'. Restart 0 begins at x0, the others at random points at half the best distance.

    Where there is none yet, restart k goes 2ᵏ times as far as the boundary would be if the network were linear.
    """

    steps: int = 100
    restarts: int = 4
    overshoot: float = 1.05
    back: float = 0.9
    largest_bias: float = 0.1


def fab(surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: FabSettings) -> Candidates:
    """FAB in the problem's norm."""
    search = AttackSearch(surrogate, problem, budget)
    walk_boundary(search, settings)
    return search.finish()


def fab_l2(surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: FabSettings) -> Candidates:
    """FAB in L2; the distances are in the problem's norm."""
    search = AttackSearch(surrogate, problem, budget, Metric.L2)
    walk_boundary(search, settings)
    return search.finish()


def walk_boundary(search: AttackSearch, settings: FabSettings) -> None:
    """Offer to `search` what every restart finds."""
    for restart in range(settings.restarts):
        for cases in search.chunks(search.open):
            points = _random_starts(search, cases, 2.0**restart) if restart else search.problem.starts[cases]
            _walk(search, settings, cases, points)


def _random_starts(search: AttackSearch, cases: Indices, stride: float) -> Float32:
    known = search.distances[cases]
    length = np.where(np.isfinite(known), 0.5 * known, stride * search.first_order()[cases])
    start = search.problem.origins[cases]
    push = search.random.uniform(-1.0, 1.0, size=start.shape)
    size = np.maximum(LENGTH[search.metric](push), 1e-30)
    return search.problem.clipped(start + push * (length / size)[:, None])


def _walk(search: AttackSearch, settings: FabSettings, cases: Indices, points: Float32) -> None:
    problem = search.problem
    centre = problem.origins[cases].astype(np.float64)
    for _ in range(settings.steps):
        if search.over:
            return
        values, gaps, slopes = nearest_plane(search, cases, points)
        adversarial = values <= 0.0
        search.offer(cases, points, adversarial)
        here = points.astype(np.float64)
        back = centre + settings.back * (here - centre)
        following = _biased_step(search, settings, centre, here, gaps, slopes)
        points = problem.clipped(np.where(adversarial[:, None], back, following))
    if not search.over:
        search.offer(cases, points, problem.gap(cases, search.surrogate.logits(points)) <= 0.0)


def _biased_step(
    search: AttackSearch, settings: FabSettings, centre: Array, here: Array, gaps: Array, slopes: Array
) -> Array:
    problem, metric, length = search.problem, search.metric, LENGTH[search.metric]
    from_here = shortest_step(metric, slopes, gaps, here - problem.lo, problem.hi - here)
    there = gaps + (slopes * (centre - here)).sum(axis=1)
    from_centre = shortest_step(metric, slopes, there, centre - problem.lo, problem.hi - centre)
    own, other = length(from_here), length(from_centre)
    share = np.divide(own, own + other, out=np.zeros_like(own), where=own + other > 0)
    bias = np.minimum(share, settings.largest_bias)[:, None]
    moved = (1.0 - bias) * (here + settings.overshoot * from_here)
    return np.asarray(moved + bias * (centre + settings.overshoot * from_centre))
