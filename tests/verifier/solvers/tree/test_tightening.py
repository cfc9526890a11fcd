"""Narrowed nodes keep every point that reaches the goal, by numpy and by the kernel; and they are narrower."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from encoders.network.exact import exact_outputs
from verifier.bounds.lagrangian import Lagrangian
from verifier.problem.query import Norm
from verifier.solvers.tree.tightening import Narrowing, NumpyNarrowing

SIZES = ((3, 5, 5, 3), (2, 4, 4, 4, 2), (4, 3, 6, 2, 2))

SAME = 1e-6
"""Relative to 1 + |value|: where a multiplier is moved to μ by rounding, or a half-space's weight is chosen."""

ROUNDING = 1e-9
"""Arguments of sampled points are float64 sums."""


def by_numpy(root: Any, lagrangian: Lagrangian) -> Narrowing:
    return NumpyNarrowing(root.stages, lagrangian)


def by_kernel(root: Any, lagrangian: Lagrangian) -> Narrowing:
    pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")
    from verifier.solvers.tree.compiled_node import CompiledNarrowing  # noqa: PLC0415 (imports numba)

    return CompiledNarrowing(root.stages, lagrangian)


def by_blocks(root: Any, lagrangian: Lagrangian) -> Narrowing:
    pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")
    from verifier.solvers.tree.sparse_narrowing import SparseNarrowing  # noqa: PLC0415 (imports numba)

    return SparseNarrowing(root.stages, lagrangian, *root.ends)


@pytest.mark.parametrize("norm", list(Norm), ids=str)
def test_blocks_bound_what_numpy_does(make_root: Any, norm: Norm) -> None:
    """Layers of several blocks each: the same ReLUs, the same bounds up to rounding."""
    agreed = 0
    for seed in range(6):
        root = make_root(seed, (6, 20, 18, 12, 3), norm, 1, radius=0.5)
        lower, upper = root.ends
        lagrangian, weights = Lagrangian(root.stages, root.ball, root.goal, lower, upper), np.ones(1)
        dual = lagrangian.crown(weights, lower, upper)
        if dual.value(root.ball.radius) >= 0.0:
            continue
        wanted, found = (
            kind(root, lagrangian).narrow(dual, weights, root.ball.radius, lower, upper)
            for kind in (by_numpy, by_blocks)
        )
        assert (wanted is None) == (found is None)
        if wanted is not None and found is not None:
            for name in ("lower", "upper", "shares", "key"):
                ours, other = np.asarray(getattr(found, name)), np.asarray(getattr(wanted, name))
                assert np.all(np.abs(ours - other) <= SAME * (1.0 + np.abs(other))), name
            agreed += 1
    assert agreed >= 3


def test_only_the_dearest_are_bounded_anew() -> None:
    """Shares are what ReLUs add to a bound: the lowest cost most; one of fixed sign is not bounded anew."""
    pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")
    from verifier.solvers.kernels.narrowing import dearest  # noqa: PLC0415 (imports numba)

    shares = np.array([-3.0, -1.0, -5.0, -0.1, -4.0, -4.0])
    lower, upper = -np.ones(6), np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    for most, wanted in ((6, [0, 1, 2, 4]), (4, [0, 1, 2, 4]), (3, [0, 2, 4]), (2, [2, 4]), (1, [2])):
        assert dearest(lower, upper, shares, -0.5, most).tolist() == wanted
    assert dearest(lower, upper, np.full(6, -1.0), -0.5, 2).size == 2
    assert dearest(lower, upper, shares, -9.0, 2).size == 0


@pytest.mark.parametrize("kind", [by_numpy, by_kernel, by_blocks])
@pytest.mark.parametrize("norm", list(Norm), ids=str)
def test_points_that_reach_the_goal_stay_inside(make_root: Any, kind: Any, norm: Norm) -> None:
    """A goal that some sampled points of the ball reach, multipliers near those of CROWN, at the root."""
    inside, narrower = 0, 0
    for seed in range(60):
        root, rng = make_root(seed, SIZES[seed % len(SIZES)], norm, 1, radius=0.5), np.random.default_rng(seed)
        points = [x for x in root.points(seed) if root.holds(x, 0.0)]
        margins = [float(root.goal.margin_exact(exact_outputs(root.net.graph, x))) for x in points]
        # Two points reach the goal, one of them just so.
        goal = replace(root.goal, offset=root.goal.offset - sorted(margins)[-2] + ROUNDING)
        lower, upper = root.ends
        lagrangian = Lagrangian(root.stages, root.ball, goal, lower, upper)
        weights = np.ones(len(goal.offset))
        crown = lagrangian.crown(weights, lower, upper)
        dual = lagrangian.evaluate(weights, crown.nu + 0.1 * rng.normal(size=lower.size), lower, upper)
        radius = root.ball.radius
        assert dual.value(radius) <= ROUNDING
        if dual.value(radius) >= 0.0:
            continue
        found = kind(root, lagrangian).narrow(dual, weights, radius, lower, upper)
        assert found is not None
        assert found.key < radius
        narrower += bool(np.any(found.lower > lower + ROUNDING) or np.any(found.upper < upper - ROUNDING))
        for x, margin in zip(points, margins, strict=True):
            if margin >= sorted(margins)[-2]:
                arguments = root.stages.values(x)[0][0]
                assert np.all(arguments >= found.lower - ROUNDING)
                assert np.all(arguments <= found.upper + ROUNDING)
                inside += 1
    assert inside >= 90
    assert narrower >= 10
