"""Trees in L2 against nearest points of enumerated linear regions: verdicts, polishing, lower ends at every moment."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from encoders.network.exact import exact_outputs
from verifier.problem.budget import Budget
from verifier.problem.query import Norm
from verifier.problem.verdict import Evidence, Holds, Violated
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.kernels import cache
from verifier.solvers.tree.node_lp import NodeLp
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.relaxation import Solved

GAP = 1e-5
"""Radii nearer to the minimum are not asked about: the enumeration's least squares cannot tell the truth there."""

POINT = 2e-9
"""What a point may miss the goal by: rounding of sums of size 1 to 100, and what LPs let values be off."""

QUESTIONS = [
    (seed, sizes, rows)
    for seed, sizes in ((0, (5, 6, 3)), (7, (3, 6, 6, 3)), (7, (2, 4, 4, 4, 2)), (12, (3, 6, 6, 3)), (15, (3, 12, 4)))
    for rows in (0, 2)
]

TREES = {
    "numpy": BranchAndBound("lp").having("lp", kernels=False),
    "kernels": BranchAndBound("lp").having("lp", kernels=True),
    "bound": BranchAndBound("bound"),
    "auto": BranchAndBound(),
}


@pytest.fixture(params=QUESTIONS, ids=str)
def root(request: pytest.FixtureRequest, make_root: Callable[..., Any]) -> Any:
    seed, sizes, rows = request.param
    return make_root(seed, sizes, Norm.L2, rows)


@pytest.fixture(params=TREES)
def decider(request: pytest.FixtureRequest) -> BranchAndBound:
    if request.param == "kernels":
        pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")
        cache.compile_now()
    return TREES[request.param]


def test_verdicts_around_the_nearest_point(root: Any, decider: BranchAndBound) -> None:
    distance = root.nearest
    radii = (
        [distance * 0.5, distance - GAP, distance + GAP, distance * 1.02, distance * 1.5]
        if GAP < distance < math.inf
        else [1e-6, 0.1, 0.5, root.ball.reach]
    )
    for radius in radii:
        asked = root.within(radius)
        verdict = decider.decide(asked.query, asked.bounds, Budget())
        assert isinstance(verdict, Violated if radius > distance else Holds), (radius, distance, verdict)
        if isinstance(verdict, Violated):
            assert root.goal.margin_exact(exact_outputs(root.net.graph, verdict.point)) >= -POINT
            assert float(np.linalg.norm(verdict.point - root.ball.centre)) <= radius + POINT
        else:
            assert verdict.evidence is Evidence.PROVED


def test_lower_ends_and_polished_points(root: Any, decider: BranchAndBound) -> None:
    """No open node is nearer than the minimum; a polished point reaches the goal no farther out than it did."""
    distance, slack = root.nearest, 1e-6
    made = decider.tree(root.query, root.stages, root.bounds, floor=0.0, slack=slack, tolerance=1e-9)
    for _ in range(200):
        assert made.lower_end <= distance + GAP
        if not made.open_nodes or made.stuck:
            break
        found = made.explore(Budget())
        if found is not None:
            length = float(np.linalg.norm(found - root.ball.centre))
            point, radius = made.polish(found, Budget())
            if math.isfinite(radius):
                assert distance - GAP <= radius <= length + POINT
                assert root.goal.margin_exact(exact_outputs(root.net.graph, point)) >= -GAP
                assert float(np.linalg.norm(point - root.ball.centre)) <= radius + slack + POINT
            made.cut(min(made.radius, length) * (1 - 1e-6))
            made.refuse()
    assert not made.open_nodes or made.stuck or made.radius < distance + GAP


def test_steps_are_added_until_the_hull_is_the_ball_where_it_matters(root: Any) -> None:
    """The relaxation's optimum over the hull falls to what its multipliers prove over the whole ball: duality."""
    asked = root.within(min(root.nearest, 0.5 * root.ball.reach)) if root.nearest > GAP else root
    lp = NodeLp(TreeRoot(asked.stages, asked.ball, asked.goal, *asked.ends, tolerance=1e-9), [])
    optima = []
    for _ in range(500):
        solved: Solved = lp.solve(*asked.ends, Budget())
        assert solved.optimum is not None
        optima.append(solved.optimum)
        dual = asked.lagrangian.evaluate(solved.weights, solved.nu, *asked.ends)
        if not lp.price(dual, asked.ball.radius):
            break
    assert optima[-1] == pytest.approx(dual.value(asked.ball.radius), rel=1e-5, abs=1e-5)
    assert all(later <= earlier + 1e-7 for earlier, later in pairwise(optima))
    assert float(np.linalg.norm(solved.point - asked.ball.centre)) <= asked.ball.radius * (1 + 1e-9)
