"""Prices of steps against distances in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from encoders.network.norm import Norm
from verifier import Columns
from verifier.problem.inputs.lattice import lattice_of
from verifier.problem.inputs.step_prices import StepPrices
from verifier.problem.query import distance_exact


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2])
def test_what_is_within_a_radius_costs_no_more_than_it_pays_for(norm: Norm) -> None:
    rng, tried = np.random.default_rng(0), 0
    columns = Columns(integer=(0, 1), one_hot=((2, 3),), units=(np.zeros(4), np.array([1.0, 0.7, 1.0, 1.9])))
    x = np.array([1.0, np.float32(2 / 0.7), 1.0, 0.0])
    lattice = lattice_of(columns, x, np.full(4, -3.0), np.full(4, 6.0), np.dtype(np.float32), norm)
    prices = StepPrices(lattice)
    assert prices.own == [2]
    assert prices.of_step.min() == 1.0
    for _ in range(200):
        moves = rng.integers(-1, 3, 2)
        numbers = lattice.at.copy()
        numbers[:2] += moves
        away = distance_exact(norm, lattice.values(numbers), lattice.centre)
        radius = float(away) * 1.1
        cost = float((prices.of_step[:2] * np.abs(moves) ** prices.power).sum())
        tried += radius > 0
        if radius > 0:
            assert Fraction(radius) >= away
            assert cost <= prices.within(radius) * (1.0 + 1e-12)
            alone = np.abs(moves) ** prices.power * prices.of_step[:2]
            assert np.all(
                prices.steps(float(alone.max()))[:2][alone == alone.max()] >= np.abs(moves)[alone == alone.max()]
            )
    assert tried > 100


def test_few_steps_are_of_use_where_whole_numbers_span_less_than_a_ball() -> None:
    centre = np.full(16, 0.5)
    for norm, steps, useful in ((Norm.L2, 8, True), (Norm.L2, 4096, False), (Norm.L1, 8, False), (Norm.LINF, 8, False)):
        grid = lattice_of(Columns(grid=steps), centre, np.zeros(16), np.ones(16), np.dtype(np.float64), norm)
        assert StepPrices(grid).few(1.0) is useful
    columns = Columns(integer=(0,), one_hot=((1, 2),))
    for norm, useful in ((Norm.L1, True), (Norm.L2, False)):
        x = np.array([1.0, 0.0, 1.0, 0.3])
        mixed = lattice_of(columns, x, np.zeros(4), np.full(4, 3.0), np.dtype(np.float32), norm)
        assert StepPrices(mixed).few(1.0) is useful
