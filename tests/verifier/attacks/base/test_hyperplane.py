"""The shortest step to a hyperplane within a box, against LPs (L∞, L1) and SciPy's SLSQP (L2)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from verifier.attacks.base.hyperplane import shortest_step
from verifier.attacks.base.problem import LENGTH, Metric

SIZE = 6
TOLERANCE = {Metric.LINF: 1e-9, Metric.L1: 1e-9, Metric.L2: 1e-5}  # SLSQP stops at 1e-6 or so


def _question(seed: int) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
    """A slope with a zero, room with zeros and infinities, and a gap that can be closed."""
    rng = np.random.default_rng(seed)
    slope = rng.standard_normal(SIZE)
    slope[rng.integers(SIZE)] = 0.0
    down, up = rng.random(SIZE), rng.random(SIZE)
    down[rng.random(SIZE) < 0.2] = 0.0
    if seed % 3 == 0:
        up[rng.random(SIZE) < 0.3] = np.inf
    side = float(rng.choice([-1.0, 1.0]))  # of the hyperplane
    most = np.abs(slope) @ np.minimum(np.where(side * slope > 0, down, up), 5.0)
    return slope, side * rng.random() * most, down, up


def _peer(metric: Metric, slope: np.ndarray, gap: float, down: np.ndarray, up: np.ndarray) -> float:
    """The least length of a step with slope · δ ≤ −gap (or ≥ −gap, for a negative gap)."""
    slope, gap = (slope, gap) if gap >= 0 else (-slope, -gap)
    bounds = list(zip(-down, up, strict=True))
    if metric is Metric.L2:
        start = np.clip(np.zeros(SIZE), -down, up)
        found = minimize(
            lambda d: d @ d, start, jac=lambda d: 2 * d, bounds=bounds, method="SLSQP",
            constraints=[{"type": "ineq", "fun": lambda d: -gap - slope @ d, "jac": lambda _: -slope}],
            options={"ftol": 1e-14, "maxiter": 500},
        )  # fmt: skip
        assert found.success
        return float(np.sqrt(found.fun))
    eye, one = np.eye(SIZE), np.ones((SIZE, 1))
    if metric is Metric.LINF:  # δ, then t ≥ |δ_i|
        rows = np.block([[slope[None], np.zeros((1, 1))], [eye, -one], [-eye, -one]])
        cost, last = np.append(np.zeros(SIZE), 1.0), [(0.0, None)]
    else:  # δ, then a_i ≥ |δ_i|
        rows = np.block([[slope[None], np.zeros((1, SIZE))], [eye, -eye], [-eye, -eye]])
        cost, last = np.append(np.zeros(SIZE), np.ones(SIZE)), [(0.0, None)] * SIZE
    found = linprog(cost, A_ub=rows, b_ub=np.append([-gap], np.zeros(2 * SIZE)), bounds=bounds + last)
    assert found.status == 0
    return float(found.fun)


@pytest.mark.parametrize("metric", list(Metric))
def test_no_step_is_shorter(metric: Metric) -> None:
    for seed in range(30):
        slope, gap, down, up = _question(seed)
        (delta,) = shortest_step(metric, slope[None], np.array([gap]), down[None], up[None])
        assert (delta >= -down - 1e-12).all()
        assert (delta <= up + 1e-12).all()
        assert slope @ delta == pytest.approx(-gap, abs=1e-9)
        least = _peer(metric, slope, gap, down, up)
        assert LENGTH[metric](delta[None])[0] == pytest.approx(least, abs=TOLERANCE[metric])


@pytest.mark.parametrize("metric", list(Metric))
def test_out_of_reach_every_pixel_goes_as_far_as_it_can(metric: Metric) -> None:
    slope, down, up = np.array([[1.0, -2.0, 0.0]]), np.full((1, 3), 0.25), np.full((1, 3), 0.5)
    delta = shortest_step(metric, slope, np.array([9.0]), down, up)
    np.testing.assert_array_equal(delta, [[-0.25, 0.5, 0.0]])


@pytest.mark.parametrize("metric", list(Metric))
def test_rows_do_not_mix(metric: Metric) -> None:
    rows = [_question(seed) for seed in range(5)]
    slope, gap, down, up = (np.array(part) for part in zip(*rows, strict=True))
    together = shortest_step(metric, slope, gap, down, up)
    for place, (s, g, d, u) in enumerate(rows):
        np.testing.assert_array_equal(
            together[place], shortest_step(metric, s[None], np.array([g]), d[None], u[None])[0]
        )
