"""Certificates with trees that bounds of batches have grown, against enumeration: what is true is certified."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnx
import pytest

import verifier
from encoders.formulations.to_stages import to_stages
from tests.verifier.certificates.nets import whole
from tests.verifier.certificates.parts import Open, case_proof, know_all, taken_apart
from verifier.certificates import bound_proof, case_trees, checker
from verifier.certificates.bound_proof import BoundProofTree
from verifier.certificates.checker import LEAF, LINED, SLOPES
from verifier.certificates.property_builder import property_certificate
from verifier.certificates.split_tree import NotCertifiedError, ProofTree
from verifier.problem.budget import Budget
from verifier.problem.query import Halfspaces, Norm


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


def test_leaves_without_their_multipliers_are_refused(make_case, by_bounds):
    refused = 0
    for case in (make_case(0, (2, 6, 6, 2), norm, True) for norm in Norm):
        parts = taken_apart(case.certified(0.98 * case.truth).content, case.content)
        assert checker.judged(parts.content(), case.content).valid
        for token, own in parts.nodes():
            if token in (LEAF, LINED):
                parts.numbers[own.start + 2 + parts.rows : own.stop] = 0
            elif token == SLOPES:
                parts.numbers[own.start + 2 + parts.numbers[own.start + 1] : own.stop] = 0
        refused += not checker.judged(parts.content(), case.content).valid
    assert refused


def test_lps_where_they_are_small(cases, monkeypatch):
    kinds = []
    monkeypatch.setattr(bound_proof, "ProofTree", lambda *given: kinds.append(ProofTree) or ProofTree(*given))
    cases[0].certified(0.9 * cases[0].truth)
    assert kinds


def test_a_finished_tree_holds_no_multipliers_that_nodes_began_with(finite_cases, by_bounds, monkeypatch):
    """Of 100,000 leaves they were a gigabyte."""
    held, told = [], BoundProofTree._told

    def noted(tree, root):
        nodes = [root]
        while nodes:
            node = nodes.pop()
            held.append(node.start is not None)
            nodes += node.parts
        return told(tree, root)

    monkeypatch.setattr(BoundProofTree, "_told", noted)
    for case in finite_cases[:8]:
        case.certified(0.999 * case.truth)
    assert len(held) > 2 * 8
    assert not any(held)


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


def low_enough(model, low, high, short):
    """A goal that nothing reaches, nearer to what is reached the smaller `short` is."""
    axes = np.meshgrid(*(np.linspace(a, b, 21) for a, b in zip(low, high, strict=True)))
    values = model.values(np.stack(axes, axis=-1).reshape(-1, low.size))[:, 0]
    return Halfspaces(np.eye(1, model.outputs), np.array([-values.max() - short * np.ptp(values)]))


@pytest.mark.parametrize("float32", [False, True])
@pytest.mark.parametrize("hairline", [False, True])
def test_leaves_by_lines_share_slopes_and_are_mended(hairline, float32, truth, save_net, by_bounds, monkeypatch):
    """Where floats take for closed what is not, the tree grows anew with a margin."""
    grown, made_by = [], bound_proof.proof_tree

    def noted(*given):
        grown.append(made_by(*given))
        if hairline and len(grown) == 1:
            grown[0].lined_margin = -np.inf
        return grown[-1]

    monkeypatch.setattr(case_trees, "proof_tree", noted)
    model = save_net(truth.net(1, (3, 8, 6, 3)))
    low, high = np.zeros(3), np.ones(3)
    goal = low_enough(model, low, high, 0.05)
    made = property_certificate(model, property=goal, region=(low, high), float32=float32)
    assert made.result.float32 == float32
    assert len(grown) == 1 + hairline
    numbers = grown[-1].integers(Budget())
    kinds = [int(part[0]) for part in numbers]
    assert kinds.count(LINED) > kinds.count(SLOPES) > 0


def test_no_leaf_by_lines_closes_where_a_point_reaches_the_goal(truth, save_net):
    """Whatever slopes, β, weights and splits: the point of the leaf's region that is best is not excluded."""
    rng, tried = np.random.default_rng(5), 0
    for seed in range(6):
        model = save_net(truth.net(seed, (3, 8, 6, 3)))
        net = checker.read_network(model.path.read_bytes(), None)
        points = rng.uniform(0, 1, (3000, 3))
        arguments = to_stages(model.graph).values(points)[0]
        values = model.values(points)
        for _ in range(25):
            split = rng.choice(14, 3, replace=False)
            side = rng.random(3) < 0.5
            inside = np.all((arguments[:, split] >= 0) == side, axis=1)
            if not inside.any():
                continue
            row = rng.integers(-4, 5, 3)
            best = (values[inside] @ row).max()
            terms = [
                {("Y", k): Fraction(int(c)) for k, c in enumerate(row) if c}
                | {("", 0): -Fraction(float(best)) + Fraction(1, 1 << 30)}
            ]
            proof = case_proof(net, checker.PropertyCase(np.zeros(3), np.ones(3), terms), 40, seed % 2 == 1)
            if seed % 2 == 1:
                know_all(proof)
            signs = np.zeros((2, sum(layer.kept.size for layer in proof.rooted)), dtype=bool)
            node = checker.ReluNode(proof.rooted, *signs, whole=True)
            proof.bounded(node, Open())
            kept = np.concatenate([start + layer.kept for start, layer in zip((0, 8), proof.layers, strict=True)])
            active = np.concatenate([layer.active for layer in proof.layers])
            off, on = (np.isin(kept, split[side == sign]) & ~active for sign in (False, True))
            count = 40
            slopes = rng.integers(0, 257, (count, kept.size))
            beta = np.where(
                off | on, rng.integers(0, 1 << 14, (count, kept.size)) >> rng.integers(0, 14, (count, 1)), 0
            )
            leaves = np.column_stack([np.full(count, 10), np.full(count, 1 << 10), beta])
            sides = (np.broadcast_to(each, (count, kept.size)) for each in (off, on))
            closed = proof.leaves_closed(proof.goal, leaves, active, *sides, slopes=slopes)
            assert not closed.any()
            tried += 1
    assert tried > 60
