"""The bound tree whose steps are the kernel's: it decides as the truth does, in every norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")

from verifier.bounds.kernels import compiled_bound
from verifier.problem.budget import Budget
from verifier.problem.query import Norm
from verifier.problem.verdict import Holds, Violated
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.kernels import cache
from verifier.solvers.tree import bound_tree, stalling, steps
from verifier.solvers.tree.bound_tree import BoundTree
from verifier.solvers.tree.sparse_narrowing import SparseNarrowing

WEAK: dict[str, Any] = {"steps": 2, "first_steps": 2, "half_space": False, "reduced_costs": False}
"""Settings with which small trees take more nodes."""


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Kernels take all steps below the root; how many nodes each call has had."""
    calls: list[int] = []
    climb = compiled_bound.climb

    def counted(net: Any, radius: float, margin: float, near: float, nodes: Any, moves: int, last: bool) -> None:
        calls.append(int(nodes.counts[0]))
        climb(net, radius, margin, near, nodes, moves, last)

    monkeypatch.setattr(compiled_bound, "climb", counted)
    monkeypatch.setattr(compiled_bound, "FEW", 1)
    monkeypatch.setattr(steps, "FEW", 1)
    monkeypatch.setattr(steps, "STEPPED", 0.0)
    monkeypatch.setattr(cache, "at_once", lambda *_: True)
    return calls


@pytest.mark.parametrize("norm", list(Norm), ids=str)
@pytest.mark.parametrize("rows", [0, 2])
def test_it_decides_as_the_truth_does(make_root: Callable[..., Any], stepped: list[int], norm: Norm, rows: int) -> None:
    decider = BranchAndBound(engine="bound").having("bound", **WEAK)
    for seed in range(6):
        root = make_root(seed, (4, 6, 5, 3), norm, rows)
        if not 0 < root.nearest < math.inf:
            continue
        for share, verdict in ((0.98, Holds), (1.02, Violated)):
            asked = root.within(share * root.nearest)
            assert isinstance(decider.decide(asked.query, asked.bounds, Budget()), verdict)
    assert max(stepped) > 1


@pytest.mark.parametrize("norm", list(Norm), ids=str)
def test_nodes_narrowed_a_batch_at_a_time_decide_as_the_truth_does(
    make_root: Callable[..., Any], stepped: list[int], norm: Norm, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    narrow = SparseNarrowing.narrow_batch

    def counted(self: SparseNarrowing, duals: Any, *rest: Any, **options: Any) -> Any:
        batches.append(len(duals))
        return narrow(self, duals, *rest, **options)

    monkeypatch.setattr(SparseNarrowing, "narrow_batch", counted)
    monkeypatch.setattr(bound_tree, "DENSE", 0)
    decider = BranchAndBound(engine="bound").having("bound", steps=1, first_steps=1, reduced_costs=False)
    for seed in range(8):
        root = make_root(seed, (4, 6, 5, 3), norm, 2)
        if not 0 < root.nearest < math.inf:
            continue
        for share, verdict in ((0.98, Holds), (1.02, Violated)):
            asked = root.within(share * root.nearest)
            assert isinstance(decider.decide(asked.query, asked.bounds, Budget()), verdict)
    assert len(batches) >= 3


def test_a_norm_that_the_kernel_does_not_know_is_left_to_numpy(
    make_root: Callable[..., Any], stepped: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_bound, "KINDS", {})
    root = make_root(3, (4, 5, 3), Norm.LINF)
    asked = root.within(0.98 * root.nearest)
    assert isinstance(BranchAndBound(engine="bound").decide(asked.query, asked.bounds, Budget()), Holds)
    assert stepped == []


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L1], ids=str)
def test_an_lp_closes_what_steps_leave_open(
    make_root: Callable[..., Any], norm: Norm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each generation counts as one without headway: the verdicts are the truth's."""
    closed: list[int] = []
    headway = BoundTree._headway

    def counted(self: BoundTree, batch: Any, stay: Any, *rest: Any) -> Any:
        found = headway(self, batch, stay, *rest)
        closed.append(len(stay) - len(found[0]))
        return found

    monkeypatch.setattr(BoundTree, "_headway", counted)
    monkeypatch.setattr(stalling, "LEFT", 0.0)
    decider = BranchAndBound(engine="bound").having("bound", stalled=1, **WEAK)
    for seed in range(10):
        root = make_root(seed, (4, 8, 6, 3), norm)
        if not 0 < root.nearest < math.inf:
            continue
        for share, verdict in ((0.98, Holds), (1.02, Violated)):
            asked = root.within(share * root.nearest)
            assert isinstance(decider.decide(asked.query, asked.bounds, Budget()), verdict)
    assert sum(closed) >= 5
