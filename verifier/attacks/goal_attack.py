"""Attacks on goals that are not one class's, such as those over all views: each is a classifier of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encoders.network.graph import Array, Graph
from encoders.passes.fold_affine import folded
from encoders.passes.goal_graph import MISSED, REACHED, goal_graph
from verifier.attacks.base.problem import Candidates, Case
from verifier.attacks.base.search import Surrogate
from verifier.attacks.registry import Attack
from verifier.problem.budget import Budget
from verifier.problem.query import Ball
from verifier.runtime.transformed import Goals


class GoalAttack:
    """Runs attacks on half-spaces of a graph's output: each goal is a classifier of its own (`goal_graph`).

    Raises InputError for a device that cannot be used here.
    """

    def __init__(self, graph: Graph, ball: Ball, goals: Goals, device: str, threads: int) -> None:
        read = folded(graph)
        self._ball = ball
        self._surrogates = [Surrogate(goal_graph(read, goal.matrix, goal.offset), device, threads) for _, goal in goals]

    def __call__(
        self, by: Attack, places: Sequence[int], budget: Budget, seed: int, starts: Sequence[Array | None] | None = None
    ) -> Candidates:
        """The points found for the goals at `places`, in turn; the time that is left is shared among them.

        starts: where to begin, for each of them; None: at the input.
        """
        ball = self._ball
        found = []
        for done, (place, start) in enumerate(zip(places, starts or [None] * len(places), strict=True)):
            share, case = budget.share(len(places) - done), Case(ball.centre, MISSED, REACHED, start)
            surrogate = self._surrogates[place]
            found.append(by(surrogate, [case], ball.norm, ball.lo, ball.hi, budget=share, seed=seed))
        return Candidates(
            tuple(one.points[0] for one in found),
            np.concatenate([one.distances for one in found]),
            sum(one.evaluations for one in found),
            np.flatnonzero([one.flat.size for one in found]),
        )
