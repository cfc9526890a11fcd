"""The checker's bounds of neurons: by lines, and by what the layer before gives at least and at most."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.formulations.to_stages import to_stages
from verifier.certificates import ball_proof, checker
from verifier.certificates.format import property_encoded
from verifier.problem.budget import Budget
from verifier.problem.query import Norm

SaveNet = Callable[..., verifier.Model]

ORDER = {Norm.LINF: np.inf, Norm.L1: 1, Norm.L2: 2}


def whole_box(net: checker.CheckedNetwork, lo: Any, hi: Any, nearest: bool, float32: bool) -> list[checker.Layer]:
    """All layers' bounds as they come out."""
    proof = checker.PropertyProof(
        net, checker.PropertyCase(lo, hi, [{("Y", 0): Fraction(1)}]), 24, 30, None, float32, nearest
    )
    for place, (_, size) in enumerate(net.layers):
        every = np.arange(size)
        low, high = (sign * proof.least(place, every, np.full(size, sign)) for sign in (1, -1))
        proof.add(proof.layer_of(place, np.where(low >= 0, 1, np.where(high <= 0, 0, 2)), low, high))
    return proof.layers


@pytest.mark.parametrize("float32", [False, True])
def test_bounds_hold_all_points_and_gain_by_the_layer_before(float32: bool, truth: Any, save_net: SaveNet) -> None:
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
            for layer, (_, size) in zip(whole_box(net, lo, hi, nearest, float32), net.layers, strict=True):
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
def test_bounds_in_balls_hold_all_points(norm: Norm, truth: Any, save_net: SaveNet) -> None:
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
        wide = np.full(stages.relu_count, 1e6)
        widths = []
        for nearest in (False, True):
            proof = checker.Proof(net, query, radius, 30)
            proof.nearest = nearest
            with np.errstate(all="ignore"):
                ball_proof._established(proof, stages, -wide, wide, Budget())
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


def test_files_of_the_schema_before_are_read_by_lines_alone(truth: Any, save_net: SaveNet) -> None:
    """relu(x) + 1/2 ≥ 1/2 on [−1, 3], but −1/2 by the line x below relu(x)."""
    model = save_net(truth.of_layers(([[1.0]], [0.0]), ([[1.0]], [0.5]), ([[1.0]], [0.0])))
    text = b"(declare-const X_0 Real)(declare-const Y_0 Real)(assert (and (>= X_0 -1) (<= X_0 3) (<= Y_0 0.1)))"
    numbers = np.array([checker.BOUNDS, 2, 1])
    data = checker.unpacked(property_encoded(model.network.sha256, text, [numbers]))
    assert b'"schema":7' in data
    for schema, why in ((b"7", "cut off"), (b"5", "the sign of neuron 0 does not follow")):
        content = checker.MAGIC + zlib.compress(data.replace(b'"schema":7', b'"schema":' + schema))
        assert why in checker.judged(content, model.path.read_bytes()).reason
