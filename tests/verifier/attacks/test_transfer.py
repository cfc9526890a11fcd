"""The substitute learns what it is shown; the attack through it asks for no gradient, so that none can mislead it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from encoders.network.graph import Graph, GraphBuilder, outputs
from encoders.network.linear_maps import Dense, readonly
from encoders.network.norm import Norm
from verifier.attacks.base.problem import Case
from verifier.attacks.base.search import Surrogate
from verifier.attacks.gradient import PGD_SETTINGS
from verifier.attacks.registry import ATTACKS
from verifier.attacks.transfer import Substitute, TrainingSettings, TransferSettings
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS


def test_a_substitute_agrees_as_often_as_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    points = (100.0 + 50.0 * rng.random((1500, 64))).astype(np.float32)  # pixels of any size
    labels = ((points - 125.0) @ rng.standard_normal((64, 5))).argmax(axis=1)
    settings = TrainingSettings((32,), epochs=20)
    substitute = Substitute(points[:1000], 5, settings, rng)
    substitute.train(points[:1000], labels[:1000], lambda: False)
    agreed = (outputs(substitute.graph(), points[1000:]).argmax(axis=1) == labels[1000:]).mean()
    peer = MLPClassifier((32,), max_iter=20, batch_size=64, learning_rate_init=settings.rate, random_state=0)
    with pytest.warns(match="converged"):
        peer.fit((points[:1000] - 125.0) / 15.0, labels[:1000])
    assert agreed >= peer.score((points[1000:] - 125.0) / 15.0, labels[1000:]) - 0.05
    assert agreed > 2.0 * np.bincount(labels).max() / len(labels)


def test_training_ends_with_the_budget() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((200, 4)).astype(np.float32)
    substitute = Substitute(points, 2, TrainingSettings((8,)), rng)
    before = substitute.graph()
    substitute.train(points, np.zeros(200, dtype=np.intp), lambda: True)
    np.testing.assert_array_equal(outputs(before, points), outputs(substitute.graph(), points))


class Closed(Surrogate):
    """Gives no gradient."""

    def vjp(self, *_: object) -> Any:
        raise AssertionError

    def loop(self, *_: object) -> Any:
        raise AssertionError


def test_no_gradient_of_the_victim_is_asked_for(digits_like: Any) -> None:
    closed = Closed(digits_like.surrogate.graph, "cpu")
    found = ATTACKS["transfer"](closed, digits_like.cases, Norm.LINF, 0.0, 1.0, budget=Budget())
    assert found.found == len(digits_like.cases)


def staircase(slope: np.ndarray, threshold: float) -> Graph:
    """z₀ = ½ and z₁ = a steep step from 0 to 1 where slope · x passes the threshold: flat nearly everywhere."""
    steep = 1e4
    builder = GraphBuilder(slope.size)
    sides = np.stack([steep * slope, steep * slope])
    first = builder.affine([(Dense(readonly(sides)), 0)], np.array([0.0, -1.0]) - steep * threshold)
    head = Dense(readonly(np.array([[0.0, 0.0], [1.0, -1.0]])))
    return builder.graph(builder.affine([(head, builder.relu(first))], np.array([0.5, 0.0])))


@pytest.mark.parametrize("norm", list(FLAT_NORMS))
def test_masked_gradients_mislead_pgd_and_not_the_transfer(norm: Norm) -> None:
    rng = np.random.default_rng(1)
    slope = rng.standard_normal(8)
    x0 = np.full(8, 0.5)
    truth = 0.1 if norm is Norm.LINF else 0.4
    threshold = slope @ x0 + truth * (np.abs(slope).sum() if norm is Norm.LINF else np.abs(slope).max())
    surrogate = Surrogate(staircase(slope, float(threshold)), "cpu", 1)
    arguments = (surrogate, [Case(x0, 0, 1)], norm, 0.0, 1.0)
    pgd = replace(ATTACKS["pgd"], settings=replace(PGD_SETTINGS, restarts=1, samples=0))
    blind = pgd(*arguments, budget=Budget())
    assert blind.points == (None,)
    transfer = replace(ATTACKS["transfer"], settings=TransferSettings(rounds=2))
    found = transfer(*arguments, budget=Budget())
    assert truth * (1 - 1e-3) <= found.distances[0] <= 2.0 * truth
