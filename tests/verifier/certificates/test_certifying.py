"""Certificates against enumeration: what is true is certified, what is not true is not."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import verifier
from encoders.errors import InputError
from encoders.network.linear_maps import sparse
from encoders.passes.from_transforms import Transforms
from verifier import models
from verifier.certificates import builder, checker, split_tree
from verifier.certificates.builder import certified
from verifier.certificates.claimed_bounds import BudgetedProof
from verifier.certificates.format import STEP
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Norm, distance_exact
from verifier.search.question import InputRegion, Misclassification, specify
from verifier.solvers.kernels import cache


def test_a_radius_just_below_the_truth_is_certified(cases):
    assert len(cases) > 10
    for case in cases:
        radius = 0.999 * case.truth
        found = case.certified(radius)
        assert found.result.lower == radius
        assert found.result.distance is None


def test_leaves_are_evaluated_exactly_once_and_in_floats_about_once(monkeypatch):
    """The step at which a leaf's multipliers suffice is foreseen from its bound: 70 leaves, 78 evaluations without."""
    model, exactly, tried = verifier.load(models.path("digits")), [], []
    closed, predicted = checker.Proof.leaves_closed, split_tree.ProofTree._closed
    monkeypatch.setattr(
        checker.Proof, "leaves_closed", lambda *given, **more: exactly.append(len(given[2])) or closed(*given, **more)
    )
    monkeypatch.setattr(
        split_tree.ProofTree,
        "_closed",
        lambda tree, low, high, numbers: tried.append(len(numbers)) or predicted(tree, low, high, numbers),
    )
    leaves = 0
    with np.load(models.path("digits").with_name("digits_inputs.npz")) as archive:
        for x in archive["x"][:4]:
            lower = verifier.minimal(model, x, norm="l1", precision=1e-4).lower
            leaves += verifier.certificate(model, x, lower, norm="l1").leaves
    assert sum(exactly) == leaves
    assert 40 < leaves <= sum(tried) <= 1.05 * leaves


@pytest.mark.skipif(not cache.available(), reason="numba is not installed")
@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_a_tree_grown_by_the_kernel_is_that_of_nodes_one_by_one(norm, monkeypatch):
    from verifier.solvers.tree.compiled_node import CompiledEvaluator  # noqa: PLC0415 (numba)

    cache.compile_now()
    model = verifier.load(models.path("digits"))
    with np.load(models.path("digits").with_name("digits_inputs.npz")) as archive:
        x = archive["x"][1]
    lower = verifier.minimal(model, x, norm=norm).lower

    def made():
        return verifier.certificate(model, x, lower, norm=norm)

    grown = made()
    assert grown.leaves > 15
    with monkeypatch.context() as patch:
        patch.setattr(split_tree, "TOGETHER", 3)
        assert made().content == grown.content
    monkeypatch.setattr(CompiledEvaluator, "grow", lambda *_: None)
    assert made().content == grown.content


def test_a_leaf_that_no_step_closes_is_split(monkeypatch):
    model = verifier.load(models.path("digits"))
    with np.load(models.path("digits").with_name("digits_inputs.npz")) as archive:
        x = archive["x"][0]
    lower = verifier.minimal(model, x).lower
    plain, closed, refused = verifier.certificate(model, x, lower), split_tree.ProofTree._closed, []

    def stubborn(tree, low, high, numbers):
        """The first leaf of all does not close, whatever the step."""
        good = closed(tree, low, high, numbers)
        node = np.concatenate([low[0], high[0]])
        if not refused or np.array_equal(refused[0], node):
            refused.append(node)
            good[0] = False
        return good

    monkeypatch.setattr(split_tree.ProofTree, "_closed", stubborn)
    found = verifier.certificate(model, x, lower)
    assert len(refused) > 1
    assert found.leaves > plain.leaves
    assert found.result.lower == lower


def test_a_proof_that_the_checker_would_not_unpack_is_given_up_early(monkeypatch):
    monkeypatch.setattr(split_tree, "MOST_BYTES", 40)
    model, images = (
        verifier.load(models.path("digits")),
        np.load(models.path("digits").with_name("digits_inputs.npz"))["x"],
    )
    lower = verifier.minimal(model, images[0]).lower
    with pytest.raises(NotCertifiedError, match="this size"):
        verifier.certificate(model, images[0], lower)


def test_charging_for_float32_looks_at_the_budget_between_two_evaluations(finite_cases):
    """Outside boxes what float32 may be off by is evaluated for each argument: in these seconds the time may end."""
    case, budget = finite_cases[0], Budget()
    ball, net = case.asked.ball, checker.read_network(case.content)
    query = checker.CheckedQuery("l1", case.asked.label, None, 0.0, ball.centre, ball.lo, ball.hi)
    looks, check = [], budget.check
    budget.check = lambda: looks.append(check())
    proof = BudgetedProof(net, query, 0.125, STEP, 0.125, budget=budget)
    proof.rows = proof.rounding.rows = 1
    first = net.arguments[0]
    proof.rounding.error(first)
    assert len(looks) == net.size(first) > 1
    proof.ends(0, np.arange(net.size(first)), np.ones(net.size(first), dtype=int))
    assert len(looks) == 2 * net.size(first)
    assert proof.work == len(looks) * (checker.STEP_WORK + net.entries)
    budget.cancel()
    with pytest.raises(OutOfTimeError):
        proof.ends(0, np.arange(1), np.ones(1, dtype=int))


def test_nothing_is_certified_under_transformations(monkeypatch):
    """The checker would read a claim about the network alone: before anything is built, it is refused."""
    model, x = verifier.load(models.path("digits")), np.zeros(64)
    views = Transforms(Path("views.toml"), "", ("one",), (sparse(np.eye(64)),))
    asked = specify(model, InputRegion(x), Misclassification(), Budget(), views)
    monkeypatch.setattr(builder, "rooted", None)
    with pytest.raises(NotCertifiedError, match="does not read transformations"):
        certified(asked, 1e-3, None, Budget())


def test_a_radius_just_beyond_the_truth_is_not(finite_cases):
    assert len(finite_cases) > 5
    for case in finite_cases:
        with pytest.raises(NotCertifiedError):
            case.certified(1.001 * case.truth)


def test_a_box_without_adversarial_points_is_certified_as_a_whole(cases):
    empty = [case for case in cases if math.isinf(case.truth)]
    assert empty
    for case in empty:
        assert str(case.certified(math.inf).result) == "no adversarial example in the box"


def test_a_witness_is_told_with_its_exact_distance(finite_cases):
    known = [case for case in finite_cases if case.point is not None]
    assert known
    for case in known:
        ball = case.asked.ball
        found = case.certified(0.5 * case.truth, case.point)
        told, truth = found.result.distance, distance_exact(ball.norm, case.point, ball.centre)
        if ball.norm is Norm.L2:  # a rational above a root, each by its own rule
            ends = zip(case.point.tolist(), ball.centre.tolist(), strict=True)
            squared = sum((Fraction(end) - Fraction(start)) ** 2 for end, start in ends)
            assert squared <= told**2
            assert abs(told - truth) <= truth * Fraction(1, 2**100)
        else:
            assert told == truth
        assert case.certified(0.0, case.point).result.lower == 0.0


def test_a_witness_and_a_target_are_taken_as_everywhere():
    """The point as a list, in doubles, of the input's shape; the class as a number of numpy's. What is none is told."""
    model, x = verifier.load("digits"), np.load(models.input_file("digits"))["x"][6]
    witness = verifier.attack(model, x, target=8, timeout=30).witness.point
    made = [
        verifier.certificate(model, x, 0.0, given, target=target).content
        for given, target in ((witness, 8), (witness.tolist(), np.int64(8)), (witness.astype(float).reshape(8, 8), 8))
    ]
    assert made[0] == made[1] == made[2]
    for given, said in ((witness[:5], "has 5 entries"), ("abc", "numbers are expected"), ([np.nan] * 64, "not finite")):
        with pytest.raises(InputError, match=f"^the witness: .*{said}"):
            verifier.certificate(model, x, 0.0, given, target=8)


def test_a_point_that_is_not_adversarial_is_refused(cases):
    for case in cases:
        with pytest.raises(NotCertifiedError, match="not adversarial"):
            case.certified(0.0, case.asked.ball.centre)


def test_the_checker_evaluates_as_the_engine_does(cases):
    from encoders.network.exact import exact_outputs  # noqa: PLC0415

    rng = np.random.default_rng(1)
    for case in cases:
        net = checker.read_network(case.content)
        x = rng.normal(size=case.asked.ball.centre.size)
        values, den = net.forward(*checker.exact(x.tolist()))
        assert [Fraction(int(value), den) for value in values] == exact_outputs(case.model.graph, x)
