"""Auto-PGD's losses against finite differences, its schedule, Square's images, the ensemble against its members."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from encoders.network.graph import outputs
from encoders.network.norm import Norm
from verifier.attacks.apgd import LOSSES, ApgdSettings, LossName, checkpoints
from verifier.attacks.autoattack import AutoAttackSettings
from verifier.attacks.base.problem import Case, Float32
from verifier.attacks.base.search import Surrogate
from verifier.attacks.registry import ATTACKS
from verifier.attacks.square import SquareSettings, image_shape
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.runtime.session import session
from verifier.runtime.step_model import StepBuilder

STEP = 1e-6


def _loss(kind: LossName, logits: np.ndarray, case: Case, margin: float) -> float:
    """The loss, written out anew."""
    own = case.label if case.target is None else case.target
    rivals = np.delete(logits, own).max()
    if kind is LossName.CE:
        share = log_softmax(logits)[own]
        return float(share if case.target is None else -share)
    gap = (logits[own] - rivals if case.target is None else rivals - logits[own]) + margin
    ordered = np.sort(logits)[::-1]
    if len(logits) == 3 or case.target is None:
        return float(gap / (ordered[0] - ordered[2]))
    return float(gap / (ordered[0] - (ordered[2] + ordered[3]) / 2))


@pytest.mark.parametrize("kind", list(LossName))
@pytest.mark.parametrize("targeted", [True, False])
def test_losses_and_their_gradients(setting: Any, kind: LossName, targeted: bool) -> None:
    graph, margin = setting.graph, 0.05
    classes, n = graph.output_size, graph.input_size
    builder = StepBuilder(graph)
    loss = LOSSES[kind](builder, builder.input("x", ("batch", n)))
    run = session(builder.model({"value": (loss.value, ("batch", 1)), "slope": (loss.gradient, ("batch", n))}))
    for case in (replace(case, target=(case.label + 1) % classes if targeted else None) for case in setting.cases):
        own = case.label if case.target is None else case.target
        given = {
            "x": case.x0[None], "own": np.eye(classes)[[own]], "sign": [[1.0 if targeted else -1.0]],
            "margin": [[margin]],
        }  # fmt: skip
        value, slope = run.run(None, {name: np.asarray(array, dtype=np.float32) for name, array in given.items()})
        assert value[0, 0] == pytest.approx(_loss(kind, outputs(graph, case.x0)[0], case, margin), rel=1e-4, abs=1e-5)
        ends = np.concatenate([case.x0 + STEP * np.eye(n), case.x0 - STEP * np.eye(n)])
        losses = np.array([_loss(kind, logits, case, margin) for logits in outputs(graph, ends)])
        np.testing.assert_allclose(slope[0], (losses[:n] - losses[n:]) / (2 * STEP), rtol=1e-3, atol=1e-4)


def test_two_classes_have_no_third_logit(linear: Any) -> None:
    graph = linear(np.array([[1.0, -2.0], [0.0, 1.0]]), np.array([4.0, 0.0]))
    found = ATTACKS["apgd-dlr"](
        Surrogate(graph, "cpu"), [Case(np.full(2, 0.5), 0, 1)], Norm.LINF, -np.inf, np.inf, budget=Budget()
    )
    assert found.distances[0] == pytest.approx(3.0 / 4.0, rel=0.02)


def test_checkpoints_are_the_published_ones() -> None:
    assert checkpoints(100) == [0, 22, 41, 57, 70, 80, 87, 93, 99, 100]
    assert checkpoints(1) == [0, 1]


@pytest.mark.parametrize(("size", "shape"), [(784, (1, 28, 28)), (3072, (3, 32, 32)), (7, (1, 1, 7)), (1, (1, 1, 1))])
def test_images_are_recognised_by_their_size(size: int, shape: tuple[int, int, int]) -> None:
    assert image_shape(size) == shape


class Counted(Surrogate):
    """Counts the gradients that it is asked for."""

    calls = 0

    def vjp(self, points: Float32, cotangents: Float32) -> Float32:
        self.calls += 1
        return super().vjp(points, cotangents)


def test_square_asks_for_no_gradient(digits_like: Any) -> None:
    """Beyond the look at x0 that every search begins with."""
    counted = Counted(digits_like.surrogate.graph, "cpu")
    found = ATTACKS["square"](counted, digits_like.cases, Norm.LINF, 0.0, 1.0, budget=Budget())
    assert found.found == len(digits_like.cases)
    assert counted.calls == 1


@pytest.mark.parametrize("norm", list(FLAT_NORMS))
def test_the_ensemble_is_as_near_as_its_members(digits_like: Any, norm: Norm) -> None:
    """Members begin where the others ended, so each may be worse than alone, but the ensemble hardly."""
    member = ApgdSettings(steps=30, restarts=1)
    quick = AutoAttackSettings(apgd=(member,), square=SquareSettings(steps=20, rounds=2))
    arguments = (digits_like.surrogate, digits_like.cases, norm, 0.0, 1.0)
    together = replace(ATTACKS["autoattack"], settings=quick)(*arguments, budget=Budget())
    for alone in (
        ATTACKS["fab"](*arguments, budget=Budget()),
        replace(ATTACKS["apgd-ce"], settings=member)(*arguments, budget=Budget()),
    ):
        assert (together.distances <= 1.02 * alone.distances).all()
