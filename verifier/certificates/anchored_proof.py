"""Trees of one leaf by lines that are anchored at the centre of a ball in L1: λ, and one small number for each ReLU.

The checker draws the lines itself; a leaf says how they share with chords. Which bounds of neurons it then has are
given: with them, and growths from the same rule, floats choose the shares. Larger trees have none.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.anchored import AnchoredBounds
from verifier.certificates.checker import LEAF, SHARE_BITS
from verifier.certificates.format import Int64Array
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces
from verifier.solvers.root_bounds import CLIMBS, Rooted
from verifier.solvers.tree.table import LP_RELUS

_Goals = tuple[tuple[int, Halfspaces], ...]


def excluded_at_once(root: Rooted, goals: _Goals, ball: Ball, unstable: int, budget: Budget) -> bool:
    """Do anchored lines exclude every goal where trees by LPs would be too dear?"""
    return unstable > LP_RELUS and all(root.excludes(goal, ball.radius, budget) for _, goal in goals)


def anchored_leaves(
    stages: Stages,
    ball: Ball,
    goals: _Goals,
    lower: Array,
    upper: Array,
    places: npt.NDArray[np.intp],
    budget: Budget,
) -> dict[int, Int64Array]:
    """A leaf for each goal, by its target; lower, upper (relu_count,) are the certificate's bounds, `places` its ReLUs
    with numbers.

    Raises NotCertifiedError where floats see a goal within the ball, or OutOfTimeError.
    """
    found = AnchoredBounds(stages, ball)
    parts = [slice(*ends) for ends in zip(stages.starts, stages.starts[1:], strict=False)]
    for node, part in zip(stages.nodes, parts, strict=False):
        found.ends(node, lower[part], upper[part], budget)
        found.passed(node, lower[part], upper[part])
    budget.check()
    trees = {}
    for target, goal in goals:
        proposed = found.excluding(goal, ball.radius, CLIMBS, budget, wanted=np.inf)
        budget.check()
        if not proposed.top < 0:
            raise NotCertifiedError("anchored lines do not exclude this ball by the bounds that the checker has")
        shares = np.zeros(stages.relu_count)
        for number, own in proposed.shares.items():
            part = parts[number - 1]
            shares[part][np.flatnonzero((lower[part] < 0) & (upper[part] > 0))] = own
        weights = np.eye(len(goal.offset))[proposed.row]
        numbers = np.concatenate([[LEAF, 0], weights, np.rint(np.ldexp(shares[places], SHARE_BITS))])
        trees[target] = numbers.astype(np.int64)
    return trees
