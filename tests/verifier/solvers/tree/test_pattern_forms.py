"""The affine functions of a pattern are the network's where it has that pattern, and rows are their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from verifier.problem.query import Norm
from verifier.solvers.tree.pattern_forms import PatternForms

SIZES = ((3, 5, 3), (4, 4, 4, 3), (2, 4, 3, 3, 2))

ROUNDING = 1e-11
"""Sums of a few products of size 1 to 100."""


@pytest.mark.parametrize("seed", range(6))
def test_forms_are_the_network_in_their_region_and_affine_everywhere(make_root: Callable[..., Any], seed: int) -> None:
    root = make_root(seed, SIZES[seed % len(SIZES)], Norm.LINF, rows=2)
    stages, goal, rng = root.stages, root.goal, np.random.default_rng(seed)
    every = np.arange(stages.relu_count)
    for x in root.points(seed, 3):
        arguments, outputs = stages.values(x)
        own = PatternForms(stages, goal, arguments[0] > 0)
        found, rows = own.at(x)
        np.testing.assert_allclose(found, arguments[0], atol=ROUNDING)
        np.testing.assert_allclose(rows, goal.matrix @ outputs[0] + goal.offset, atol=ROUNDING)
        assert np.all(own.signs * found >= 0)
        for forms in (own, PatternForms(stages, goal, rng.random(stages.relu_count) < 0.5)):
            other = x + rng.normal(size=x.size)
            goals, normals = forms.rows(every)
            (before, low), (after, high) = forms.at(x), forms.at(other)
            np.testing.assert_allclose(normals @ (other - x), after - before, atol=ROUNDING)
            np.testing.assert_allclose(goals @ (other - x), high - low, atol=ROUNDING)
            some = np.flatnonzero(rng.random(stages.relu_count) < 0.4)
            np.testing.assert_allclose(forms.rows(some)[1], normals[some], atol=ROUNDING)
            np.testing.assert_allclose(forms.rows(some)[0], goals, atol=ROUNDING)
