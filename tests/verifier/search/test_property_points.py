"""Counterexamples at points: in large networks one climb comes before bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import verifier
from verifier.problem.query import Halfspaces
from verifier.problem.verdict import Verdict, Violated
from verifier.search import property_points
from verifier.search.property_track import PropertyTrack

INPUTS = 30


@pytest.fixture(scope="module")
def asked(truth: Any, save_net: Callable[..., verifier.Model]) -> tuple[verifier.Model, Halfspaces]:
    """A network, and an output that no random point of [−1, 1]^n comes near, but steps uphill reach."""
    model = save_net(truth.net(0, (INPUTS, 8, 2)))
    points = np.random.default_rng(0).uniform(-1.0, 1.0, (2000, INPUTS)).astype(np.float32)
    best = float(model.values(points)[:, 0].max())
    return model, Halfspaces(np.array([[1.0, 0.0]]), np.array([-best - 0.5 * abs(best)]))


def answer(asked: tuple[verifier.Model, Halfspaces]) -> Verdict:
    model, goal = asked
    return verifier.check(model, region=(-1.0, 1.0), property=goal).verdict


def test_one_climb_comes_before_the_bounds_of_large_networks(
    asked: tuple[verifier.Model, Halfspaces], monkeypatch: pytest.MonkeyPatch
) -> None:
    bounded: list[PropertyTrack] = []
    pruned = PropertyTrack.pruned
    monkeypatch.setattr(PropertyTrack, "pruned", lambda track: bounded.append(track) or pruned(track))
    assert isinstance(answer(asked), Violated)
    assert len(bounded) == 1
    monkeypatch.setattr(property_points, "CLIMB_FIRST", 0)
    assert isinstance(answer(asked), Violated)
    assert len(bounded) == 1


def test_a_climb_leads_off_a_plateau(
    truth: Any, save_net: Callable[..., verifier.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all ReLUs are inactive at random points, as of VNN-COMP's collins_rul_cnn: no bounds are needed."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (1, 2 * INPUTS))
    model = save_net(truth.of_layers((signs, [-1.5 * INPUTS]), ([[1.0]], [0.0])))
    points = np.random.default_rng(1).uniform(-1.0, 1.0, (2000, 2 * INPUTS)).astype(np.float32)
    assert not model.values(points).any()
    monkeypatch.setattr(property_points, "CLIMB_FIRST", 0)
    monkeypatch.delattr(PropertyTrack, "pruned")
    verdict = verifier.check(model, region=(-1.0, 1.0), property=Halfspaces(np.ones((1, 1)), np.array([-1.0]))).verdict
    assert isinstance(verdict, Violated)
