"""A process that asks one question loads kernels only for a tree that lasts, and the tree goes on as it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest

from verifier import api, models
from verifier.bounds.alpha_beta_crown import FEW, BatchedBound
from verifier.problem.budget import Budget
from verifier.problem.query import Norm
from verifier.problem.verdict import Holds
from verifier.search.settings import Settings
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.kernels import cache
from verifier.solvers.kernels.cache import LOADING
from verifier.solvers.tree import lp_tree, steps
from verifier.solvers.tree.bound_tree import BoundTree
from verifier.solvers.tree.lp_tree import LpTree
from verifier.solvers.tree.node import NumpyEvaluator
from verifier.solvers.tree.tightening import NumpyNarrowing

pytestmark = pytest.mark.skipif(not cache.available(), reason="numba is not installed")

FIRST = 4

WEAK: dict[str, Any] = {
    "slice": 1,
    "child_bounds": False,
    "descend_every": 0,
    "half_space": False,
    "reduced_costs": False,
}
"""Settings with which small trees take more nodes."""


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Kernels that can be loaded and are not yet; how often a tree has asked for them."""
    asked: list[None] = []

    def ready() -> bool:
        asked.append(None)
        return True

    monkeypatch.setattr(cache, "loaded", lambda: bool(asked))
    monkeypatch.setattr(cache, "ready", ready)
    return asked


@pytest.fixture
def root(make_root: Callable[..., Any]) -> Any:
    """A question that takes some dozens of nodes."""
    return make_root(24, (4, 16, 8, 3), Norm.LINF)


def tree_of(root: Any, **settings: Any) -> LpTree:
    decider = BranchAndBound("lp").having("lp", **settings)
    tree = decider.tree(root.query, root.stages, root.bounds, floor=0.0, slack=0.0, tolerance=1e-7)
    assert isinstance(tree, LpTree)
    return tree


def test_kernels_take_over_where_the_tree_lasts(root: Any, unloaded: list[None]) -> None:
    tree = tree_of(root, numpy_first=FIRST, **WEAK)
    while tree.open_nodes and tree.nodes < FIRST:
        assert unloaded == []
        tree.explore(Budget(math.inf))
        assert isinstance(tree._evaluators[0], NumpyEvaluator)
    assert tree.open_nodes, "the question is too easy to show anything"
    tree.explore(Budget(math.inf))
    assert unloaded
    assert not isinstance(tree._evaluators[0], NumpyEvaluator)


@pytest.mark.parametrize("first", [0, FIRST])
def test_not_where_loading_might_outlast_the_limit(root: Any, unloaded: list[None], first: int) -> None:
    tree = tree_of(root, numpy_first=first, **WEAK)
    short = mock.Mock(spec=Budget, remaining=LOADING / 2)
    while tree.open_nodes and tree.nodes <= FIRST + 1:
        tree.explore(short)
    assert unloaded == []


def test_no_bound_tree_loads_them_there_either(root: Any, unloaded: list[None]) -> None:
    tree = BranchAndBound(engine="bound").tree(
        root.query, root.stages, root.bounds, floor=0.0, slack=0.0, tolerance=1e-7
    )
    assert isinstance(tree, BoundTree)
    narrowing: Any = tree._narrowing(mock.Mock(spec=Budget, remaining=LOADING / 2))
    assert isinstance(narrowing.narrowing, NumpyNarrowing)
    assert unloaded == []


@pytest.mark.parametrize(
    ("stepped", "largest", "loads"), [(math.inf, 10**6, False), (0.0, 10**6, True), (0.0, 1, False)]
)
def test_a_bound_tree_loads_them_for_its_steps_where_it_lasts(
    root: Any, unloaded: list[None], monkeypatch: pytest.MonkeyPatch, stepped: float, largest: int, loads: bool
) -> None:
    monkeypatch.setattr(steps, "STEPPED", stepped)
    monkeypatch.setattr(steps, "LARGEST", largest)
    tree = BranchAndBound(engine="bound").tree(
        root.query, root.stages, root.bounds, floor=0.0, slack=0.0, tolerance=1e-7
    )
    assert isinstance(tree, BoundTree)
    assert isinstance(tree._ascending(FEW - 1, Budget(math.inf)), BatchedBound)
    assert unloaded == []
    assert isinstance(tree._ascending(FEW, Budget(math.inf)), BatchedBound) != loads
    assert bool(unloaded) == loads


def test_loaded_kernels_are_used_from_the_first_node(root: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "loaded", lambda: True)
    monkeypatch.setattr(cache, "ready", lambda: True)
    tree = tree_of(root, numpy_first=FIRST)
    assert not isinstance(tree.evaluator, NumpyEvaluator)


@pytest.mark.parametrize("first", [1, 2, 3, 5, 8])
def test_the_verdict_is_the_same_wherever_they_take_over(root: Any, unloaded: list[None], first: int) -> None:
    settings: tuple[dict[str, Any], ...] = ({"numpy_first": first, **WEAK}, {"kernels": False})
    verdicts = [
        type(BranchAndBound("lp").having("lp", **one).decide(root.query, root.bounds, Budget(math.inf)))
        for one in settings
    ]
    assert verdicts[0] is verdicts[1]


def test_the_command_asks_once_and_the_api_many_times(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings(Budget()).decider == BranchAndBound()
    once = Settings(Budget(), once=True).decider
    assert isinstance(once, BranchAndBound)
    assert once == BranchAndBound().having("lp", numpy_first=lp_tree.NUMPY_FIRST)
    assert lp_tree.NUMPY_FIRST > 0
    assert BranchAndBound().asked_once() == once
    data = np.load(models.path("digits").with_name("digits_inputs.npz"))
    seen: list[BranchAndBound] = []
    real = BranchAndBound.asked_once
    monkeypatch.setattr(BranchAndBound, "asked_once", lambda own: seen.append(own) or real(own))
    x = data["x"][0]
    model = api.load(models.path("digits"))
    assert isinstance(api.check(model, x, 0.01).verdict, Holds)
    assert seen == []
    assert isinstance(api.check(model, x, 0.01, once=True).verdict, Holds)
    assert len(seen) == 1
