"""Nearest points of polyhedra in boxes, against non-negative least squares (Lawson & Hanson 1974)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.conftest import least_distance
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.norms import nearest_point as module
from verifier.problem.norms.nearest_point import nearest_point

NEAR = 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_against_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, count = int(rng.integers(1, 12)), int(rng.integers(1, 30))
    rows, limits = rng.normal(size=(count, size)), rng.normal(size=count) + 0.3
    low, high = -rng.random(size), rng.random(size)
    eye = np.eye(size)
    every, ends = np.vstack([rows, eye, -eye]), np.concatenate([limits, high, -low])
    expected = least_distance(every, ends, np.zeros(size))
    found = nearest_point(rows, limits, (low, high), Budget())
    assert (found.step is None) == math.isinf(expected)
    if found.step is None:
        return
    assert np.linalg.norm(found.step) == pytest.approx(expected, abs=NEAR)
    assert np.all(rows @ found.step <= limits + NEAR)
    assert np.all((found.step >= low) & (found.step <= high))
    # The multipliers' dual value is the distance: nothing nearer satisfies the rows.
    step = np.clip(-(found.multipliers @ rows), low, high)
    dual = 0.5 * step @ step + found.multipliers @ (rows @ step - limits)
    assert np.all(found.multipliers >= 0)
    assert dual == pytest.approx(0.5 * expected**2, abs=NEAR)
    if expected > 0.1:
        assert nearest_point(rows, limits, (low, high), Budget(), 0.9 * expected).step is None


def test_rows_that_say_nothing() -> None:
    """0·δ ≤ 1 holds, 0·δ ≤ −1 does not."""
    box, none = (np.full(2, -1.0), np.full(2, 1.0)), np.zeros((1, 2))
    found = nearest_point(none, np.ones(1), box, Budget()).step
    assert found is not None
    np.testing.assert_array_equal(found, 0.0)
    assert nearest_point(none, -np.ones(1), box, Budget()).step is None


def test_without_rows_the_centre_is_nearest() -> None:
    """As of a network without ReLUs, whose activation region is everything."""
    found = nearest_point(np.zeros((0, 2)), np.zeros(0), (np.full(2, -1.0), np.full(2, 1.0)), Budget(), 0.5)
    np.testing.assert_array_equal(found.step, [0.0, 0.0])
    assert found.multipliers.shape == (0,)


def test_least_squares_of_very_many_rows_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 3,000 they take five seconds, in which nothing looks at the time."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(np.linalg, "lstsq", refused)
    monkeypatch.setattr(module, "HELD", 2)
    found = nearest_point(-np.eye(3), -np.ones(3), (np.full(3, -2.0), np.full(3, 2.0)), Budget()).step
    assert found is not None
    np.testing.assert_allclose(found, 1.0, atol=NEAR)
    with pytest.raises(AssertionError):
        nearest_point(-np.eye(2), -np.ones(2), (np.full(2, -2.0), np.full(2, 2.0)), Budget())


def test_a_budget_that_has_ended() -> None:
    with pytest.raises(OutOfTimeError):
        nearest_point(-np.eye(2), -np.ones(2), (np.full(2, -2.0), np.full(2, 2.0)), Budget(0.0))
