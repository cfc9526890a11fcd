"""A norm whose balls have no flat sides is refused by name by whatever needs an LP; one without kernels has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from encoders.errors import InputError
from encoders.passes.distance import with_distance
from verifier.problem.budget import Budget
from verifier.problem.norms.geometry import Geometry
from verifier.problem.norms.linf import LInf
from verifier.problem.norms.table import GEOMETRIES
from verifier.problem.query import Norm
from verifier.problem.verdict import Holds, Unknown
from verifier.runtime.activation_region import deepest, nearest, region_of
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.kernels import cache
from verifier.solvers.linear_query import distance_query, linear_query
from verifier.solvers.milp import Milp
from verifier.solvers.smt import Smt
from verifier.solvers.tree.bound_tree import BoundTree
from verifier.solvers.tree.lp_tree import LpSettings, LpTree
from verifier.solvers.tree.node import NumpyEvaluator
from verifier.solvers.tree.patched_tree import PatchedTree
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.tightening import NumpyNarrowing

ROUND = cast(Norm, "round")


class Round(LInf):
    """A norm that no LP describes and no kernel knows, as far as engines can tell."""

    norm = ROUND
    has_flat_sides = has_kernels = False
    is_box = False
    split_moves = Geometry.split_moves


class Plain(LInf):
    """L∞ without kernels."""

    has_kernels = False


def served_by(
    kind: type[Geometry], make_root: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, seed: int = 3
) -> Any:
    """A question whose ball has that geometry."""
    monkeypatch.setitem(GEOMETRIES, Norm.LINF, kind)  # type: ignore[arg-type]
    return make_root(seed, (4, 5, 3), Norm.LINF)


def tree(root: Any) -> LpTree:
    return LpTree(tree_root(root), LpSettings(kernels=False))


def tree_root(root: Any) -> TreeRoot:
    return TreeRoot(root.stages, root.ball, root.goal, *root.ends)


REFUSING: dict[str, Callable[[Any, Any], Any]] = {
    "LP tree": lambda root, bounds: tree(root).explore(Budget()),
    "tree": lambda root, bounds: BranchAndBound(engine="lp").decide(root.query, bounds, Budget()),
    "MILP": lambda root, bounds: Milp().decide(root.query, bounds, Budget()),
    "Z3": lambda root, bounds: Smt().decide(root.query, bounds, Budget()),
    "rows": lambda root, bounds: linear_query(root.query, bounds),
    "distance": lambda root, bounds: distance_query(root.query, bounds, Budget()),
    "nearest": lambda root, bounds: nearest(region(root), root.ball, Budget()),
    "deepest": lambda root, bounds: deepest(region(root), root.ball, Budget()),
}


def region(root: Any) -> Any:
    return region_of(root.net.graph, root.ball.centre, root.goal)


@pytest.mark.parametrize("engine", REFUSING)
def test_balls_without_flat_sides_are_refused_by_name(
    engine: str, make_root: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = served_by(Round, make_root, monkeypatch)
    with pytest.raises(InputError, match=r"the norm 'round' have no flat sides.*linf or l1"):
        REFUSING[engine](root, root.bounds)


def test_distances_that_are_not_piecewise_linear_are_refused_by_name(make_root: Callable[..., Any]) -> None:
    root = make_root(3, (4, 5, 3), Norm.LINF)
    with pytest.raises(InputError, match=r"the norm 'round' are not piecewise linear: l1, linf are"):
        with_distance(root.net.graph, ROUND, root.ball.centre)


def test_no_tree_that_needs_lps_is_chosen(make_root: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, tree_of in ((LInf, LpTree), (Round, PatchedTree)):
        root = served_by(kind, make_root, monkeypatch)
        made = BranchAndBound().tree(root.query, root.stages, root.bounds, floor=0.0, slack=0.0, tolerance=1e-7)
        assert type(made) is tree_of


def test_a_tree_that_asks_lps_at_its_leaves_alone_keeps_them_open(
    make_root: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = []
    for seed in range(12):
        truth = make_root(seed, (4, 5, 3), Norm.LINF)
        root = served_by(Round, make_root, monkeypatch, seed).within(truth.nearest * (1 - 1e-9))
        found = BranchAndBound().decide(root.query, root.bounds, Budget())
        if isinstance(found, Unknown):
            reasons.append(found.reason)
            check_stuck(BoundTree(tree_root(root)), truth.nearest)
        else:
            assert isinstance(found, Holds)
    assert set(reasons) == {"rounding leaves cases open that no split decides"}


def check_stuck(tree: BoundTree, nearest: float) -> None:
    while not tree.stuck:
        assert tree.explore(Budget()) is None
    assert 0 < tree.lower_end < nearest
    centre = tree.root.ball.centre
    assert tree.polish(centre, Budget()) == (centre, tree.radius)


def test_trees_do_without_kernels_of_a_norm(make_root: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    root = served_by(Plain, make_root, monkeypatch)
    monkeypatch.setattr(cache, "at_once", lambda *_: True)
    for kernels in (True, None):
        made = LpTree(tree_root(root), LpSettings(kernels=kernels))
        assert isinstance(made.evaluator, NumpyEvaluator)
    bound = BoundTree(tree_root(root))
    narrowing: Any = bound._narrowing(Budget())
    assert isinstance(narrowing.narrowing, NumpyNarrowing)
