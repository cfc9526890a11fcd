"""Every attack × norm by the API on shipped inputs: what it finds is adversarial in ONNX Runtime, asked anew."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

import verifier
from encoders.network.norm import Norm
from verifier import models
from verifier.attacks.base.problem import AttackProblem, Candidates
from verifier.attacks.registry import ATTACKS, Attack
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.search.initial_attack import ATTACK_ALONE, ATTACK_SHARE

QUESTIONS = ((6, 8), (2, 9))
"""An input of digits_inputs.npz and a target; the second for attacks that find nothing for the first."""


@pytest.fixture(scope="module")
def model() -> verifier.Model:
    return verifier.load(models.path("digits"))


@pytest.fixture(scope="module")
def replay() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(models.path("digits")), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("norm", list(FLAT_NORMS))
@pytest.mark.parametrize("name", ATTACKS)
def test_every_witness_replays(
    model: verifier.Model, replay: onnxruntime.InferenceSession, name: str, norm: Norm
) -> None:
    inputs = np.load(models.path("digits").with_name("digits_inputs.npz"))["x"]
    for index, target in QUESTIONS:
        x = inputs[index]
        answer = verifier.attack(model, x, target=target, norm=norm.value, attack=name, device="cpu")
        assert (answer.lower, answer.initial.attack) == (0.0, name)
        if answer.witness is None:
            assert np.isinf(answer.upper)
            continue
        point = answer.witness.point
        (logits,) = replay.run(None, {replay.get_inputs()[0].name: point.reshape(1, -1)})
        assert logits.argmax() == target
        assert point.min() >= 0.0
        assert point.max() <= 1.0
        delta = np.abs(point.astype(np.float64) - x.reshape(-1))
        length = delta.max() if norm is Norm.LINF else delta.sum()
        assert length <= answer.upper <= length * (1 + 1e-9)
        assert answer.upper <= answer.initial.distance
        return
    pytest.fail("nothing was found")


def test_an_attack_alone_has_nearly_all_the_time(model: verifier.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a proof it has a share; where nothing is to be proved, only polishing comes after it."""
    limits = []

    def recorded(_: object, problem: AttackProblem, budget: Budget, __: object) -> Candidates:
        limits.append(budget.remaining)
        count = len(problem.cases)
        return Candidates((None,) * count, np.full(count, np.inf), 0)

    for name in ("pgd", "cw"):
        monkeypatch.setitem(ATTACKS, name, Attack(name, recorded))  # type: ignore[arg-type]
    x = np.load(models.path("digits").with_name("digits_inputs.npz"))["x"][6]
    verifier.attack(model, x, target=8, timeout=1000.0, device="cpu")
    verifier.check(model, x, 0.3, target=8, timeout=1000.0, device="cpu")  # linear bounds leave it open
    assert limits[0] == pytest.approx(1000.0 * ATTACK_ALONE, rel=0.05)
    assert limits[1] == pytest.approx(1000.0 * ATTACK_SHARE, rel=0.05)
