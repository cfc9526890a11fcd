"""DeepFool (Moosavi-Dezfooli, Fawzi and Frossard 2016): again and again the shortest step to the linearised boundary.

x ← x + (1 + overshoot) · argmin ‖δ‖ over the steps to the nearest hyperplane of the network linearised at x, until x is
adversarial. Theirs is the unbounded step; here it stays inside the box, so that a pixel without room does not count.
A targeted case steps towards the boundary with the rival that leads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verifier.attacks.hyperplane import nearest_plane, shortest_step
from verifier.attacks.problem import AttackProblem, Candidates, Indices, Metric
from verifier.attacks.search import Search, Surrogate
from verifier.verdict import Budget


@dataclass(frozen=True)
class DeepFoolSettings:
    """At most `steps` steps, each longer than to the hyperplane by the share `overshoot`; both are the authors'."""

    steps: int = 50
    overshoot: float = 0.02


def deepfool(surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: DeepFoolSettings) -> Candidates:
    """DeepFool in the problem's norm."""
    return _attack(Search(surrogate, problem, budget), settings)


def deepfool_l2(surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: DeepFoolSettings) -> Candidates:
    """DeepFool in L2; the distances are in the problem's norm."""
    return _attack(Search(surrogate, problem, budget, Metric.L2), settings)


def _attack(search: Search, settings: DeepFoolSettings) -> Candidates:
    for cases in search.chunks(search.open):
        _walk(search, settings, cases)
    return search.finish()


def _walk(search: Search, settings: DeepFoolSettings, cases: Indices) -> None:
    problem = search.problem
    points = problem.starts[cases]
    for _ in range(settings.steps + 1):  # the last turn only judges
        if search.over or not len(cases):
            return
        values, gaps, slopes = nearest_plane(search, cases, points)
        adversarial = values <= 0.0
        search.offer(cases, points, adversarial)
        left = ~adversarial
        cases, here = cases[left], points[left].astype(np.float64)
        step = shortest_step(search.metric, slopes[left], gaps[left], here - problem.lo, problem.hi - here)
        points = problem.clipped(here + (1.0 + settings.overshoot) * step)
