"""Trees of boxes: each leaf's row closes it, what is split off too, and a leaf that does not close is gone on with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import verifier
from encoders.formulations.to_stages import to_stages
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.box_crown import BoxCrown
from verifier.bounds.lagrangian import Lagrangian
from verifier.certificates.box_tree import BoxTree, HalvedBox
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Halfspaces
from verifier.solvers.branch_and_bound import hidden_bounds

GRID = 20
ENDS = np.array([-1.0, 0.0, 0.25]), np.array([1.0, 2.0, 0.25])
"""Two inputs move."""
SHORT = 0.05
"""How far the goal is beyond what a grid's points reach, as a share of what they differ by."""

Case = tuple[verifier.Model, Halfspaces, BoxTree]


@pytest.fixture(scope="module", params=[0, 1])
def case(request: pytest.FixtureRequest, truth: Any, save_net: Callable[..., verifier.Model]) -> Case:
    """Two rows that nothing satisfies together, though each of them is satisfied somewhere; the grown tree."""
    model = save_net(truth.net(request.param, (3, 8, 6, 3)))
    matrix = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])
    axes = np.meshgrid(*(np.linspace(low, high, 41) for low, high in zip(*ENDS, strict=True)))
    values = model.values(np.stack(axes, axis=-1).reshape(-1, 3)) @ matrix.T
    least = values.min(axis=1)
    goal = Halfspaces(matrix, np.full(2, -least.max() - SHORT * np.ptp(least)))
    assert (values + goal.offset).max(axis=0).min() > 0
    stages, ball = to_stages(model.lowered), Ball.of_box(*ENDS).finite
    ends = hidden_bounds(stages, linear_bounds(model.lowered, ball, Budget()))
    tree = BoxTree(BoxCrown(stages, Lagrangian(stages, ball, goal, *ends)), ball, goal, GRID)
    tree.grow(Budget())
    return model, goal, tree


def points(count: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(7).uniform(*ENDS, size=(count, 3))


def nodes(root: HalvedBox | None) -> Iterator[HalvedBox]:
    assert root is not None
    yield root
    for part in root.parts or ():
        yield from nodes(part)


def leaf_at(root: HalvedBox | None, x: npt.NDArray[np.float64]) -> HalvedBox:
    """The leaf that holds a point, of two that meet there the lower one."""
    assert root is not None
    node = root
    while node.parts is not None and node.split is not None:
        entry, step = node.split
        end = node.parts[0].high[entry]
        assert end == node.parts[1].low[entry] == pytest.approx(ENDS[0][entry] + step * 2.0 / (1 << GRID), abs=1e-12)
        node = node.parts[int(x[entry] > end)]
    return node


def test_each_leafs_row_is_below_0_in_its_box(case: Case) -> None:
    model, goal, tree = case
    given = points(500)
    leaves = [leaf_at(tree.root, x) for x in given]
    assert all(np.all((leaf.low <= x) & (x <= leaf.high)) for leaf, x in zip(leaves, given, strict=True))
    rows = model.values(given) @ goal.matrix.T + goal.offset
    assert all(values[leaf.row] < 0 for leaf, values in zip(leaves, rows, strict=True))
    assert {leaf.row for leaf in leaves} == {0, 1}


def test_parts_that_a_row_closes_are_split_off(case: Case) -> None:
    _, _, tree = case
    found = [*nodes(tree.root)]
    cut = [node for node in found if not node.anew and node.parts is None]
    assert cut
    assert all(node.row >= 0 for node in found if node.parts is None)
    # Only what is halved is bounded anew.
    for node in found:
        if node.parts is not None:
            kinds = {part.anew for part in node.parts}
            assert len(kinds) == 1
            assert kinds == {True} or any(part.row >= 0 for part in node.parts)


def test_a_leaf_that_does_not_close_is_halved(case: Case) -> None:
    _, _, tree = case
    tree.numbers(None)
    leaves = [node for node in nodes(tree.root) if node.parts is None]
    chosen = next(node for node in leaves if not node.anew)
    (place,) = (number for number, node in enumerate(tree._leaves) if node is chosen)
    tree.mend([place], [])
    with pytest.raises(OutOfTimeError):
        tree.grow(Budget(0))
    tree.grow(Budget())
    assert chosen.parts is not None
    assert all(part.anew for part in chosen.parts)
    assert all(node.row >= 0 for node in nodes(tree.root) if node.parts is None)
