"""Plunging in the compiled kernel does what evaluating nodes one by one does, however it is cut into calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import verifier
from verifier import models
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Norm
from verifier.solvers.branching import RULES, BranchingRule, split_at
from verifier.solvers.kernels import cache
from verifier.solvers.node_constants import VIOLATED
from verifier.solvers.tree import compiled_node
from verifier.solvers.tree.compiled_node import CompiledEvaluator

LEAST_NODES = 150
"""Fewer over all instances would say little about plunging."""

pytestmark = pytest.mark.skipif(not cache.available(), reason="numba is not installed")


def brackets(norm: Norm) -> list[tuple[float, float, int]]:
    """Both ends and the nodes of hard targets of `digits`."""
    model = verifier.load(models.path("digits"))
    with np.load(models.path("digits").with_name("digits_inputs.npz")) as float32:
        images = float32["x"][::2]
    found = []
    for image in images:
        target = (model.predict(image) + 3) % model.classes
        bracket = verifier.minimal(model, image, target=target, norm=norm.value, device="cpu")
        assert bracket.search is not None
        found.append((bracket.lower, bracket.upper, bracket.search.nodes))
    return found


def one_by_one(*_: Any) -> None:
    """In place of a plunge."""


@pytest.mark.long
@pytest.mark.parametrize("norm", list(FLAT_NORMS), ids=str)
def test_plunging_is_evaluating_one_by_one(norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.compile_now()
    plunged = brackets(norm)
    assert sum(nodes for _, _, nodes in plunged) > LEAST_NODES
    with monkeypatch.context() as patch:
        patch.setattr(compiled_node, "AT_ONCE", 0.0)
        assert brackets(norm) == plunged
    monkeypatch.setattr(CompiledEvaluator, "plunge", one_by_one)
    assert brackets(norm) == plunged


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_kernel_splits_where_numpy_does(rule: BranchingRule) -> None:
    from verifier.solvers.kernels import node  # noqa: PLC0415 (numba)

    rng, places = np.random.default_rng(rule.code), set()
    for trial in range(200):
        size = int(rng.integers(1, 12))
        lower, upper = rng.normal(-0.5, 1.0, size), rng.normal(0.5, 1.0, size)
        shares = np.where(rng.random(size) < 0.3, 0.0, -rng.exponential(size=size))
        off = np.where(rng.random(size) < 0.3, VIOLATED, rng.exponential(0.1, size))
        optimal = trial % 3 > 0
        wanted = split_at(rule, shares, off if optimal else np.full(size, np.inf), lower, upper)
        given = off if optimal else np.zeros(size)
        found = node.split_at(rule.code, np.arange(size), shares, given, optimal, lower, upper)
        assert found == wanted
        places.add(wanted)
    assert {-1, 0, 5} <= places
