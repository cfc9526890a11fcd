"""Exact refutations: what is accepted is true, whatever the multipliers; what is needed is enough."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from encoders.formulations.to_rows import Row, Rows, Split, to_rows
from encoders.network.graph import Array
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Query, Targeted, disjuncts
from verifier.solvers.farkas import Refuter, phase_columns
from verifier.solvers.linear_query import linear_query

ROOM = 1e-7
"""An LP whose least violation is above this has no solution; below 0 − ROOM it surely has one."""

F = Fraction


def matrix_of(system: Rows) -> Array:
    matrix = np.zeros((len(system.rows), len(system.columns)))
    for number, row in enumerate(system.rows):
        for column, coefficient in row.terms:
            matrix[number, column] = float(coefficient)
    return matrix


def ends_of(system: Rows, phases: dict[int, bool]) -> tuple[list[Any], list[Any]]:
    """Row and column ends under `phases`, in this test's own reading of what a phase means."""
    rows, columns = [row.ends for row in system.rows], [list(ends) for ends in system.columns]
    for number, active in phases.items():
        split = system.splits[number]
        if active:
            rows[split.order] = (F(0), F(0))
            low = columns[split.a][0]
            columns[split.a][0] = F(0) if low is None else max(low, F(0))
        else:
            columns[split.h] = [F(0), F(0)]
            high = columns[split.a][1]
            columns[split.a][1] = F(0) if high is None else min(high, F(0))
    return rows, columns


def violation(system: Rows, phases: dict[int, bool]) -> tuple[float, Array]:
    """By scipy: the least largest violation of the rows within the columns' ends, and multipliers (one per row)."""
    matrix = matrix_of(system)
    rows, columns = ends_of(system, phases)
    blocks, limits, owners = [], [], []
    for number, (low, high) in enumerate(rows):
        for sign, end in ((-1.0, low), (1.0, high)):
            if end is not None:
                blocks.append(np.append(sign * matrix[number], -1.0))
                limits.append(sign * float(end))
                owners.append((number, sign))
    bounds = [tuple(None if end is None else float(end) for end in ends) for ends in columns]
    if any(None not in pair and pair[0] > pair[1] for pair in bounds):
        return math.inf, np.zeros(len(rows))
    cost = np.append(np.zeros(len(columns)), 1.0)
    solved = linprog(cost, A_ub=np.array(blocks), b_ub=np.array(limits), bounds=[*bounds, (0.0, None)])
    assert solved.status == 0
    multipliers = np.zeros(len(rows))
    for (number, sign), dual in zip(owners, solved.ineqlin.marginals, strict=True):
        multipliers[number] += -sign * -dual
    return float(solved.fun), multipliers


def systems(truth: Any) -> list[tuple[Rows, dict[int, bool]]]:
    """Systems of small networks with random phases for some of their splits."""
    found = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        net = truth.net(seed, (2, 5, 4, 3))
        norm = list(FLAT_NORMS)[seed % 2]
        region = Ball(norm, rng.integers(0, 9, 2) / 8, 0.4, net.lo, net.hi)
        query = Query(net.graph, region, disjuncts(Targeted(seed % 3), 3)[0][1])
        linear = linear_query(query, linear_bounds(net.graph, region, Budget()))
        system = to_rows(linear.graph, linear.bounds, linear.goal.matrix, linear.goal.offset)
        chosen = rng.permutation(len(system.splits))[: rng.integers(0, 5)]
        found.append((system, {int(n): bool(rng.integers(2)) for n in chosen}))
    return found


def test_multipliers_of_an_lp_are_accepted(truth: Any) -> None:
    accepted = 0
    for system, phases in systems(truth):
        least, multipliers = violation(system, phases)
        refutation = Refuter(system).refute(multipliers, phases)
        if least < ROOM:
            assert refutation is None
        elif math.isfinite(least) and least > 1e-4:
            assert refutation is not None
            accepted += 1
    assert accepted >= 4


def test_needed_phases_are_enough(truth: Any) -> None:
    lost = 0
    for system, phases in systems(truth):
        _, multipliers = violation(system, phases)
        refutation = Refuter(system).refute(multipliers, phases)
        if refutation is None:
            continue
        assert refutation.needed <= phases.keys()
        kept = {number: phases[number] for number in refutation.needed}
        again = Refuter(system).refute(multipliers, kept)
        assert again is not None
        assert again.needed == refutation.needed
        assert violation(system, kept)[0] > 0
        for number in refutation.needed:
            fewer = {other: active for other, active in kept.items() if other != number}
            lost += Refuter(system).refute(multipliers, fewer) is None
    assert lost > 0


@pytest.mark.parametrize("size", [1e-9, 1e-3, 0.3, 3.0])
def test_perturbed_multipliers_are_refused_or_true(truth: Any, size: float) -> None:
    rng = np.random.default_rng(7)
    accepted = refused = 0
    for system, phases in systems(truth):
        least, multipliers = violation(system, phases)
        for _ in range(6):
            noise = size * rng.normal(size=multipliers.size) * np.abs(multipliers).max(initial=1e-3)
            refutation = Refuter(system).refute(multipliers + noise, phases)
            if refutation is None:
                refused += 1
                continue
            accepted += 1
            assert least > ROOM
            assert violation(system, {number: phases[number] for number in refutation.needed})[0] > ROOM
    assert refused > 0
    assert accepted > 0 or size > 1e-6


def tiny(high: Fraction) -> Rows:
    """0 ≤ x ≤ high, x ≥ 1 as a row, no splits."""
    return Rows(((F(0), high),), (Row(((0, F(1)),), (F(1), None)),), (), ())


@pytest.mark.parametrize(("high", "expected"), [(F(1), None), (1 - F(1, 10**30), frozenset()), (F(1, 2), frozenset())])
def test_no_tolerance(high: Fraction, expected: frozenset[int] | None) -> None:
    refutation = Refuter(tiny(high)).refute(np.array([3.0]), {})
    assert (refutation.needed if refutation else None) == expected


@pytest.mark.parametrize("multipliers", [[0.0], [math.nan], [math.inf]])
def test_multipliers_that_say_nothing(multipliers: list[float]) -> None:
    assert Refuter(tiny(F(1, 2))).refute(np.array(multipliers), {}) is None


def test_either_sign_of_a_ray_is_tried() -> None:
    assert Refuter(tiny(F(1, 2))).refute(np.array([-2.0]), {}) is not None


def split_system() -> Rows:
    """−1 ≤ a ≤ 1, h = relu(a) with its triangle, and h − a/2 ≥ 3/4 or so as the goal row, split 0."""
    rows = (
        Row(((1, F(1)), (0, F(-1))), (F(0), None)),
        Row(((1, F(1)), (0, F(-1, 2))), (None, F(1, 2))),
        Row(((1, F(1)), (0, F(-1))), (F(1, 4), None)),
        Row(((0, F(1)),), (F(-1, 8), None)),
    )
    return Rows(((F(-1), F(1)), (F(0), F(1))), rows, (Split(0, 1, 0, 1),), ())


def test_a_phase_is_named_when_its_end_is_used() -> None:
    """h − a ≥ 1/4 contradicts the active phase's h − a ≤ 0; with a ≥ −1/8 the inactive phase's h ≤ 0 contradicts it."""
    refuter = Refuter(split_system())
    active = refuter.refute(np.array([-1.0, 0.0, 1.0, 0.0]), {0: True})
    assert active is not None
    assert active.needed == {0}
    inactive = refuter.refute(np.array([0.0, 0.0, 1.0, 1.0]), {0: False})
    assert inactive is not None
    assert inactive.needed == {0}
    for multipliers in ([-1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0]):
        assert refuter.refute(np.array(multipliers), {}) is None
    assert refuter.refute(np.array([-1.0, 0.0, 1.0, 0.0]), {0: False}) is None
    assert refuter.refute(np.array([0.0, 0.0, 1.0, 1.0]), {0: True}) is None


def test_phases_that_say_nothing_are_not_needed() -> None:
    """A second split beside the first, on columns of its own: its phase is left out, whichever it is."""
    single = split_system()
    second = [Row(tuple((number + 2, c) for number, c in row.terms), row.ends) for row in single.rows[:2]]
    system = Rows((*single.columns, *single.columns), (*single.rows, *second), (*single.splits, Split(2, 3, 4, 5)), ())
    for active in (True, False):
        found = Refuter(system).refute(np.array([-1.0, 0.0, 1.0, 0.0, 0.0, 0.0]), {0: True, 1: active})
        assert found is not None
        assert found.needed == {0}
    inactive = Refuter(system).refute(np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0]), {0: False, 1: True})
    assert inactive is not None
    assert inactive.needed == {0}


def test_the_ends_that_a_phase_fixes() -> None:
    system = split_system()
    assert phase_columns(system, 0, True) == {0: (F(0), F(1))}
    assert phase_columns(system, 0, False) == {0: (F(-1), F(0)), 1: (F(0), F(0))}
