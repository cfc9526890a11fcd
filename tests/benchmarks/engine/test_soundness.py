"""Eight networks of `benchmarks.engine.soundness`, in all norms; and what it would say of false answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import verifier
from benchmarks.engine import soundness
from benchmarks.engine.soundness import RELUS, ask, margins, points_within, random_net
from verifier.bounds.lagrangian import Lagrangian
from verifier.problem.query import Norm
from verifier.runtime.session import Level

ENOUGH = 120.0
POINTS = 30


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundness, "RELUS", (40, 120))


@pytest.mark.parametrize("seed", [0, 2, 3, 5, 6, 8, 27, 29])
def test_nothing_contradicts(seed: int) -> None:
    row = ask(seed, ENOUGH, POINTS, 20)
    assert row.contradictions == ()
    assert row.verdict == ("violated" if row.share > 1.0 else "holds")
    assert row.certified is (None if row.share > 1.0 else True)
    assert row.apart <= 1.0


def test_sizes_are_as_they_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundness, "RELUS", RELUS)
    sizes = [random_net(seed).relus for seed in range(60)]
    assert min(sizes) < 150
    assert max(sizes) > 1500
    assert all(0.8 * RELUS[0] <= size <= 1.2 * RELUS[1] for size in sizes)


@pytest.mark.parametrize("norm", list(Norm))
def test_points_lie_within_the_radius(norm: Norm) -> None:
    x = np.random.default_rng(0).random(20).astype(np.float32)
    points = points_within(x, norm, 0.3, x + 1.0, POINTS, 0)
    assert len(points) == POINTS
    assert np.all((points >= 0) & (points <= 1))
    order = {Norm.LINF: np.inf, Norm.L1: 1, Norm.L2: 2}[norm]
    lengths = np.linalg.norm(points.astype(np.float64) - x, order, axis=1)
    assert np.all(lengths <= 0.3)
    assert lengths.max() > 0.1


def test_a_false_answer_contradicts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the attack's distance is said to be proved for float32: points towards the attack's point tell."""
    check = verifier.check

    def wrong(model: Any, x: Any, radius: float, **asked: Any) -> Any:
        return replace(check(model, x, radius, **asked), float32=True)

    monkeypatch.setattr(verifier, "check", wrong)
    monkeypatch.setattr(soundness, "SHARES", (2.0,))
    row = ask(0, ENOUGH, POINTS, 0)
    assert any("finds another class" in each for each in row.contradictions)


def test_batches_that_differ_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    on_lines = Lagrangian.on_lines

    def off(self: Lagrangian, *given: Any) -> Any:
        found = on_lines(self, *given)
        return [replace(dual, constant=dual.constant + 1e-6) for dual in found] if len(found) > 1 else found

    monkeypatch.setattr(Lagrangian, "on_lines", off)
    row = ask(0, ENOUGH, POINTS, 5)
    assert any("a batch of 5 nodes differs" in each for each in row.contradictions)


def test_the_lead_is_that_of_the_worst_level(tmp_path: Path) -> None:
    net, path = random_net(0), tmp_path / "net.onnx"
    onnx.save(net.model, path)
    logits = verifier.load(path).logits(net.x)
    label = int(np.argmin(logits))
    lead = margins(path, net.x[np.newaxis], label, list(Level))[0]
    assert lead == pytest.approx(logits[label] - logits.max(), rel=1e-4)
    assert lead < 0
