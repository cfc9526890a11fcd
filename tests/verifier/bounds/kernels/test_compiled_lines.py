"""The safe evaluation of batches by the kernel: that of its numpy twin, and below every point in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")

from encoders.network.exact import exact_values
from encoders.network.graph import Array
from verifier.bounds.alpha_beta_crown import FEW, Start
from verifier.bounds.kernels.compiled_bound import CompiledBound
from verifier.bounds.kernels.compiled_lines import CompiledLines
from verifier.bounds.kernels.lanes import LANES
from verifier.bounds.lagrangian import Duals, measured
from verifier.problem.budget import Budget
from verifier.problem.query import Norm
from verifier.solvers.tree.steps import NumpyLines, evaluating

from ..conftest import BATCH, NETS, SHAPES, Below, drawn, inside

SAME = 1e-9
"""What float64 sums in another order may be off by, relative to 1 + their size, charges included."""

SINGLE = 2e-4
"""The same of float32 ones, after few steps."""

MANY = np.arange(LANES + FEW + 1) % BATCH
"""More nodes than lie side by side."""


def proposed_at(root: Below) -> tuple[Array, Array, Start]:
    """Nodes (nodes, relu_count), and multipliers as they are proposed: numbers."""
    lower, upper, start = root.nodes()
    start.alpha[:, 1] = 0.5
    return lower.T.copy(), upper.T.copy(), start


def every(root: Below) -> npt.NDArray[np.integer]:
    return np.arange(root.stages.relu_count)


def by_kernel(root: Below) -> CompiledLines:
    return CompiledLines(CompiledBound(root.bound), root.bound, root.lagrangian, every(root))


def same(found: npt.NDArray[Any], wanted: npt.NDArray[Any], size: float = SAME) -> bool:
    return bool(np.all(np.abs(found - wanted) <= size * (1.0 + np.abs(wanted))))


@pytest.fixture(params=[(net, norm) for net in SHAPES for norm in Norm], ids=str)
def root(request: pytest.FixtureRequest) -> Below:
    return Below(*request.param)


def test_bounds_are_those_of_numpy(root: Below) -> None:
    lower, upper, start = proposed_at(root)
    found = by_kernel(root).on_lines(start, lower, upper)
    wanted = NumpyLines(root.bound, root.lagrangian, root.ends, every(root)).on_lines(start, lower, upper)
    for name in ("constant", "real", "row"):
        assert same(getattr(found, name), getattr(wanted, name))
    kept = root.bound.kept
    gone = np.delete(np.arange(root.stages.relu_count), kept)
    for name in ("shares", "mu", "nu"):
        assert same(getattr(found, name)[:, kept], getattr(wanted, name)[:, kept])
        assert not getattr(found, name)[:, gone].any()
    radius = root.ball.radius
    for ours, other in zip(by_kernel(root).measured(found, radius), measured(wanted, radius), strict=True):
        assert same(ours, other)


def test_of_open_relus_alone_the_same_is_told(root: Below) -> None:
    lower, upper, start = proposed_at(root)
    wanted, own = by_kernel(root).on_lines(start, lower, upper), root.bound.undecided
    for lines in (
        CompiledLines(CompiledBound(root.bound), root.bound, root.lagrangian, own),
        NumpyLines(root.bound, root.lagrangian, root.ends, own),
    ):
        found = lines.on_lines(start, lower[:, own], upper[:, own])
        for name in ("constant", "real", "row"):
            assert same(getattr(found, name), getattr(wanted, name))
        for name in ("shares", "mu", "nu"):
            assert same(getattr(found, name), getattr(wanted, name)[:, own])


@pytest.mark.parametrize("net", NETS)
def test_no_bound_is_above_a_point_in_exact_arithmetic(net: str) -> None:
    root = Below(net, Norm.LINF)
    lower, upper, start = proposed_at(root)
    values = (
        by_kernel(root).on_lines(start, lower[:1].repeat(BATCH, 0), upper[:1].repeat(BATCH, 0)).values(root.ball.radius)
    )
    rows = [[Fraction(entry) for entry in row] for row in root.goal.matrix.tolist()]
    offset, weights = [Fraction(entry) for entry in root.goal.offset.tolist()], start.weights.T.tolist()
    for x in drawn(root.ball)[:20]:
        outputs = exact_values(root.graph, inside(root.ball, x))[-1].fractions()
        reached = [
            sum((c * z for c, z in zip(row, outputs, strict=True)), d) for row, d in zip(rows, offset, strict=True)
        ]
        for part in values:
            for value, own in zip(part.tolist(), weights, strict=True):
                form = -sum(Fraction(weight) * entry for weight, entry in zip(own, reached, strict=True))
                assert not np.isfinite(value) or Fraction(value) <= form


def test_more_nodes_than_lie_side_by_side(root: Below) -> None:
    lower, upper, start = proposed_at(root)
    own, lines = root.bound.undecided, by_kernel(root)
    few, many = lines.on_lines(start, lower, upper), lines.on_lines(start.columns(MANY), lower[MANY], upper[MANY])
    assert same(many.constant, few.constant[MANY])
    assert same(many.mu, few.mu[MANY])
    steps = CompiledBound(root.bound)
    once, often = (
        steps.optimise(lower[at][:, own].T, upper[at][:, own].T, start.columns(at), 1, Budget())
        for at in (np.arange(BATCH), MANY)
    )
    assert same(often.values, once.values[MANY], SINGLE)
    assert same(often.best.alpha[:, LANES:], once.best.alpha[:, MANY[LANES:]], SINGLE)
    assert often.points.shape == (root.stages.input_size, MANY.size)


def test_without_an_end_nothing_is_proved(root: Below) -> None:
    lower, upper, start = proposed_at(root)
    start.beta[:] = 0.5
    place = root.bound.undecided[0]
    lower[:, place], upper[:, place] = -np.inf, np.inf
    found: Duals = by_kernel(root).on_lines(start, lower, upper)
    assert not np.any(found.values(root.ball.radius)[0] > -np.inf)


def test_margins_are_those_of_numpy(root: Below) -> None:
    points = drawn(root.ball)[: FEW + 3].T.astype(np.float32)
    places = np.array([5, 2, 0, 1, 6])
    wanted = root.bound.margins(points, places)
    np.testing.assert_allclose(by_kernel(root).margins(points, places), wanted, atol=2e-4, rtol=2e-4)
    assert np.array_equal(by_kernel(root).margins(points, places[:1]), root.bound.margins(points, places[:1]))


def test_who_evaluates(root: Below) -> None:
    bound = root.bound
    assert isinstance(evaluating(bound, CompiledBound(bound), root.lagrangian, root.ends, every(root)), CompiledLines)
    assert isinstance(evaluating(bound, bound, root.lagrangian, root.ends, every(root)), NumpyLines)
    assert isinstance(evaluating(bound, None, root.lagrangian, root.ends, every(root)), NumpyLines)
