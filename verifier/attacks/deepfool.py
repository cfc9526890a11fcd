"""DeepFool (Moosavi-Dezfooli, Fawzi and Frossard 2016): again and again the shortest step to the linearised boundary.

x = clip(x0 + (1 + overshoot) · Σ δ_k), with δ_k the shortest step from the last x to the nearest hyperplane of the
network linearised there, until x is adversarial. A targeted case steps towards the boundary with the rival that leads.
The authors' step knows no box. It is taken as it is in one run; in another one steps stay inside the box, so that a
pixel without room does not count, and x goes on from where it is. The nearer point is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verifier.attacks.base.hyperplane import nearest_plane, shortest_step
from verifier.attacks.base.problem import AttackProblem, Candidates, Indices, Metric
from verifier.attacks.base.search import AttackSearch, Surrogate
from verifier.problem.budget import Budget


@dataclass(frozen=True)
class DeepFoolSettings:
    """At most `steps` steps, all of them together longer by the share `overshoot`; both are the authors'.

    bounded: one run each, with steps inside the box (True) or with the authors' (False).
    """

    steps: int = 50
    overshoot: float = 0.02
    bounded: tuple[bool, ...] = (True, False)


def deepfool(surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: DeepFoolSettings) -> Candidates:
    """DeepFool in the problem's norm."""
    return _attack(AttackSearch(surrogate, problem, budget), settings)


def deepfool_l2(surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: DeepFoolSettings) -> Candidates:
    """DeepFool in L2; the distances are in the problem's norm."""
    return _attack(AttackSearch(surrogate, problem, budget, Metric.L2), settings)


def _attack(search: AttackSearch, settings: DeepFoolSettings) -> Candidates:
    for bounded in settings.bounded:
        for cases in search.chunks(search.open):
            _walk(search, settings, cases, bounded)
    return search.finish()


def _walk(search: AttackSearch, settings: DeepFoolSettings, cases: Indices, bounded: bool) -> None:
    problem = search.problem
    points = problem.starts[cases]
    total = np.zeros(points.shape)
    for _ in range(settings.steps + 1):  # the last turn only judges
        if search.over or not len(cases):
            return
        values, gaps, slopes = nearest_plane(search, cases, points)
        adversarial = values <= 0.0
        search.offer(cases, points, adversarial)
        left = ~adversarial
        cases, here, total = cases[left], points[left].astype(np.float64), total[left]
        down, up = (here - problem.lo, problem.hi - here) if bounded else (np.full_like(here, np.inf),) * 2
        step = shortest_step(search.metric, slopes[left], gaps[left], down, up)
        total += step
        origin, way = (here, step) if bounded else (problem.starts[cases], total)
        points = problem.clipped(origin + (1.0 + settings.overshoot) * way)
