"""The steps of α, β and λ by the kernel: values of its numpy twin and of the safe evaluation, and as much gained."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")

from encoders.network.graph import Array
from verifier.bounds.alpha_beta_crown import FEW, Proposed
from verifier.bounds.kernels import compiled_bound
from verifier.bounds.kernels.compiled_bound import CompiledBound
from verifier.bounds.kernels.row_weights import to_simplex
from verifier.bounds.row_weights import onto_simplex
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Norm

from ..conftest import BATCH, SHAPES, Below, drawn

SINGLE = 2e-4
"""What float32 values may be off by on these nets, relative to 1 + their size."""


class Root(Below):
    """Its nodes, bounded by both."""

    def both(self, steps: int, seed: int = 0) -> list[Proposed]:
        return self.by([self.bound, CompiledBound(self.bound)], steps, seed)


@pytest.fixture(params=[(net, norm) for net in SHAPES for norm in Norm], ids=str)
def root(request: pytest.FixtureRequest) -> Root:
    return Root(*request.param)


def same(found: Array, wanted: Array) -> bool:
    return bool(np.all(np.abs(found - wanted) <= SINGLE * (1.0 + np.abs(wanted))))


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_first_steps_are_those_of_numpy(root: Root, steps: int) -> None:
    by_numpy, by_kernel = root.both(steps)
    assert same(by_kernel.values, by_numpy.values)
    assert same(by_kernel.best.weights, by_numpy.best.weights)
    assert same(by_kernel.best.shares, by_numpy.best.shares)
    if steps < 2:  # beyond, what rounds to either side of a kink differs
        assert same(by_kernel.best.alpha, by_numpy.best.alpha)
        assert same(by_kernel.best.beta, by_numpy.best.beta)


def test_values_are_those_of_the_safe_evaluation(root: Root) -> None:
    lower, upper, _ = root.nodes()
    _, found = root.both(15)
    alpha, beta = root.bound.spread(found.best)
    assert np.all((alpha >= 0) & (alpha <= 1))
    duals = root.lagrangian.on_lines(found.best.weights.astype(np.float64), alpha, beta, lower, upper)
    for value, point, dual in zip(found.values, found.points.T, duals, strict=True):
        assert same(value, dual.value(root.ball.radius))
        least = root.ball.geometry.fall(dual.row, root.ball.radius)
        assert same(dual.row @ (root.ball.centre - point), least)


def test_no_value_is_above_a_sample(root: Root) -> None:
    lower, upper, _ = root.nodes()
    _, found = root.both(15)
    points = drawn(root.ball)
    arguments, outputs = root.stages.values(points)
    forms = -(outputs @ root.goal.matrix.T + root.goal.offset)
    for j in range(BATCH):
        inside = np.all((arguments >= lower[:, j]) & (arguments <= upper[:, j]), axis=1)
        assert j or np.all(inside)
        values = forms[inside] @ found.best.weights[:, j]
        assert np.all(values >= found.values[j] - SINGLE * (1.0 + np.abs(values)))


@pytest.mark.parametrize("norm", list(Norm), ids=str)
def test_as_much_is_gained(norm: Norm) -> None:
    gains = []
    for net in SHAPES:
        for seed in range(3):
            root = Root(net, norm, seed)
            begin = root.both(0, seed)[0].values
            gains.append([(found.values - begin).sum() for found in root.both(20, seed)])
    by_numpy, by_kernel = np.sum(gains, axis=0)
    assert by_numpy > 0
    assert abs(by_kernel - by_numpy) <= 0.1 * by_numpy


def test_small_batches_are_left_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Root("dense", Norm.LINF)
    monkeypatch.setattr(compiled_bound, "climb", None)
    lower, upper, start = root.nodes()
    few, own = np.arange(FEW - 1), root.bound.undecided
    given = lower[own][:, few], upper[own][:, few], start.columns(few), 5, Budget()
    assert np.array_equal(CompiledBound(root.bound).optimise(*given).values, root.bound.optimise(*given).values)


def test_calls_end_in_time_and_go_on_where_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Root("residual", Norm.LINF)
    whole = root.both(8)[1]
    monkeypatch.setattr(compiled_bound, "AT_ONCE", 0.0)
    parts = root.both(8)[1]
    assert np.array_equal(parts.values, whole.values)
    lower, upper, start = root.nodes()
    own = root.bound.undecided
    with pytest.raises(OutOfTimeError):
        CompiledBound(root.bound).optimise(lower[own], upper[own], start, 8, Budget(0.0))


def test_a_smaller_ball() -> None:
    root = Root("dense", Norm.L1)
    before = root.both(0)[1].values
    root.bound.set_radius(0.5 * root.ball.radius)
    by_numpy, by_kernel = root.both(0)
    assert same(by_kernel.values, by_numpy.values)
    assert np.any(by_kernel.values > before + SINGLE)


def test_the_simplex_projection_ends_where_an_entry_lies_at_the_threshold() -> None:
    """Rounded thresholds leave such an entry out and take it in again: a search hung in that for ever."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        given = rng.normal(0.3, 0.5, rng.integers(3, 10)).astype(np.float32)
        held = np.sort(given[1:])[::-1]
        excess = (np.cumsum(held) - 1.0) / np.arange(1, held.size + 1)
        given[0] = np.nextafter(excess[np.count_nonzero(held > excess) - 1], np.float32(rng.choice([-9, 9])))
        found = given[:, np.newaxis].copy()
        to_simplex(found, 0)
        np.testing.assert_allclose(found, onto_simplex(given[:, np.newaxis]), atol=1e-5)


def test_the_simplex_projection_of_weights_that_ran_away() -> None:
    given = np.array([[3e9, -1.0, 0.0], [2e20, 2e20, -3.0], [7.0, 6.5, 1e-30]], np.float32).T
    found = given.copy()
    for column in range(3):
        to_simplex(found, column)
    np.testing.assert_allclose(found, onto_simplex(given))
    np.testing.assert_allclose(found, np.array([[1, 0, 0], [0.5, 0.5, 0], [0.75, 0.25, 0]]).T)
