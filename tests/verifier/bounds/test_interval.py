"""Interval bounds contain every exact value, and are no wider than they must be."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from encoders.network.graph import GraphBuilder
from encoders.network.linear_maps import Dense, identity, readonly
from verifier.bounds.interval import interval_bounds
from verifier.problem.query import Ball, Norm


def test_every_exact_value_is_inside(setting: Any) -> None:
    bounds = interval_bounds(setting.graph, setting.region)
    assert bounds.proved
    setting.contains(bounds)


def test_one_layer_by_hand() -> None:
    builder = GraphBuilder(2)
    affine = builder.affine([(Dense(readonly([[1.0, -2.0]])), 0)], [0.25])
    graph = builder.graph(builder.relu(affine))
    region = Ball(Norm.LINF, np.array([0.5, 0.75]), 0.5, np.zeros(2), np.ones(2))
    bounds = interval_bounds(graph, region)
    for found, expected in zip((bounds.lower[1], bounds.upper[1]), (-1.75, 0.75), strict=True):
        assert found == pytest.approx([expected], rel=1e-13)
    assert (bounds.lower[2][0], bounds.upper[2][0]) == (0.0, bounds.upper[1][0])


def test_rounding_is_charged() -> None:
    """Ten times 0.1·x: the float sum is 1, the exact one is above it."""
    builder = GraphBuilder(10)
    graph = builder.graph(builder.affine([(Dense(readonly(np.full((1, 10), 0.1))), 0)]))
    region = Ball(Norm.LINF, np.ones(10), 0.0, np.ones(10), np.ones(10))
    bounds = interval_bounds(graph, region)
    exact = 10 * Fraction(0.1)
    assert Fraction(bounds.lower[1][0]) < exact < Fraction(bounds.upper[1][0])
    assert bounds.upper[1][0] - bounds.lower[1][0] < 1e-13


def test_an_open_input_opens_only_what_reads_it() -> None:
    builder = GraphBuilder(2)
    first = builder.affine([(Dense(readonly([[1.0, 0.0], [1.0, 1.0]])), 0)], [0.5, 0.0])
    graph = builder.graph(builder.affine([(identity(2), builder.relu(first))]))
    region = Ball(Norm.LINF, np.zeros(2), math.inf, np.array([-1.0, -math.inf]), np.array([1.0, math.inf]))
    bounds = interval_bounds(graph, region)
    assert bounds.lower[1][1] == -math.inf
    assert bounds.upper[3][1] == math.inf
    assert bounds.lower[1][0] == pytest.approx(-0.5)
    assert bounds.upper[3][0] == pytest.approx(1.5)


def test_an_empty_box_is_seen() -> None:
    builder = GraphBuilder(1)
    graph = builder.graph(builder.affine([(identity(1), 0)]))
    assert interval_bounds(graph, Ball(Norm.LINF, np.array([3.0]), 0.5, np.zeros(1), np.ones(1))).empty
