"""The checker's bounds of neurons: by lines, and by what the layer before gives at least and at most."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.formulations.to_stages import to_stages
from tests.verifier.certificates.parts import case_proof, know_all
from verifier.certificates import checker
from verifier.problem.query import Norm

SaveNet = Callable[..., verifier.Model]

ORDER = {Norm.LINF: np.inf, Norm.L1: 1, Norm.L2: 2}


def by_lines_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of both ways alone."""
    monkeypatch.setattr(checker, "best", lambda bounds: bounds[0])


@pytest.mark.parametrize("float32", [False, True])
def test_bounds_hold_all_points_and_gain_by_the_layer_before(
    float32: bool, truth: Any, save_net: SaveNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, gained = np.random.default_rng(0), 0
    for seed in range(12):
        model = save_net(truth.net(seed, (3, 7, 7, 7, 2)))
        net = checker.read_network(model.path.read_bytes(), None)
        lo = rng.uniform(-1, 0, 3)
        hi = lo + rng.uniform(0, 2, 3)
        arguments = to_stages(model.graph).values(rng.uniform(lo, hi, (2000, 3)))[0] * 2.0**24
        start, widths = 0, []
        for nearest in (False, True):
            start, width = 0, 0.0
            proof = case_proof(net, checker.PropertyCase(lo, hi, [{("Y", 0): Fraction(1)}]), 24, float32)
            with monkeypatch.context() as patch:
                if not nearest:
                    by_lines_alone(patch)
                know_all(proof)
            for layer, (_, size) in zip(proof.layers, net.layers, strict=True):
                values = arguments[:, start : start + size]
                off = np.setdiff1d(np.arange(size), layer.kept)
                assert np.all(values[:, off] <= 0)
                assert np.all(values[:, layer.kept] >= layer.low.astype(float))
                opened = layer.kept[~layer.active]
                assert np.all(values[:, opened] <= layer.high[~layer.active].astype(float))
                width += float((layer.high - layer.low)[~layer.active].sum())
                start += size
            widths.append(width)
        gained += widths[1] < widths[0]
    assert gained >= 6


@pytest.mark.parametrize("norm", list(Norm))
def test_bounds_in_balls_hold_all_points(
    norm: Norm, truth: Any, save_net: SaveNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Corners of the ball and points between."""
    rng, gained = np.random.default_rng(1), 0
    for seed in range(8):
        model = save_net(truth.net(seed, (3, 7, 7, 7, 2)))
        net, stages = checker.read_network(model.path.read_bytes(), None), to_stages(model.graph)
        centre, radius = rng.uniform(0.3, 0.7, 3), float(rng.uniform(0.1, 0.4))
        steps = np.vstack([rng.normal(size=(500, 3)), np.eye(3), -np.eye(3), rng.choice([-1.0, 1.0], (20, 3))])
        points = centre + radius * 0.999999 * steps / np.linalg.norm(steps, ORDER[norm], axis=1, keepdims=True)
        points = points[np.all((points >= 0) & (points <= 1), axis=1)]
        arguments = stages.values(points)[0] * 2.0**24
        query = checker.CheckedQuery(norm.value, 0, None, 0.0, centre, np.zeros(3), np.ones(3))
        widths = []
        for nearest in (False, True):
            proof = checker.Proof(net, query, radius, 24)
            with monkeypatch.context() as patch, np.errstate(all="ignore"):
                if not nearest:
                    by_lines_alone(patch)
                know_all(proof)
            start = 0
            for layer, (_, size) in zip(proof.layers, net.layers, strict=True):
                values = arguments[:, start : start + size]
                assert np.all(values[:, np.setdiff1d(np.arange(size), layer.kept)] <= 0)
                assert np.all(values[:, layer.kept] >= layer.low.astype(float))
                assert np.all((values[:, layer.kept] <= layer.high.astype(float)) | layer.active)
                start += size
            widths.append(sum(float((each.high - each.low)[~each.active].sum()) for each in proof.layers))
        gained += widths[1] < widths[0]
    assert gained
