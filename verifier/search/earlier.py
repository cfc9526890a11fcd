"""What is known of the same question about another network, such as this one before it was trained again.

It says where to begin; nothing of it is believed. A point that fooled that network is moved until it fools this one,
and stands in for the attack; split trees are followed (`LpTree`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import to_stages
from encoders.network.graph import Array
from verifier.problem.budget import Budget
from verifier.problem.phase_tree import PhaseTree
from verifier.search.question import Specification
from verifier.search.state import Attacker
from verifier.solvers.tree.goal_ascent import GoalAscent
from verifier.solvers.tree.primal_heuristics import GradientDescent

OUTWARDS = (1.0, 1.01, 1.02, 1.05, 1.1, 1.2)
"""Multiples of a point's distance within which it is looked for again: a network trained on has its examples a few
percent farther or nearer, and the LP of the point's region takes it back where that is too far."""


@dataclass(frozen=True, eq=False)
class Earlier:
    """points (n,): minimal witnesses of another network at this input. trees: by target its split trees.

    A search that is handed this, if it is empty, leaves its own trees in its answer.
    """

    points: tuple[npt.NDArray[np.floating], ...] = ()
    trees: Mapping[int, PhaseTree] = field(default_factory=dict)


def beginning(asked: Specification, earlier: Earlier, attack: Attacker, *, each: bool) -> Attacker:
    """The attack that gives the earlier points, moved until they fool this network, and attacks where that fails.

    each: every goal needs a point, not only the nearest one.
    """
    if not earlier.points or asked.attacked_graph is not None or asked.graph.smooth:
        return attack

    def run(budget: Budget) -> Sequence[Array | None]:
        stages = to_stages(asked.graph, look=budget.check)
        found = [
            _again(GoalAscent(stages, asked.ball, goal), asked, earlier.points, budget) for _, goal in asked.attacked
        ]
        lacking = any(point is None for point in found) if each else all(point is None for point in found)
        return attack(budget) if lacking else found

    return run


def _again(
    goal: GoalAscent, asked: Specification, points: Sequence[npt.NDArray[np.floating]], budget: Budget
) -> Array | None:
    """The nearest point found by steps from one of the points that reaches the goal in ONNX Runtime as well."""
    ball, found = asked.ball, list[tuple[float, Array]]()
    for point in points:
        start = point.astype(np.float64).ravel()
        for share in OUTWARDS:
            budget.check()
            moved, margin = GradientDescent(goal).search(start, share * float(ball.length(start)))
            if margin >= 0 and goal.goal.margin(_logits(asked, moved))[0] >= 0:
                found.append((float(ball.length(moved)), moved))
                break
    return min(found, key=lambda entry: entry[0])[1] if found else None


def _logits(asked: Specification, point: Array) -> Array:
    model = asked.model
    return np.asarray(model.logits(point.astype(model.dtype)), dtype=np.float64)
