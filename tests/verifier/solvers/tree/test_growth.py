"""Trees that are written down while they grow: the same by plunges as node by node, and forgotten when too large."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import verifier
from verifier import models
from verifier.problem.budget import Budget
from verifier.problem.phase_tree import LEAF, PhaseTree, decoded
from verifier.search import minimum
from verifier.search.earlier import Earlier
from verifier.search.question import InputRegion, Misclassification, specify
from verifier.search.settings import Settings
from verifier.solvers.kernels import cache
from verifier.solvers.tree import growth
from verifier.solvers.tree.growth import UNKNOWN, Growth, in_steps


def tree_of(norm: str) -> PhaseTree:
    """The tree of a hard target of `digits`."""
    image = np.load(models.input_file("digits"))["x"][0]
    asked = specify(verifier.load(models.path("digits")), InputRegion(image, norm), Misclassification(1), Budget())
    return minimum.minimal(asked, Settings(Budget(), device="cpu", earlier=Earlier())).trees[1]


@pytest.mark.skipif(not cache.available(), reason="numba is not installed")
@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_a_plunge_writes_what_node_by_node_is_written(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from verifier.solvers.tree.compiled_node import CompiledEvaluator  # noqa: PLC0415 (numba)

    cache.compile_now()
    plunged = tree_of(norm)
    assert plunged.nodes > 10
    monkeypatch.setattr(CompiledEvaluator, "plunge", lambda *_: None)
    alone = tree_of(norm)
    assert np.array_equal(outline(plunged), outline(alone))
    again = decoded(plunged.encoded())
    assert again is not None
    assert np.array_equal(again.split, plunged.split)


def outline(tree: PhaseTree) -> Any:
    """Splits and multipliers, parents before children: the order in which nodes were numbered does not matter."""
    stack, found = [0], []
    while stack:
        node = stack.pop()
        found.append([tree.split[node], *tree.numbers[node]])
        if tree.split[node] != LEAF:
            stack += [tree.first[node], tree.first[node] + 1]
    return np.array(found)


def test_a_tree_that_is_too_large_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "MOST", 5)
    written, numbers = Growth(3, np.arange(1)), np.zeros(4, dtype=np.int16)
    children = written.split_at(0, 2, numbers)
    assert children == (1, 2)
    assert written.split_at(1, 0, numbers) == (3, 4)
    tree = written.tree(np.zeros(0, dtype=np.int64))
    assert tree is not None
    assert decoded(tree.encoded()) is not None
    assert written.split_at(2, 1, numbers) == (UNKNOWN, UNKNOWN)
    assert written.split_at(UNKNOWN, 1, numbers) == (UNKNOWN, UNKNOWN)
    assert written.tree(np.zeros(0, dtype=np.int64)) is None


@given(st.lists(st.floats(-1e300, 1e300), min_size=3, max_size=3), st.sampled_from([0.0, float("nan"), float("inf")]))
def test_multipliers_keep_their_ratios(values: list[float], odd: float) -> None:
    weights, nu = np.array([values[:1]]), np.array([values[1:]])
    found = in_steps(weights, nu)[0]
    largest = max(map(abs, values))
    assert np.abs(found).max() == (32767 if largest > 0 else 0)
    if largest > 0:
        assert np.allclose(found / 32767, np.array(values) / largest, atol=0.51 / 32767)
    assert in_steps(np.array([[odd]]), np.array([[odd]])).tolist() == [[0, 0]]
