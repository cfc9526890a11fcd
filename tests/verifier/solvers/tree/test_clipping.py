"""A node's box keeps every point of it that reaches the goal, by numpy and by the kernel; trees are smaller."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from encoders.network.graph import Array
from verifier.problem.budget import Budget
from verifier.problem.query import Halfspaces, Norm
from verifier.solvers.kernels import cache
from verifier.solvers.tree import clipping
from verifier.solvers.tree.lp_tree import LpSettings, LpTree
from verifier.solvers.tree.protocol import TreeRoot

SIZES = ((2, 6, 5, 3), (3, 8, 3), (4, 5, 6, 4, 2))

ROUNDING = 1e-9
"""Arguments of sampled points are float64 sums."""

WAYS = (False, pytest.param(True, marks=pytest.mark.skipif(not cache.available(), reason="numba is not installed")))
"""By numpy, and by the kernel."""


def tree_of(made: Any, kernels: bool) -> LpTree:
    return LpTree(TreeRoot(made.stages, made.ball, made.goal, *made.ends), LpSettings(kernels=kernels))


def arguments(made: Any, x: Array) -> tuple[Array, Array]:
    """The ReLU arguments of points (count, n), and the goal's smallest rows."""
    values, outputs = made.stages.values(x)
    return values, made.goal.margin(outputs)


@pytest.mark.parametrize("kernels", WAYS)
def test_what_reaches_the_goal_stays_in_the_box(make_root: Any, kernels: bool) -> None:
    """Nodes that hold a point which reaches the goal, two splits below each other."""
    shrunk = held = 0
    for seed in range(12):
        made = make_root(seed, SIZES[seed % len(SIZES)], Norm.LINF, 1 + seed % 2, radius=0.5)
        rng, evaluator = np.random.default_rng(seed), tree_of(made, kernels).evaluator
        low, high = made.ball.interval
        points = rng.uniform(low, high, (600, low.size))
        values, margins = arguments(made, points)
        for inside in rng.permutation(np.flatnonzero(margins >= 0))[:4]:
            lower, upper, box = *(end.copy() for end in made.ends), None
            for _ in range(3):
                opened = np.flatnonzero((lower < 0) & (upper > 0))
                if not opened.size:
                    break
                split = rng.choice(opened)
                (lower if values[inside, split] > 0 else upper)[split] = 0.0
                own = (margins >= 0) & np.all((values >= lower) & (values <= upper), axis=1)
                found = evaluator.evaluate(lower, upper, None, Budget(), box)
                assert not found.closed
                assert np.all(found.lower <= values[own] + ROUNDING)
                assert np.all(found.upper >= values[own] - ROUNDING)
                assert np.all((found.box[0] <= points[own]) & (points[own] <= found.box[1]))
                held += np.count_nonzero(own)
                shrunk += bool(np.prod(found.box[1] - found.box[0]) < 0.9 * np.prod(high - low))
                lower, upper, box = found.lower, found.upper, found.box
    assert held > 300
    assert shrunk > 8


def test_the_kernel_cuts_as_numpy_does(make_root: Any) -> None:
    if not cache.available():
        pytest.skip("numba is not installed")
    from verifier.bounds.kernels.network import network  # noqa: PLC0415 (imports numba)
    from verifier.solvers.kernels.clipping import contract, cut_down  # noqa: PLC0415 (imports numba)

    gone = passes = 0
    for seed in range(24):
        made = make_root(seed, SIZES[seed % len(SIZES)], Norm.LINF, 1, radius=0.5)
        lower, upper, box = *(end.copy() for end in made.ends), np.stack(made.ball.interval)
        rng = np.random.default_rng(seed)
        # Far up in the intervals of most arguments there is no point any more.
        share = 0.3 if seed % 3 else 0.8
        chosen = rng.random(lower.size) < share
        middle = (1.0 - share) * lower + share * upper
        lower[chosen] = np.maximum(lower, middle)[chosen]
        net, low, high, own = network(made.stages, made.lagrangian), lower.copy(), upper.copy(), box.copy()
        wanted = clipping.Clipping(made.lagrangian).contracted(box, lower, upper)
        assert contract(net, own, low, high) == (wanted is not None)
        gone += wanted is None
        if wanted is None:
            continue
        passes += wanted[0] is not box
        for part, other in zip((own, low, high), wanted, strict=True):
            np.testing.assert_allclose(part, other, rtol=1e-9, atol=1e-9)
        dual = made.lagrangian.crown(np.ones(1), low, high)
        cut, left = clipping.Clipping(made.lagrangian).cut(own, dual), own.copy()
        assert cut_down(left, 1.0, dual.row, dual.constant, made.ball.centre) == (cut is not None)
        if cut is not None:
            np.testing.assert_allclose(left, cut, rtol=1e-9, atol=1e-9)
    assert gone
    assert passes


def test_trees_with_boxes_are_smaller(make_root: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A goal that the points of a grid lack by little: it is closed with boxes and without, by fewer nodes with."""
    nodes = {}
    for few in (16, -1):
        monkeypatch.setattr(clipping, "FEW_INPUTS", few)
        nodes[few] = 0
        for seed in range(4):
            made = make_root(seed, (2, 16, 12, 2), Norm.LINF, 1, radius=0.5)
            low, high = made.ball.interval
            grid = low + np.stack(np.meshgrid(*2 * [np.linspace(0, 1, 60)]), axis=-1).reshape(-1, 2) * (high - low)
            _, margins = arguments(made, grid)
            goal = Halfspaces(made.goal.matrix, made.goal.offset - margins.max() - 0.01 * np.ptp(margins))
            tree = LpTree(TreeRoot(made.stages, made.ball, goal, *made.ends), LpSettings(kernels=False))
            while tree.open_nodes:
                assert tree.explore(Budget()) is None
            nodes[few] += tree.nodes
    assert nodes[16] < nodes[-1]
