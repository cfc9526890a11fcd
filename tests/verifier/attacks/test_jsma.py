"""The pair of pixels against a look at every pair; the steps on a linear network by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from encoders.network.norm import Norm
from verifier.attacks.base.problem import Case
from verifier.attacks.base.search import Surrogate
from verifier.attacks.jsma import JsmaSettings, salient_pairs
from verifier.attacks.registry import ATTACKS
from verifier.problem.budget import Budget


def _best(up: np.ndarray, down: np.ndarray, free: np.ndarray) -> float:
    """The saliency of the best pair, 0 where there is none."""
    pairs = combinations(np.flatnonzero(free).tolist(), 2)
    sums = [(up[p] + up[q], down[p] + down[q]) for p, q in pairs]
    return max((-a * b for a, b in sums if a > 0 > b), default=0.0)


@pytest.mark.parametrize("digits", [0, 6], ids=["ties", "distinct"])
def test_no_pair_is_more_salient(digits: int) -> None:
    rng = np.random.default_rng(0)
    shape = (200, 12)
    up, down = (np.round(rng.standard_normal(shape) + shift, digits) for shift in (-0.3, 0.3))
    free = rng.random(shape) < rng.random((200, 1))
    pairs, useful = salient_pairs(up, down, free)
    assert 0 < useful.sum() < len(useful)
    for a, b, f, pair, good in zip(up, down, free, pairs, useful, strict=True):
        assert good == (_best(a, b, f) > 0)
        if good:
            assert pair[0] != pair[1]
            assert f[pair].all()
            assert -a[pair].sum() * b[pair].sum() == pytest.approx(_best(a, b, f))


def test_two_pixels_a_step_to_the_end_of_the_box(linear: Callable[..., Any]) -> None:
    """Pixels 1 and 3 are the most salient pair and reach the target together; the others stay."""
    graph = linear(np.array([[0.0, -2.0, 0.0, -1.0], [0.5, 2.0, -1.0, 1.0]]), np.array([4.0, 0.0]))
    case = Case(np.full(4, 0.25), 0, 1)
    only_up = JsmaSettings(share=1.0, directions=(1.0,), maps=(True,))
    attack = replace(ATTACKS["jsma"], settings=only_up)
    found = attack(Surrogate(graph, "cpu", 1), [case], Norm.L1, 0.0, 1.0, budget=Budget())
    assert found.points[0] is not None
    np.testing.assert_array_equal(found.points[0] != 0.25, [False, True, False, True])
    # f falls from 2.625 by 4 and 2 a unit of the two pixels, which move together: 0.4375 each.
    np.testing.assert_allclose(found.points[0][[1, 3]], 0.6875, rtol=1e-3)


def test_the_share_of_pixels_is_kept(linear: Callable[..., Any]) -> None:
    weight = np.stack([-np.ones(10), np.ones(10)])
    graph = linear(weight, np.array([9.0, 0.0]))
    case = Case(np.zeros(10), 0, 1)
    few, all_ = (
        replace(ATTACKS["jsma"], settings=JsmaSettings(share=share))(
            Surrogate(graph, "cpu"), [case], Norm.L1, 0.0, 1.0, budget=Budget()
        )
        for share in (0.3, 1.0)
    )
    assert few.points == (None,)
    assert all_.points[0] is not None
    assert (all_.points[0] > 0).sum() == 6
