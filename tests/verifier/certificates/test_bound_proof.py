"""Certificates with trees that bounds of batches have grown, against enumeration: what is true is certified."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import verifier
from tests.verifier.certificates.nets import whole
from tests.verifier.certificates.parts import taken_apart
from verifier.certificates import bound_proof, checker
from verifier.certificates.bound_proof import BoundProofTree
from verifier.certificates.property_builder import property_certificate
from verifier.certificates.split_tree import NotCertifiedError, ProofTree
from verifier.problem.query import Halfspaces


@pytest.fixture
def by_bounds(monkeypatch):
    """No LP is small; how many nodes were bounded."""
    monkeypatch.setattr(bound_proof, "small_lps", lambda _: False)
    told, evaluated = [], BoundProofTree._evaluated
    monkeypatch.setattr(
        BoundProofTree,
        "_evaluated",
        lambda tree, nodes, budget: told.append(len(nodes)) or evaluated(tree, nodes, budget),
    )
    return told


def test_a_radius_just_below_the_truth_is_certified(cases, by_bounds):
    leaves = 0
    for case in cases:
        radius = 0.999 * case.truth
        found = case.certified(radius)
        assert found.result.lower == radius
        leaves += found.leaves
    assert leaves > len(cases)
    assert sum(by_bounds) >= leaves


def test_a_radius_above_the_truth_is_not(finite_cases, by_bounds):
    for case in finite_cases[:6]:
        with pytest.raises(NotCertifiedError):
            case.certified(1.01 * case.truth)
    assert by_bounds


def test_float32_ends_are_certified_too(finite_cases, by_bounds):
    for case in finite_cases:
        radius = 0.98 * case.truth
        found = case.certified(radius, float32=radius)
        assert found.result.float32 == radius


def test_leaves_without_their_multipliers_are_refused(finite_cases, by_bounds):
    refused = 0
    for case in finite_cases[:8]:
        parts = taken_apart(case.certified(0.98 * case.truth).content)
        assert checker.judged(parts.content(), case.content).valid
        own = parts.leaves
        count = int((parts.numbers[parts.first_tree + 1 : own.start] == 0).sum())
        parts.numbers[own.start + count * (1 + parts.header["trees"][0][1]) : own.stop] = 0
        refused += not checker.judged(parts.content(), case.content).valid
    assert refused


def test_lps_where_they_are_small(cases, monkeypatch):
    kinds = []
    monkeypatch.setattr(bound_proof, "ProofTree", lambda *given: kinds.append(ProofTree) or ProofTree(*given))
    cases[0].certified(0.9 * cases[0].truth)
    assert kinds


@pytest.mark.parametrize(("name", "by"), [("conv", -3.0), ("pools", -0.5), ("residual", -0.5), ("groups", -1.0)])
def test_a_property_of_a_conv_net(name, by, tmp_path, by_bounds):
    """More than 400 points reach by what holds, as a search finds."""
    path = tmp_path / "net.onnx"
    onnx.save(whole(name), path)
    model = verifier.load(path)
    rng = np.random.default_rng(0)
    centre = rng.uniform(-1, 1, 72)
    low, high = centre - 0.02, centre + 0.02
    most = model.values(rng.uniform(low, high, (400, 72)))[:, 0].max()
    goal = Halfspaces(np.array([[1.0, 0.0, 0.0]]), np.array([by - most]))
    made = property_certificate(model, property=goal, region=(low, high), float32=True)
    assert made.result.float32
