"""Searches that begin with what is known of another network: the same answers, whatever that is, and fewer steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import verifier
from verifier import models
from verifier.attacks import registry
from verifier.problem.budget import Budget
from verifier.problem.phase_tree import LEAF, PhaseTree, decoded
from verifier.problem.verdict import Bracket, Holds, Violated
from verifier.search import minimum, robustness
from verifier.search.all_targets import minimal_all_targets
from verifier.search.earlier import Earlier
from verifier.search.question import InputRegion, Misclassification, specify
from verifier.search.settings import Settings
from verifier.solvers.kernels import cache

IMAGES = np.load(models.input_file("digits"))["x"]
ASKED = [(0, 1, "linf"), (6, None, "linf"), (9, 1, "l1")]
PRECISION = 1e-3


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The digits net with every weight moved by up to half a percent, as an epoch more might."""
    model, rng = onnx.load(models.path("digits")), np.random.default_rng(0)
    for each in model.graph.initializer:
        values = numpy_helper.to_array(each)
        moved = values * (1.0 + 0.005 * rng.uniform(-1.0, 1.0, values.shape))
        each.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), each.name))
    path: Path = tmp_path_factory.mktemp("tuned") / "digits.onnx"
    onnx.save(model, path)
    return verifier.load(path)


@pytest.fixture(scope="module")
def digits() -> Any:
    return verifier.load(models.path("digits"))


def asked(model: Any, image: int, target: int | None, norm: str) -> Any:
    return specify(model, InputRegion(IMAGES[image], norm), Misclassification(target), Budget(), precision=PRECISION)


def minimal(model: Any, question: tuple[int, int | None, str], earlier: Earlier | None = None) -> Bracket:
    return minimum.minimal(asked(model, *question), Settings(Budget(), earlier=earlier))


def kept(bracket: Bracket) -> dict[int, PhaseTree]:
    """The trees as a store gives them back."""
    found = {target: decoded(tree.encoded()) for target, tree in bracket.trees.items()}
    return {target: tree for target, tree in found.items() if tree is not None}


@pytest.mark.parametrize("question", ASKED)
def test_writing_a_tree_down_changes_nothing(digits: Any, question: Any) -> None:
    plain, written = minimal(digits, question), minimal(digits, question, Earlier())
    assert (plain.lower, plain.upper, plain.search.nodes) == (written.lower, written.upper, written.search.nodes)
    assert plain.trees == {}
    assert sum(tree.nodes for tree in written.trees.values()) > 1
    assert set(kept(written)) == set(written.trees)


@pytest.mark.parametrize("question", ASKED)
def test_a_bracket_is_proved_again(digits: Any, tuned: Any, question: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In L∞ the old witness stands in for the attack."""
    before, truth = minimal(digits, question, Earlier()), minimal(tuned, question)
    assert before.witness is not None
    if question[2] == "linf":
        monkeypatch.setattr(registry, "attack_named", forbidden(registry.attack_named))
    found = minimal(tuned, question, Earlier((before.witness.point,), kept(before)))
    assert found.status.value == "minimal"
    assert found.lower <= truth.upper
    assert truth.lower <= found.upper


def damaged(tree: PhaseTree, draw: int) -> PhaseTree:
    """The same shape with random ReLUs, multipliers and bases."""
    rng = np.random.default_rng(draw)
    split = np.where(tree.split == LEAF, LEAF, rng.integers(0, tree.relus, tree.nodes)).astype(np.int32)
    numbers = rng.integers(-32767, 32768, tree.numbers.shape).astype(np.int16)
    basic = rng.integers(-1, 400, tree.basic.shape).astype(np.int16)
    keys = rng.integers(-1, 5, tree.keys.shape).astype(np.int8)
    return replace(tree, split=split, numbers=numbers, basic=basic, keys=keys)


@pytest.mark.parametrize("draw", range(3))
@pytest.mark.parametrize("question", ASKED[::2])
def test_nothing_of_an_earlier_tree_is_believed(digits: Any, tuned: Any, question: Any, draw: int) -> None:
    before, truth = minimal(digits, question, Earlier()), minimal(tuned, question)
    trees = {target: damaged(tree, draw) for target, tree in before.trees.items()}
    found = minimal(tuned, question, Earlier((IMAGES[0],), trees))
    assert found.status.value == "minimal"
    assert found.lower <= truth.upper
    assert truth.lower <= found.upper
    for radius in (0.98 * truth.lower, 1.02 * truth.upper):
        settings = Settings(Budget(), earlier=Earlier((), trees))
        verdict = robustness.check(asked(tuned, *question), settings, radius).verdict
        assert isinstance(verdict, Holds if radius < truth.lower else Violated)


@pytest.mark.parametrize("question", ASKED)
def test_an_old_tree_answers_a_check_without_an_attack(
    digits: Any, tuned: Any, question: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, truth = minimal(digits, question, Earlier()), minimal(tuned, question)
    radius = 0.95 * truth.lower
    monkeypatch.setattr(registry, "attack_named", forbidden(registry.attack_named))
    found = robustness.check(asked(tuned, *question), Settings(Budget(), earlier=Earlier((), kept(before))), radius)
    assert isinstance(found.verdict, Holds)
    again = robustness.check(asked(tuned, *question), Settings(Budget(), earlier=Earlier((), found.trees)), radius)
    assert isinstance(again.verdict, Holds)


@pytest.mark.skipif(not cache.available(), reason="numba is not installed")
@pytest.mark.parametrize("question", ASKED[::2])
def test_what_a_tree_says_of_its_own_network_closes_every_leaf(digits: Any, question: Any) -> None:
    """Its multipliers exclude its leaves with room to spare: hardly a node is looked at that it does not have."""
    cache.compile_now()
    before = minimal(digits, question, Earlier())
    (tree,) = kept(before).values()
    settings = Settings(Budget(), earlier=Earlier((), kept(before)))
    found = robustness.check(asked(digits, *question), settings, 0.999 * before.lower)
    assert isinstance(found.verdict, Holds)
    assert 1 < found.search.nodes <= tree.nodes + 2
    again = found.trees[question[1]]
    assert again.nodes <= tree.nodes + 2
    assert np.count_nonzero(again.basic[:, :1] >= 0) > 0.5 * len(again.basic), "leaves keep their bases"


def forbidden(named: Callable[[str], Any]) -> Callable[[str], Any]:
    """Attacks that may be named, and not run."""

    def attack(*_: Any, **__: Any) -> None:
        raise AssertionError("there was no need to attack")

    return lambda name: replace(named(name), search=attack)


def test_a_tree_of_another_network_is_a_bad_beginning_and_no_more(digits: Any) -> None:
    """Trees of another input, of another shape: the answer stays."""
    other = minimal(digits, (0, None, "linf"), Earlier())
    question = (6, None, "linf")
    truth = minimal(digits, question)
    strange = {target: replace(tree, numbers=tree.numbers[:, :-1]) for target, tree in other.trees.items()}
    for trees in (other.trees, strange):
        found = minimal(digits, question, Earlier((), {target: trees[next(iter(trees))] for target in range(10)}))
        assert found.status.value == "minimal"
        assert found.lower <= truth.upper
        assert truth.lower <= found.upper


def test_each_target_has_its_own_tree(digits: Any, tuned: Any) -> None:
    def each(model: Any, earlier: Earlier) -> Any:
        goal, budget = Misclassification(each=True, targets=[1, 2, 8]), Budget()
        question = specify(model, InputRegion(IMAGES[6]), goal, budget, precision=PRECISION)
        return minimal_all_targets(question, Settings(budget, earlier=earlier))

    before = each(digits, Earlier())
    trees = {target: tree for bracket in before.results for target, tree in bracket.trees.items()}
    assert trees
    points = tuple(bracket.witness.point for bracket in before.results)
    found, truth = each(tuned, Earlier(points, trees)), each(tuned, Earlier())
    for one, other in zip(found.results, truth.results, strict=True):
        assert one.target == other.target
        assert one.lower <= other.upper
        assert other.lower <= one.upper
        assert math.isclose(one.upper, other.upper, abs_tol=PRECISION)
