"""The integer enumeration against the rational one by polygons, the one by LPs, and points drawn at random."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from benchmarks.engine.exact_minimum import KINDS, Kinked, Linear, Program, Question, evaluated, nearest
from benchmarks.engine.fuzz_nets import random_question
from tests.traps.enumeration import Exact
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Norm, Targeted, disjuncts


def of_layers(net: Any, centre: Any, label: int) -> Question:
    """A net of the other tests, whose weights, box and centre are in eighths."""
    layers: list[Any] = []
    for place, (weight, bias) in enumerate(net.layers):
        if place:
            layers.append(Kinked("Relu", tuple((i,) for i in range(weight.shape[1]))))
        whole = (tuple(map(int, row)) for row in 8 * weight)
        layers.append(Linear(tuple(whole), tuple(map(int, 8 * bias)), 3))
    ends = [tuple(int(8 * end) for end in ends) for ends in (centre, net.lo, net.hi)]
    return Question(tuple(layers), *ends, 3, label)


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_it_agrees_with_polygons(truth: Any, norm: Norm, seed: int) -> None:
    sizes = ((2, 3, 2), (2, 4, 3), (1, 6, 2), (2, 3, 3, 2))[seed % 4]
    net, rng = truth.net(seed, sizes), np.random.default_rng(seed)
    centre, label = rng.integers(0, 9, sizes[0]) / 8, int(rng.integers(sizes[-1]))
    layers = tuple((w.tolist(), b.tolist()) for w, b in net.layers)
    exact = Exact(layers, *(tuple(map(Fraction, end.tolist())) for end in (net.lo, net.hi)))
    at = tuple(map(Fraction, centre.tolist()))
    others = [exact.nearest(norm, at, target) for target in range(sizes[-1]) if target != label]
    expected = min((found for found in others if found is not None), default=None)
    found = nearest(of_layers(net, centre, label), norm)
    assert (None if found is None else found.distance) == expected


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_it_agrees_with_lps_in_more_dimensions(truth: Any, norm: Norm, seed: int) -> None:
    net, rng = truth.net(seed, (4, 4, 3)), np.random.default_rng(seed)
    centre, label = rng.integers(0, 9, 4) / 8, int(rng.integers(3))
    goals = [disjuncts(Targeted(target), 3)[0][1] for target in range(3) if target != label]
    expected = min(net.nearest(norm, centre, goal) for goal in goals)
    found = nearest(of_layers(net, centre, label), norm)
    if found is None:
        assert expected == math.inf
    else:
        assert float(found.distance) == pytest.approx(expected, abs=1e-8)


def length(norm: Norm, question: Question, point: Any) -> Fraction:
    gaps = [abs(x - Fraction(c, 2**question.bits)) for x, c in zip(point, question.centre, strict=True)]
    return max(gaps) if norm is Norm.LINF else sum(gaps, Fraction(0))


def reached(question: Question, point: Any) -> bool:
    found = evaluated(question.layers, point)
    return max(z for k, z in enumerate(found) if k != question.label) >= found[question.label]


@pytest.mark.parametrize("seed", range(80))
@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_its_point_is_one_and_no_random_point_is_nearer(norm: Norm, seed: int) -> None:
    """Every kind of kink, conv and pool: the layers' own definitions decide, not their pieces."""
    question = random_question(seed).question
    found, unit = nearest(question, norm), 2**question.bits
    if found is not None:
        assert length(norm, question, found.point) == found.distance
        assert reached(question, found.point)
        for x, lo, hi in zip(found.point, question.lo, question.hi, strict=True):
            assert lo is None or x >= Fraction(lo, unit)
            assert hi is None or x <= Fraction(hi, unit)
    rng = np.random.default_rng(seed)
    for _ in range(100):
        point = [
            Fraction(int(rng.integers(c - unit if lo is None else lo, (c + unit if hi is None else hi) + 1)), unit)
            for c, lo, hi in zip(question.centre, question.lo, question.hi, strict=True)
        ]
        if found is None or length(norm, question, point) < found.distance:
            assert not reached(question, point)


def test_the_random_nets_have_every_kind_of_kink() -> None:
    kinds = {layer.kind for seed in range(80) for layer in random_question(seed).question.layers
             if isinstance(layer, Kinked)}  # fmt: skip
    assert kinds == set(KINDS)


def test_a_program_without_a_solution_says_so() -> None:
    program = Program([1, 2])
    assert program.add([1, 1], -3)
    assert program.optimum == 3
    assert program.value(0) == 3
    assert program.add([-1, 0], 1)
    assert program.optimum == 1 + 2 * 2
    assert not program.add([-1, -1], 2)
